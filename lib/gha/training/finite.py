"""Losses that are not finite: noticed on the device, told later, so that training need not wait for every loss."""

from __future__ import annotations

import torch
from torch import Tensor

from gha.capture.frame import Frame
from gha.errors import TrainingError


class FiniteGate:
    """Watches losses; from the first that is not finite on, updates are to be left out, until somebody is told.

    Args:
        device: where losses are.
    """

    def __init__(self, device: torch.device) -> None:
        self._seen: list[tuple[int, str]] = []
        self._names: list[str] = []
        self._count = torch.zeros((), dtype=torch.int64, device=device)
        self._first = torch.full((), -1, dtype=torch.int64, device=device)
        self._bad_terms = torch.zeros(0, dtype=torch.bool, device=device)

    def judge(self, terms: dict[str, Tensor], total: Tensor) -> Tensor:
        """1 if updates are to be left out, else 0, as float32 []; never looks at a value itself.

        Args:
            terms: of the loss, the same at every call.
            total: their sum [].
        """
        if not self._names:
            self._names, self._bad_terms = list(terms), self._bad_terms.new_zeros(len(terms))
        bad = ~torch.stack(list(terms.values())).detach().isfinite()
        accident = (bad.any() | ~total.detach().isfinite()) & (self._first < 0)
        self._bad_terms |= bad & accident
        self._first.copy_(torch.where(accident, self._count, self._first))
        self._count += 1
        return (self._first >= 0).float()

    def remember(self, step: int, frame: Frame) -> None:
        """Note which frame a step sees; one call for each of :meth:`judge`, in the same order."""
        cameras = ", ".join("+".join(ids) for ids in frame.camera_ids)
        # Names only: the pictures of all frames between two reports would fill the memory.
        self._seen.append((step, f"frames {', '.join(frame.frame_id)}; cameras {cameras}"))

    def require_finite(self) -> None:
        """Wait for all that was judged.

        Raises:
            TrainingError: a loss was not finite; names step, term, frames and cameras.
        """
        first = int(self._first)
        if first < 0:
            self._count.zero_()
            self._seen.clear()
            return
        step, seen = self._seen[first]
        bad = [name for name, is_bad in zip(self._names, self._bad_terms.tolist(), strict=True) if is_bad]
        raise TrainingError(
            f"step {step}: loss {', '.join(bad) or 'total'} is not finite ({seen}); "
            "nothing was changed from this step on: lower the learning rates, or look at this frame"
        )
