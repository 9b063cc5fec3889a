"""Calibration and tracked parameters of one frame, checked as they are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gha.errors import InputError
from gha.geometry import Camera

from .arrays import read_npy, read_npz

# A Basel face model capture holds 35,709 vertices; the original takes every 100th, which makes 358 points.
BASEL_VERTICES = 35709
SAMPLED_POINTS = 358


def read_camera(path: Path, width: int, height: int) -> Camera:
    """One camera file, for full-size images of ``width`` x ``height`` pixels."""
    arrays = read_npz(path, {"extrinsic": ((3, 4),), "intrinsic": ((3, 3),)})
    extrinsic, intrinsic = arrays["extrinsic"], arrays["intrinsic"]
    rotation = extrinsic[:, :3]
    error = np.abs(rotation @ rotation.T - np.eye(3)).max()
    determinant = np.linalg.det(rotation)
    if error > 1e-3 or determinant < 0:
        raise InputError(
            f"{path}: extrinsic is no rotation (found |R R^T - 1| = {error:.2g}, det R = {determinant:.3g}; "
            "expected 0 and 1)"
        )
    if intrinsic[0, 0] <= 0 or intrinsic[1, 1] <= 0:
        raise InputError(
            f"{path}: found focal lengths {intrinsic[0, 0]:g} and {intrinsic[1, 1]:g} in intrinsic, expected pixels > 0"
        )
    lower = [intrinsic[0, 1], *intrinsic[1:, 0], *intrinsic[2, 1:]]
    if not np.allclose(lower, [0, 0, 0, 0, 1], atol=1e-6):
        raise InputError(
            f"{path}: found intrinsic {intrinsic.tolist()}, expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] without skew"
        )
    w2c = np.eye(4)
    w2c[:3] = extrinsic
    return Camera(torch.from_numpy(w2c).float(), torch.from_numpy(intrinsic).float(), width, height)


def read_params(path: Path, expression_size: int | None = None) -> dict[str, np.ndarray]:
    """``exp_coeff`` [E], ``pose`` [6], ``scale`` [1] and, where present, ``id_coeff`` [I] of one frame.

    Args:
        path: the ``params.npz``.
        expression_size: the width E to insist on, or None.
    """
    expected = {
        "exp_coeff": ((None, expression_size), (expression_size,)),
        "pose": ((None, 6), (6,)),
        "scale": ((1,), (1, 1), ()),
        "id_coeff": ((None, None), (None,)),
    }
    arrays = read_npz(path, expected, optional=("id_coeff",))
    # The original keeps a leading dimension of 1 and reads row 0.
    arrays = {key: array[0] if array.ndim == 2 else np.atleast_1d(array) for key, array in arrays.items()}
    if arrays["scale"][0] <= 0:
        raise InputError(f"{path}: found scale {arrays['scale'][0]:g}, expected world units per decimetre > 0")
    return arrays


def read_points(path: Path, counts: tuple[int, ...] | None = None) -> Tensor:
    """Points [N, 3] of an npy file; ``counts`` lists the accepted N."""
    shapes = tuple((count, 3) for count in counts) if counts else ((None, 3),)
    return torch.from_numpy(read_npy(path, shapes)).float()


def sample_face_points(vertices: Tensor) -> Tensor:
    """About 358 of the face-region vertices [R, 3], spread evenly over their order [at most 358, 3]."""
    count = len(vertices)
    if count == BASEL_VERTICES:
        return vertices[::100]
    if count <= SAMPLED_POINTS:
        return vertices
    return vertices[torch.linspace(0, count - 1, SAMPLED_POINTS, dtype=torch.float64).round().long()]
