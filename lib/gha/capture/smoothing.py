"""Smoothing of driving sequences: a step the user asks for, right for rotations and without lag."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from gha.errors import InputError
from gha.geometry.rotations import axis_angle_to_quaternion, quaternion_to_axis_angle

from .sequence import ExpressionSequence, nearest_turn


def smooth_sequence(sequence: ExpressionSequence, seconds: float) -> ExpressionSequence:
    """Average every frame with its neighbours under a Gaussian window that looks both ways, so nothing lags.

    Rotations are averaged as rotations (:func:`mean_rotation`), all else linearly. Near the ends the window is cut.

    Args:
        sequence: what to smooth.
        seconds: standard deviation of the window; 0 changes nothing.
    """
    if seconds < 0:
        raise InputError(f"found a smoothing window of {seconds} s, expected 0 or more")
    if seconds == 0:
        return sequence
    indices, weights = gaussian_window(len(sequence), seconds * sequence.fps)
    rotations = sequence.pose[:, :3].double()
    quats = mean_rotation(axis_angle_to_quaternion(rotations)[indices], weights)
    rotation = nearest_turn(quaternion_to_axis_angle(quats), rotations)

    def average(values: Tensor) -> Tensor:
        return torch.einsum("tk,tkc->tc", weights, values.double()[indices]).to(values.dtype)

    pose = torch.cat([rotation.to(sequence.pose.dtype), average(sequence.pose[:, 3:])], dim=-1)
    return replace(
        sequence,
        expression=average(sequence.expression),
        pose=pose,
        scale=None if sequence.scale is None else average(sequence.scale),
    )


def gaussian_window(frames: int, deviation: float) -> tuple[Tensor, Tensor]:
    """The neighbours of every frame within four deviations and their weights.

    Args:
        frames: length T of the sequence.
        deviation: in frames.

    Returns:
        Indices [T, K] and float64 weights [T, K] whose rows sum to 1; neighbours beyond the ends weigh 0.
    """
    reach = min(math.ceil(4 * deviation), frames - 1)
    offsets = torch.arange(-reach, reach + 1)
    indices = torch.arange(frames)[:, None] + offsets
    inside = (indices >= 0) & (indices < frames)
    weights = inside * torch.exp(-0.5 * (offsets / deviation).double() ** 2)
    return indices.clamp(0, frames - 1), weights / weights.sum(-1, keepdim=True)


def mean_rotation(quats: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean rotations [..., 4] of unit quaternions wxyz [..., K, 4] under weights [..., K].

    The mean minimises the weighted squared chordal distance: the leading eigenvector of ``sum w q q^T``, for which
    ``q`` and ``-q`` are the same, so rotations near pi need no care.
    """
    moments = torch.einsum("...k,...ki,...kj->...ij", weights, quats, quats)
    return torch.linalg.eigh(moments).eigenvectors[..., -1]
