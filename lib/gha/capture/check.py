"""What must hold before hours are spent on a capture; reads small files and one frame of pictures only."""

from __future__ import annotations

import os

from gha.errors import InputError

from . import layout
from .reader import Capture


def check_capture(capture: Capture) -> None:
    """Refuse a capture that training would stumble over later.

    Looks for missing pictures, cameras and parameters in every frame of the split, reads all parameters and
    landmarks (widths, NaN), the cameras of the first and last frame, and one small picture per camera.

    Raises:
        InputError: listing the first problems and their number.
    """
    split = capture.split
    frames = split.train_frames + split.test_frames
    cameras = split.train_cameras + split.test_cameras
    missing = [name for frame in frames for name in _missing_files(capture, frame, cameras)]
    if missing:
        raise InputError(f"{capture.root}: {len(missing)} files are missing: {', '.join(missing[:5])} ...")
    widths = {frame: len(capture.codes([frame]).expression[0]) for frame in frames}
    counts = {frame: len(capture.landmarks(frame)) for frame in frames}
    for what, found in (("expression coefficients", widths), ("landmarks and face points", counts)):
        odd = [frame for frame in frames if found[frame] != found[frames[0]]]
        if odd:
            raise InputError(
                f"{capture.root}: frame {odd[0]}: found {found[odd[0]]} {what}, expected {found[frames[0]]} "
                f"as in frame {frames[0]}"
            )
    for camera in cameras:
        capture.read(frames[0], [camera], 64)
        capture.camera(camera, frames[-1])


def _missing_files(capture: Capture, frame: str, cameras: tuple[str, ...]) -> list[str]:
    stems = {entry.name.rsplit(".", 1)[0] for entry in os.scandir(capture.root / "images" / frame)}
    wanted = [
        layout.params_file(capture.root, frame),
        layout.landmarks_file(capture.root, frame),
        layout.vertices_file(capture.root, frame),
        *(layout.camera_file(capture.root, frame, camera) for camera in cameras),
    ]
    missing = [str(path.relative_to(capture.root)) for path in wanted if not path.is_file()]
    pictures = [f"{kind}_{camera}" for camera in cameras for kind in ("image", "mask")]
    return missing + [f"images/{frame}/{name}.jpg (or .png)" for name in pictures if name not in stems]
