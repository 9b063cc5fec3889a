"""Writing mp4 files that any player opens."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream


class VideoWriter:
    """Writes uint8 frames [H, W, 3] to an H.264 mp4 (yuv420p); a context manager.

    The file carries its final name only once it is complete: an interrupted run leaves the previous video alone.
    An odd width or height loses nothing: the last column or row is repeated, because yuv420p needs even sizes.

    Args:
        path: the mp4 to write; missing folders are made.
        fps: frames per second.
        quality: constant rate factor of x264: 0 is lossless, 18 looks it, 51 is worst.
    """

    def __init__(self, path: Path | str, fps: float, quality: int = 18) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._unfinished = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        self._rate = Fraction(fps).limit_denominator(1001)
        self._quality = quality
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._size: tuple[int, ...] = ()

    def write(self, frame: np.ndarray) -> None:
        """Append one frame; all frames have the size of the first."""
        import av

        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] != 3:
            raise ValueError(f"expected a uint8 frame [H, W, 3], got {frame.dtype} {list(frame.shape)}")
        if self._container is None:
            self._open(frame)
        if frame.shape != self._size:
            raise ValueError(f"{self.path.name}: frames are {list(self._size)}, got one of {list(frame.shape)}")
        height, width = frame.shape[:2]
        padded = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        for packet in self._stream.encode(av.VideoFrame.from_ndarray(padded, format="rgb24")):
            self._container.mux(packet)

    def _open(self, frame: np.ndarray) -> None:
        import av

        self._size = frame.shape
        self._container = av.open(str(self._unfinished), mode="w", format="mp4", options={"movflags": "faststart"})
        self._stream = self._container.add_stream("libx264", rate=self._rate, options={"crf": str(self._quality)})
        self._stream.pix_fmt = "yuv420p"
        self._stream.height, self._stream.width = (side + side % 2 for side in frame.shape[:2])

    def close(self) -> None:
        """Finish the file and give it its name; without a single frame nothing is written."""
        if self._container is None:
            return
        for packet in self._stream.encode():
            self._container.mux(packet)
        self._container.close()
        self._container = None
        os.replace(self._unfinished, self.path)

    def discard(self) -> None:
        """Stop without leaving anything behind."""
        if self._container is not None:
            self._container.close()
            self._container = None
        self._unfinished.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()
