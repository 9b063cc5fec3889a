"""Photographs of one static object with known calibration, imported as a capture of a single frame."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import gha
from gha.errors import InputError
from gha.faces.code import HeadCode
from gha.geometry import Camera

from .arrays import checked
from .images import decode
from .info import SURFACE_POINTS, CaptureInfo, Split, read_json
from .photo_masks import cut_out
from .writer import CaptureWriter

logger = logging.getLogger(__name__)

FRAME_ID = "0000"
WORLD_PER_DECIMETRE = 0.1
LANDMARKS = 68


@dataclass(frozen=True)
class CalibratedPhotos:
    """The contents of a photogrammetry folder.

    Attributes:
        files: V photographs.
        cameras: one per photograph [V], float64.
        points: surface points of the object in world space [N, 3].
    """

    files: tuple[Path, ...]
    cameras: Camera
    points: np.ndarray


def read_calibrated_photos(folder: str | Path) -> CalibratedPhotos:
    """Read a folder with photographs and ``cameras.json``.

    The file holds ``width``, ``height``, ``K`` [3][3] in pixels, ``frames`` with ``file`` and ``w2c`` [4][4] each
    (world to camera, OpenCV axes, pixel centres at +0.5, no distortion), and ``points`` [N][3] on the surface.
    """
    folder = Path(folder)
    path = folder / "cameras.json"
    if not path.is_file():
        raise InputError(f"{path}: file not found")
    values = read_json(path, dict)
    missing = [key for key in ("width", "height", "K", "frames", "points") if key not in values]
    if missing:
        raise InputError(f"{path}: found keys {sorted(values)}, expected {missing[0]!r}")
    frames = values["frames"]
    _check_frames(frames, path)
    w2c = np.stack([_matrix(frame["w2c"], (4, 4), f"{path}: w2c of {frame['file']}") for frame in frames])
    for key in ("width", "height"):
        if not isinstance(values[key], int) or values[key] < 1:
            raise InputError(f"{path}: found {key} = {values[key]!r}, expected a number of pixels")
    intrinsic = _matrix(values["K"], (3, 3), f"{path}: K")
    return CalibratedPhotos(
        files=tuple(folder / frame["file"] for frame in frames),
        cameras=Camera(
            torch.from_numpy(w2c),
            torch.from_numpy(intrinsic).expand(len(frames), 3, 3),
            values["width"],
            values["height"],
        ),
        points=_matrix(values["points"], (None, 3), f"{path}: points"),
    )


def _check_frames(frames: Any, path: Path) -> None:
    """Refuse anything but a list of photographs with different names, each with its camera."""
    if not isinstance(frames, list) or not frames:
        raise InputError(f"{path}: found frames = {str(frames)[:60]}, expected a list of photographs")
    for frame in frames:
        if not isinstance(frame, dict) or not isinstance(frame.get("file"), str) or "w2c" not in frame:
            raise InputError(f'{path}: found {str(frame)[:60]} among the frames, expected "file" and "w2c"')
    names = [Path(frame["file"]).stem for frame in frames]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"{path}: photographs {repeated} appear more than once, expected every name once")


def _matrix(values: Any, shape: tuple[int | None, ...], what: str) -> np.ndarray:
    try:
        return checked(np.array(values, dtype=np.float64), (shape,), what)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what}: found {str(values)[:60]}, expected numbers") from error


def to_canonical_world(photos: CalibratedPhotos, front: str | None = None, size: float = 2.0) -> CalibratedPhotos:
    """Move the world so that the object stands in the canonical pose of a head, at 0.1 world units per decimetre.

    Up (y) is the mean up of the photographs, front (z) is where the photograph ``front`` was taken from, seen from
    the object and made level; the middle of the points goes to the origin.

    Args:
        photos: what was read.
        front: name of a photograph taken from the front, without suffix; None for the first.
        size: the largest extent of the points along an axis, in decimetres.
    """
    names = [file.stem for file in photos.files]
    if front is not None and front not in names:
        raise InputError(f"no photograph is called {front!r}; found {', '.join(names[:6])} ... {names[-1]}")
    w2c = photos.cameras.w2c.numpy()
    middle = (photos.points.min(0) + photos.points.max(0)) / 2
    up = _unit(-w2c[:, 1, :3].mean(0))
    toward = photos.cameras.center[names.index(front) if front else 0].numpy() - middle
    forward = _unit(toward - up * (toward @ up))
    axes = np.stack([np.cross(up, forward), up, forward])
    turned = photos.points @ axes.T
    middle = axes.T @ (turned.min(0) + turned.max(0)) / 2
    if not (turned.max(0) > turned.min(0)).all():
        raise InputError(f"found {len(turned)} surface points in one plane, expected points all around the object")
    old_per_new = (turned.max(0) - turned.min(0)).max() / (size * WORLD_PER_DECIMETRE)
    moved = np.tile(np.eye(4), (len(w2c), 1, 1))
    moved[:, :3, :3] = w2c[:, :3, :3] @ axes.T
    moved[:, :3, 3] = (w2c[:, :3, :3] @ middle + w2c[:, :3, 3]) / old_per_new
    cameras = Camera(torch.from_numpy(moved), photos.cameras.K, photos.cameras.width, photos.cameras.height)
    return CalibratedPhotos(photos.files, cameras, (photos.points - middle) @ axes.T / old_per_new)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def farthest_points(points: np.ndarray, count: int) -> np.ndarray:
    """``count`` of the points [N, 3], spread as far from each other as greedily possible."""
    chosen = [int(np.argmax(points[:, 1]))]
    distance = np.full(len(points), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
        chosen.append(int(np.argmax(distance)))
    return points[chosen]


def import_static_photos(
    source: str | Path,
    target: str | Path,
    front: str | None = None,
    hold_out_every: int = 8,
    size: float = 2.0,
    recipe: Mapping[str, Any] | None = None,
) -> Path:
    """Write photographs of a static object as a capture of one frame in which every photograph is a camera.

    The recorded JPEG files are kept byte for byte; masks come from colour and geometry (:mod:`.photo_masks`);
    surface points stand in for facial landmarks; expression is a single zero.

    Args:
        source: folder as for :func:`read_calibrated_photos`.
        target: folder of the capture.
        front: photograph taken from the front, see :func:`to_canonical_world`.
        hold_out_every: every n-th photograph is held out for evaluation.
        size: largest extent of the object in decimetres.
        recipe: documentation for ``capture.json``, for example credits.

    Returns:
        The folder of the capture.
    """
    if not (math.isfinite(size) and size > 0):
        raise InputError(f"size: found {size} decimetres, expected a number above 0")
    photos = to_canonical_world(read_calibrated_photos(source), front, size)
    if len(photos.points) < LANDMARKS:
        raise InputError(f"{source}: found {len(photos.points)} surface points, expected at least {LANDMARKS}")
    camera_ids = tuple(file.stem for file in photos.files)
    resolution = (photos.cameras.height, photos.cameras.width)
    info = CaptureInfo(
        resolution=resolution,
        split=Split.holding_out((FRAME_ID,), camera_ids, (), camera_ids[hold_out_every - 1 :: hold_out_every]),
        sequences={"static": (FRAME_ID,)},
        expression_names=("static",),
        face_model=SURFACE_POINTS,
        generator_version=gha.__version__,
        recipe={"source": Path(source).name, "front": front or camera_ids[0], "size_dm": size, **(recipe or {})},
    )
    writer = CaptureWriter(target, info)
    pictures = [decode(file, resolution, resolution, gray=False).transpose(1, 2, 0) for file in photos.files]
    logger.info("cutting the object out of %d photographs", len(pictures))
    masks = cut_out(pictures, [photos.cameras[index] for index in range(len(pictures))], photos.points)
    for file, camera_id, picture, mask in zip(photos.files, camera_ids, pictures, masks, strict=True):
        with Image.open(file) as opened:
            keep_bytes = opened.format == "JPEG" and opened.mode == "RGB"
        writer.write_image(FRAME_ID, camera_id, file if keep_bytes else np.ascontiguousarray(picture), mask)
    writer.write_cameras(FRAME_ID, camera_ids, photos.cameras)
    code = HeadCode(torch.zeros(1), torch.zeros(6), torch.tensor([WORLD_PER_DECIMETRE]))
    landmarks = farthest_points(photos.points, LANDMARKS)
    writer.write_frame_params(FRAME_ID, code, torch.from_numpy(landmarks), torch.from_numpy(photos.points))
    writer.finish()
    return Path(target)
