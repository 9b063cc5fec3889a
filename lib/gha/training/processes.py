"""The processes that train one avatar together, one per GPU, as ``torchrun`` starts them; usually one alone.

Every process holds the whole avatar and draws its own frames; what they must agree on goes through here. With one
process nothing is sent, and ``torch.distributed`` is not used.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn

from gha.errors import GhaError, TrainingError


@dataclass(frozen=True)
class Processes:
    """This process and how many there are. All processes must call the same methods in the same order.

    Attributes:
        rank: which process this is, from 0.
        count: how many there are.
        local_rank: which one of those on this machine, and so which GPU.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @classmethod
    def from_environment(cls) -> Processes:
        """What ``torchrun`` says in RANK, WORLD_SIZE and LOCAL_RANK; one process alone without it."""
        if int(os.environ.get("WORLD_SIZE", 1)) == 1:
            return cls()
        rank = int(os.environ["RANK"])
        return cls(rank, int(os.environ["WORLD_SIZE"]), int(os.environ.get("LOCAL_RANK", rank)))

    @property
    def leads(self) -> bool:
        """Whether this is the one process that writes files and speaks."""
        return self.rank == 0

    @contextmanager
    def joined(self, device: torch.device) -> Iterator[None]:
        """Connect the processes inside the block: gloo for what is on the CPU, NCCL for what is on GPUs.

        All but the leading one log errors only.
        """
        if self.count == 1:
            yield
            return
        if not self.leads:
            logging.getLogger("gha").setLevel(logging.ERROR)
        distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
        yield
        # Not after an error: leaving in good order waits for the others, which may wait for this process elsewhere.
        if device.type == "cpu":
            # Gloo's threads let go of what they sent a moment after it has arrived. A thread that does so while the
            # interpreter ends brings the process down.
            distributed.barrier()
        distributed.destroy_process_group()

    def mean(self, value: Tensor) -> Tensor:
        """Mean over the processes of a tensor that has one shape in all of them; NaN wherever one has NaN.

        It stays on its device, and nothing waits for it there.
        """
        if self.count == 1:
            return value
        total = value.detach().clone()
        self.average(total)
        return total

    def average(self, value: Tensor) -> None:
        """:meth:`mean` in place."""
        if self.count == 1:
            return
        if value.is_cuda:
            self._send(lambda: distributed.all_reduce(value, distributed.ReduceOp.AVG))
        else:  # gloo has sums only
            self._send(lambda: distributed.all_reduce(value))
            value.div_(self.count)

    def any(self, flag: bool) -> bool:
        """Whether ``flag`` is set in any process."""
        if self.count == 1:
            return flag
        votes = torch.tensor(float(flag))
        self._send(lambda: distributed.all_reduce(votes))
        return votes.item() > 0

    def gather(self, value: Any) -> list[Any]:
        """``value`` of every process, in the order of their ranks; anything that can be pickled."""
        if self.count == 1:
            return [value]
        values = [None] * self.count
        self._send(lambda: distributed.all_gather_object(values, value))
        return values

    def share(self, modules: Mapping[str, nn.Module]) -> None:
        """Give every process the parameters and buffers of the leading one.

        Raises:
            TrainingError: their shapes differ between the processes, which then did not build the same modules.
        """
        if self.count == 1:
            return
        named = {f"{name}.{key}": value for name, module in modules.items() for key, value in _tensors(module)}
        shapes = self.gather({name: tuple(value.shape) for name, value in named.items()})
        if any(found != shapes[0] for found in shapes):
            different = sorted(name for name in shapes[0] if any(s.get(name) != shapes[0][name] for s in shapes))
            raise TrainingError(
                f"the {self.count} processes built different avatars: {', '.join(different[:4]) or 'tensors'} differ "
                "in shape; start them with the same configuration, files and versions"
            )
        for value in named.values():
            self._send(lambda value=value: distributed.broadcast(value.data, 0))

    def raise_any(self, error: Exception | None) -> None:
        """Raise, in every process, if any has an error: the leading one raises it, the others leave without a word."""
        if self.count == 1:
            if error is not None:
                raise error
            return
        errors = {rank: found for rank, found in enumerate(self.gather(error)) if found is not None}
        if not errors:
            return
        if not self.leads:
            raise SystemExit(1)
        rank, first = next(iter(errors.items()))
        raise first if rank == 0 else type(first)(f"process {rank} of {self.count}: {first}")

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block that all processes pass or none: an error the user can mend in one of them is raised in all."""
        error = None
        try:
            yield
        except (GhaError, OSError) as found:
            error = found
        self.raise_any(error)

    def _send(self, exchange: Callable[[], object]) -> None:
        try:
            exchange()
        except RuntimeError as error:
            raise TrainingError(
                f"process {self.rank} of {self.count} has lost the others; what one of them said tells why ({error})"
            ) from error


ALONE = Processes()


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()
