"""Opening a folder as a capture, and deciding what is held out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gha.errors import InputError

from . import layout
from .info import CaptureInfo, Split, read_info, read_json, string_list
from .reader import Capture

logger = logging.getLogger(__name__)

UNFINISHED = "found an unfinished capture; run the command that makes it again to complete it"


def open_capture(
    path: str | Path,
    held_out_frames: Sequence[str] | None = None,
    held_out_cameras: Sequence[str] | None = None,
    hold_out_every: int | None = None,
) -> Capture:
    """Open a recording in the original's layout or in that of this library; decodes no picture.

    The split comes from ``capture.json``, else from ``splits.json``, else everything is trained on. The arguments
    replace its frames or its cameras.

    Args:
        path: folder with ``images/``, ``cameras/`` and ``params/``.
        held_out_frames: frame ids to evaluate on.
        held_out_cameras: camera ids to evaluate on.
        hold_out_every: evaluate on every n-th frame (the n-th, the 2n-th ...).
    """
    root = Path(path)
    frame_ids = layout.list_frames(root)
    camera_ids = layout.list_cameras(root, frame_ids[0])
    info = _read_or_infer_info(root, frame_ids, camera_ids)
    split = _read_split(root, info, frame_ids, camera_ids)
    if hold_out_every is not None:
        if held_out_frames is not None or not 2 <= hold_out_every <= len(frame_ids):
            raise InputError(
                f"{root}: found hold_out_every = {hold_out_every} for {len(frame_ids)} frames, "
                "expected a number from 2 to that, and no held_out_frames beside it"
            )
        held_out_frames = frame_ids[hold_out_every - 1 :: hold_out_every]
    if held_out_frames is not None or held_out_cameras is not None:
        split = Split.holding_out(
            frame_ids,
            camera_ids,
            split.test_frames if held_out_frames is None else held_out_frames,
            split.test_cameras if held_out_cameras is None else held_out_cameras,
        )
    if not split.test_frames and not split.test_cameras:
        logger.info(
            "%s: nothing is held out; all %d frames and %d cameras train", root, len(frame_ids), len(camera_ids)
        )
    return Capture(root, replace(info, split=split), frame_ids, camera_ids)


def _read_or_infer_info(root: Path, frame_ids: Sequence[str], camera_ids: Sequence[str]) -> CaptureInfo:
    path = root / layout.CAPTURE_FILE
    if path.exists():
        info, complete = read_info(path)
        if not complete:
            raise InputError(f"{path}: {UNFINISHED}")
        return info
    resolution = Capture(root, CaptureInfo((0, 0)), frame_ids, camera_ids).resolution(camera_ids[0])
    return CaptureInfo(resolution, expression_names=read_expression_names(root))


def read_expression_names(root: Path) -> tuple[str, ...]:
    """The names in ``expression_names.json``, none where there is no such file."""
    path = root / layout.EXPRESSION_NAMES_FILE
    return string_list({"names": read_json(path, list)}, "names", path) if path.exists() else ()


def read_declared_split(root: Path, info: CaptureInfo) -> tuple[Split | None, Path]:
    """The split that ``capture.json``, else ``splits.json`` declares, if any, and the file; names are not looked up."""
    path = root / layout.SPLIT_FILE
    if info.split is not None:
        return info.split, root / layout.CAPTURE_FILE
    if not path.exists():
        return None, path
    values = read_json(path, dict)
    keys = ("train", "test", "train_cameras", "held_out_cameras")
    return Split(*(string_list(values, key, path) for key in keys)), path


def split_problems(split: Split, frame_ids: Sequence[str], camera_ids: Sequence[str]) -> list[str]:
    """All that is wrong with a split of these frames and cameras: unknown names, overlaps, nothing to train on."""
    problems = []
    for what, train, test, known in (
        ("frames", split.train_frames, split.test_frames, frame_ids),
        ("cameras", split.train_cameras, split.test_cameras, camera_ids),
    ):
        absent = [name for name in (*train, *test) if name not in set(known)]
        if absent:
            problems.append(f"the split names {what} {absent[:5]} that the capture does not have")
        both = sorted(set(train) & set(test))
        if both:
            problems.append(f"{what} {both[:5]} are both trained on and held out; expected one of the two")
        if not train:
            problems.append(f"found no {what} to train on, expected at least one")
    return problems


def _read_split(root: Path, info: CaptureInfo, frame_ids: Sequence[str], camera_ids: Sequence[str]) -> Split:
    split, path = read_declared_split(root, info)
    if split is None:
        return Split.holding_out(frame_ids, camera_ids)
    for problem in split_problems(split, frame_ids, camera_ids):
        raise InputError(f"{path}: {problem}")
    return split
