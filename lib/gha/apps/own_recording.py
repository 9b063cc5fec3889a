"""The recording that an avatar was trained on, where a command needs it and none is named."""

from __future__ import annotations

from pathlib import Path

from gha.errors import InputError
from gha.training.avatar_io import Subject


def own_recording(named: str, subject: Subject, key: str) -> Path:
    """The path that the configuration key ``key`` names, or else the capture the avatar was trained on.

    Raises:
        InputError: none is named, and the avatar's own is not where it was.
    """
    path = Path(named or subject.capture)
    if not named and not path.exists():
        raise InputError(f"{path}: the capture this avatar was trained on is not there; name one with {key}=PATH")
    return path
