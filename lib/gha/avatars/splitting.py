"""More Gaussians where the few of the start cannot show what there is."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gha.geometry.rotations import quaternion_to_matrix

_APART = 0.7
"""Distance of a half from the middle of the whole, in standard deviations of the whole along its longest axis."""

_SMALLEST = 0.002
"""Decimetres: below this longest standard deviation a Gaussian is far smaller than any pixel and is not split."""


def most_pulled(demand: Tensor, log_scales: Tensor, share: float) -> Tensor:
    """The Gaussians to split: those pulled about most that are not tiny.

    Pictures pull at the position of a Gaussian wherever it must stand for more than one thing: at outlines, strands of
    hair, eyelids (3D Gaussian Splatting, Kerbl et al. 2023, section 5.2, splits by the same sign).

    Args:
        demand: how strongly each is pulled [N].
        log_scales: [N, 3], decimetres.
        share: of all Gaussians, in (0, 1].

    Returns:
        Ids [K], ascending.
    """
    candidates = (log_scales.amax(-1) > math.log(_SMALLEST)).nonzero()[:, 0]
    count = min(round(share * len(demand)), len(candidates))
    return candidates[demand[candidates].topk(count).indices].sort().values


def split(means: Tensor, log_scales: Tensor, quats: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Two Gaussians in place of each chosen one, side by side along its longest axis, together as long as it.

    Args:
        means: [N, 3].
        log_scales: [N, 3].
        quats: [N, 4], not necessarily of length one.
        chosen: ids [K].

    Returns:
        The Gaussian [N + K] that each one comes from, the second halves last; means [N + K, 3]; log-scales [N + K, 3].
    """
    origin = torch.cat([torch.arange(len(means), device=means.device), chosen])
    longest = log_scales[chosen].argmax(-1)
    rows = torch.arange(len(chosen), device=means.device)
    axes = quaternion_to_matrix(quats[chosen] / quats[chosen].norm(dim=-1, keepdim=True))[rows, :, longest]
    reach = _APART * log_scales[chosen, longest].exp()[:, None] * axes
    halves = log_scales[chosen]
    halves[rows, longest] += 0.5 * math.log(1 - _APART**2)  # so that the pair has the variance of the whole

    new_means, new_log_scales = means[origin], log_scales[origin]
    new_means[chosen] -= reach
    new_means[len(means) :] += reach
    new_log_scales[chosen] = halves
    new_log_scales[len(means) :] = halves
    return origin, new_means, new_log_scales
