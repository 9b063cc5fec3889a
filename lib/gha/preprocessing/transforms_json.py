"""Cameras of NeRF-style ``transforms.json`` files, and of the exports of VHAP (GaussianAvatars), which extend them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gha.capture.arrays import checked
from gha.capture.images import picture_size
from gha.capture.info import read_json
from gha.errors import InputError

from .posed_pictures import PosedPicture, rigid_camera

Axes = Literal["opengl", "opencv"]
_DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")
_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])  # OpenGL's camera axes (y up, z back) to OpenCV's


def read_transforms(path: Path, axes: Axes = "opengl", moving: bool = False) -> list[PosedPicture]:
    """Pictures of a ``transforms.json``.

    Each entry of ``frames`` has ``file_path`` (relative to the file; ``.png`` where it has no suffix) and
    ``transform_matrix`` [4][4], camera to world. ``fl_x``, ``fl_y``, ``cx``, ``cy``, ``w``, ``h`` or ``camera_angle_x``
    in radians stand in the entry or, for all, beside ``frames``; the principal point is honoured. VHAP's
    ``timestep_index``, ``camera_index`` or ``camera_id`` and ``fg_mask_path`` say moment, camera and mask.

    Args:
        path: the file.
        axes: of the cameras: ``"opengl"`` (x right, y up, z back), as NeRF and VHAP have it, or ``"opencv"`` (x right,
            y down, z forward).
        moving: where entries name no moment: one camera that moves and a moment per picture, rather than one moment
            and a camera per picture.

    Raises:
        InputError: a value is missing or impossible, or lenses distort, which this library's cameras do not.
    """
    if not path.is_file():
        raise InputError(f"{path}: file not found")
    shared = read_json(path, dict)
    entries = shared.get("frames")
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path}: found no list of frames, expected at least one entry")
    return [_picture(path, {**shared, **entry}, f"{path}: frame {i}", axes, moving) for i, entry in enumerate(entries)]


def _picture(path: Path, values: Mapping[str, Any], what: str, axes: Axes, moving: bool) -> PosedPicture:
    for key in ("file_path", "transform_matrix"):
        if key not in values:
            raise InputError(f"{what}: no {key} found; expected file_path and transform_matrix")
    file = path.parent / str(values["file_path"])
    file = file if file.suffix else file.with_suffix(".png")
    if not file.is_file():
        raise InputError(f"{file}: file not found; {what} names it")
    bent = {key: values[key] for key in _DISTORTION if values.get(key)}
    if bent:
        raise InputError(f"{what}: found lens distortion {bent}, expected pictures without; undistort them first")
    try:
        matrix = np.array(values["transform_matrix"], dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise InputError(f"{what}: transform_matrix is {str(values['transform_matrix'])[:80]}") from error
    c2w = checked(matrix, ((4, 4), (3, 4)), f"{what}: transform_matrix")
    c2w = np.vstack([c2w[:3], [0, 0, 0, 1]])
    if abs(np.linalg.det(c2w)) < 1e-6:
        raise InputError(f"{what}: found a transform_matrix without inverse, expected a rotation and a translation")
    w2c = np.linalg.inv(c2w @ _FLIP if axes == "opengl" else c2w)
    height, width = picture_size(file)
    camera = rigid_camera(w2c, _intrinsics(values, height, width, what), (height, width), what)
    stem = Path(str(values["file_path"])).stem
    mask = path.parent / str(values["fg_mask_path"]) if values.get("fg_mask_path") else None
    if mask is not None and not mask.is_file():
        raise InputError(f"{mask}: file not found; {what} names it")
    timestep = str(values.get("timestep_index", stem if moving else "0"))
    camera_id = str(values.get("camera_id", values.get("camera_index", "0" if moving else stem)))
    return PosedPicture(file, timestep, camera_id, camera, mask)


def _intrinsics(values: Mapping[str, Any], height: int, width: int, what: str) -> np.ndarray:
    """K [3, 3] for a picture of this size; a file written for another size is scaled."""

    def number(key: str, default: float | None) -> float:
        value = values.get(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise InputError(f"{what}: {key} is {value!r}, expected a number")
        return float(value)

    for_width, for_height = number("w", width), number("h", height)
    if for_width <= 0 or for_height <= 0:
        raise InputError(f"{what}: found w = {for_width:g} and h = {for_height:g}, expected numbers above 0")
    by_angle = "fl_x" not in values
    focal_x = for_width / 2 / math.tan(number("camera_angle_x", None) / 2) if by_angle else number("fl_x", None)
    K = np.eye(3)
    K[0] = [focal_x, 0, number("cx", for_width / 2)]
    K[1] = [0, number("fl_y", focal_x), number("cy", for_height / 2)]
    K[0] *= width / for_width
    K[1] *= height / for_height
    return K
