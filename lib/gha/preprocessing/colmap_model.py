"""Cameras of a COLMAP model, text or binary."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import torch

from gha.capture.images import picture_size
from gha.errors import InputError
from gha.geometry.rotations import quaternion_to_matrix

from .posed_pictures import PosedPicture, rigid_camera

Arrangement = Literal["static", "moving", "folders"]
# Numbers of the camera models in binary files, and how many parameters each has; most of them distort.
_MODELS = {0: ("SIMPLE_PINHOLE", 3), 1: ("PINHOLE", 4), 2: ("SIMPLE_RADIAL", 4), 3: ("RADIAL", 5), 4: ("OPENCV", 8),
           5: ("OPENCV_FISHEYE", 8), 6: ("FULL_OPENCV", 12), 7: ("FOV", 5), 8: ("SIMPLE_RADIAL_FISHEYE", 4),
           9: ("RADIAL_FISHEYE", 5), 10: ("THIN_PRISM_FISHEYE", 12)}  # fmt: skip


@dataclass(frozen=True)
class _Lens:
    model: str
    width: int
    height: int
    parameters: tuple[float, ...]


@dataclass(frozen=True)
class _Pose:
    name: str
    lens_id: int
    quaternion: tuple[float, ...]
    translation: tuple[float, ...]


def read_colmap(model: Path, pictures: Path, arrangement: Arrangement = "static") -> list[PosedPicture]:
    """Pictures of a COLMAP model.

    Args:
        model: folder with ``cameras`` and ``images``, ``.bin`` or ``.txt``.
        pictures: folder that the names in the model are relative to.
        arrangement: ``"static"``: all pictures at one moment, each its own camera; ``"moving"``: one camera, a moment
            per picture; ``"folders"``: ``{camera}/{moment}.jpg``.

    Raises:
        InputError: the model cannot be read, lenses distort, or a picture is missing.
    """
    try:
        if (model / "images.bin").is_file():
            lenses, poses = _read_binary(model)
        elif (model / "images.txt").is_file():
            lenses, poses = _read_text(model)
        else:
            raise InputError(f"{model}: found neither images.bin nor images.txt, expected a COLMAP model")
    except (struct.error, ValueError, IndexError, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{model}: not a readable COLMAP model ({error})") from error
    return [_picture(model, pictures, pose, lenses, arrangement) for pose in poses]


def _picture(
    model: Path, pictures: Path, pose: _Pose, lenses: dict[int, _Lens], arrangement: Arrangement
) -> PosedPicture:
    what, path = f"{model}: image {pose.name}", pictures / pose.name
    if not path.is_file():
        raise InputError(f"{path}: file not found; {model} names it")
    if pose.lens_id not in lenses:
        raise InputError(f"{what}: names camera {pose.lens_id}; found cameras {sorted(lenses)}")
    lens = lenses[pose.lens_id]
    if lens.model not in ("SIMPLE_PINHOLE", "PINHOLE"):
        raise InputError(
            f"{what}: found camera model {lens.model}, expected PINHOLE; run colmap image_undistorter first"
        )
    quaternion = torch.tensor(pose.quaternion, dtype=torch.float64)
    if not (torch.isfinite(quaternion).all() and quaternion.norm() > 1e-6):
        raise InputError(f"{what}: found quaternion {pose.quaternion}, expected a rotation")
    w2c = np.eye(4)
    w2c[:3, :3] = quaternion_to_matrix(quaternion / quaternion.norm()).numpy()
    w2c[:3, 3] = pose.translation
    focal_x, *rest = lens.parameters
    focal_y, cx, cy = rest if lens.model == "PINHOLE" else (focal_x, *rest)
    K = np.array([[focal_x, 0, cx], [0, focal_y, cy], [0, 0, 1]], dtype=np.float64)
    height, width = picture_size(path)
    K[0] *= width / lens.width
    K[1] *= height / lens.height
    stem = path.stem
    names = {"static": ("0", stem), "moving": (stem, "0"), "folders": (stem, path.parent.name)}
    timestep, camera_id = names[arrangement]
    return PosedPicture(path, timestep, camera_id, rigid_camera(w2c, K, (height, width), what))


def _read_text(model: Path) -> tuple[dict[int, _Lens], list[_Pose]]:
    lenses = {}
    for words in _lines(model / "cameras.txt"):
        number, name, width, height, *parameters = words
        lenses[int(number)] = _Lens(name, int(width), int(height), tuple(map(float, parameters)))
    poses = []
    # Every other line lists points of the picture and may be empty.
    for words in _lines(model / "images.txt", every_other=True):
        _, *numbers, lens_id = words[:9]
        quaternion, translation = tuple(map(float, numbers[:4])), tuple(map(float, numbers[4:7]))
        poses.append(_Pose(" ".join(words[9:]), int(lens_id), quaternion, translation))
    return lenses, poses


def _lines(path: Path, every_other: bool = False) -> Iterator[list[str]]:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return (line.split() for line in (lines[::2] if every_other else lines) if line.strip())


def _read_binary(model: Path) -> tuple[dict[int, _Lens], list[_Pose]]:
    lenses, poses = {}, []
    with (model / "cameras.bin").open("rb") as file:
        for _ in range(_unpack(file, "Q")[0]):
            number, kind, width, height = _unpack(file, "iiQQ")
            if kind not in _MODELS:
                raise InputError(
                    f"{model / 'cameras.bin'}: found camera model {kind}, expected 0 to {len(_MODELS) - 1}"
                )
            name, count = _MODELS[kind]
            lenses[number] = _Lens(name, width, height, _unpack(file, "d" * count))
    with (model / "images.bin").open("rb") as file:
        for _ in range(_unpack(file, "Q")[0]):
            values = _unpack(file, "i7di")
            name = _read_name(file)
            # Of each point: two numbers of 8 bytes and an id of 8.
            file.seek(24 * _unpack(file, "Q")[0], 1)
            poses.append(_Pose(name, values[8], values[1:5], values[5:8]))
    return lenses, poses


def _unpack(file: BinaryIO, form: str) -> tuple[Any, ...]:
    form = "<" + form
    return struct.unpack(form, file.read(struct.calcsize(form)))


def _read_name(file: BinaryIO) -> str:
    name = bytearray()
    while (byte := file.read(1)) != b"\0":
        if not byte:
            raise ValueError("it ends in the name of a picture")
        name += byte
    return name.decode("utf-8")
