"""Plain closed meshes for tests, benchmarks and examples."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sphere_mesh(rings: int, segments: int, radius: float = 1.0) -> tuple[Tensor, Tensor]:
    """A sphere of latitude rings around the y axis, with normals outwards.

    Args:
        rings: latitude circles between the poles, at least 1.
        segments: vertices of each circle, at least 3.
        radius: world units.

    Returns:
        vertices [rings * segments + 2, 3] and triangles [2 * rings * segments, 3].
    """
    latitude = math.pi * torch.arange(1, rings + 1) / (rings + 1)
    longitude = 2 * math.pi * torch.arange(segments) / segments
    polar, around = torch.meshgrid(latitude, longitude, indexing="ij")
    circles = torch.stack([polar.sin() * around.sin(), polar.cos(), polar.sin() * around.cos()], dim=-1)
    poles = torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]])
    return radius * torch.cat([circles.reshape(-1, 3), poles]), _sphere_triangles(rings, segments)


def _sphere_triangles(rings: int, segments: int) -> Tensor:
    here = torch.arange(rings * segments).reshape(rings, segments)
    east = here.roll(-1, 1)
    upper = torch.stack([here[:-1], here[1:], east[:-1]], dim=-1).reshape(-1, 3)
    lower = torch.stack([east[:-1], here[1:], east[1:]], dim=-1).reshape(-1, 3)
    north = torch.stack([torch.full((segments,), rings * segments), here[0], east[0]], dim=-1)
    south = torch.stack([torch.full((segments,), rings * segments + 1), east[-1], here[-1]], dim=-1)
    return torch.cat([north, upper, lower, south])
