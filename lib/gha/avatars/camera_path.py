"""Cameras that circle a head and look at it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from gha.faces.code import HeadCode
from gha.geometry import Camera
from gha.geometry.rotations import axis_angle_to_matrix
from gha.limits import above, between, limited, numbers


@limited(distance=above(0), target=numbers(3), elevation=between(-89, 89), period=above(0), focal=above(0))
@dataclass
class OrbitConfig:
    """A camera that swings about the front of the head; everything is relative to the head's reference pose."""

    distance: float = 12.0
    """Decimetres of the head's own scale between camera and target."""
    target: list[float] = field(default_factory=lambda: [0.0, 0.0, -0.3])
    """Canonical point, in decimetres, that lies on the centre of every picture; the original meant [0, 0, 0.5]."""
    azimuth: float = 45.0
    """Degrees of the swing to each side; starts at the subject's left."""
    elevation: float = 8.0
    """Degrees of the swing up and down, a quarter of a period behind the azimuth."""
    period: float = 125.66
    """Frames per swing there and back."""
    focal: float = 3.5
    """Focal length in widths of the picture."""


def orbit_directions(frames: int, orbit: OrbitConfig) -> Tensor:
    """Unit vectors [T, 3] from the target to the camera, in canonical axes."""
    phase = 2 * math.pi / orbit.period * torch.arange(frames, dtype=torch.float64)
    azimuth = math.radians(orbit.azimuth) * phase.cos()
    elevation = math.radians(orbit.elevation) * phase.sin()
    level = elevation.cos()
    return torch.stack([level * azimuth.sin(), elevation.sin(), level * azimuth.cos()], dim=-1)


def orbit_path(frames: int, orbit: OrbitConfig, reference: HeadCode, width: int, height: int) -> Camera:
    """Cameras [T] of an orbit around a head.

    Args:
        frames: number of cameras T.
        orbit: the path.
        reference: where the head stands; its expression does not matter. No leading dimensions.
        width: of the pictures, in pixels.
        height: of the pictures, in pixels.
    """
    target = torch.tensor(orbit.target)
    eyes = target + orbit.distance * orbit_directions(frames, orbit).float()
    up = axis_angle_to_matrix(reference.pose[:3]) @ torch.tensor([0.0, 1.0, 0.0])
    return Camera.look_at(
        reference.to_world(eyes), reference.to_world(target[None]), orbit.focal * width, width, height, up.tolist()
    )


def front_view(frames: int, orbit: OrbitConfig, reference: HeadCode, width: int, height: int) -> Camera:
    """The same straight view of the face for every frame [T]; arguments as for :func:`orbit_path`."""
    return orbit_path(frames, replace(orbit, azimuth=0.0, elevation=0.0), reference, width, height)
