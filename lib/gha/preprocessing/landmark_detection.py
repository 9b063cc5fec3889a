"""Detecting landmarks in every picture of a capture; what is done is not done again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from gha.capture import Capture, layout
from gha.capture.images import decode
from gha.errors import InputError

from .landmark_detectors import Detector
from .landmarks import detection_file, write_detection

logger = logging.getLogger(__name__)


def detect_landmarks(
    capture: Capture,
    make_detector: Callable[[], Detector],
    folder: Path,
    frames: Sequence[str],
    cameras: Sequence[str],
    progress: bool = True,
) -> int:
    """Write ``{frame}/lmk_{camera}.npz`` for every picture that has none yet; views without a picture are left out.

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
        InputError: a picture is damaged, there is none at all, or the detector cannot be used.
    """
    pictures = {(f, c): layout.image_stem(capture.root, "image", f, c) for f in frames for c in cameras}
    found = {view: path for view, stem in pictures.items() if (path := layout.with_known_suffix(stem))}
    if len(found) < len(pictures):
        gap = next(stem for view, stem in pictures.items() if view not in found)
        if not found:
            raise InputError(f"{gap}.jpg: file not found; expected pictures of frames and cameras")
        logger.warning("no picture of %d views, first %s.jpg: nothing to detect", len(pictures) - len(found), gap)
    missing = {view: path for view, path in found.items() if not detection_file(folder, *view).is_file()}
    if not missing:
        return 0
    detector = make_detector()
    try:
        for (frame, camera), path in tqdm(missing.items(), unit="picture", desc="landmarks", disable=not progress):
            size = capture.resolution(camera)
            points = detector(decode(path, size, size, gray=False).transpose(1, 2, 0))
            write_detection(detection_file(folder, frame, camera), points)
    finally:
        getattr(detector, "close", lambda: None)()
    return len(missing)
