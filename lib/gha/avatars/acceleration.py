"""Functions of tensors made faster: compiled where a compiler is, replayed from a CUDA graph where a GPU is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

TensorFunction = Callable[..., tuple[Tensor, ...]]
CompileMode = Literal["off", "default", "max-autotune-no-cudagraphs"]
"""How much of the time before the first picture is spent on making the following ones faster: "off" none, "default"
some seconds (fused kernels), "max-autotune-no-cudagraphs" a minute or more (the fastest of many kernels). What was
compiled once is kept in PyTorch's cache on disk."""

_WARMUPS = 3


class Compiled:
    """A function compiled at its first call; where that fails, the function as it is.

    Args:
        function: of tensors of fixed shapes, without gradients.
        mode: see :data:`CompileMode`.
    """

    def __init__(self, function: TensorFunction, mode: CompileMode) -> None:
        self._function = function
        self._fast = None if mode == "off" else torch.compile(function, mode=mode, dynamic=False, fullgraph=True)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What the function returns."""
        if self._fast is None:
            return self._function(*inputs)
        try:
            return self._fast(*inputs)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # the base of all errors of the compiler
            logger.warning("not compiled, which is slower: %s", str(error).strip().partition("\n")[0])
            self._fast = None
            return self._function(*inputs)


class Replayed:
    """A function whose kernels are recorded in a CUDA graph at its first call and launched together after that.

    Launching some hundred kernels one by one takes longer than running them. On the CPU, or where recording is not
    wanted, the function is simply called.

    Args:
        function: of tensors of fixed shapes, without gradients; it must never wait for the device.
        record: off: never record.
    """

    def __init__(self, function: TensorFunction, record: bool) -> None:
        self._function, self._record = function, record
        self._shapes: list[torch.Size] = []
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []
        self._outputs: tuple[Tensor, ...] = ()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What the function returns, in memory of its own; inputs of other shapes than before are recorded anew."""
        if not (self._record and inputs[0].is_cuda):
            return self._function(*inputs)
        shapes = [x.shape for x in inputs]
        if shapes != self._shapes:
            self._record_graph(inputs)
            self._shapes = shapes
        for place, value in zip(self._inputs, inputs, strict=True):
            place.copy_(value)
        self._graph.replay()
        return tuple(x.clone() for x in self._outputs)

    def forget(self) -> None:
        """Record anew at the next call."""
        self._shapes = []

    def _record_graph(self, inputs: tuple[Tensor, ...]) -> None:
        self._shapes, self._graph, self._outputs = [], None, ()  # the memory of a graph before this one is free again
        self._inputs = [x.clone() for x in inputs]
        current, aside = torch.cuda.current_stream(), torch.cuda.Stream()
        aside.wait_stream(current)
        # Compilation, choice of algorithms and workspaces happen before the recording, on a stream as it will be.
        with torch.cuda.stream(aside):
            for _ in range(_WARMUPS):
                self._function(*self._inputs)
        current.wait_stream(aside)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._outputs = self._function(*self._inputs)
        self._graph = graph
