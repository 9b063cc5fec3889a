"""Rotations as axis-angle vectors, matrices and unit quaternions (w, x, y, z)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def axis_angle_to_quaternion(axis_angle: Tensor) -> Tensor:
    """Axis-angle [..., 3] in radians to unit quaternions wxyz [..., 4]; smooth at zero."""
    return torch.cat(_half_turn(axis_angle), dim=-1)


def quaternion_to_matrix(quats: Tensor) -> Tensor:
    """Quaternions wxyz [..., 4], normalised here, to rotation matrices [..., 3, 3]."""
    w, x, y, z = normalize(quats, dim=-1).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def axis_angle_to_matrix(axis_angle: Tensor) -> Tensor:
    """Axis-angle [..., 3] in radians to rotation matrices [..., 3, 3] (Rodrigues); smooth at zero.

    Elementwise on purpose: a matrix product may run in reduced precision on a GPU. In few operations on purpose: there
    each of them, on a handful of numbers, takes as long as on a million.
    """
    real, imaginary = _half_turn(axis_angle)
    imaginary = imaginary[..., None]
    identity = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device).expand(*axis_angle.shape, 3)
    # The quaternion (w, u) turns each column e of the identity to e + 2 u x (w e + u x e).
    crossed = torch.addcmul(torch.linalg.cross(imaginary, identity, dim=-2), real[..., None], identity)
    return torch.add(identity, torch.linalg.cross(imaginary, crossed, dim=-2), alpha=2)


def _half_turn(axis_angle: Tensor) -> tuple[Tensor, Tensor]:
    """Real part [..., 1] and imaginary part [..., 3] of the unit quaternions of axis-angle [..., 3]."""
    half = 0.5 * axis_angle
    # Below 1e-10 radians a rotation is linear in its vector to the last digit of float64, whatever the slopes of
    # sin(a) / a and cos(a); the bound keeps the quotient and the slope of the root finite at zero.
    angle = half.square().sum(-1, keepdim=True).clamp_min(1e-20).sqrt()
    return torch.cos(angle), torch.sin(angle) / angle * half


def matrix_to_quaternion(matrix: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] to unit quaternions wxyz [..., 4] with w >= 0 where w is not tiny.

    Of four equivalent formulas the one with the largest divisor is used, so no rotation is ill-conditioned.
    """
    m = matrix
    trace_terms = torch.stack(
        [
            1 + m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2],
            1 + m[..., 0, 0] - m[..., 1, 1] - m[..., 2, 2],
            1 - m[..., 0, 0] + m[..., 1, 1] - m[..., 2, 2],
            1 - m[..., 0, 0] - m[..., 1, 1] + m[..., 2, 2],
        ],
        dim=-1,
    )
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    candidates = torch.stack(
        [
            torch.stack([trace_terms[..., 0], wx, wy, wz], dim=-1),
            torch.stack([wx, trace_terms[..., 1], xy, xz], dim=-1),
            torch.stack([wy, xy, trace_terms[..., 2], yz], dim=-1),
            torch.stack([wz, xz, yz, trace_terms[..., 3]], dim=-1),
        ],
        dim=-2,
    )
    best = trace_terms.argmax(-1)[..., None, None].expand(*trace_terms.shape[:-1], 1, 4)
    quats = normalize(candidates.gather(-2, best)[..., 0, :], dim=-1)
    return torch.where(quats[..., :1] < 0, -quats, quats)


def quaternion_to_axis_angle(quats: Tensor) -> Tensor:
    """Unit quaternions wxyz [..., 4] to axis-angle [..., 3], angle in [0, pi]."""
    quats = torch.where(quats[..., :1] < 0, -quats, quats)
    sine = quats[..., 1:].norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, quats[..., :1])
    factor = torch.where(sine < 1e-6, 2 * torch.ones_like(sine), angle / sine.clamp_min(1e-12))
    return factor * quats[..., 1:]


def matrix_to_axis_angle(matrix: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] to axis-angle [..., 3] in radians."""
    return quaternion_to_axis_angle(matrix_to_quaternion(matrix))


def quaternion_multiply(left: Tensor, right: Tensor) -> Tensor:
    """Hamilton product of quaternions wxyz [..., 4]: rotates by ``right`` first, then by ``left``."""
    (lw, lv), (rw, rv) = (quats.split([1, 3], dim=-1) for quats in (left, right))
    real = lw * rw - (lv * rv).sum(-1, keepdim=True)
    imaginary = torch.addcmul(torch.addcmul(torch.linalg.cross(lv, rv), lw, rv), rw, lv)
    return torch.cat([real, imaginary], dim=-1)


def slerp(start: Tensor, end: Tensor, fraction: Tensor | float) -> Tensor:
    """Shortest-arc interpolation between unit quaternions wxyz [..., 4]; ``fraction`` 0 gives ``start``.

    ``fraction`` is a number or a tensor that broadcasts with [..., 1].
    """
    dot = (start * end).sum(-1, keepdim=True)
    end = torch.where(dot < 0, -end, end)
    # Short of 1, where the gradient of arccos is infinite; below this angle the weights are linear to rounding.
    angle = torch.arccos(dot.abs().clamp(max=1 - 1e-7))
    fraction = torch.as_tensor(fraction, dtype=start.dtype, device=start.device)
    weight_start, weight_end = torch.sin((1 - fraction) * angle), torch.sin(fraction * angle)
    return normalize(weight_start * start + weight_end * end, dim=-1)
