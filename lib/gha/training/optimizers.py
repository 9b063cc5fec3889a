"""Adam as training uses it: without a wait on a GPU, and for tables of which each step uses a few rows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


def adam(groups: list[dict[str, Any]], device: torch.device, eps: float = 1e-8) -> torch.optim.Adam:
    """Fused Adam; on a GPU its steps can be recorded, and learning rates are tensors there.

    Args:
        groups: ``params`` and ``lr`` of each.
        device: of the parameters.
        eps: added to the root of the second moment.
    """
    if device.type == "cpu":
        return torch.optim.Adam(groups, eps=eps, fused=True)
    groups = [group | {"lr": torch.tensor(float(group["lr"]), device=device)} for group in groups]
    return torch.optim.Adam(groups, eps=eps, fused=True, capturable=True)


def cosine_decay(share: float, final: float) -> float:
    """Factor on learning rates after a share in [0, 1] of the training: along a cosine from 1 to ``final``."""
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * share))


class RowAdam(Optimizer):
    """Adam (Kingma and Ba, 2015) that changes only rows with a gradient, and their moments.

    Plain Adam goes on moving every row that was ever seen. Like ``torch.optim.SparseAdam``, but for dense gradients and
    without the host ever waiting for the device, so that a step can be recorded and replayed, and gradients can be
    averaged over processes. An update is left out where ``found_inf`` [], if it is set, is not zero.

    Args:
        parameters: tables [N, C].
        lr: learning rate.
        betas: decay of the first and second moment.
        eps: added to the root of the second moment.
    """

    found_inf: Tensor | None = None

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        tables = list(parameters)
        rate = lr if tables[0].device.type == "cpu" else torch.tensor(lr, device=tables[0].device)
        super().__init__(tables, {"lr": rate, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Move the rows whose gradient is not zero."""
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self._move(table, group)

    def _move(self, table: Tensor, group: dict[str, Any]) -> None:
        gradient = table.grad
        used = (gradient != 0).any(-1, keepdim=True)
        if self.found_inf is not None:
            used = used & (self.found_inf == 0)
        state = self._state(table)
        steps, first, second = state["step"], state["exp_avg"], state["exp_avg_sq"]
        steps += used.any()
        for moment, now, decay in zip((first, second), (gradient, gradient.square()), group["betas"], strict=True):
            moment.copy_(torch.where(used, torch.lerp(now, moment, decay), moment))
        first_share, second_share = (1 - decay**steps for decay in group["betas"])
        root = (second / second_share.clamp_min(1e-20)).sqrt() + group["eps"]
        change = group["lr"] * first / (first_share.clamp_min(1e-20) * root)
        table.copy_(torch.where(used, table - change, table))

    def _state(self, table: Tensor) -> dict[str, Tensor]:
        state = self.state[table]
        if not state:
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(table), torch.zeros_like(table)
        # Checkpoints of before have a plain number here.
        steps = torch.as_tensor(state.get("step", 0.0), dtype=torch.float32, device=table.device)
        state["step"] = steps
        return state
