"""Differentiable operators on triangle meshes: normals, areas, the Laplacian."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import mse_loss, normalize


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


@dataclass(frozen=True)
class Neighbours:
    """Which vertices are neighbours, prepared for :func:`uniform_laplacian` of many positions of one mesh.

    Attributes:
        starts: int64 [3 F], first vertices of the edges, each edge once for every face that has it.
        ends: int64 [3 F], their second vertices.
        shares: [N, 1], one over the number of neighbours of each vertex, counted once for each shared face.
    """

    starts: Tensor
    ends: Tensor
    shares: Tensor

    @classmethod
    def of(cls, triangles: Tensor, vertex_count: int, dtype: torch.dtype = torch.float32) -> Neighbours:
        """The neighbours in triangles [F, 3] of ``vertex_count`` vertices."""
        starts, ends = triangles.reshape(-1), triangles.roll(-1, dims=1).reshape(-1)
        count = 2 * torch.bincount(starts, minlength=vertex_count).clamp_min(1)
        return cls(starts, ends, 1 / count[:, None].to(dtype))


def uniform_laplacian(vertices: Tensor, neighbours: Neighbours) -> Tensor:
    """Mean difference [..., N, 3] from each vertex [..., N, 3] to its neighbours, zero for unused vertices.

    Neighbours are counted once for each face they share with the vertex: inside a surface twice each, so the mean is
    that over the neighbours; at a border the neighbours along it weigh half.
    """
    return _UniformLaplacian.apply(vertices, neighbours.starts, neighbours.ends, neighbours.shares)


class _UniformLaplacian(Function):
    """Sums of differences are a symmetric operator: the gradient takes the same few operations as the value."""

    @staticmethod
    def forward(ctx: Any, vertices: Tensor, starts: Tensor, ends: Tensor, shares: Tensor) -> Tensor:
        ctx.save_for_backward(starts, ends, shares)
        return _sum_differences(vertices, starts, ends).mul_(shares)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        starts, ends, shares = ctx.saved_tensors
        return _sum_differences(gradient * shares, starts, ends), None, None, None


def _sum_differences(values: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    """For each row of values [..., N, C] the sum of differences to the rows at the other ends of its edges."""
    rows = values.reshape(-1, values.shape[-1])
    if len(rows) != values.shape[-2]:
        first = torch.arange(0, len(rows), values.shape[-2], device=values.device)[:, None]
        starts, ends = (first + starts).reshape(-1), (first + ends).reshape(-1)
    # Along the first dimension and with alpha = 1: otherwise the CPU takes ten times as long.
    # Differences first: sums of coordinates would lose the small Laplacian to rounding.
    differences = rows.index_select(0, ends) - rows.index_select(0, starts)
    total = torch.zeros_like(rows).index_add_(0, starts, differences)
    return total.index_add_(0, ends, differences.neg_()).view(values.shape)


def laplacian_loss(vertices: Tensor, neighbours: Neighbours) -> Tensor:
    """Mean square (over vertices and axes) of :func:`uniform_laplacian`: small for smooth, evenly spaced meshes."""
    return mean_square(uniform_laplacian(vertices, neighbours))


def mean_square(values: Tensor) -> Tensor:
    """Mean of the squares of all entries; two operators, and one for its gradient."""
    return mse_loss(values, values.new_zeros(()).expand_as(values))
