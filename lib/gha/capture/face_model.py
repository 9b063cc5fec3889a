"""Telling a capture which face model its tracking belongs to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gha.files import write_atomically

from . import layout
from .info import info_to_json, read_info


def same_parameters(found: Sequence[str], expected: Sequence[str]) -> bool:
    """Whether parameters of two face models, each a name and a version, mean the same.

    What follows the first "-" of a version is about looks. A model that is not known agrees with every other.
    """
    if not (found[0] and expected[0]):
        return True
    return [found[0], found[1].partition("-")[0]] == [expected[0], expected[1].partition("-")[0]]


def declare_face_model(root: Path, expression_names: Sequence[str], name: str, version: str) -> None:
    """Write names into ``capture.json`` where there is one, else ``expression_names.json``."""
    path = root / layout.CAPTURE_FILE
    if path.exists():
        info, complete = read_info(path)
        info = replace(info, expression_names=tuple(expression_names), face_model=name, face_model_version=version)
        write_atomically(path, info_to_json(info, complete))
        return
    write_atomically(root / layout.EXPRESSION_NAMES_FILE, json.dumps(list(expression_names), indent=1) + "\n")
