"""What must hold before hours are spent on a capture; reads small files and one frame of pictures only."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gha.errors import InputError

from . import layout
from .problems import Problem, problem_from
from .reader import Capture


def check_capture(capture: Capture) -> None:
    """Refuse a capture that training would stumble over later.

    Looks for missing pictures, cameras and parameters in every frame of the split, reads all parameters and
    landmarks (widths, NaN), the cameras of the first and last frame, and one small picture per camera. Everything
    else, and all problems instead of the first, is what :mod:`gha.preprocessing.validation` finds.

    Raises:
        InputError: listing the first problems and their number.
    """
    split = capture.split
    frames = split.train_frames + split.test_frames
    cameras = split.train_cameras + split.test_cameras
    missing = [problem.where for frame in frames for problem in missing_files(capture.root, frame, cameras)]
    if missing:
        raise InputError(f"{capture.root}: {len(missing)} files are missing: {', '.join(missing[:5])} ...")
    problems = tracking_problems(capture, frames)
    if problems:
        more = f" (and {len(problems) - 1} more problems of this sort)" if len(problems) > 1 else ""
        raise InputError(problems[0].message(capture.root) + more)
    for camera in cameras:
        capture.read(frames[0], [camera], 64)
        capture.camera(camera, frames[-1])


def missing_files(root: Path, frame: str, cameras: Sequence[str]) -> list[Problem]:
    """Parameters, calibrations, pictures and masks that one frame lacks."""
    stems = {entry.name.rsplit(".", 1)[0] for entry in os.scandir(root / "images" / frame)}
    wanted = [
        ("params", "", layout.params_file(root, frame)),
        ("landmarks", "", layout.landmarks_file(root, frame)),
        ("vertices", "", layout.vertices_file(root, frame)),
        *(("camera", camera, layout.camera_file(root, frame, camera)) for camera in cameras),
    ]
    missing = [(kind, camera, str(path.relative_to(root))) for kind, camera, path in wanted if not path.is_file()]
    pictures = [(kind, camera) for camera in cameras for kind in ("image", "mask")]
    missing += [
        (kind, camera, f"images/{frame}/{kind}_{camera}.jpg (or .png)")
        for kind, camera in pictures
        if f"{kind}_{camera}" not in stems
    ]
    return [
        Problem(f"{kind} missing", where, "file not found", frame=frame, camera=camera)
        for kind, camera, where in missing
    ]


def tracking_problems(capture: Capture, frames: Sequence[str]) -> list[Problem]:
    """Parameters, landmarks and vertices that cannot be used, or that are not as many in all frames.

    Files that are missing are left to :func:`missing_files`.
    """
    problems: list[Problem] = []
    widths: dict[str, dict[str, int]] = {what: {} for what in _COUNTED}
    for frame in frames:
        for kind, path, read in _tracking_files(capture, frame):
            try:
                counts = read() if path.is_file() else {}
            except InputError as error:
                problems.append(problem_from(error, f"{kind} unusable", capture.root, frame))
                continue
            for what, count in counts.items():
                widths[what][frame] = count
    return problems + [problem for what, found in widths.items() for problem in _odd_counts(what, found)]


_COUNTED = {
    "expression coefficients": "params.npz",
    "identity coefficients": "params.npz",
    "landmarks": "lmk_3d.npy",
    "face vertices": "vertices.npy",
}


def _tracking_files(capture: Capture, frame: str) -> list[tuple[str, Path, Callable[[], dict[str, int]]]]:
    """What a file of one frame is, where it is, and a reader that says how many of what are in it."""

    def params() -> dict[str, int]:
        code = capture.codes([frame])
        counts = {"expression coefficients": code.expression.shape[-1]}
        return counts if code.identity is None else {**counts, "identity coefficients": code.identity.shape[-1]}

    return [
        ("params", layout.params_file(capture.root, frame), params),
        (
            "landmarks",
            layout.landmarks_file(capture.root, frame),
            lambda: {"landmarks": len(capture.facial_landmarks(frame))},
        ),
        (
            "vertices",
            layout.vertices_file(capture.root, frame),
            lambda: {"face vertices": len(capture.vertices(frame))},
        ),
    ]


def _odd_counts(what: str, found: Mapping[str, int]) -> list[Problem]:
    """Frames in which a count is not the usual one."""
    if len(set(found.values())) < 2:
        return []
    usual = Counter(found.values()).most_common(1)[0][0]
    like = next(frame for frame, count in found.items() if count == usual)
    return [
        Problem(
            f"number of {what}",
            f"params/{frame}/{_COUNTED[what]}",
            f"frame {frame}: found {count} {what}, expected {usual} as in frame {like}",
            frame=frame,
        )
        for frame, count in found.items()
        if count != usual
    ]
