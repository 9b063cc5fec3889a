"""One step of training: losses, gradients, optimisers; on a GPU recorded once and replayed.

A step is a thousand small operations, and starting them one by one takes the host longer than the GPU needs to do
them. Recorded as a CUDA graph they are started at once. What is recorded must not depend on values the host would
have to look at: everything of that kind is settled when a stage draws its sample (see ``sample``) or is renewed.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gha.capture.frame import Frame

from .finite import FiniteGate
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


class Update:
    """Changes a stage's modules by one step of its optimisers at a time.

    Args:
        stage: what is trained.
        device: of its modules.
    """

    def __init__(self, stage: Stage, device: torch.device) -> None:
        self._stage, self._device = stage, device
        self._gate = FiniteGate(device)
        self._recording: _Recording | None = None
        self._steps = 0  # since the last renewal
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def renew(self) -> None:
        """Let the stage find anew what it keeps from step to step; sizes may change, so recordings are dropped."""
        self._recording = None
        self._stage.renew()
        self._steps = 0

    def __call__(self, frame: Frame, step: int) -> dict[str, Tensor]:
        """Make one step with a frame of the host; returns the weighted terms of the loss, valid until the next step.

        Raises:
            TrainingError: on the CPU at once if the loss is not finite; on a GPU see :meth:`require_finite`.
        """
        sample = self._stage.draw(frame, step, self._device)
        if self._stream is None or not self._stage.replayable:
            terms = self._compute(sample, step, frame)
        else:
            self._stream.wait_stream(torch.cuda.current_stream(self._device))
            with torch.cuda.stream(self._stream):
                terms = self._record_or_replay(sample, step, frame)
            torch.cuda.current_stream(self._device).wait_stream(self._stream)
        self._steps += 1
        return terms

    def require_finite(self) -> None:
        """Wait for the device, and raise ``TrainingError`` if a loss since the last call was not finite."""
        self._gate.require_finite()

    def _record_or_replay(self, sample: Sample, step: int, frame: Frame) -> dict[str, Tensor]:
        if self._steps < _WARM_UP:
            return self._compute(sample, step, frame)
        if self._recording is None:
            self._recording = self._record(sample)
        for place, value in zip(tensors_of(self._recording.sample), tensors_of(sample), strict=True):
            place.copy_(value)
        self._gate.remember(step, frame)
        self._recording.graph.replay()
        return self._recording.terms

    def _record(self, sample: Sample) -> _Recording:
        place = _copy(sample)
        for optimizer in self._stage.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        gc.collect()  # a tensor freed by the collector during the recording would spoil it
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            terms = self._change(place)
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
        if self._stream is None:
            self._gate.require_finite()
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        total.backward()
        for optimizer in optimizers:
            if self._stream is not None:
                optimizer.found_inf = not_finite  # of fused optimisers: 1 keeps everything as it is
            optimizer.step()
        return {name: term.detach() for name, term in terms.items()}


def _copy(value: Any) -> Any:
    """A sample of the same sizes with tensors, and with values derived from them, of its own."""
    if isinstance(value, Tensor):
        return value.clone()
    if not is_dataclass(value):
        return value
    return replace(value, **{field.name: _copy(getattr(value, field.name)) for field in fields(value)})
