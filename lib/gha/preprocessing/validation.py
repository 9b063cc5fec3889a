"""Everything that is wrong with a capture, and what it consists of."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from gha.capture import Capture, Split
from gha.capture.check import missing_files, tracking_problems
from gha.capture.problems import Problem
from gha.errors import InputError

from .validation_comparison import blur_problems, coinciding_cameras, duplicate_problems, moved_cameras
from .validation_opening import open_leniently, picture_sizes, size_problems
from .validation_report import Validation
from .validation_statistics import measure_capture
from .validation_tracking import Tracking, expression_problems, pose_problems, read_tracking
from .validation_views import View, examine_plate, examine_view, examine_visible_map

QUEUE = 64


def validate_capture(
    root: str | Path, pictures: bool = True, workers: int | None = None, progress: bool = False
) -> Validation:
    """Look at every file of a capture; nothing is written and no problem raises.

    Args:
        root: folder of the capture, in the original's layout or in that of this library.
        pictures: decode all pictures; otherwise only their headers are read, and nothing is said about what is in
            masks and pictures.
        workers: threads that read views; default one per processor core, at most 16.
        progress: show a progress bar on stderr.

    Raises:
        InputError: the folder holds no frames at all.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: folder not found; expected a capture (images/, cameras/, params/)")
    capture, problems = open_leniently(root)
    frames, cameras = capture.frame_ids, capture.camera_ids
    missing = [problem for frame in frames for problem in missing_files(root, frame, cameras)]
    unusable = tracking_problems(capture, frames)
    # A frame is tracked if its three files are there and fine.
    untracked = {problem.frame for problem in (*missing, *unusable) if problem.where.startswith("params/")}
    tracking = read_tracking(capture, [frame for frame in frames if frame not in untracked])
    sizes = picture_sizes(capture)
    problems += [*missing, *unusable, *size_problems(capture, sizes)]
    if tracking is not None:
        problems += [*pose_problems(tracking), *expression_problems(tracking)]
    for camera, size in sizes.items():
        problems += examine_visible_map(root, camera, size, pictures)
        problems += examine_plate(root, camera, size, pictures)
    with tqdm(
        _examine(capture, sizes, tracking, pictures, workers or min(16, os.cpu_count() or 1)),
        total=len(frames) * len(cameras),
        desc="validating",
        unit="view",
        disable=not progress,
    ) as bar:
        views = list(bar)
    problems += [problem for view in views for problem in view.problems]
    problems += [
        *coinciding_cameras(views),
        *moved_cameras(views),
        *duplicate_problems(views, capture.split),
        *blur_problems(views),
    ]
    statistics = measure_capture(capture, sizes, tracking, views)
    return Validation(root, capture, _by_the_split(problems, capture.split), statistics, views, tracking, pictures)


def _examine(
    capture: Capture,
    sizes: dict[str, tuple[int, int]],
    tracking: Tracking | None,
    pictures: bool,
    workers: int,
) -> Iterator[View]:
    """All views, frame by frame; decoded by threads, a bounded number of them ahead."""
    tasks = [(frame, camera) for frame in capture.frame_ids for camera in capture.camera_ids]
    landmarks = dict(zip(tracking.frames, tracking.landmarks, strict=True)) if tracking else {}
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(tasks), QUEUE):
            yield from pool.map(
                lambda task: examine_view(capture.root, *task, sizes.get(task[1]), landmarks.get(task[0]), pictures),
                tasks[start : start + QUEUE],
            )


def _by_the_split(problems: Sequence[Problem], split: Split) -> list[Problem]:
    """The problems, of which those in frames and cameras that are neither trained on nor held out are not fatal."""
    frames = {"", *split.train_frames, *split.test_frames}
    cameras = {"", *split.train_cameras, *split.test_cameras}
    return [
        problem if problem.frame in frames and problem.camera in cameras else replace(problem, fatal=False)
        for problem in problems
    ]
