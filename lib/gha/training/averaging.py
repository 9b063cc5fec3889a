"""What several processes need beside their own loss: one gradient, and rates for the larger batch.

Gradients are averaged here, once and after the whole backward pass, rather than by ``DistributedDataParallel``: that
wants one module whose ``forward`` makes the loss, while a stage computes it through methods of several (the head, its
decoder, pose corrections, colour gains), and a step is recorded as one graph. An avatar has about 100 MB of gradients,
a millisecond between the GPUs of one machine, so there is little to gain by sending them while others are computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from .optimizers import RowAdam
from .processes import Processes

Scaling = Literal["sqrt", "linear", "off"]


def average_gradients(parameters: Sequence[Tensor], left_out: Tensor, processes: Processes) -> Tensor:
    """Replace the gradients by their mean over the processes, which then all take the same step, or none.

    All travels in one tensor: every exchange makes all processes wait for the slowest. Rows of a table that no process
    has used stay zero, so that ``RowAdam`` leaves them. A parameter that has a gradient in some processes only counts
    as zero in the others.

    Args:
        parameters: the same in every process, in the same order.
        left_out: [] 1 where this process has found that the step must not be taken, else 0.
        processes: with one alone nothing happens.

    Returns:
        [] ``left_out``, 1 if it is so in any process.
    """
    if processes.count == 1:
        return left_out
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    gradients = [parameter.grad for parameter in parameters]
    together = torch.cat([*(gradient.reshape(-1) for gradient in gradients), left_out.reshape(1)])
    processes.average(together)
    *pieces, votes = together.split([*(gradient.numel() for gradient in gradients), 1])
    # Copied back rather than left as views: a gradient keeps its strides, which fused optimisers rely on.
    torch._foreach_copy_(gradients, [piece.view(g.shape) for piece, g in zip(pieces, gradients, strict=True)])
    return (votes[0] > 0).float()


def scale_rates(optimizers: Iterable[Optimizer], count: int, rule: Scaling) -> None:
    """Change Adam's rates for a batch that is ``count`` times as large, at the same number of samples.

    The memories of the moments are counted in samples instead of steps: beta to the power of ``count``. Learning rates
    grow by the square root of ``count``, which keeps the noise of long training the same (Malladi et al., "On the SDEs
    and Scaling Rules for Adaptive Gradient Algorithms", 2022; Zhao et al., "On Scaling Up 3D Gaussian Splatting
    Training", 2024, find it for Gaussians), or by ``count``, which keeps the way that short training goes the same.

    ``RowAdam`` stays as it is: a row of its tables is in the batch as often as before, since the samples of one step
    are of different frames.

    Args:
        optimizers: of the stage.
        count: number of processes.
        rule: "sqrt", "linear", or "off" to change nothing.
    """
    for optimizer in optimizers:
        if rule == "off" or isinstance(optimizer, RowAdam):
            continue
        for group in optimizer.param_groups:
            group["lr"] *= count**0.5 if rule == "sqrt" else count
            group["betas"] = tuple(beta**count for beta in group["betas"])
