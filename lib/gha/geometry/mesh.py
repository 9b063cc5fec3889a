"""Differentiable operators on triangle meshes: normals, areas, the Laplacian."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def triangle_corners(vertices: Tensor, triangles: Tensor) -> Tensor:
    """Corner positions [..., F, 3 (corner), 3 (xyz)] of triangles [F, 3] of vertices [..., N, 3]."""
    return vertices.index_select(-2, triangles.reshape(-1)).unflatten(-2, (-1, 3))


def area_vectors(vertices: Tensor, triangles: Tensor) -> Tensor:
    """Outward normals [..., F, 3] with the length of the triangles' areas."""
    a, b, c = triangle_corners(vertices, triangles).unbind(-2)
    return torch.linalg.cross(b - a, c - a, dim=-1) / 2


def face_areas(vertices: Tensor, triangles: Tensor) -> Tensor:
    """Areas [..., F] of triangles [F, 3] of vertices [..., N, 3]."""
    return area_vectors(vertices, triangles).norm(dim=-1)


def face_normals(vertices: Tensor, triangles: Tensor) -> Tensor:
    """Unit normals [..., F, 3], outward for counter-clockwise triangles; zero for triangles without area."""
    return normalize(area_vectors(vertices, triangles), dim=-1, eps=1e-30)


def vertex_normals(vertices: Tensor, triangles: Tensor) -> Tensor:
    """Unit normals [..., N, 3]: of the faces around each vertex, weighted by area; zero for unused vertices."""
    per_face = area_vectors(vertices, triangles)
    total = torch.zeros_like(vertices)
    for corner in range(3):
        total = total.index_add(-2, triangles[:, corner], per_face)
    return normalize(total, dim=-1, eps=1e-30)


def uniform_laplacian(vertices: Tensor, triangles: Tensor) -> Tensor:
    """Mean difference [..., N, 3] from each vertex [..., N, 3] to its neighbours, zero for unused vertices.

    Neighbours are counted once for each face [F, 3] they share with the vertex: inside a surface twice each, so
    the mean is that over the neighbours; at a border the neighbours along it weigh half.
    """
    corners = triangle_corners(vertices, triangles)
    # Differences first: sums of coordinates would lose the small Laplacian to rounding.
    to_others = (corners.roll(1, dims=-2) - corners) + (corners.roll(-1, dims=-2) - corners)
    index = triangles.reshape(-1)
    total = torch.zeros_like(vertices).index_add(-2, index, to_others.flatten(-3, -2))
    count = 2 * torch.bincount(index, minlength=vertices.shape[-2]).clamp_min(1)
    return total / count[:, None]


def laplacian_loss(vertices: Tensor, triangles: Tensor) -> Tensor:
    """Mean square (over vertices and axes) of :func:`uniform_laplacian`: small for smooth, evenly spaced meshes."""
    return uniform_laplacian(vertices, triangles).square().mean()
