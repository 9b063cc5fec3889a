"""A small capture that is fine, and copies of it to break."""

import shutil

import pytest
from ball_capture import write_ball


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
