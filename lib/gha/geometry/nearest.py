"""Distances to the nearest of a set of points, and what is derived from them."""

from __future__ import annotations

import torch
from scipy.spatial import cKDTree
from torch import Tensor

_PAIRS_AT_ONCE = 1 << 24  # distances held in memory at a time on a GPU: 64 MiB per float32 buffer


def nearest_index(points: Tensor, anchors: Tensor) -> Tensor:
    """Index [...] of the anchor [L, 3] nearest to each point [..., 3]."""
    flat, anchors = points.detach().reshape(-1, 3), anchors.detach()
    if not flat.is_cuda:
        # A tree refuses NaN; the caller's own check of the loss explains it better.
        positions, centres = (p.double().nan_to_num(0.0, 1e18, -1e18).numpy() for p in (flat, anchors))
        index = cKDTree(centres).query(positions, workers=-1)[1]
        return torch.as_tensor(index, dtype=torch.int64).view(points.shape[:-1])
    chunks = flat.split(max(1, _PAIRS_AT_ONCE // anchors.shape[0]))
    return torch.cat([_nearest_by_brute_force(chunk, anchors) for chunk in chunks]).view(points.shape[:-1])


def _nearest_by_brute_force(points: Tensor, anchors: Tensor) -> Tensor:
    # Differences rather than the expanded square: a matrix product in TF32 would choose wrong neighbours.
    squared = (points[:, :1] - anchors[:, 0]).square_()
    for axis in (1, 2):
        difference = points[:, axis : axis + 1] - anchors[:, axis]
        squared.addcmul_(difference, difference)
    return squared.argmin(dim=1)


def nearest_squared_distance(points: Tensor, anchors: Tensor, index: Tensor | None = None) -> Tensor:
    """Squared distance [...] from points [..., 3] to the nearest of anchors [L, 3]; differentiable in both.

    ``index`` [...] names the nearest anchors, where they are known.
    """
    index = nearest_index(points, anchors) if index is None else index
    nearest = anchors.index_select(0, index.reshape(-1)).view(points.shape)
    return (points - nearest).square().sum(-1)


def blend_weights(
    points: Tensor,
    landmarks: Tensor,
    near: float = 0.1,
    far: float = 0.25,
    squared: bool = True,
    index: Tensor | None = None,
) -> Tensor:
    """How much expression, rather than head pose, moves each point: 1 near the landmarks, 0 far from them.

    Args:
        points: canonical undeformed positions [..., 3], decimetres.
        landmarks: canonical neutral landmarks [L, 3].
        near: up to here the weight is 1.
        far: from here on the weight is 0.
        squared: the ramp is linear in the squared distance and ``near``, ``far`` are dm^2 (as the original's code
            does it); False: linear in the distance, ``near``, ``far`` in dm (as its paper says).
        index: the landmark [...] nearest to each point, if known.

    Returns:
        Weights of expression [...] in [0, 1]; those of pose are 1 minus them. Differentiable in both inputs.
    """
    if not near < far:
        raise ValueError(f"blend_weights needs near < far, got near={near} and far={far}")
    distance = nearest_squared_distance(points, landmarks, index)
    if not squared:
        distance = distance.clamp_min(1e-12).sqrt()
    return ((far - distance) / (far - near)).clamp(0, 1)


def neighbour_distance(points: Tensor, neighbours: int = 3, floor: float = 1e-7) -> Tensor:
    """Root mean square distance [N] from each point [N, 3] to its nearest other points; no gradient.

    Args:
        points: positions.
        neighbours: how many nearest others to average over (fewer where there are not as many points).
        floor: least mean square, so that points that coincide get a positive distance.
    """
    positions = points.detach().cpu().double().numpy()
    count = min(neighbours + 1, len(positions))
    if count < 2:
        raise ValueError(f"neighbour_distance needs at least 2 points, got {len(positions)}")
    distances, _ = cKDTree(positions).query(positions, k=count, workers=-1)
    mean_square = torch.as_tensor(distances[:, 1:]).square().mean(dim=1)
    return mean_square.clamp_min(floor).sqrt().to(points)
