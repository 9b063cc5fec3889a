"""Masks of a whole capture: every picture through one method, many at a time, each mask once."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gha.capture import layout
from gha.capture.images import decode, picture_size
from gha.capture.info import read_json
from gha.capture.picture_files import PictureFiles, is_written
from gha.errors import InputError
from gha.files import write_atomically

from .matting_models import MattingMethod
from .parallel import check_parallel, run_tasks

logger = logging.getLogger(__name__)

METHOD_FILE = "masks.json"
FRAMES_PER_TASK = 8


@dataclass(frozen=True)
class Masking:
    """What became of one capture.

    Attributes:
        folder: the capture.
        written: number of masks that this run wrote.
        failed: view (``images/{frame}/image_{camera}``) to why it has no mask.
    """

    folder: Path
    written: int
    failed: dict[str, str]


@dataclass(frozen=True)
class _Task:
    """Some frames of one camera."""

    root: Path
    camera_id: str
    frames: tuple[str, ...]
    size: tuple[int, int]
    method: MattingMethod


def mask_capture(
    root: str | Path,
    method: MattingMethod,
    parallel: str = "1",
    overwrite: bool = False,
    allow_missing_plates: bool = False,
    progress: bool = True,
) -> Masking:
    """Write a mask for every picture of a capture; run again, it continues where it stopped.

    Args:
        root: folder with ``images/`` and, for methods that need them, ``background/``.
        method: how.
        parallel: see :func:`.parallel.run_tasks`.
        overwrite: make masks anew that are there already.
        allow_missing_plates: leave pictures without mask whose camera has no picture of the empty stage.
        progress: show a progress bar.

    Raises:
        InputError: there are no pictures; a camera has no picture of the empty stage; or there are masks of another
            method.
    """
    check_parallel(parallel)
    root = Path(root)
    frames = layout.find_frames(root)
    views = {camera: tuple(f for f in frames if _picture(root, f, camera)) for camera in _cameras(root, frames)}
    if method.needs_plate:
        views = _with_plates(root, views, allow_missing_plates)
    wanted = {
        camera: tuple(f for f in of if overwrite or not _has_mask(root, f, camera)) for camera, of in views.items()
    }
    try:
        if any(wanted.values()):
            method.check()
        _claim(root, method, overwrite, done=sum(map(len, views.values())) - sum(map(len, wanted.values())))
        if overwrite:
            # Before the first new one: whatever stops this run, old and new masks do not mix.
            _remove_masks(root, wanted)
        written, failed = _mask_views(root, method, wanted, parallel, sum(map(len, views.values())), progress)
    finally:
        method.release()
    for view, problem in sorted(failed.items()):
        logger.warning("%s: no mask: %s", root / view, problem)
    return Masking(root, written, failed)


def _mask_views(
    root: Path, method: MattingMethod, wanted: dict[str, tuple[str, ...]], parallel: str, total: int, progress: bool
) -> tuple[int, dict[str, str]]:
    """Mask the frames wanted of each camera; returns how many, and why others have no mask."""
    tasks = [
        _Task(root, camera, of[start : start + FRAMES_PER_TASK], _full_size(root, of[0], camera), method)
        for camera, of in wanted.items()
        for start in range(0, len(of), FRAMES_PER_TASK)
    ]
    written, failed = 0, {}
    with tqdm(total=total, unit="mask", desc="masking", disable=not progress) as bar:
        bar.update(total - sum(map(len, wanted.values())))
        bar.unpause()
        for count, problems in run_tasks(_mask_frames, tasks, parallel):
            written += count
            failed |= problems
            bar.update(count + len(problems))
    return written, failed


def _cameras(root: Path, frames: Sequence[str]) -> tuple[str, ...]:
    """Ids of all cameras that have a picture in any frame."""
    names = {
        path.stem.removeprefix("image_")
        for frame in frames
        for path in (root / "images" / frame).glob("image_*")
        if path.suffix in layout.IMAGE_SUFFIXES and not path.stem.startswith("image_lowres_")
    }
    if not names:
        raise InputError(f"{root}: found no pictures, expected images/{{frame}}/image_{{camera}}.jpg")
    return layout.natural_sort(names)


def _picture(root: Path, frame: str, camera: str) -> Path | None:
    return layout.with_known_suffix(layout.image_stem(root, "image", frame, camera))


def _has_mask(root: Path, frame: str, camera: str) -> bool:
    path = layout.with_known_suffix(layout.image_stem(root, "mask", frame, camera))
    return path is not None and is_written(path)


def _full_size(root: Path, frame: str, camera: str) -> tuple[int, int]:
    path = _picture(root, frame, camera)
    assert path is not None  # views are pictures that exist
    return picture_size(path)


def _plate_file(root: Path, camera: str) -> Path | None:
    path = layout.background_file(root, camera)
    return layout.with_known_suffix(path.with_suffix(""))


def _with_plates(root: Path, views: dict[str, tuple[str, ...]], allow_missing: bool) -> dict[str, tuple[str, ...]]:
    """The views of cameras that have a picture of the empty stage: never is a missing one taken for black."""
    lacking = [camera for camera in views if _plate_file(root, camera) is None]
    if not lacking:
        return views
    if not allow_missing or len(lacking) == len(views):
        raise InputError(
            f"{layout.background_file(root, lacking[0])}: file not found; cameras {', '.join(lacking)} have no picture "
            "of the empty stage, which this method needs: add them, take a method without, or leave those cameras out"
        )
    logger.warning("%s: no masks for cameras %s: no picture of the empty stage", root, ", ".join(lacking))
    return {camera: frames for camera, frames in views.items() if camera not in lacking}


def _claim(root: Path, method: MattingMethod, overwrite: bool, done: int) -> None:
    """Note by which method the masks are made, or see that it is the same as before."""
    path = root / METHOD_FILE
    if path.exists() and not overwrite and done:
        found = read_json(path, dict).get("method")
        if found != method.describe():
            raise InputError(
                f"{path}: {done} masks were made by {found!r}, expected {method.describe()!r}; --overwrite "
                "makes them anew"
            )
    write_atomically(path, json.dumps({"method": method.describe()}) + "\n")


def _remove_masks(root: Path, views: dict[str, tuple[str, ...]]) -> None:
    for camera, frames in views.items():
        for frame in frames:
            for lowres in (False, True):
                path = layout.with_known_suffix(layout.image_stem(root, "mask", frame, camera, lowres))
                if path is not None:
                    path.unlink()


def _mask_frames(task: _Task) -> tuple[int, dict[str, str]]:
    """Write the masks of some frames of one camera; returns how many, and what went wrong with the others."""
    plate_file = _plate_file(task.root, task.camera_id) if task.method.needs_plate else None
    plate = _decode(plate_file, task.size) if plate_file else None
    visible_file = layout.with_known_suffix(layout.camera_visible_stem(task.root, task.camera_id))
    visible = decode(visible_file, task.size, task.size, gray=True)[0] if visible_file else None
    written, failed = 0, {}
    target = PictureFiles(task.root, task.size)
    for frame in task.frames:
        path = _picture(task.root, frame, task.camera_id)
        assert path is not None  # views are pictures that exist
        try:
            alpha = task.method(_decode(path, task.size), plate, visible)
        except InputError as error:
            failed[f"images/{frame}/{path.name}"] = str(error)
            continue
        target.write_mask(frame, task.camera_id, alpha)
        written += 1
    return written, failed


def _decode(path: Path, size: tuple[int, int]) -> np.ndarray:
    return np.ascontiguousarray(decode(path, size, size, gray=False).transpose(1, 2, 0))
