"""Signed distances to test surface extraction with."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn


def sphere(points: Tensor, radius: float = 0.95, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Tensor:
    return (points - torch.tensor(centre, dtype=points.dtype, device=points.device)).norm(dim=-1) - radius


def torus(points: Tensor) -> Tensor:
    x, y, z = points.unbind(-1)
    return torch.hypot(torch.hypot(x, y) - 0.9, z + 0.5) - 0.35


def slab(points: Tensor) -> Tensor:
    """A tilted disc 0.5 dm thick."""
    normal = torch.nn.functional.normalize(torch.tensor([0.3, 1.0, 0.2], device=points.device), dim=0)
    height = points @ normal
    radial = (points - height[:, None] * normal).norm(dim=-1)
    return torch.maximum(height.abs() - 0.25, radial - 0.9)


def two_spheres(points: Tensor) -> Tensor:
    return torch.minimum(sphere(points, 0.5, (0.8, 0.9, -1.0)), sphere(points, 0.6, (-0.7, -0.7, 0.1)))


def sphere_with_spike(points: Tensor) -> Tensor:
    """A spike of radius 0.1 dm, thinner than any coarse cell, on a sphere."""
    x, y, z = points.unbind(-1)
    beyond = (y.abs() - 1.4).clamp_min(0) + (-y).clamp_min(0)
    return torch.minimum(sphere(points, 0.7), torch.hypot(torch.hypot(x - 0.05, z - 0.03), beyond) - 0.1)


def random_network(seed: int) -> nn.Module:
    """A smooth random field with a wild surface around a sphere, like a geometry network early in training."""
    generator = torch.Generator().manual_seed(seed)
    network = nn.Sequential(nn.Linear(3, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 1))
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / parameter.shape[-1] ** 0.5 * 1.5

    def evaluate(points: Tensor) -> Tensor:
        return sphere(points, 1.0, (0.0, 0.0, -0.7)) + 0.6 * torch.tanh(network(1.5 * points)[:, 0])

    return evaluate


@pytest.fixture(scope="session")
def bounds() -> list[list[float]]:
    """The box around a head, in decimetres."""
    return [[-1.6, 1.6], [-1.7, 1.8], [-2.5, 1.0]]


@pytest.fixture(scope="session")
def fields() -> SimpleNamespace:
    """Signed distances, positive outside: functions of points [M, 3]."""
    shapes = (sphere, torus, slab, two_spheres, sphere_with_spike, random_network)
    return SimpleNamespace(**{shape.__name__: shape for shape in shapes})
