"""Calibration of a NeRSemble rig: cameras and colours from their JSON files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gha.capture.arrays import checked
from gha.capture.info import read_json
from gha.errors import InputError
from gha.geometry import Camera

from .colour_correction import TERMS

ROTATION_TOLERANCE = 1e-3


def read_cameras(path: Path, size: tuple[int, int]) -> dict[str, Camera]:
    """The cameras of ``camera_params.json`` by id, float64, for pictures of ``size`` (height, width).

    Raises:
        InputError: a matrix is missing, not finite, no rigid motion or no intrinsic matrix.
    """
    values = read_json(path, dict)
    for key in ("world_2_cam", "intrinsics"):
        if key not in values:
            raise InputError(f"{path}: found keys {sorted(values)}, expected {key!r}")
    K = _matrix(values["intrinsics"], (3, 3), f"{path}: intrinsics")
    if not (K[0, 0] > 0 and K[1, 1] > 0 and np.allclose(K[2], [0, 0, 1]) and K[0, 1] == K[1, 0] == 0):
        raise InputError(f"{path}: intrinsics is {K.tolist()}, expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]")
    poses = values["world_2_cam"]
    if not isinstance(poses, dict) or not poses:
        raise InputError(f"{path}: world_2_cam holds no cameras, expected one 4x4 matrix per serial number")
    height, width = size
    return {
        camera: Camera(torch.from_numpy(_rigid(matrix, f"{path}: camera {camera}")), torch.from_numpy(K), width, height)
        for camera, matrix in poses.items()
    }


def read_colours(path: Path) -> dict[str, np.ndarray]:
    """Colour calibration [3, T] by camera id; see :mod:`.colour_correction`."""
    values: Mapping[str, Any] = read_json(path, dict)
    shapes = [(3, count) for count in TERMS]
    return {camera: _matrix(matrix, shapes, f"{path}: camera {camera}") for camera, matrix in values.items()}


def _rigid(values: Any, what: str) -> np.ndarray:
    matrix = _matrix(values, (4, 4), what)
    rotation = matrix[:3, :3]
    off = np.abs(rotation @ rotation.T - np.eye(3)).max()
    if off > ROTATION_TOLERANCE or np.linalg.det(rotation) < 0 or not np.allclose(matrix[3], [0, 0, 0, 1]):
        raise InputError(f"{what}: found {matrix.round(4).tolist()}, expected a rotation and a translation, 4x4")
    return matrix


def _matrix(values: Any, shapes: tuple[int, int] | list[tuple[int, int]], what: str) -> np.ndarray:
    try:
        array = np.array(values, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise InputError(f"{what}: found {str(values)[:80]}, expected a matrix of numbers") from error
    return checked(array, tuple(shapes) if isinstance(shapes, list) else (shapes,), what)
