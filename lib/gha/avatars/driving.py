"""From somebody's performance to the codes that make an avatar perform it."""

from __future__ import annotations

import torch
from torch import Tensor

from gha.capture.sequence import nearest_turn
from gha.capture.smoothing import mean_rotation
from gha.geometry.rotations import (
    axis_angle_to_matrix,
    axis_angle_to_quaternion,
    matrix_to_axis_angle,
    quaternion_to_matrix,
)


def transfer_relative(expression: Tensor, driver_neutral: Tensor, avatar_neutral: Tensor) -> Tensor:
    """Carry the driver's deviation from neutral to the avatar: expressions [T, E], neutrals [E].

    Removes what belongs to the driver's face at rest. Between equal neutrals it changes nothing.
    """
    return avatar_neutral + expression - driver_neutral


def transfer_motion(poses: Tensor, reference: Tensor, relative_scale: float) -> Tensor:
    """Poses [T, 6] that move about ``reference`` [6] as the driver's head moves about its own mean pose.

    The motion is taken in the axes of the driver's mean head and carried to those of the reference, so that driver
    and avatar need not share a world.

    Args:
        poses: head poses of the driver [T, 6].
        reference: head pose of the avatar [6] that stands for the driver's mean pose.
        relative_scale: the avatar's scale divided by the driver's; translations are multiplied by it.
    """
    weights = torch.full((len(poses),), 1 / len(poses), dtype=torch.float64)
    mean = mean_rotation(axis_angle_to_quaternion(poses[:, :3].double()), weights)
    carry = axis_angle_to_matrix(reference[:3].double()) @ quaternion_to_matrix(mean).T
    rotation = matrix_to_axis_angle(carry @ axis_angle_to_matrix(poses[:, :3].double()))
    rotation = nearest_turn(rotation, reference[:3].double().expand_as(rotation))
    steps = (poses[:, 3:] - poses[:, 3:].mean(0)).double()
    translation = reference[3:].double() + relative_scale * steps @ carry.T
    return torch.cat([rotation, translation], dim=-1).to(poses.dtype)
