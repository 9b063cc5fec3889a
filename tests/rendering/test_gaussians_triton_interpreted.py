"""The Triton kernels for Gaussians on a CPU, by Triton's interpreter: the same pictures and gradients."""

import json
from pathlib import Path

import pytest
from interpreted import run_interpreted

pytest.importorskip("triton", reason="Triton is not installed")

HERE = Path(__file__).parent
SCENES = [
    "one channel",
    "three channels",
    "as many channels as fit",
    "two passes over the channels",
    "many chunks in a tile",
    "opaque Gaussians end pixels",
    "a batch with views",
    "other tiles",
    "needles and large ones",
    "ties in depth go by index",
    "behind beside and broken",
    "nothing in front",
    "no gaussians",
    "another low pass and cap",
    "a camera that learns",
    "only features are used",
]


@pytest.fixture(scope="module")
def differences():
    """What each scene drawn in a process of its own, where kernels are interpreted, differs by."""
    run = run_interpreted("-W", "ignore", HERE / "interpreted_gaussians.py", timeout=900)
    assert run.returncode == 0, run.stderr
    rows = [json.loads(line) for line in run.stdout.splitlines()]
    return {row.pop("scene"): row for row in rows} | {"warnings": run.stderr}


@pytest.mark.parametrize("scene", SCENES)
def test_kernels_agree_with_the_reference(differences, scene):
    found = differences[scene]
    assert len(found) > 0
    assert all(value < 2e-5 for value in found.values()), found


def test_too_few_pairs_are_noticed(differences):
    found = differences["too few pairs"]
    assert found["lacking"] > 1e-3
    assert found["finite"]
    assert found["grown"][0] == 48
    assert found["grown"][1] > 48
    assert found["second"] < 1e-5
    assert found["without gradients"] < 1e-5
    assert found["overflowed"] == [False, True, False]
    assert "its farthest Gaussians were not drawn" in differences["warnings"]
