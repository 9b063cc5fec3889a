"""Head pose: the similarity transform between canonical head space (decimetres) and the world."""

from __future__ import annotations

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
    """Apply matrices [..., 3, 3] to points [..., N, 3]; elementwise, because a product may run in reduced precision."""
    return (points[..., None, :] * matrices[..., None, :, :]).sum(-1)
