"""Every file of config/ is accepted by its command, and says what each of its keys means."""

import re
from dataclasses import asdict
from pathlib import Path

import pytest

from gha.apps.cli import VERBS
from gha.apps.command import import_object
from gha.apps.config import flatten_keys, load_config

CONFIG = Path(__file__).resolve().parents[2] / "config"
PREFIXES = {
    "demo": "demo",
    "train_meshhead": "train-mesh",
    "train_gaussianhead": "train-gaussian",
    "reenactment": "reenact",
    "evaluate": "evaluate",
}
FILES = sorted(path.name for path in CONFIG.glob("*.yaml"))


@pytest.mark.parametrize("name", FILES)
def test_presets_load(name):
    verb = next(verb for prefix, verb in PREFIXES.items() if name.startswith(prefix))
    load_config(import_object(VERBS[verb].schema), CONFIG / name)


@pytest.mark.parametrize("name", FILES)
def test_every_key_is_commented(name):
    lines = (CONFIG / name).read_text(encoding="utf-8").splitlines()
    keys = [(number, line) for number, line in enumerate(lines) if re.match(r"\s*[\w-]+:\s*\S", line)]
    silent = [line for number, line in keys if "#" not in line and not lines[number - 1].lstrip().startswith("#")]
    assert not silent


def test_there_are_presets_for_the_demo_a_gpu_and_the_original():
    assert {f"train_{stage}head_{name}.yaml" for stage in ("mesh", "gaussian") for name in ("demo", "N031")} <= set(
        FILES
    )


@pytest.mark.parametrize("stage", ["mesh", "gaussian"])
def test_the_fast_preset_is_the_long_one_shortened(stage):
    schema = import_object(VERBS[f"train-{stage}"].schema)
    fast, long = (
        flatten_keys(asdict(load_config(schema, CONFIG / f"train_{stage}head_{name}.yaml")))
        for name in ("fast2048", "best2048")
    )
    shortened = {"name", "loop.steps", "loop.preview_every", "loop.checkpoint_every"}
    assert {key for key in fast if fast[key] != long[key]} == shortened
    assert fast["loop.steps"] < long["loop.steps"]
