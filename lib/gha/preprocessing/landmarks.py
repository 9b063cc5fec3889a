"""Detected 2D landmarks: the two conventions, the files, and their order.

A detection is ``points`` [68 or 478, 3]: x and y in pixels of the full-size picture, whose top-left corner is (0, 0),
and a confidence in [0, 1]; 0 stands for "not detected".
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from gha.capture.arrays import DAMAGE, checked, read_npy, read_npz
from gha.capture.layout import natural_sort
from gha.errors import InputError
from gha.files import open_atomically

from .fitting_views import LANDMARKS

DENSE = 478  # the face mesh of MediaPipe with irises
COUNTS = (LANDMARKS, DENSE)
# Points of the dense mesh at the landmarks of iBUG order from 17 on. Left and right are the picture's here.
BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
NOSE = (168, 197, 5, 4, 98, 97, 2, 326, 327)
EYES = (33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380)
LIPS = (61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 81, 13, 311, 308, 402, 14, 178)
# Of the oval of the dense mesh, from the temple at eye height down to the chin.
OVAL_RIGHT = (127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152)
OVAL_LEFT = (356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152)


def to_ibug(points: np.ndarray) -> np.ndarray:
    """The 68 landmarks [..., 68, 3] of detections [..., 68 or 478, 3].

    The jaw line of the dense mesh is its oval, divided evenly from temple to chin, as annotators divide it.
    """
    if points.shape[-2] == LANDMARKS:
        return points
    right, left = (_evenly(points[..., list(oval), :], 9) for oval in (OVAL_RIGHT, OVAL_LEFT))
    inner = points[..., [*BROWS, *NOSE, *EYES, *LIPS], :]
    return np.concatenate([right, left[..., -2::-1, :], inner], axis=-2)


def _evenly(line: np.ndarray, count: int) -> np.ndarray:
    """Points [..., count, 3] at even distances along lines [..., N, 3] in x and y; with their least confidence."""
    flat = line.reshape(-1, *line.shape[-2:])
    result = np.empty((len(flat), count, 3))
    for index, points in enumerate(flat):
        lengths = np.linalg.norm(np.diff(points[:, :2], axis=0), axis=1)
        along = np.concatenate([[0], np.cumsum(lengths)])
        places = np.linspace(0, along[-1], count)
        for axis in range(2):
            result[index, :, axis] = np.interp(places, along, points[:, axis])
        result[index, :, 2] = points[:, 2].min()
    return result.reshape(*line.shape[:-2], count, 3)


def detection_file(folder: Path, frame: str, camera: str) -> Path:
    """Where a detection of one picture is written."""
    return folder / frame / f"lmk_{camera}.npz"


def write_detection(path: Path, points: np.ndarray) -> None:
    """Write one detection [68 or 478, 3]."""
    with open_atomically(path, durable=False) as file:
        np.savez(file, points=np.asarray(points, dtype=np.float32))


def read_landmarks(folder: str | Path, frames: Sequence[str], cameras: Sequence[str]) -> np.ndarray:
    """Detections of all pictures, 0 where there are none.

    For each camera either one file with all frames, ``lmk_{camera}.npz`` or ``{camera}.npz``: ``points``
    [T, 68 or 478, 3], and ``frames`` [T], their names; without names they are the frames of the capture in natural
    order, as many as there are. Or one file per frame, ``{frame}/lmk_{camera}.npz`` with ``points`` [68 or 478, 3], or
    ``.npy`` of that shape.

    Returns:
        [T, V, 68, 3]: x, y, confidence.

    Raises:
        InputError: a file is damaged or does not fit, or there is not one detection.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: folder not found; expected landmarks")
    found = np.zeros((len(frames), len(cameras), LANDMARKS, 3))
    files = 0
    for view, camera in enumerate(cameras):
        whole = [folder / name for name in (f"lmk_{camera}.npz", f"{camera}.npz") if (folder / name).is_file()]
        if whole:
            found[:, view] = _read_camera(whole[0], frames)
            files += 1
            continue
        for time, frame in enumerate(frames):
            for path in _frame_files(folder, frame, camera):
                found[time, view] = to_ibug(_read_frame(path))
                files += 1
    if not files:
        raise InputError(
            f"{folder}: found no landmarks of cameras {list(cameras[:3])} in frames {list(frames[:3])}; expected "
            "lmk_{camera}.npz, or {frame}/lmk_{camera}.npz or .npy"
        )
    if not (found[..., 2] > 0).any():
        raise InputError(f"{folder}: found a confidence of 0 everywhere in {files} files, expected detections")
    return found


def _frame_files(folder: Path, frame: str, camera: str) -> Iterator[Path]:
    """The detection of one picture, if there is one."""
    for suffix in (".npz", ".npy"):
        path = folder / frame / f"lmk_{camera}{suffix}"
        if path.is_file():
            yield path
            return


def _read_frame(path: Path) -> np.ndarray:
    shapes = tuple((count, 3) for count in COUNTS)
    points = read_npy(path, shapes) if path.suffix == ".npy" else read_npz(path, {"points": shapes})["points"]
    return _with_valid_confidence(points, path)


def _read_camera(path: Path, frames: Sequence[str]) -> np.ndarray:
    points = read_npz(path, {"points": tuple((None, count, 3) for count in COUNTS)})["points"]
    names = _names(path)
    if names is None:
        if len(points) != len(frames):
            raise InputError(
                f'{path}: found points of {len(points)} frames without "frames", their names; '
                f"the capture has {len(frames)}"
            )
        names = list(natural_sort(frames))
    if len(names) != len(points):
        raise InputError(f"{path}: found {len(names)} names for points of {len(points)} frames")
    if len(set(names)) != len(names):
        raise InputError(f"{path}: found frames named more than once, expected every frame once")
    points = to_ibug(_with_valid_confidence(points, path))
    places = {name: index for index, name in enumerate(names)}
    result = np.zeros((len(frames), LANDMARKS, 3))
    for time, frame in enumerate(frames):
        if frame in places:
            result[time] = points[places[frame]]
    return result


def _names(path: Path) -> list[str] | None:
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = archive.get("frames")
    except (*DAMAGE, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: frames is not readable ({error}); expected a list of names") from error
    if names is None:
        return None
    if names.ndim != 1 or names.dtype.kind != "U":
        raise InputError(f"{path}: frames is {names.dtype} {list(names.shape)}, expected a list of names as text")
    return [str(name) for name in names]


def _with_valid_confidence(points: np.ndarray, path: Path) -> np.ndarray:
    points = checked(points, (points.shape,), str(path))
    confidence = points[..., 2]
    if confidence.min() < 0 or confidence.max() > 1 + 1e-6:
        # Some detectors score a little above 1; anything else is no confidence.
        if confidence.min() < 0 or confidence.max() > 1.5:
            raise InputError(
                f"{path}: found confidences from {confidence.min():.3g} to {confidence.max():.3g} in the third column, "
                "expected 0 (not detected) to 1"
            )
        points = np.concatenate([points[..., :2], confidence[..., None].clip(0, 1)], axis=-1)
    return points
