"""Import and help are there at once and need neither torch nor numba."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gha.apps.cli import VERBS

SLOW = ("torch", "numba", "scipy", "av", "tensorboard")
REPOSITORY = Path(__file__).resolve().parents[1]
PROBE = """
import sys
sys.argv = ["gha", *sys.argv[1:]]
from gha.apps.cli import main
try:
    code = main()
except SystemExit as stop:
    code = stop.code
loaded = [name for name in {slow} if name in sys.modules]
assert not loaded, loaded
sys.exit(code)
"""


def seconds_of(command):
    start = time.perf_counter()
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return time.perf_counter() - start, result.stdout


def test_import_is_quick():
    code = f"import sys, gha; assert not [name for name in {SLOW} if name in sys.modules]"
    assert min(seconds_of([sys.executable, "-c", code])[0] for _ in range(3)) < 2.0


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb_is_quick(verb):
    seconds, text = seconds_of([sys.executable, "-c", PROBE.format(slow=SLOW), verb, "--help"])
    assert "usage: gha " + verb in text
    assert seconds < 2.0


@pytest.mark.parametrize(
    "script",
    [
        path.relative_to(REPOSITORY).as_posix()
        for path in (*REPOSITORY.glob("*.py"), *REPOSITORY.glob("preprocess/*.py"))
    ],
)
def test_every_script_has_help(script):
    seconds, text = seconds_of([sys.executable, str(REPOSITORY / script), "--help"])
    assert "usage: " in text
    assert seconds < 2.0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ["3000", "passive"]),
        ({"GOMP_SPINCOUNT": "7"}, ["7", "passive"]),
        ({"OMP_WAIT_POLICY": "active"}, [None, "active"]),
    ],
)
def test_waiting_threads_sleep_soon_unless_the_user_has_said_how_they_wait(given, expected):
    variables = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {name: value for name, value in os.environ.items() if name not in variables} | given
    script = f"import gha, json, os; print(json.dumps([os.environ.get(name) for name in {variables}]))"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == expected


@pytest.mark.parametrize(("given", "expected"), [({}, "32"), ({"PILLOW_BLOCKS_MAX": "3"}, "3")])
def test_pillow_uses_memory_again_unless_the_user_has_said_how_much(given, expected):
    environment = {name: value for name, value in os.environ.items() if name != "PILLOW_BLOCKS_MAX"} | given
    script = "import gha.capture, PIL.Image; print(PIL.Image.core.get_blocks_max())"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected
