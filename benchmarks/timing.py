"""Measuring time and memory on either device: CUDA events or the processor's clock, warm-up, medians."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

PHASES = ("data", "generate", "splat", "decode", "losses", "optimiser")
_BACKWARD = ("losses_backward", "decode_backward", "splat_backward", "generate_backward")
_MARKS = (*PHASES[:-1], *_BACKWARD, PHASES[-1])


@dataclass(frozen=True)
class Stopwatch:
    """How often to measure, and where.

    Attributes:
        device: that does the work.
        repeats: measurements of which the median is taken.
        warmup: runs before them that do not count: compilation, first allocations, choice of algorithms.
    """

    device: torch.device
    repeats: int
    warmup: int

    def measure(self, work: Callable[[], object]) -> Measurement:
        """Time ``work``; each run starts on an idle device."""
        return self.measure_phases(lambda clock: (work(), clock.mark("work")), ("work",))

    def measure_phases(self, work: Callable[[Clock], object], phases: Sequence[str]) -> Measurement:
        """Time the named phases of ``work``, which marks the end of each on the clock it is given."""
        gc.collect()  # what was measured before must not count as memory now
        for _ in range(self.warmup):
            work(Clock(self.device))
        synchronize(self.device)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        runs = []
        for _ in range(self.repeats):
            clock = Clock(self.device)
            clock.mark("start")
            work(clock)
            runs.append(clock.intervals_ms(phases))
        return Measurement(
            total_ms=statistics.median(sum(run.values()) for run in runs),
            least_ms=min(sum(run.values()) for run in runs),
            phases_ms={name: statistics.median(run[name] for run in runs) for name in phases},
            peak_gib=peak_gib(self.device),
        )


@dataclass(frozen=True)
class Measurement:
    """Milliseconds: median and least of the whole, median of each phase; peak of the allocated memory, on CUDA."""

    total_ms: float
    least_ms: float
    phases_ms: dict[str, float]
    peak_gib: float | None


class Clock:
    """Moments of one run: CUDA events on a GPU, which never wait, and the processor's clock elsewhere."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._device = device
        self._marks: dict[str, float | torch.cuda.Event] = {}

    def mark(self, name: str) -> None:
        """Note that what is called ``name`` ends here; a later mark of the same name replaces it."""
        if not self._cuda:
            self._marks[name] = time.perf_counter()
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        self._marks[name] = event

    def intervals_ms(self, names: Sequence[str]) -> dict[str, float]:
        """Milliseconds from each mark to the next, from "start" on through ``names``; waits for the device."""
        missing = [name for name in ("start", *names) if name not in self._marks]
        if missing:
            raise RuntimeError(f"nothing marked {', '.join(missing)}; marked were {', '.join(self._marks)}")
        synchronize(self._device)
        moments = [self._marks["start"], *(self._marks[name] for name in names)]
        intervals = {name: self._between(a, b) for name, a, b in zip(names, moments, moments[1:], strict=False)}
        if min(intervals.values()) < 0:
            raise RuntimeError(f"moments are not in the order {', '.join(names)}: {intervals}")
        return intervals

    def _between(self, first: float | torch.cuda.Event, second: float | torch.cuda.Event) -> float:
        return first.elapsed_time(second) if self._cuda else 1e3 * (second - first)


class PhaseHooks:
    """Marks where a training step passes from one phase to the next, without a word in the code that is timed.

    Forward, a phase ends when its module has returned; what comes before the generator counts as data, what lies
    between it and the decoder as splatting. Backward, a phase ends when the gradients of all that it was given are
    there.

    Args:
        generate: from codes to Gaussians.
        decode: from splats to pictures.
        outputs: the tensors in what ``generate`` returns.
    """

    def __init__(self, generate: nn.Module, decode: nn.Module, outputs: Callable[[object], list[Tensor]]) -> None:
        self.clock: Clock | None = None
        self._outputs = outputs
        generate.register_forward_pre_hook(lambda *_: self._mark("data"))
        generate.register_forward_hook(self._generated)
        decode.register_forward_pre_hook(self._splatted)
        decode.register_forward_hook(self._decoded)

    def _generated(self, module: nn.Module, inputs: object, output: object) -> None:
        self._mark("generate")
        self._mark_backward("splat_backward", self._outputs(output))

    def _splatted(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._mark("splat")
        self._mark_backward("decode_backward", inputs)

    def _decoded(self, module: nn.Module, inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        self._mark("decode")
        self._mark_backward("losses_backward", [output] if isinstance(output, Tensor) else output)

    def _mark_backward(self, name: str, tensors: Sequence[Tensor]) -> None:
        for tensor in tensors:
            if tensor.requires_grad:
                tensor.register_hook(lambda _: self._mark(name))

    def _mark(self, name: str) -> None:
        if self.clock is not None:
            self.clock.mark(name)


def measure_training(stopwatch: Stopwatch, step: Callable[[Clock], object]) -> Measurement:
    """Time a training step by :data:`PHASES`, forward and backward of each together.

    ``step`` marks "losses", "generate_backward" and "optimiser" where these end; :class:`PhaseHooks` marks the rest.
    """
    measured = stopwatch.measure_phases(step, _MARKS)
    parts = measured.phases_ms
    phases = {name: parts[name] + parts.get(f"{name}_backward", 0.0) for name in PHASES}
    return Measurement(measured.total_ms, measured.least_ms, phases, measured.peak_gib)


def synchronize(device: torch.device) -> None:
    """Wait until the device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_gib(device: torch.device) -> float | None:
    """Largest allocation since the last reset in GiB; None on the CPU, where nothing counts it."""
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None
