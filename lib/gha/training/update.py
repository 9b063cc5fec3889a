"""One step of training: losses, gradients, optimisers; on a GPU recorded once and replayed.

A step is a thousand small operations, and starting them one by one takes the host longer than the GPU needs to do
them. Recorded as a CUDA graph they are started at once. What is recorded must not depend on values the host would
have to look at: everything of that kind is settled when a stage draws its sample (see ``sample``) or is renewed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from gha.capture.frame import Frame
from gha.rendering import missed_gaussians

from .averaging import average_gradients
from .finite import FiniteGate
from .processes import ALONE, Processes
from .sample import Sample, tensors_of
from .stage import Stage

_WARM_UP = 3
"""Steps computed one by one before a recording: libraries choose their methods and allocate then."""


@dataclass(frozen=True)
class _Recording:
    """A step in a CUDA graph.

    Attributes:
        graph: to replay.
        sample: where a replayed step finds its sample.
        terms: where it leaves the terms of the loss.
    """

    graph: torch.cuda.CUDAGraph
    sample: Sample
    terms: dict[str, Tensor]


@dataclass(frozen=True)
class _Streams:
    """Work of the GPU that may overlap.

    Attributes:
        draws: samples are sent and drawn here.
        steps: and computed with here.
    """

    draws: torch.cuda.Stream
    steps: torch.cuda.Stream

    @classmethod
    def on(cls, device: torch.device) -> _Streams:
        """Streams that begin after what the current one has to do."""
        streams = cls(torch.cuda.Stream(device), torch.cuda.Stream(device))
        streams.draws.wait_stream(torch.cuda.current_stream(device))
        return streams

    def release(self) -> None:
        """The memory of the last sample is free for the next one as soon as all is done that was asked for so far."""
        self.draws.wait_stream(self.steps)


class Update:
    """Changes a stage's modules by one step of its optimisers at a time.

    Args:
        stage: what is trained.
        device: of its modules.
        processes: that make the step together, each with a frame of its own.
    """

    def __init__(self, stage: Stage, device: torch.device, processes: Processes = ALONE) -> None:
        self._stage, self._device, self._processes = stage, device, processes
        self._gate = FiniteGate(device)
        self._recording: _Recording | None = None
        self._steps = 0
        self._streams = _Streams.on(device) if device.type == "cuda" else None
        self._memory: torch.cuda.CUDAGraph | None = None

    def renew(self, anew: bool) -> None:
        """Let the stage look again at what it keeps from step to step; sizes may change, so a recording is dropped."""
        self._recording = None
        self._stage.renew(anew)

    def __call__(self, frame: Frame, step: int) -> dict[str, Tensor]:
        """Make one step with a frame of the host; returns the weighted terms of the loss, valid until the next step.

        Raises:
            TrainingError: on the CPU at once if the loss is not finite; on a GPU see :meth:`require_finite`.
        """
        if self._streams is None or not self._stage.replayable:
            terms = self._compute(self._stage.draw(frame, step, self._device), step, frame)
        else:
            terms = self._compute_beside_draws(self._streams, frame, step)
        self._steps += 1
        return terms

    def require_finite(self) -> None:
        """Wait for the device, and raise ``TrainingError`` if a loss since the last call was not finite in a process.

        All processes must call it.
        """
        with self._processes.together():
            self._gate.require_finite()
        if self._recording is not None and missed_gaussians(self._device):
            self._recording = None  # made again with room for all

    def _compute_beside_draws(self, streams: _Streams, frame: Frame, step: int) -> dict[str, Tensor]:
        """A step in a stream of its own, so that the next sample is drawn meanwhile; the caller's stream waits."""
        outside = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(streams.draws):
            sample = self._stage.draw(frame, step, self._device)
        streams.steps.wait_stream(outside)
        streams.steps.wait_stream(streams.draws)
        with torch.cuda.stream(streams.steps):
            terms = self._record_or_replay(sample, step, frame, streams)
        outside.wait_stream(streams.steps)
        return terms

    def _record_or_replay(self, sample: Sample, step: int, frame: Frame, streams: _Streams) -> dict[str, Tensor]:
        if self._steps < _WARM_UP:
            terms = self._compute(sample, step, frame)
            streams.release()
            return terms
        if self._recording is None:
            self._recording = self._record(sample)
        for place, value in zip(tensors_of(self._recording.sample), tensors_of(sample), strict=True):
            place.copy_(value)
        streams.release()
        self._gate.remember(step, frame)
        self._recording.graph.replay()
        return self._recording.terms

    def _record(self, sample: Sample) -> _Recording:
        place = _copy(sample)
        for optimizer in self._stage.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        if self._memory is None:
            torch.cuda.empty_cache()  # what steps of before had has no use any more
            self._memory = _first_graph(self._device)
        graph = torch.cuda.CUDAGraph()
        # Without the context manager of torch, which empties the cache and collects garbage each time. What other
        # threads do meanwhile, such as reserving pinned memory, is none of its business.
        graph.capture_begin(self._memory.pool(), capture_error_mode="thread_local")
        try:
            terms = self._change(place)
        finally:
            graph.capture_end()
        return _Recording(graph, place, terms)

    def _compute(self, sample: Sample, step: int, frame: Frame) -> dict[str, Tensor]:
        self._gate.remember(step, frame)
        return self._change(sample)

    def _change(self, sample: Sample) -> dict[str, Tensor]:
        """Losses of a sample, their gradients, and a step of every optimiser unless a loss is not finite."""
        optimizers = self._stage.optimizers.values()
        terms = self._stage.losses(sample)
        total = torch.stack(list(terms.values())).sum()
        not_finite = self._gate.judge(terms, total)
        if self._streams is None and self._processes.any(bool(not_finite)):
            self.require_finite()
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        total.backward()
        parameters = [p for optimizer in optimizers for p in _parameters(optimizer)]
        not_finite = average_gradients(parameters, not_finite, self._processes)
        for optimizer in optimizers:
            if self._streams is not None:
                optimizer.found_inf = not_finite  # of fused optimisers: 1 keeps everything as it is
            optimizer.step()
        return {name: term.detach() for name, term in terms.items()}


def _first_graph(device: torch.device) -> torch.cuda.CUDAGraph:
    """A graph of next to nothing, whose memory later ones take over from each other; it lasts as long as this one."""
    graph = torch.cuda.CUDAGraph()
    graph.capture_begin(capture_error_mode="thread_local")
    torch.zeros((), device=device)
    graph.capture_end()
    return graph


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _copy(value: Any) -> Any:
    """A sample of the same sizes with tensors, and with values derived from them, of its own."""
    if isinstance(value, Tensor):
        return value.clone()
    if not is_dataclass(value):
        return value
    return replace(value, **{field.name: _copy(getattr(value, field.name)) for field in fields(value)})
