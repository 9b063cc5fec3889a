"""Measuring an avatar while it trains: a clock that evaluation stops, held-out views, one point after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from quality_curves import Point, require_figures
from timing import synchronize

from gha.capture import Capture
from gha.capture.info import SURFACE_POINTS
from gha.errors import InputError
from gha.training.evaluation import (
    Candidate,
    Measurement,
    average,
    evaluate_frame,
    held_out_splits,
    read_view,
    spread_views,
)

SPLIT = "held_out_frames"


class TrainingClock:
    """Seconds of the wall clock since it was made, without those for which it was stopped.

    Args:
        device: that trains; has to have done its work before the clock is stopped, and what it does meanwhile.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._start, self._stopped = time.perf_counter(), 0.0

    @property
    def seconds(self) -> float:
        """Seconds so far; a GPU may still be busy with what was asked of it by now."""
        return time.perf_counter() - self._start - self._stopped

    @contextmanager
    def stopped(self) -> Iterator[float]:
        """Stand still; yields the seconds at which the device had done everything."""
        synchronize(self._device)
        stop = time.perf_counter()
        yield stop - self._start - self._stopped
        synchronize(self._device)
        self._stopped += time.perf_counter() - stop


class HeldOutViews:
    """Views of a capture that no side trains on, kept in memory, and how they are measured.

    Args:
        capture: of a face, with held-out frames.
        count: views, spread evenly over test frames and training cameras.
        resolution: longer side in pixels.
        upscale: factor that sides must be multiples of.
        device: of the avatars.
    """

    def __init__(self, capture: Capture, count: int, resolution: int, upscale: int, device: torch.device) -> None:
        splits = held_out_splits(capture.split)
        if SPLIT not in splits or capture.info.face_model == SURFACE_POINTS:
            raise InputError(f"{capture.root}: expected a face with held-out frames (splits.json), found none")
        self.views = spread_views(*splits[SPLIT], count)
        self.frames = [read_view(capture, view, resolution, upscale) for view in self.views]
        landmarks = len(capture.facial_landmarks(capture.frame_ids[0]))
        self.measurement = Measurement(resolution, torch.ones(3, device=device), landmarks)

    def measure(self, candidate: Candidate) -> dict[str, float]:
        """Means of all figures over the views, of an avatar as it is: in float32, in evaluation mode for as long."""
        products, training = torch.get_float32_matmul_precision(), candidate.avatar.training
        torch.set_float32_matmul_precision("highest")
        candidate.avatar.eval()
        try:
            results = [evaluate_frame(candidate, frame, self.measurement).measures for frame in self.frames]
        finally:
            candidate.avatar.train(training)
            torch.set_float32_matmul_precision(products)
        return {name: value["mean"] for name, value in average(results).items()}


class CurveRecorder:
    """Puts a point on a curve now and then while an avatar trains.

    Args:
        clock: of the training.
        every: seconds between points.
        measure: figures of an avatar.
        keep: is handed the curve after each point, and whether that is the last.
    """

    def __init__(
        self,
        clock: TrainingClock,
        every: float,
        measure: Callable[[Candidate], dict[str, float]],
        keep: Callable[[list[Point], bool], None],
    ) -> None:
        self.clock, self.curve = clock, []
        self._every, self._measure, self._keep = every, measure, keep
        self._due = 0.0

    def __call__(self, step: int, candidate: Callable[[], Candidate], last: bool) -> None:
        """Look at an avatar after a step: the first, the last, and whenever as many seconds have passed."""
        if self.clock.seconds < self._due and not last:
            return
        with self.clock.stopped() as seconds:
            figures = require_figures(self._measure(candidate()), f"step {step}")
            self.curve.append(Point(seconds, step, figures))
            self._keep(self.curve, last)
            self._due = (seconds // self._every + 1) * self._every
