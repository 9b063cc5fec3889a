"""Landmark detectors that the user has installed, behind one function: a picture in, points out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gha.errors import InputError

from .fitting_views import LANDMARKS
from .landmarks import DENSE

Detector = Callable[[np.ndarray], np.ndarray]
"""Takes a picture, uint8 [H, W, 3]; returns points [68 or 478, 3], all 0 where there is no face."""

MOST_FACES = 4


class MediaPipeDetector:
    """The face landmarker of MediaPipe Tasks; 478 points. Of several faces the largest counts.

    It gives no confidence for single points: that of a face found is 1.

    Args:
        model: the user's ``face_landmarker.task`` file.
        least: confidence below which a face does not count.
    """

    def __init__(self, model: str | Path, least: float = 0.4) -> None:
        if not Path(model).is_file():
            raise InputError(f"{model}: file not found; expected the model of a face landmarker (.task)")
        try:
            import mediapipe
            from mediapipe.tasks.python import BaseOptions, vision
        except ImportError as error:
            raise InputError(_not_installed("mediapipe", error)) from error
        options = vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(model)),
            num_faces=MOST_FACES,
            min_face_detection_confidence=least,
            min_face_presence_confidence=least,
        )
        try:
            self._landmarker = vision.FaceLandmarker.create_from_options(options)
        except (RuntimeError, ValueError, OSError) as error:
            raise InputError(f"{model}: MediaPipe cannot use this file ({str(error)[:200]})") from error
        self._picture = mediapipe.Image
        self._format = mediapipe.ImageFormat.SRGB

    def close(self) -> None:
        """Give back what MediaPipe holds; at exit it could not do so itself."""
        self._landmarker.close()

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """Points [478, 3] of a picture, uint8 [H, W, 3]."""
        height, width = picture.shape[:2]
        image = self._picture(image_format=self._format, data=np.ascontiguousarray(picture))
        faces = self._landmarker.detect(image).face_landmarks
        found = [np.array([[point.x * width, point.y * height, 1.0] for point in face]) for face in faces]
        return _largest(found) if found else np.zeros((DENSE, 3))


class FaceAlignmentDetector:
    """The package ``face-alignment`` with its own weights; 68 points with scores. The face of the best score counts.

    Args:
        kind: ``"3d"`` marks points in space, ``"2d"`` the outline.
        device: of torch.
    """

    def __init__(self, kind: str = "3d", device: str = "cpu") -> None:
        try:
            import face_alignment
        except ImportError as error:
            raise InputError(_not_installed("face-alignment", error)) from error
        kinds = {"3d": face_alignment.LandmarksType.THREE_D, "2d": face_alignment.LandmarksType.TWO_D}
        if kind not in kinds:
            raise InputError(f"face-alignment: found kind {kind!r}, expected one of {sorted(kinds)}")
        self._network = face_alignment.FaceAlignment(kinds[kind], device=device, flip_input=False)

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """Points [68, 3] of a picture, uint8 [H, W, 3]."""
        result: Any = self._network.get_landmarks_from_image(picture, return_landmark_score=True)
        faces, scores = (None, None) if result is None else result[:2]
        if faces is None or not len(faces):
            return np.zeros((LANDMARKS, 3))
        best = int(np.argmax([np.sum(score) for score in scores]))
        points = np.asarray(faces[best], dtype=np.float64)[:, :2]
        score = np.asarray(scores[best], dtype=np.float64).reshape(-1, 1).clip(0, 1)
        return np.concatenate([points, score], axis=1)


def _largest(faces: Sequence[np.ndarray]) -> np.ndarray:
    """The face [N, 3] that covers most of the picture."""
    return max(faces, key=lambda face: float(np.prod(np.ptp(face[:, :2], axis=0))))


def _not_installed(package: str, error: ImportError) -> str:
    return f"{package} cannot be imported ({error}); install it, for example with pip install {package}"
