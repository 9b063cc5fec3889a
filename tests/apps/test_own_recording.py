from pathlib import Path
from types import SimpleNamespace

import pytest

from gha.apps.own_recording import own_recording
from gha.errors import InputError


def test_the_named_recording_comes_first(tmp_path):
    subject = SimpleNamespace(capture=str(tmp_path))
    assert own_recording("elsewhere", subject, "capture") == Path("elsewhere")
    assert own_recording("", subject, "capture") == tmp_path


def test_a_recording_that_was_moved_is_asked_for_by_key(tmp_path):
    subject = SimpleNamespace(capture=str(tmp_path / "moved"))
    with pytest.raises(InputError, match=r"moved: the capture .* is not there; name one with driver=PATH"):
        own_recording("", subject, "driver")
