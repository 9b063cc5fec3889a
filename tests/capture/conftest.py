"""A tiny capture in both layouts."""

import pytest
from tiny_capture import write_tiny


@pytest.fixture(scope="session")
def our_capture(tmp_path_factory):
    """Read only: a capture in our layout."""
    return write_tiny(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="session")
def original_capture(tmp_path_factory):
    """Read only: the same capture in the original's form."""
    return write_tiny(tmp_path_factory.mktemp("original"), original=True)


@pytest.fixture
def broken(tmp_path):
    """A capture in our layout that a test may damage."""
    return write_tiny(tmp_path / "capture")
