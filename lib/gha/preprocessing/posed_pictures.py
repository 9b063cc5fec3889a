"""Pictures with known cameras, whoever calibrated them, written as a capture without parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

import gha
from gha.capture import CaptureInfo, Split, layout
from gha.capture.images import picture_size
from gha.capture.info import info_to_json, read_info
from gha.capture.picture_files import PictureFiles, is_written, write_cameras
from gha.errors import InputError
from gha.files import write_atomically
from gha.geometry import Camera

from .parallel import check_parallel, run_tasks

ROTATION_TOLERANCE = 1e-3


@dataclass(frozen=True)
class PosedPicture:
    """One picture and where it was taken.

    Attributes:
        path: JPEG or PNG.
        timestep: name of the moment; pictures of one moment show the same face.
        camera_id: name of the camera.
        camera: without leading dimensions, float64, valid for the size of the picture.
        mask: picture whose first channel is the share of the subject; None where there is none.
    """

    path: Path
    timestep: str
    camera_id: str
    camera: Camera
    mask: Path | None = None


def rigid_camera(w2c: np.ndarray, K: np.ndarray, size: tuple[int, int], what: str) -> Camera:
    """A camera of matrices [4, 4] and [3, 3] for pictures of ``size`` (height, width); impossible ones are refused."""
    rotation = w2c[:3, :3]
    if not np.isfinite(w2c).all() or np.abs(rotation @ rotation.T - np.eye(3)).max() > ROTATION_TOLERANCE:
        raise InputError(f"{what}: found {w2c.round(4).tolist()}, expected a rotation and a translation")
    if np.linalg.det(rotation) < 0:
        raise InputError(f"{what}: found a mirror image, expected a rotation (is it another convention of axes?)")
    if not (np.isfinite(K).all() and K[0, 0] > 0 and K[1, 1] > 0):
        raise InputError(f"{what}: found focal lengths {K[0, 0]:g} and {K[1, 1]:g}, expected numbers above 0")
    return Camera(torch.from_numpy(w2c.copy()), torch.from_numpy(K.copy()), size[1], size[0])


def import_pictures(
    pictures: Sequence[PosedPicture],
    target: str | Path,
    source: str,
    fps: float = 25.0,
    metres_per_unit: float = 1.0,
    held_out_cameras: Sequence[str] = (),
    parallel: str = "1",
    progress: bool = True,
) -> Path:
    """Write pictures, their masks if they have any, and cameras as a capture; continues where it stopped.

    JPEG files keep their bytes; others are encoded as JPEG, and their transparency, if they have any, becomes the mask.
    A camera without a picture of some moment leaves a gap there, and such frames are in no part of the split; its
    calibration there is that of its nearest picture, so that every frame knows all cameras.

    Args:
        pictures: at least one.
        target: folder of the capture.
        source: where they are from, for ``capture.json``.
        fps: moments per second.
        metres_per_unit: size of the world of the cameras.
        held_out_cameras: camera ids kept for evaluation.
        parallel: see :func:`.parallel.run_tasks`.
        progress: show a progress bar.

    Returns:
        The folder.
    """
    check_parallel(parallel)
    if not pictures:
        raise InputError(f"{source}: found no pictures, expected at least one")
    root = Path(target)
    by_view = {(picture.timestep, picture.camera_id): picture for picture in pictures}
    if len(by_view) < len(pictures):
        raise InputError(f"{source}: found {len(pictures)} pictures of {len(by_view)} views, expected one of each")
    timesteps = layout.natural_sort({picture.timestep for picture in pictures})
    frames = {timestep: f"{index:04d}" for index, timestep in enumerate(timesteps)}
    cameras = layout.natural_sort({picture.camera_id for picture in pictures})
    whole = [frame for timestep, frame in frames.items() if all((timestep, camera) in by_view for camera in cameras)]
    if not whole:
        raise InputError(f"{source}: no moment was seen by all of {len(cameras)} cameras ({', '.join(cameras[:8])})")
    first = pictures[0].camera
    info = CaptureInfo(
        resolution=(first.height, first.width),
        fps=fps,
        split=Split.holding_out(whole, cameras, (), held_out_cameras),
        sequences={"all": tuple(frames.values())},
        generator_version=gha.__version__,
        recipe={"source": source, "views": len(by_view), "metres_per_unit": metres_per_unit},
    )
    _claim(root, info)
    tasks = [
        (root, frames[picture.timestep], replace(picture, camera=_scaled(picture.camera, metres_per_unit)))
        for picture in pictures
    ]
    _calibrate_gaps(root, list(frames.values()), {(frame, view.camera_id): view.camera for _, frame, view in tasks})
    for _ in tqdm(run_tasks(_import_picture, tasks, parallel), total=len(tasks), unit="picture", disable=not progress):
        pass
    write_atomically(root / layout.CAPTURE_FILE, info_to_json(_kept(root, info), complete=True))
    return root


def _claim(root: Path, info: CaptureInfo) -> None:
    path = root / layout.CAPTURE_FILE
    if not path.exists():
        write_atomically(path, info_to_json(info, complete=False))
        return
    found = read_info(path)[0]
    if (found.recipe, found.resolution) != (info.recipe, info.resolution):
        raise InputError(f"{path}: holds another capture (found {found.recipe}, expected {info.recipe})")


def _kept(root: Path, info: CaptureInfo) -> CaptureInfo:
    """What is to be written, with what later steps have put there."""
    found = read_info(root / layout.CAPTURE_FILE)[0]
    return replace(
        info,
        expression_names=found.expression_names,
        face_model=found.face_model,
        face_model_version=found.face_model_version,
    )


def _calibrate_gaps(root: Path, frames: Sequence[str], cameras: Mapping[tuple[str, str], Camera]) -> None:
    """Write the calibration of every view (frame, camera id) that has no picture: that of the nearest one."""
    for camera_id in {camera_id for _, camera_id in cameras}:
        seen = [index for index, frame in enumerate(frames) if (frame, camera_id) in cameras]
        for index in sorted(set(range(len(frames))) - set(seen)):
            nearest = cameras[frames[min(seen, key=lambda other: abs(other - index))], camera_id]
            _write_camera(root, frames[index], camera_id, nearest)


def _write_camera(root: Path, frame: str, camera_id: str, camera: Camera) -> None:
    one = Camera(camera.w2c[None], camera.K[None], camera.width, camera.height)
    write_cameras(root, frame, [camera_id], one)


def _scaled(camera: Camera, metres: float) -> Camera:
    w2c = camera.w2c.clone()
    w2c[:3, 3] *= metres
    return replace(camera, w2c=w2c)


def _import_picture(task: tuple[Path, str, PosedPicture]) -> None:
    """Write one view, the picture last; nothing if it is there."""
    root, frame, view = task
    camera, size = view.camera, (view.camera.height, view.camera.width)
    target = PictureFiles(root, size)
    if target.has("image", frame, view.camera_id) and is_written(layout.camera_file(root, frame, view.camera_id)):
        return
    found = picture_size(view.path)
    if found != size:
        raise InputError(f"{view.path}: found {found[1]} x {found[0]} pixels, expected {size[1]} x {size[0]}")
    _write_camera(root, frame, view.camera_id, camera)
    with Image.open(view.path) as opened:
        keeps_bytes = opened.format == "JPEG" and opened.mode == "RGB"
        transparent = "A" in opened.getbands()
        rgba = np.asarray(opened.convert("RGBA"))
    if view.mask is not None:
        with Image.open(view.mask) as opened:
            target.write_mask(frame, view.camera_id, np.asarray(opened.convert("RGB"))[..., 0].copy())
    elif transparent:
        target.write_mask(frame, view.camera_id, rgba[..., 3].copy())
    target.write_picture(frame, view.camera_id, view.path if keeps_bytes else rgba[..., :3].copy())
