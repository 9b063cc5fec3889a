"""Points on surfaces, and distances to them, for evaluation."""

from __future__ import annotations

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from .mesh import face_areas, triangle_corners


def sample_surface(vertices: Tensor, triangles: Tensor, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points spread uniformly by area over a mesh; the same for the same seed on every device.

    Args:
        vertices: [N, 3].
        triangles: [F, 3].
        count: number of points P.
        seed: of the random numbers.

    Returns:
        Points [P, 3], differentiable in ``vertices``, and the faces [P] they lie on.
    """
    if triangles.shape[0] == 0:
        raise ValueError("sample_surface needs at least one triangle, got none")
    generator = torch.Generator().manual_seed(seed)
    place, along, across = torch.rand(3, count, generator=generator, dtype=torch.float64)
    cumulative = face_areas(vertices.detach().cpu().double(), triangles.cpu()).cumsum(0)
    faces = torch.searchsorted(cumulative, place * cumulative[-1], right=True).clamp_max(len(cumulative) - 1)
    root = along.sqrt()
    weights = torch.stack([1 - root, root * (1 - across), root * across], dim=-1).to(vertices)
    faces = faces.to(triangles.device)
    corners = triangle_corners(vertices, triangles[faces])
    return (weights[:, :, None] * corners).sum(dim=1), faces


def triangle_squared_distance(points: Tensor, corners: Tensor) -> Tensor:
    """Exact squared distance [...] from points [..., 3] to triangles given by corners [..., 3 (corner), 3]."""
    a, b, c = corners.unbind(-2)
    normal = torch.linalg.cross(b - a, c - a, dim=-1)
    area = normal.square().sum(-1)
    above = (area > 0).expand(points.shape[:-1])
    nearest_side = torch.full(points.shape[:-1], torch.inf, dtype=points.dtype, device=points.device)
    for start, end in ((a, b), (b, c), (c, a)):
        side, offset = end - start, points - start
        above = above & ((torch.linalg.cross(side, offset, dim=-1) * normal).sum(-1) >= 0)
        along = (offset * side).sum(-1) / side.square().sum(-1).clamp_min(torch.finfo(points.dtype).tiny)
        gap = offset - along.clamp(0, 1)[..., None] * side
        nearest_side = torch.minimum(nearest_side, gap.square().sum(-1))
    height = ((points - a) * normal).sum(-1)
    return torch.where(above, height.square() / area.clamp_min(torch.finfo(points.dtype).tiny), nearest_side)


def surface_distance(
    points: Tensor, vertices: Tensor, triangles: Tensor, samples: int = 200_000, candidates: int = 8, seed: int = 0
) -> Tensor:
    """Distance [P] from points [P, 3] to a mesh (vertices [N, 3], triangles [F, 3]), without gradient.

    The faces of the ``candidates`` surface samples nearest to a point are measured exactly. The result is never too
    small, and too large only where the nearest face holds none of those samples: on a sphere with 7,000 faces by at
    most a fifth of the samples' spacing, and by a thousandth of it on average. 200,000 samples on a head are 1 mm
    apart.
    """
    vertices, triangles = vertices.detach().cpu().double(), triangles.cpu()
    positions = points.detach().cpu().double()
    surface, faces = sample_surface(vertices, triangles, max(samples, candidates), seed)
    _, near = cKDTree(surface.numpy()).query(positions.numpy(), k=candidates, workers=-1)
    near = torch.as_tensor(near, dtype=torch.int64).view(len(positions), candidates)
    squared = torch.full((len(positions),), torch.inf, dtype=torch.float64)
    for column in faces[near].unbind(1):
        corners = triangle_corners(vertices, triangles[column])
        squared = torch.minimum(squared, triangle_squared_distance(positions, corners))
    return squared.sqrt().to(points)
