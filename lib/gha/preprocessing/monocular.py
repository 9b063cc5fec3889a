"""A video of one camera as a capture: its frames, and a camera that stands still."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from gha.capture import CaptureInfo, CaptureWriter, layout
from gha.capture.info import info_to_json, read_info
from gha.errors import InputError
from gha.files import open_atomically, write_atomically
from gha.geometry import Camera

CAMERA = "0"
SEQUENCE = "video"
USUAL_FOCAL = 1.2  # times the longer side: what phones and webcams have
DISTANCE = 1.0  # metres from the camera to the origin of the world


def import_video(
    video: str | Path, capture: str | Path, focal: float | None = None, every: int = 1, progress: bool = True
) -> Path:
    """Write every n-th frame of a video, and a camera for it, into a new capture; continues an interrupted run.

    The world is right-handed with y up, in metres; the camera looks along its -z from (0, 0, 1).

    Args:
        video: any file that FFmpeg reads.
        capture: folder to write.
        focal: focal length in pixels; None: 1.2 times the longer side.
        every: keep every n-th frame.
        progress: show a progress bar.

    Returns:
        The folder of the capture. It has no masks yet.
    """
    video, root = Path(video), Path(capture)
    width, height, fps, count = _describe(video)
    focal = USUAL_FOCAL * max(width, height) if focal is None else focal
    frames = [f"{index:05d}" for index in range(0, count, every)]
    info = CaptureInfo(
        (height, width),
        fps=fps / every,
        sequences={SEQUENCE: tuple(frames)},
        recipe={"video": video.name, "every": every, "focal": focal},
    )
    info = _with_fitted_model(root, info)
    writer = CaptureWriter(root, info)
    camera = fixed_camera(width, height, focal)
    pictures = (picture for index, picture in enumerate(read_frames(video)) if index % every == 0)
    for frame, picture in tqdm(
        zip(frames, pictures, strict=False), total=len(frames), unit="frame", desc="frames", disable=not progress
    ):
        stem = layout.image_stem(root, "image", frame, CAMERA)
        path = stem.parent / f"{stem.name}.jpg"
        if not path.is_file() or path.stat().st_size == 0:
            writer.write_cameras(frame, (CAMERA,), camera)
            with open_atomically(path, durable=False) as file:
                Image.fromarray(picture).save(file, "JPEG", quality=95, subsampling=0)
    if not path.is_file() or frame != frames[-1]:
        raise InputError(f"{video}: found {frame} as its last frame, expected {frames[-1]}; the file is damaged")
    # Masks and tracking come from later steps; what this step owes is there.
    write_atomically(root / layout.CAPTURE_FILE, info_to_json(info, complete=True))
    return root


def _with_fitted_model(root: Path, info: CaptureInfo) -> CaptureInfo:
    """What is to be written, with the face model that an earlier fit has noted there."""
    path = root / layout.CAPTURE_FILE
    if not path.exists():
        return info
    found, _ = read_info(path)
    kept = ("expression_names", "face_model", "face_model_version")
    return replace(info, **{name: getattr(found, name) for name in kept})


def fixed_camera(width: int, height: int, focal: float) -> Camera:
    """The camera [1] of a video, one metre in front of the origin."""
    w2c = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    w2c[2, 3] = DISTANCE
    K = torch.tensor([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])
    return Camera(w2c[None], K[None], width, height)


def read_frames(video: Path) -> Iterator[np.ndarray]:
    """The frames of a video one after another, uint8 [H, W, 3]."""
    import av

    try:
        with av.open(str(video)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24")
    except (av.error.FFmpegError, IndexError) as error:
        raise InputError(f"{video}: not a readable video ({error})") from error


def _describe(video: Path) -> tuple[int, int, float, int]:
    """Width, height, frames per second and number of frames; counts where the file does not say."""
    import av

    if not video.is_file():
        raise InputError(f"{video}: file not found")
    try:
        with av.open(str(video)) as container:
            stream = container.streams.video[0]
            rate = float(stream.average_rate or 25)
            width, height = stream.codec_context.width, stream.codec_context.height
    except (av.error.FFmpegError, IndexError) as error:
        raise InputError(f"{video}: not a readable video ({error})") from error
    count = sum(1 for _ in read_frames(video))
    if not count:
        raise InputError(f"{video}: found no frame")
    return width, height, rate, count
