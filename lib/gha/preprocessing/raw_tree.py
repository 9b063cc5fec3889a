"""Where the files of a NeRSemble download lie, in both of its versions; nothing is decoded.

Version 1: ``sequence_{SEQ}_part-{k}/{id}/{SEQ}/cam_{serial}.mp4``, ``sequence_BACKGROUND_part-1/{id}/BACKGROUND/``
and ``camera_params/{id}/camera_params.json``. Version 2: ``{id}/sequences/{SEQ}/images/cam_{serial}.mp4``,
``{id}/sequences/BACKGROUND/`` and ``{id}/calibration/`` with ``camera_params.json`` and ``color_calibration.json``.
The pictures of the empty stage are ``image_{serial}.jpg`` in both.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gha.capture.layout import natural_sort
from gha.errors import InputError

BACKGROUND = "BACKGROUND"
LAYOUTS = (
    "sequence_*_part-*/{id}/{SEQ}/cam_*.mp4 with camera_params/{id}/camera_params.json (version 1), or "
    "{id}/sequences/{SEQ}/images/cam_*.mp4 with {id}/calibration/camera_params.json (version 2)"
)


@dataclass(frozen=True)
class RawIdentity:
    """The files of one person.

    Attributes:
        name: of the folder, such as ``"031"``.
        calibration: camera_params.json.
        colours: color_calibration.json, or None where there is none.
        sequences: name of each sequence, in natural order, to camera id to video.
        backgrounds: camera id to the picture of the empty stage.
    """

    name: str
    calibration: Path
    colours: Path | None
    sequences: Mapping[str, Mapping[str, Path]]
    backgrounds: Mapping[str, Path]


def find_identities(root: Path) -> tuple[str, ...]:
    """Names of all people in a download of either version, in natural order.

    Raises:
        InputError: there is nobody.
    """
    if not root.is_dir():
        raise InputError(f"{root}: folder not found; expected a NeRSemble download")
    names = {path.parent.parent.name for path in root.glob("*/sequences/*")}
    names |= {path.parent.name for path in root.glob("sequence_*_part-*/*/*")}
    if not names:
        raise InputError(f"{root}: found no recordings; expected {LAYOUTS}")
    return natural_sort(names)


def read_identity(root: Path, name: str) -> RawIdentity:
    """Find the files of one person.

    Raises:
        InputError: there is no such person, no calibration, no video, or the same video twice.
    """
    if name not in find_identities(root):
        raise InputError(f"{root}: no identity {name!r}; found {', '.join(find_identities(root))}")
    version_2 = (root / name / "sequences").is_dir()
    calibration = (root / name / "calibration" if version_2 else root / "camera_params" / name) / "camera_params.json"
    if not calibration.is_file():
        raise InputError(f"{calibration}: file not found; expected the calibration of identity {name}")
    pattern = f"{name}/sequences/*" if version_2 else f"sequence_*_part-*/{name}/*"
    folders = sorted(path for path in root.glob(pattern) if path.is_dir())
    sequences: dict[str, dict[str, Path]] = {}
    backgrounds: dict[str, Path] = {}
    for folder in folders:
        if folder.name == BACKGROUND:
            backgrounds |= _by_camera(folder.glob("image_*.jpg"), "image_", {})
        else:
            videos = sequences.setdefault(folder.name, {})
            videos |= _by_camera((folder / "images" if version_2 else folder).glob("cam_*.mp4"), "cam_", videos)
    ordered = {sequence: sequences[sequence] for sequence in natural_sort(sequences) if sequences[sequence]}
    if not ordered:
        raise InputError(f"{root}: found no video of identity {name}; expected {LAYOUTS}")
    colours = calibration.with_name("color_calibration.json")
    return RawIdentity(name, calibration, colours if colours.is_file() else None, ordered, backgrounds)


def _by_camera(files: Iterable[Path], prefix: str, known: Mapping[str, Path]) -> dict[str, Path]:
    """Files by the camera id in their names."""
    found = {path.stem.removeprefix(prefix): path for path in sorted(files)}
    for camera in found.keys() & known.keys():
        raise InputError(f"{found[camera]}: found the same video as {known[camera]}; expected one of the two")
    return found


def select_names(names: Sequence[str], include: Sequence[str], exclude: Sequence[str], what: str) -> tuple[str, ...]:
    """Those of ``names`` that match a pattern of ``include`` (none: all) and none of ``exclude``, in their order.

    A pattern with ``*``, ``?`` or ``[`` must match the whole name; any other stands for every name it is a part of.
    Case does not matter.

    Raises:
        InputError: a pattern of ``include`` matches nothing, or nothing is left.
    """
    for pattern in include:
        if not any(matches_any(name, [pattern]) for name in names):
            raise InputError(f"{what}: {pattern!r} matches none of {', '.join(names)}")
    chosen = tuple(
        name for name in names if (not include or matches_any(name, include)) and not matches_any(name, exclude)
    )
    if not chosen:
        raise InputError(f"{what}: nothing is left of {', '.join(names)} after excluding {', '.join(exclude)}")
    return chosen


def matches_any(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name matches one of the patterns, as in :func:`select_names`."""
    return any(
        fnmatch.fnmatchcase(name.lower(), pattern.lower())
        if set(pattern) & set("*?[")
        else pattern.lower() in name.lower()
        for pattern in patterns
    )
