"""Videos of a rig: their pictures by timestep rather than by order, whatever is missing or damaged."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gha.errors import InputError
from gha.files import open_atomically

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VideoHeader:
    """What a video says about itself without being decoded.

    Attributes:
        frames: number of pictures.
        rate: pictures per second.
        start: time of the first picture in seconds.
        end: time at which the last picture ends, in seconds.
        size: height and width in pixels.
    """

    frames: int
    rate: Fraction
    start: Fraction
    end: Fraction
    size: tuple[int, int]


def read_header(path: Path) -> VideoHeader:
    """The header of a video.

    Raises:
        InputError: the file is missing, no video, or too damaged to be opened.
    """
    import av

    if not path.is_file():
        raise InputError(f"{path}: file not found")
    try:
        with av.open(str(path)) as container:
            return _header(path, container)
    except av.error.FFmpegError as error:
        raise InputError(f"{path}: not a readable video ({_reason(error)})") from error


def _header(path: Path, container: InputContainer) -> VideoHeader:
    if not container.streams.video:
        raise InputError(f"{path}: found no video stream, expected one")
    stream = container.streams.video[0]
    if not stream.frames or not stream.average_rate or stream.time_base is None:
        raise InputError(f"{path}: found no number of frames or no frame rate in the header, expected an mp4 with both")
    start = (stream.start_time or 0) * stream.time_base
    length = (stream.duration or 0) * stream.time_base
    context = stream.codec_context
    return VideoHeader(stream.frames, stream.average_rate, start, start + length, (context.height, context.width))


def read_pictures(
    path: Path, timesteps: Collection[int], rate: Fraction, origin: Fraction
) -> Iterator[tuple[int, np.ndarray]]:
    """Decode the pictures of some timesteps, in order; what is not there or is damaged is left out.

    A picture belongs to the timestep at which it is shown, however many pictures before it are missing. After damage
    nothing is trusted until the next key frame, on which no earlier picture has influence.

    Args:
        path: the video.
        timesteps: which timesteps, counted from 0.
        rate: timesteps per second.
        origin: time of timestep 0 in seconds.

    Yields:
        Timestep and sRGB picture uint8 [H, W, 3].
    """
    import av

    wanted = set(timesteps)
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            # Workers decode one video each; a decoder with threads of its own would also hide where damage is.
            stream.codec_context.thread_count = 1
            stream.codec_context.options = {"err_detect": "explode"}
            for frame in _decode(path, container, stream):
                timestep = round((frame.pts * frame.time_base - origin) * rate)
                if timestep in wanted:
                    wanted.remove(timestep)
                    yield timestep, frame.to_ndarray(format="rgb24")
                if not wanted:
                    return
    except av.error.FFmpegError as error:
        logger.warning("%s: stopped reading (%s)", path, _reason(error))


def _decode(path: Path, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """The undamaged frames of a video."""
    import av

    damaged = False
    for packet in container.demux(stream):
        # The last packet is empty: it asks the decoder for what it still holds.
        if damaged and not packet.is_keyframe and packet.size:
            continue
        try:
            frames = packet.decode()
        except av.error.FFmpegError as error:
            if not damaged:
                logger.warning("%s: damaged; skipping to the next key frame (%s)", path, _reason(error))
            damaged = True
            continue
        damaged = damaged and not packet.is_keyframe
        yield from (frame for frame in frames if frame.pts is not None and not frame.is_corrupt)


def write_video(
    path: Path, pictures: Sequence[np.ndarray], rate: Fraction, timesteps: Sequence[int] = (), quality: int = 12
) -> None:
    """Write sRGB pictures uint8 [H, W, 3] of even sides as H.264 mp4.

    Args:
        path: the file.
        pictures: at least one.
        rate: pictures per second.
        timesteps: when each is shown, by default one after another.
        quality: constant rate factor of x264; 0 is lossless.
    """
    import av

    height, width = pictures[0].shape[:2]
    with open_atomically(path) as file:
        options = {"movflags": "faststart"}
        with av.open(file, mode="w", format="mp4", options=options) as container:
            stream = container.add_stream("libx264", rate=rate, options={"crf": str(quality)})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for timestep, picture in zip(timesteps or range(len(pictures)), pictures, strict=True):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = timestep, 1 / rate
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
