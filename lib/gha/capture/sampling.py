"""Which frames and cameras each training step sees: a pure function of seed and step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from gha.errors import InputError

Draw = list[tuple[str, tuple[str, ...]]]

_FRAME_STREAM, _CAMERA_STREAM = 1, 2


@dataclass(frozen=True)
class SampleSchedule:
    """Draws frames and cameras for every step, the same whenever and by whomever it is asked.

    Frames come in a new random order each epoch, so all are seen equally often; the cameras of a frame are distinct.
    Because step ``s`` depends on nothing but ``(seed, s)``, resuming is exact and the number of workers is free.

    Attributes:
        seed: any integer.
        frames: frame ids to draw from.
        cameras: camera ids to draw from.
        frames_per_step: batch size of one process.
        views_per_frame: distinct cameras per frame.
        rank: which of several training processes this is; each draws another part of the step.
        world_size: number of training processes. Their step ``n`` is what one process alone draws in its steps
            ``n * world_size`` to ``(n + 1) * world_size - 1``, one each: the order of samples is the same.
        first_step: steps of one process alone that were drawn before step 0 of this schedule, by however many.
    """

    seed: int
    frames: Sequence[str]
    cameras: Sequence[str]
    frames_per_step: int = 1
    views_per_frame: int = 1
    rank: int = 0
    world_size: int = 1
    first_step: int = 0

    def __post_init__(self) -> None:
        if not self.frames or self.frames_per_step < 1:
            raise InputError(
                f"found {len(self.frames)} frames and frames_per_step = {self.frames_per_step}, expected at least 1"
            )
        if not 1 <= self.views_per_frame <= len(self.cameras):
            raise InputError(
                f"found views_per_frame = {self.views_per_frame}, expected 1 to {len(self.cameras)}, "
                "the number of training cameras"
            )

    def at(self, step: int) -> Draw:
        """Frame id and camera ids of each item of this process in step ``step`` (from 0)."""
        first = (self.first_step + step * self.world_size + self.rank) * self.frames_per_step
        return [self._item(position) for position in range(first, first + self.frames_per_step)]

    def _item(self, position: int) -> tuple[str, tuple[str, ...]]:
        epoch, index = divmod(position, len(self.frames))
        frame = self.frames[_frame_order(len(self.frames), self.seed, epoch)[index]]
        order = random_order(len(self.cameras), self.seed, _CAMERA_STREAM, position)
        return frame, tuple(self.cameras[i] for i in order[: self.views_per_frame])


@lru_cache(maxsize=4)
def _frame_order(count: int, seed: int, epoch: int) -> np.ndarray:
    return random_order(count, seed, _FRAME_STREAM, epoch)


def random_order(count: int, *key: int) -> np.ndarray:
    """A permutation of ``range(count)`` that depends on ``key`` only, on every machine and in every version.

    Sorting by a hash of (key, index) rather than numpy's generators, whose streams may change between releases.
    """
    state = np.arange(count, dtype=np.uint64)
    for part in reversed(key):
        state = _mixed(state ^ np.uint64(part * 0x9E3779B97F4A7C15 % 2**64))
    return np.argsort(state, kind="stable")


def _mixed(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64: every input bit moves every output bit."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
