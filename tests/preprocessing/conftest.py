"""A small capture and a raw recording that are fine, and copies of them to break."""

import shutil
import sys
from pathlib import Path

import pytest
from ball_capture import write_ball

from gha.preprocessing.miniature import Miniature, write_miniature


@pytest.fixture(scope="session")
def ball(tmp_path_factory):
    """Read only: a capture in our layout."""
    return write_ball(tmp_path_factory.mktemp("ball") / "capture")


@pytest.fixture(scope="session")
def original_ball(tmp_path_factory):
    """Read only: the same capture in the original's form, with small copies and without a split."""
    return write_ball(tmp_path_factory.mktemp("original") / "capture", original=True)


@pytest.fixture
def broken(ball, tmp_path):
    """A capture in our layout that a test may damage."""
    return shutil.copytree(ball, tmp_path / "capture")


@pytest.fixture
def broken_original(original_ball, tmp_path):
    """A capture in the original's form that a test may damage."""
    return shutil.copytree(original_ball, tmp_path / "original")


@pytest.fixture(scope="session")
def egg():
    """A face model that costs nothing."""
    sys.path.append(str(Path(__file__).resolve().parents[1] / "capture"))
    from film_scenes import EggHead

    return EggHead()


@pytest.fixture(scope="session")
def raw_v2(egg, tmp_path_factory):
    """Read only: a raw recording in the layout of version 2; one video is two frames of the capture short."""
    root = tmp_path_factory.mktemp("raw") / "v2"
    return write_miniature(root, egg, Miniature(missing_at_end={("EXP-1-head", 1): 4}))


@pytest.fixture(scope="session")
def raw_v1(egg, tmp_path_factory):
    """Read only: two people in the layout of version 1."""
    root = tmp_path_factory.mktemp("raw") / "v1"
    sequences = {"SEN-10-port_strong_smokey": 4, "SEN-2-vow": 7, "FREE": 4}
    for identity in ("031", "036"):
        write_miniature(root, egg, Miniature("v1", identity, int(identity), sequences, cameras=2))
    return root


@pytest.fixture
def broken_v2(raw_v2, tmp_path):
    """A raw recording in the layout of version 2 that a test may damage."""
    return shutil.copytree(raw_v2, tmp_path / "raw")
