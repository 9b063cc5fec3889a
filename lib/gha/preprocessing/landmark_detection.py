"""Detecting landmarks in every picture of a capture; what is done is not done again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gha.capture import Capture, layout
from gha.capture.images import decode
from gha.errors import InputError

from .landmark_detectors import Detector
from .landmarks import detection_file, write_detection


def detect_landmarks(
    capture: Capture,
    make_detector: Callable[[], Detector],
    folder: Path,
    frames: Sequence[str],
    cameras: Sequence[str],
    progress: bool = True,
) -> int:
    """Write ``{frame}/lmk_{camera}.npz`` for every picture that has none yet.

    Args:
        capture: the pictures.
        make_detector: loads the detector; not called where nothing is left to do.
        folder: where detections go. They belong to one detector: another one needs another folder.
        frames: which frames.
        cameras: which cameras.
        progress: show a progress bar.

    Returns:
        How many pictures were looked at.

    Raises:
        InputError: a picture is missing or damaged, or the detector cannot be used.
    """
    missing = [(f, c) for f in frames for c in cameras if not detection_file(folder, f, c).is_file()]
    if not missing:
        return 0
    detector = make_detector()
    try:
        for frame, camera in tqdm(missing, unit="picture", desc="landmarks", disable=not progress):
            points = detector(_picture(capture, frame, camera))
            write_detection(detection_file(folder, frame, camera), points)
    finally:
        getattr(detector, "close", lambda: None)()
    return len(missing)


def _picture(capture: Capture, frame: str, camera: str) -> np.ndarray:
    """A full-size picture, uint8 [H, W, 3]."""
    stem = layout.image_stem(capture.root, "image", frame, camera)
    path = layout.with_known_suffix(stem)
    if path is None:
        raise InputError(f"{stem}.jpg: file not found; expected a picture of every camera in every frame")
    size = capture.resolution(camera)
    return decode(path, size, size, gray=False).transpose(1, 2, 0)
