"""How many pairs of a tile and a Gaussian the buffers of the Triton back end hold, and what happens if they are few.

How many pairs a picture has is known on the device only, and asking for it would make the host wait. So buffers have a
fixed size. The first picture of a size and number of Gaussians is counted, with one wait, and gets half as much again.
From then on the device counts the pairs of every picture, and the host reads the count when it has arrived: at a later
call. Buffers grow before they are full (beyond four fifths). If pairs still did not fit, because their number jumped
from one picture to the next, those of the farthest Gaussians are missing from that one picture (in a batch, of its
last pictures), a warning says so, and the next has room for all.

Pictures drawn without gradients wait for their count once they are drawn, and are drawn again if they have to be: they
are always complete. During the capture of a CUDA graph nothing is read and nothing waits; ``overflowed`` asks
afterwards.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gha.errors import InputError

logger = logging.getLogger(__name__)

ROOM = 1.5
"""Pairs that buffers hold, relative to those that were counted when they were made."""

CROWDED = 0.8
"""Buffers grow once this share of them is used."""

LEAST = 4096
"""Pairs that buffers always hold; capacities are multiples of it."""


@dataclass
class PairBudget:
    """The capacity for pictures of one kind, and the counts that the device has reported.

    Attributes:
        counts: on the device, int64 [2]: the most pairs of any picture since the last report; the most pairs of any
            picture whose buffers were too small for them, 0 if all fitted.
        capacity: pairs that buffers hold; 0 before the first picture.
    """

    counts: Tensor
    capacity: int = 0
    _report: Tensor | None = field(default=None, repr=False)
    _arrival: torch.cuda.Event | None = field(default=None, repr=False)
    _is_due: bool = False
    _is_current: bool = False

    def prepare(self, ends: Tensor) -> int:
        """The capacity for the next picture; ``ends`` [M] int64 are running numbers of pairs, read only if need be."""
        self._is_current = False
        if _is_capturing():
            return self.capacity
        if not self.capacity:
            self._grow(int(ends[-1]))
        elif self._is_due and (self._arrival is None or self._arrival.query()):
            self._read()
        return self.capacity

    def request(self) -> None:
        """Ask the device to report its counts, unless it has been asked; call after the kernels that count."""
        if _is_capturing() or self._is_due:
            return
        if self._report is None:
            on_cuda = self.counts.is_cuda
            self._report = torch.empty(2, dtype=torch.int64, pin_memory=on_cuda)
            self._arrival = torch.cuda.Event() if on_cuda else None
        self._report.copy_(self.counts, non_blocking=True)
        self.counts.zero_()
        if self._arrival is not None:
            self._arrival.record()
        self._is_due = self._is_current = True

    def is_complete(self) -> bool:
        """Wait for the count of the last picture; whether it shows all Gaussians. If not, the next has room.

        During the capture of a graph nothing can be asked: then it is taken to be complete.
        """
        if _is_capturing():
            return True
        missed = self._await() if self._is_due else 0
        if not self._is_current:
            self.request()
            missed = self._await()
        return missed == 0

    def overflowed(self) -> bool:
        """Wait for the counts of all pictures; whether any since the last reading lacks Gaussians."""
        missed = self._await() if self._is_due else 0
        self.request()
        return max(missed, self._await()) > 0

    def _await(self) -> int:
        if self._arrival is not None:
            self._arrival.synchronize()
        return self._read()

    def _read(self) -> int:
        """Take in the report, which has arrived: how many pairs were too many, 0 if none."""
        needed, missed = (int(number) for number in self._report)
        self._is_due = False
        if missed:
            logger.warning(
                "a picture had %d pairs of tiles and Gaussians, more than its buffers held: its farthest Gaussians "
                "were not drawn; there is more room now",
                missed,
            )
        if max(needed, missed) > CROWDED * self.capacity:
            self._grow(max(needed, missed))
        return missed

    def _grow(self, needed: int) -> None:
        capacity = (int(ROOM * needed) // LEAST + 1) * LEAST
        if capacity >= 2**31:
            raise InputError(f"a picture has {needed} pairs of tiles and Gaussians, expected fewer than {2**31 / ROOM}")
        self.capacity = max(self.capacity, capacity)


_budgets: dict[tuple, PairBudget] = {}


def pair_budget(device: torch.device, *kind: int) -> PairBudget:
    """The budget of pictures of a kind: their number, size and number of Gaussians."""
    key = (device, *kind)
    if key not in _budgets:
        if _is_capturing():
            raise InputError("a CUDA graph can be captured only after one picture of its kind was drawn outside it")
        _budgets[key] = PairBudget(torch.zeros(2, dtype=torch.int64, device=device))
    return _budgets[key]


def overflowed() -> bool:
    """Wait for the device; whether any picture since the last reading lacks Gaussians for want of room.

    Where this is asked is where CUDA graphs are replayed: one that answers yes must be captured anew, because a graph
    keeps the buffers it was captured with. Everything drawn from now on has room for as many pairs.
    """
    return any([budget.overflowed() for budget in _budgets.values()])


def _is_capturing() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()
