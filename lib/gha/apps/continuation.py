"""What the configuration of a continued run may change, and what is said about it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gha.capture.face_model import same_parameters
from gha.capture.layout import CAPTURE_FILE
from gha.errors import InputError
from gha.training.avatar_io import Subject, from_dict
from gha.training.checkpoint_format import Checkpoint

from .config import config_to_dict, flatten_keys, read_saved_config

logger = logging.getLogger(__name__)

# Where a run is, where it computes and how fast it reads do not touch what it learns.
_UNSAID = ("name", "runs", "device", "data.workers", "data.cache_gib")

Changes = dict[str, tuple[Any, Any]]


def check_continuation(config: Any, trained_head: Mapping[str, Any], config_file: Path) -> None:
    """Refuse another head than the checkpoint's, and log what else differs from the run's last configuration.

    Args:
        config: the configuration to continue with, a dataclass with a field ``head``.
        trained_head: values of ``head`` in the checkpoint, as nested dictionaries.
        config_file: the YAML of the run so far; without it only the head is compared.

    Raises:
        InputError: a key of ``head`` differs.
    """
    values = flatten_keys(config_to_dict(config))
    # Keys younger than the checkpoint are at their defaults in it.
    trained = config_to_dict(from_dict(type(config.head), trained_head))
    _refuse(_changes(flatten_keys({"head": trained}), values), config_file)
    if not config_file.is_file():
        return
    changes = _changes(read_saved_config(type(config), config_file), values)
    length = {key: change for key, change in changes.items() if key.startswith("loop.")}
    learning = {key: change for key, change in changes.items() if not key.startswith(("loop.", "head."))}
    if length:
        logger.info("continuing with %s", _describe(length))
    if learning:
        logger.warning("%s: continuing with other values than so far: %s", config_file, _describe(learning))


def check_same_subject(found: Subject, trained: Subject, run: Path) -> None:
    """Refuse a recording whose expressions or landmarks the networks of a run were not made for.

    Raises:
        InputError: their names or their number differ.
    """
    for what, new, old in (
        ("expressions", found.expression_names, trained.expression_names),
        ("landmarks and face points", [found.landmark_count], [trained.landmark_count]),
    ):
        if new != old:
            raise InputError(
                f"data.capture: {found.capture} has {what} {_shortened(new)}, expected {_shortened(old)}, "
                f"with which {run} has begun on {trained.capture}"
            )
    check_same_face_model(found.capture, found.face_model, trained, run)


def check_same_face_model(capture: Path | str, face_model: Sequence[str], trained: Subject, run: Path) -> None:
    """Refuse a recording that was tracked with another face model, or another version of it, than an avatar's.

    Raises:
        InputError: its expressions have other meanings.
    """
    if not same_parameters(face_model, trained.face_model):
        found, expected = (" ".join(names) for names in (face_model, trained.face_model))
        raise InputError(
            f"{Path(capture) / CAPTURE_FILE}: found tracking by face model {found}, expected {expected}, by which "
            f"{trained.capture} was tracked, on which {run} was trained; fit the capture with that one"
        )


def check_same_corrections(config: Any, frames: Sequence[str], cameras: Sequence[str], checkpoint: Checkpoint) -> None:
    """Refuse to learn other corrections beside the avatar than so far: they belong to frames and cameras by name.

    Args:
        config: of the command.
        frames: training frames.
        cameras: training cameras.
        checkpoint: of the run so far.

    Raises:
        InputError: pose corrections or colour gains would begin, end, or change places.
    """
    pose_rate = getattr(config.training, "pose_learning_rate", 0.0)
    for key, value, module, wanted, names, recorded in (
        ("training.pose_learning_rate", pose_rate, "pose_refinement", bool(pose_rate), frames, "pose_frames"),
        ("data.camera_color", config.data.camera_color, "camera_gain", config.data.camera_color == "gain", cameras,
         "gain_cameras"),
    ):  # fmt: skip
        if wanted != (module in checkpoint.tensors):
            raise InputError(
                f"{key}: found {value!r}, but {checkpoint.path} was trained {'without' if wanted else 'with'} what it "
                "switches on: put the old value back, or start a run of another name"
            )
        before = checkpoint.metadata.get(recorded, names)
        if wanted and list(before) != list(names):
            raise InputError(
                f"{checkpoint.path}: {key} learns one correction for each of {_shortened(names)}, expected "
                f"{_shortened(before)} as so far: put them back, or start a run of another name"
            )


def _shortened(names: Sequence[Any]) -> str:
    return ", ".join(map(str, names[:4])) + (f" ... ({len(names)} in all)" if len(names) > 4 else "")


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Changes:
    """Old and new value of the keys that both have and that differ."""
    return {
        key: (old[key], value) for key, value in new.items() if key in old and old[key] != value and key not in _UNSAID
    }


def _refuse(changes: Changes, config_file: Path) -> None:
    if changes:
        found = "; ".join(f"{key}: found {new!r}, expected {old!r}" for key, (old, new) in changes.items())
        raise InputError(
            f"{config_file.parent} has begun with another head ({found}). The checkpoint's value stays in force, "
            "because networks and surface are made for it: put the value back, or start a run of another name"
        )


def _describe(changes: Changes) -> str:
    return ", ".join(f"{key} {old!r} -> {new!r}" for key, (old, new) in changes.items())
