"""What the documentation names exists: files, commands, keys of the configuration."""

import re
from pathlib import Path

import pytest

from gha.apps.cli import VERBS
from gha.apps.config_help import list_keys
from gha.apps.make_capture import build_parser

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *(f"docs/{page}.md" for page in ("conventions", "how_it_works", "own_data", "fitting", "several_gpus")),
]
SCRIPTS = {
    "demo": "demo.py",
    "train-mesh": "train_meshhead.py",
    "train-gaussian": "train_gaussianhead.py",
    "evaluate": "evaluate.py",
    "reenact": "reenactment.py",
}
SECTIONS = ("data", "head", "training", "loop")


def text(page):
    return (ROOT / page).read_text(encoding="utf-8")


def keys(verb):
    return {key.name for key in list_keys(VERBS[verb].schema)}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page):
    # Pictures start with "!"; everything else within the repository must be there.
    targets = re.findall(r"(?<!!)\[[^\]]*\]\(([^)#:]+)(?:#[^)]*)?\)", text(page))
    missing = [target for target in targets if not ((ROOT / page).parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_scripts_and_presets_exist(page):
    named = re.findall(r"(?:python3?|--config) ([\w./]+\.(?:py|yaml))", text(page))
    named += re.findall(r"config/\w+\.yaml|preprocess/\w+\.py|tests/\w+\.py", text(page))
    assert not [name for name in named if not (ROOT / name).is_file()]


@pytest.mark.parametrize("page", PAGES)
def test_keys_in_code_are_keys_of_training(page):
    known = keys("train-mesh") | keys("train-gaussian")
    named = re.findall(rf"`((?:{'|'.join(SECTIONS)})\.[a-z_.]+)", text(page))
    assert not [key for key in named if key not in known]


def test_commands_of_the_readme_have_the_keys_they_are_given():
    lines = re.findall(r"^(?:python3? \S+|`python3 run.py demo).*$", text("README.md"), re.M)
    checked = 0
    for verb, script in SCRIPTS.items():
        for line in lines:
            if script in line:
                given = re.findall(r"(?<=[ \"])([a-z_.]+)=", line.partition("#")[0])
                assert set(given) <= keys(verb), line
                checked += len(given)
    assert checked >= 4
    options = re.findall(r"--[a-z-]+", "".join(re.findall(r"make_capture\.py[^`]*?(?=python|```)", text("README.md"))))
    assert options
    assert set(options) <= set(build_parser()._option_string_actions)
