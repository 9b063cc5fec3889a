"""Where the files of a capture lie: the one place that knows names and folders.

``{root}/images/{frame}/image_{camera}.jpg`` with ``mask_``, ``visible_`` and ``_lowres`` beside it,
``cameras/{frame}/camera_{camera}.npz``, ``params/{frame}/params.npz``, ``lmk_3d.npy``, ``vertices.npy``.
Only captures of this library hold ``capture.json`` and one visible map per camera, ``visible/visible_{camera}.png``.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from gha.errors import InputError

ImageKind = Literal["image", "mask", "visible"]

CAPTURE_FILE = "capture.json"
SPLIT_FILE = "splits.json"
EXPRESSION_NAMES_FILE = "expression_names.json"
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
LOWRES_SIDE = 256


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorting key under which "frame10" comes after "frame2"; equal for names that differ by leading zeros only."""
    parts = re.findall(r"\d+|\D+", name)
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts)


def natural_sort(names: Iterable[str]) -> tuple[str, ...]:
    """Names in natural order."""
    return tuple(sorted(names, key=lambda name: (natural_key(name), name)))


def same_numbers(ordered: Iterable[str]) -> list[tuple[str, str]]:
    """Neighbours in natural order that mean the same number, such as ``0007`` and ``7``."""
    return [(a, b) for a, b in itertools.pairwise(ordered) if natural_key(a) == natural_key(b)]


def describe_duplicate(first: str, second: str) -> str:
    """What is wrong with two ids that mean the same number."""
    return f"duplicate ids {first!r} and {second!r}; expected every id once"


def find_frames(root: Path) -> tuple[str, ...]:
    """Frame ids: the folders of ``images/`` in natural order, whatever the file system lists first."""
    images = root / "images"
    if not images.is_dir():
        raise InputError(f"{root}: no folder images/ found; expected a capture (images/, cameras/, params/)")
    with os.scandir(images) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    if not names:
        raise InputError(f"{images}: no frame folders found; expected one folder per frame")
    return natural_sort(names)


def find_cameras(root: Path, frame_id: str) -> tuple[str, ...]:
    """Camera ids that one frame has a calibration for, in natural order; empty if none."""
    folder = root / "cameras" / frame_id
    return natural_sort(path.stem.removeprefix("camera_") for path in folder.glob("camera_*.npz"))


def list_frames(root: Path) -> tuple[str, ...]:
    """Frame ids in natural order, every one once."""
    return _refuse_duplicates(find_frames(root), root / "images")


def list_cameras(root: Path, frame_id: str) -> tuple[str, ...]:
    """Camera ids that one frame has a calibration for, in natural order, at least one and every one once."""
    folder = root / "cameras" / frame_id
    names = find_cameras(root, frame_id)
    if not names:
        raise InputError(f"{folder}: no camera files found; expected camera_{{id}}.npz")
    return _refuse_duplicates(names, folder)


def _refuse_duplicates(ordered: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    for first, second in same_numbers(ordered):
        raise InputError(f"{folder}: {describe_duplicate(first, second)}")
    return ordered


def camera_file(root: Path, frame_id: str, camera_id: str) -> Path:
    """Calibration of one camera in one frame."""
    return root / "cameras" / frame_id / f"camera_{camera_id}.npz"


def params_file(root: Path, frame_id: str) -> Path:
    """Tracked parameters of one frame."""
    return root / "params" / frame_id / "params.npz"


def landmarks_file(root: Path, frame_id: str) -> Path:
    """Facial landmarks of one frame in world space."""
    return root / "params" / frame_id / "lmk_3d.npy"


def vertices_file(root: Path, frame_id: str) -> Path:
    """Tracked face vertices of one frame in world space."""
    return root / "params" / frame_id / "vertices.npy"


def background_file(root: Path, camera_id: str) -> Path:
    """Picture of the empty stage."""
    return root / "background" / f"image_{camera_id}.jpg"


def image_stem(root: Path, kind: ImageKind, frame_id: str, camera_id: str, lowres: bool = False) -> Path:
    """Path of a picture without its suffix."""
    return root / "images" / frame_id / f"{kind}{'_lowres' if lowres else ''}_{camera_id}"


def camera_visible_stem(root: Path, camera_id: str) -> Path:
    """Path without suffix of a visible map that holds for every frame of a camera."""
    return root / "visible" / f"visible_{camera_id}"


def with_known_suffix(stem: Path) -> Path | None:
    """The picture that exists under a stem, or None."""
    for suffix in IMAGE_SUFFIXES:
        # Not with_suffix: an id may contain a dot.
        path = stem.parent / (stem.name + suffix)
        if path.is_file():
            return path
    return None
