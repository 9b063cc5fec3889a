"""Head pose: the similarity transform between canonical head space (decimetres) and the world."""

from __future__ import annotations

import torch
from torch import Tensor

from .rotations import axis_angle_to_matrix


def canonical_to_world(points: Tensor, pose: Tensor, scale: Tensor, rotation: Tensor | None = None) -> Tensor:
    """``scale * R x + t`` for canonical points [..., N, 3], pose [..., 6] and scale [..., 1].

    ``pose`` holds an axis-angle rotation in radians, then a translation in world units;
    ``scale`` is world units per decimetre. ``rotation`` is R [..., 3, 3], where it is known already.
    """
    rotation = axis_angle_to_matrix(pose[..., :3]) if rotation is None else rotation
    return scale[..., None, :] * transform(points, rotation) + pose[..., None, 3:]


def world_to_canonical(points: Tensor, pose: Tensor, scale: Tensor, rotation: Tensor | None = None) -> Tensor:
    """The inverse of :func:`canonical_to_world` for world points [..., N, 3]."""
    rotation = axis_angle_to_matrix(pose[..., :3]) if rotation is None else rotation
    return transform(points - pose[..., None, 3:], rotation.transpose(-1, -2)) / scale[..., None, :]


def transform(points: Tensor, matrices: Tensor) -> Tensor:
    """Apply matrices [..., 3, 3] to points [..., N, 3]; on a GPU elementwise: there a product may be in TF32."""
    if not points.is_cuda:
        return points @ matrices.mT
    return (points[..., None, :] * matrices[..., None, :, :]).sum(-1)


def fit_similarities(source: Tensor, target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The similarities that take points best (weighted least squares, Umeyama 1991) to others; never a mirror image.

    Args:
        source: [N, 3].
        target: [T, N, 3].
        weights: [T, N], at least 0; only their ratios matter.

    Returns:
        Rotations [T, 3, 3] and scales [T], which map offsets from the weighted mean of ``source`` to those from the
        mean of ``target``; and these means [2, T, 3].
    """
    share = (weights / weights.sum(1, keepdim=True).clamp_min(1e-12))[..., None]
    means = torch.stack([(share * source).sum(1), (share * target).sum(1)])
    moved, aimed = source - means[0][:, None], target - means[1][:, None]
    u, sizes, vh = torch.linalg.svd((share * aimed).mT @ moved)
    sign = torch.ones_like(sizes)
    sign[:, 2] = torch.sign(torch.linalg.det(u @ vh))
    scale = (sizes * sign).sum(1) / (share * moved**2).sum((1, 2)).clamp_min(1e-12)
    return u @ (sign[..., None] * vh), scale, means
