"""What the configuration of a continued run may change, and what is said about it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gha.errors import InputError
from gha.training.avatar_io import from_dict

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
