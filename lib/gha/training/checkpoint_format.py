"""The bytes of a checkpoint: safetensors files and a JSON manifest with the SHA-256 of each."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

import gha
from gha.errors import CheckpointError
from gha.files import sha256_of

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1
_GROUP_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Checkpoint:
    """What was saved at one step.

    Attributes:
        step: number of finished optimiser steps.
        tensors: named tensors by group, for example ``{"model": {...}, "optimizer": {...}}``.
        metadata: what the caller stored beside them: method, config, dataset fingerprint and the like.
        path: the folder it was read from.
    """

    step: int
    tensors: dict[str, dict[str, Tensor]]
    metadata: dict[str, Any]
    path: Path


def serialise(
    step: int, tensors: Mapping[str, Mapping[str, Tensor]], metadata: Mapping[str, Any], pinned: bool
) -> dict[str, bytes]:
    """The bytes of every file of a checkpoint, the manifest last."""
    for group in tensors:
        if not _GROUP_NAME.fullmatch(group):
            raise CheckpointError(f"tensor group {group!r} must be letters, digits and underscores: it names a file")
    files = {f"{group}.safetensors": safetensors.torch.save(_portable(named)) for group, named in tensors.items()}
    manifest = {
        "schema": SCHEMA_VERSION,
        "library": gha.__version__,
        "torch": str(torch.__version__),
        "step": step,
        "pinned": pinned,
        "files": {name: {"bytes": len(content), "sha256": sha256_of(content)} for name, content in files.items()},
        "metadata": dict(metadata),
    }
    files[MANIFEST] = (json.dumps(manifest, indent=1, allow_nan=False) + "\n").encode()
    return files


def _portable(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous CPU tensors that own their memory, as safetensors demands."""
    seen: set[int] = set()
    result = {}
    for name, tensor in named.items():
        value = tensor.detach().cpu().contiguous()
        storage = value.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != value.nbytes:
            value = value.clone()
        seen.add(value.untyped_storage().data_ptr())
        result[name] = value
    return result


def read_folder(path: Path, device: torch.device | str) -> Checkpoint:
    """Read one checkpoint folder, checking every file against the manifest."""
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        schema, step, files = manifest["schema"], int(manifest["step"]), dict(manifest["files"])
        metadata = dict(manifest["metadata"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path / MANIFEST} is not a checkpoint manifest: {error!r}") from error
    if schema != SCHEMA_VERSION:
        raise CheckpointError(
            f"{path} has schema version {schema!r}, expected {SCHEMA_VERSION}: it was written by "
            f"gha {manifest.get('library')}, this is gha {gha.__version__}"
        )
    tensors = {}
    for name, expected in files.items():
        tensors[Path(name).stem] = _read_tensors(path, name, expected, device)
    return Checkpoint(step, tensors, metadata, path)


def _read_tensors(path: Path, name: str, expected: Mapping[str, Any], device: torch.device | str) -> dict[str, Tensor]:
    """Read one safetensors file of a checkpoint after comparing its SHA-256."""
    if not _GROUP_NAME.fullmatch(Path(name).stem) or Path(name).name != name:
        raise CheckpointError(f"{path / MANIFEST} names a file outside the checkpoint: {name!r}")
    try:
        content = (path / name).read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path / name} cannot be read: {error.strerror or error}") from error
    digest = sha256_of(content)
    if digest != expected.get("sha256"):
        raise CheckpointError(
            f"{path / name} is damaged: expected {expected.get('bytes')} bytes with sha256 "
            f"{str(expected.get('sha256'))[:12]}..., found {len(content)} bytes with sha256 {digest[:12]}..."
        )
    try:
        tensors = safetensors.torch.load(content)
    except Exception as error:  # safetensors raises its own type, which is not public
        raise CheckpointError(f"{path / name} is not a safetensors file: {error}") from error
    return {key: value.to(device) for key, value in tensors.items()}


def is_pinned(path: Path) -> bool:
    """Whether a checkpoint is to be kept for good; a damaged manifest counts as not."""
    try:
        return bool(json.loads((path / MANIFEST).read_bytes()).get("pinned", False))
    except (OSError, ValueError, AttributeError):
        return False
