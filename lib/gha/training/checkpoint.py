"""Checkpoints: one folder per saved step, whole or absent, read without executing anything.

A folder of checkpoints looks like this::

    checkpoints/
        step_00001200/  manifest.json  avatar.safetensors  optimizer_adam.safetensors
        step_00001500/  ...
        step_latest     a text file with the name of the newest one

A save is finished when ``step_latest`` names it; only then are older checkpoints removed.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gha.errors import CheckpointError
from gha.files import sync_folder, write_atomically, write_durably

from .checkpoint_format import MANIFEST, Checkpoint, is_pinned, read_folder, serialise

LATEST = "step_latest"
_STEP_NAME = re.compile(r"step_(\d{8,})(?:_(\d+))?")
_TEMPORARY_PREFIX = ".saving_"

logger = logging.getLogger(__name__)


def save_checkpoint(
    folder: Path | str,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    metadata: Mapping[str, Any],
    keep: int = 2,
    pinned: bool = False,
) -> Path:
    """Write one checkpoint, verify it, make it the latest, then remove older ones.

    Args:
        folder: holds the checkpoints of one run; made if absent.
        step: number of finished optimiser steps.
        tensors: named tensors by group; each group becomes one safetensors file.
        metadata: anything JSON can hold; ``metadata["method"]`` is checked when loading.
        keep: how many of the newest to keep, this one included; later steps and pinned ones are never removed.
        pinned: keep this one for good.

    Returns:
        The folder of the new checkpoint.

    Raises:
        CheckpointError: the disk is full, the folder cannot be written, or what was written does not read back.
            Earlier checkpoints are untouched.
    """
    if keep < 1:
        raise CheckpointError(f"keep is the number of checkpoints to keep: expected at least 1, found {keep}")
    folder = Path(folder)
    files = serialise(step, tensors, metadata, pinned)
    temporary = folder / f"{_TEMPORARY_PREFIX}{step}_{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder)
        _write_folder(temporary, files)
        final = _free_name(folder, step)
        os.rename(temporary, final)
        sync_folder(folder)
        write_atomically(folder / LATEST, final.name + "\n")
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        size = sum(map(len, files.values())) / 2**20
        raise CheckpointError(
            f"cannot write the checkpoint of step {step} ({size:.1f} MiB) to {folder}: {error.strerror or error}; "
            f"{_what_is_left(folder)}"
        ) from error
    _remove_older(folder, final, keep)
    return final


def load_checkpoint(path: Path | str, method: str | None = None, device: torch.device | str = "cpu") -> Checkpoint:
    """Read and verify a checkpoint; nothing in it is ever executed.

    Args:
        path: the folder of one checkpoint, a ``step_latest`` file, a folder of checkpoints, or the folder of a run
            that holds ``checkpoints/``. For the last three it is the latest; if that one is damaged, the newest
            intact one, with a warning.
        method: if given, the ``metadata["method"]`` the checkpoint must have.
        device: where the tensors go.

    Raises:
        CheckpointError: nothing is there (the message lists what is), a file is damaged, or the method differs.
    """
    path = Path(path)
    if (path / MANIFEST).is_file():
        checkpoint = read_folder(path, device)
    else:
        checkpoint = _read_newest_intact(_candidates(path), device)
    found = checkpoint.metadata.get("method")
    if method is not None and found != method:
        raise CheckpointError(f"{checkpoint.path} is a checkpoint of method {found!r}, expected {method!r}")
    return checkpoint


def list_checkpoints(folder: Path | str) -> list[Path]:
    """The complete checkpoints in a folder, oldest step first; empty if there are none or no such folder."""
    folder = Path(folder)
    if not folder.is_dir():
        return []
    found = [entry for entry in folder.iterdir() if _STEP_NAME.fullmatch(entry.name) and (entry / MANIFEST).is_file()]
    return sorted(found, key=_order)


def has_checkpoint(folder: Path | str) -> bool:
    """Whether there is anything in ``folder`` to resume from."""
    return bool(list_checkpoints(folder))


def _order(path: Path) -> tuple[int, int]:
    """Step and attempt of a checkpoint folder's name."""
    match = _STEP_NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1]), int(match[2] or 0)


def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files durably into a new folder and check that the disk gives the same bytes back."""
    folder.mkdir()
    for name, content in files.items():
        write_durably(folder / name, content)
        if (folder / name).read_bytes() != content:
            raise OSError(f"{name} reads back differently from what was written")
    sync_folder(folder)


def _free_name(folder: Path, step: int) -> Path:
    """A folder name for ``step`` that is not taken: a step saved again must not destroy the first before it is safe."""
    plain = folder / f"step_{step:08d}"
    if not plain.exists():
        return plain
    taken = [
        _order(entry)[1] for entry in folder.iterdir() if _STEP_NAME.fullmatch(entry.name) and _order(entry)[0] == step
    ]
    return folder / f"{plain.name}_{max(taken) + 1}"


def _remove_leftovers(folder: Path) -> None:
    """Remove what a process killed while saving left behind."""
    for entry in folder.glob(f"{_TEMPORARY_PREFIX}*"):
        shutil.rmtree(entry, ignore_errors=True)


def _remove_older(folder: Path, newest: Path, keep: int) -> None:
    """Remove checkpoints of earlier steps beyond ``keep``, and earlier attempts at the same step."""
    step = _order(newest)[0]
    complete = [path for path in list_checkpoints(folder) if path != newest and not is_pinned(path)]
    same_step = [path for path in complete if _order(path)[0] == step]
    earlier = [path for path in complete if _order(path)[0] < step]
    for path in same_step + earlier[: max(0, len(earlier) - (keep - 1))]:
        # Losing the race for disk space or permission here costs room, not data: the next save tries again.
        shutil.rmtree(path, ignore_errors=True)


def _what_is_left(folder: Path) -> str:
    """One clause on what can be resumed from after a failed save."""
    existing = list_checkpoints(folder)
    return f"{existing[-1].name} is intact" if existing else "there is no earlier checkpoint"


def _candidates(path: Path) -> list[Path]:
    """Checkpoints that ``path`` may stand for, best first."""
    folder = path.parent if path.name == LATEST else path
    if not list_checkpoints(folder) and (path / "checkpoints").is_dir():
        folder = path / "checkpoints"
    complete = list_checkpoints(folder)
    if not complete:
        raise CheckpointError(f"no checkpoint at {path}: {_nearby(path)}")
    complete.reverse()
    try:
        latest = folder / (folder / LATEST).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return complete
    # Steps after the latest belong to a run that was resumed from an earlier point: newest of all, but abandoned.
    return sorted(complete, key=lambda entry: entry != latest)


def _nearby(path: Path) -> str:
    """What there is at a mistyped path, for the error message."""
    existing = path
    while not existing.is_dir() and existing != existing.parent:
        existing = existing.parent
    names = sorted(entry.name for entry in existing.iterdir() if not entry.name.startswith("."))
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return f"{existing.absolute()} holds {shown or 'nothing'}"


def _read_newest_intact(candidates: list[Path], device: torch.device | str) -> Checkpoint:
    """The first candidate that verifies; warns about each one passed over."""
    problems = []
    for path in candidates:
        try:
            return read_folder(path, device)
        except CheckpointError as error:
            problems.append(str(error))
            logger.warning("%s; trying an earlier checkpoint", error)
    raise CheckpointError("no intact checkpoint: " + "; ".join(problems))
