"""Frames for training, read ahead by background threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields
from types import TracebackType

import torch
from torch import Tensor

from gha.faces.code import HeadCode
from gha.geometry import Camera

from .frame import Frame
from .image_cache import ImageCache
from .reader import Capture, Size
from .sampling import Draw, SampleSchedule
from .views import Pictures


class FrameLoader(Iterator[Frame]):
    """Yields the batches of a schedule in order, for ever: batch after batch from ``start_step`` on.

    Threads read ahead (decoding releases the interpreter lock, and threads need no fork), each batch straight into the
    memory that it is handed out in. They never call a parallel kernel, nor a PyTorch operator on pictures: each thread
    would bring its own pool of threads for it, and once OpenMP counts more threads than there are cores, all pools put
    theirs to sleep after every operator. Use it as a context manager, or call :meth:`close`.

    Args:
        capture: where frames are read.
        schedule: what each step draws.
        size: image size as for :meth:`Capture.read`.
        start_step: first step to yield.
        workers: threads; 0 reads in the calling thread.
        cache_bytes: budget for decoded pictures kept in memory.
        pin_memory: page-locked tensors for faster transfer; by default where CUDA is present.
    """

    def __init__(
        self,
        capture: Capture,
        schedule: SampleSchedule,
        size: Size = None,
        start_step: int = 0,
        workers: int = 2,
        cache_bytes: int = 2**30,
        pin_memory: bool | None = None,
    ) -> None:
        self.capture = capture
        self.schedule = schedule
        self.size = size
        self.cache = ImageCache(cache_bytes)
        self._pin = torch.cuda.is_available() if pin_memory is None else pin_memory
        self._next_step = start_step
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="frames") if workers else None
        self._read_ahead = workers + 1
        self._pending: deque[Future[Frame]] = deque()

    def __next__(self) -> Frame:
        if self._pool is None:
            self._next_step += 1
            return self._read(self.schedule.at(self._next_step - 1))
        while len(self._pending) < self._read_ahead:
            self._pending.append(self._pool.submit(self._read, self.schedule.at(self._next_step)))
            self._next_step += 1
        return self._pending.popleft().result()

    def close(self) -> None:
        """Stop the threads; batches read ahead are dropped."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pending.clear()

    def __enter__(self) -> FrameLoader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, draw: Draw) -> Frame:
        cameras = [camera for _, camera_ids in draw for camera in camera_ids]
        leading, size = (len(draw), len(draw[0][1])), self.capture.output_size(cameras, self.size)
        pictures = tuple(
            torch.empty(*leading, channels, *size, dtype=torch.uint8, pin_memory=self._pin) for channels in (3, 1, 1)
        )
        memory = Pictures(*(pixels.numpy() for pixels in pictures))
        frames = [
            self.capture.read(frame, camera_ids, size, cache=self.cache, out=memory[item])
            for item, (frame, camera_ids) in enumerate(draw)
        ]
        return collate(frames, pictures)


def collate(frames: Sequence[Frame], pictures: tuple[Tensor, Tensor, Tensor] | None = None) -> Frame:
    """Put frames of equal sizes into one, with a batch dimension in front of every tensor.

    ``frame_id`` becomes the list of B names and ``camera_ids`` the tuple of B tuples. ``pictures`` are image, mask and
    visible map of the batch, where they lie side by side already.
    """
    first = frames[0]

    def stack(pick: Callable[[Frame], Tensor]) -> Tensor:
        return torch.stack([pick(frame) for frame in frames])

    code = {
        f.name: stack(lambda frame, name=f.name: getattr(frame.code, name))
        for f in fields(HeadCode)
        if getattr(first.code, f.name) is not None
    }
    if pictures is None:
        names = ("image", "mask", "visible")
        pictures = tuple(stack(lambda frame, name=name: getattr(frame, name)) for name in names)
    return Frame(
        *pictures,
        camera=Camera(
            stack(lambda frame: frame.camera.w2c),
            stack(lambda frame: frame.camera.K),
            first.camera.width,
            first.camera.height,
        ),
        code=HeadCode(**code),
        landmarks=stack(lambda frame: frame.landmarks),
        frame_id=[frame.frame_id for frame in frames],
        camera_ids=tuple(frame.camera_ids for frame in frames),
    )
