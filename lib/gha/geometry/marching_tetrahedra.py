"""Marching tetrahedra: from signs on tetrahedra to a triangle mesh, and differentiable positions on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import permutations
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class SurfaceTopology:
    """How the zero surface of a signed distance runs through tetrahedra; no positions.

    Attributes:
        edges: int64 [Nv, 2]: surface vertex n lies on the tetrahedron edge from vertex ``edges[n, 0]`` (inside) to
            ``edges[n, 1]`` (outside). Sorted, each edge once.
        triangles: int64 [T, 3], surface vertices, counter-clockwise seen from outside.
    """

    edges: Tensor
    triangles: Tensor

    def compact(self) -> tuple[Tensor, SurfaceTopology]:
        """The tetrahedron vertices that matter, and the same topology on them alone.

        Returns:
            Sorted unique ids [U] of the vertices at the ends of ``edges``, and the topology whose edges index them:
            evaluate a network at the U vertices only, then interpolate.
        """
        count = int(self.edges.max()) + 1 if self.edges.numel() else 0
        used = torch.zeros(count, dtype=torch.bool, device=self.edges.device)
        used[self.edges.reshape(-1)] = True
        ids = used.nonzero()[:, 0]
        return ids, SurfaceTopology((used.cumsum(0) - 1)[self.edges], self.triangles)


def marching_tetrahedra(sdf: Tensor, tets: Tensor) -> SurfaceTopology:
    """Triangulate the zero level of a function given at the vertices of tetrahedra.

    Args:
        sdf: signed distance [M], positive outside; zero counts as inside.
        tets: vertex ids int64 [K, 4], positively oriented: (v1 - v0) x (v2 - v0) . (v3 - v0) > 0.

    Returns:
        The topology, without gradients; empty where all signs agree. A tetrahedron with two vertices inside gives
        two triangles, otherwise one; the first triangles come in the order of the tetrahedra, then the second ones.
    """
    case = ((sdf <= 0)[tets] * torch.tensor([1, 2, 4, 8], device=tets.device)).sum(-1)
    crossing = (case > 0) & (case < 15)
    case, tets = case[crossing], tets[crossing]
    inside, outside, two_triangles = _case_table(tets.device)
    count = max(sdf.numel(), 1)
    keys = tets.gather(1, inside[case]) * count + tets.gather(1, outside[case])
    unique, polygons = torch.unique(keys, return_inverse=True)
    second = polygons[two_triangles[case]]
    triangles = torch.cat([polygons[:, :3], second[:, [0, 2, 3]]])
    return SurfaceTopology(torch.stack([unique // count, unique % count], dim=-1), triangles)


def interpolate_on_edges(values: Tensor, sdf: Tensor, edges: Tensor) -> Tensor:
    """Values at the surface vertices: linear between the ends of each edge, at the zero of ``sdf``.

    Args:
        values: positions, features, ... at the tetrahedron vertices, [M, C].
        sdf: signed distance there, [M].
        edges: inside and outside ids, [Nv, 2].

    Returns:
        [Nv, C], differentiable in ``values`` and ``sdf``. Concatenate what shares the edges to interpolate it once.
    """
    return interpolate_at_zero(torch.cat([sdf[:, None], values], dim=-1), edges)[:, 1:]


def interpolate_at_zero(values: Tensor, edges: Tensor) -> Tensor:
    """Like :func:`interpolate_on_edges`, for values [M, 1 + C] whose first channel is the signed distance itself.

    The zero lies at a fraction of the way along the edge that is always in [0, 1]: also where a value is exactly
    zero, where both ends are nearly equal (then 0.5, without gradient), or where re-evaluation in another precision
    has turned a sign. An edge from a vertex to itself gives what is at that vertex.

    Returns:
        [Nv, 1 + C], differentiable in ``values``.
    """
    return _Interpolation.apply(values, edges)


class _Interpolation(Function):
    """With its gradient in closed form: autograd would launch four times as many operators."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, edges: Tensor) -> Tensor:
        ends = values.index_select(0, edges.reshape(-1)).unflatten(0, (-1, 2))
        inside, outside = ends[:, 0], ends[:, 1]
        fall = inside[:, :1] - outside[:, :1]  # negative where the surface is crossed outwards
        fixed = fall >= -1e-8
        fraction = (inside[:, :1] / fall).masked_fill_(fixed, 0.5)
        ctx.save_for_backward(ends, edges, fall, fixed | (fraction < 0) | (fraction > 1), fraction.clamp_(0, 1))
        ctx.count = len(values)
        return torch.lerp(inside, outside, fraction)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        ends, edges, fall, fixed, fraction = ctx.saved_tensors
        of_ends = torch.empty_like(ends)
        torch.mul(gradient, fraction, out=of_ends[:, 1])
        torch.sub(gradient, of_ends[:, 1], out=of_ends[:, 0])
        # The fraction is inside / (inside - outside) of the distances.
        of_fraction = (gradient * (ends[:, 1] - ends[:, 0])).sum(-1, keepdim=True)
        slope = (of_fraction / fall).masked_fill_(fixed, 0)
        of_ends[:, 0, :1] += slope * (1 - fraction)
        of_ends[:, 1, :1] += slope * fraction
        total = gradient.new_zeros(ctx.count, gradient.shape[1])
        return total.index_add_(0, edges.reshape(-1), of_ends.flatten(0, 1)), None


@cache
def _case_table(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each of the 16 sign cases (bit n set: vertex n inside) the polygon that separates inside from outside.

    Returns:
        Columns of the inside and outside ends of the polygon's four corners, [16, 4] each, and whether it is a
        quadrilateral, [16]. A triangle repeats its last corner. Corners are counter-clockwise seen from outside.
    """
    inside, outside = torch.zeros(16, 4, dtype=torch.int64), torch.zeros(16, 4, dtype=torch.int64)
    two_triangles = torch.zeros(16, dtype=torch.bool)
    # With the tetrahedron reordered by an even permutation (which keeps its orientation) so that its inside vertices
    # come first, only three shapes remain; their corners as (inside, outside) places in the new order.
    shapes = {
        1: ((0, 1), (0, 2), (0, 3), (0, 3)),
        2: ((0, 2), (0, 3), (1, 3), (1, 2)),
        3: ((0, 3), (1, 3), (2, 3), (2, 3)),
    }
    for case in range(1, 15):
        is_inside = [bool(case >> n & 1) for n in range(4)]
        order = next(p for p in permutations(range(4)) if _is_even(p) and _sorted_first([is_inside[n] for n in p]))
        corners = shapes[sum(is_inside)]
        inside[case] = torch.tensor([order[a] for a, _ in corners])
        outside[case] = torch.tensor([order[b] for _, b in corners])
        two_triangles[case] = sum(is_inside) == 2
    return inside.to(device), outside.to(device), two_triangles.to(device)


def _is_even(permutation: tuple[int, ...]) -> bool:
    swaps = sum(a > b for i, a in enumerate(permutation) for b in permutation[i + 1 :])
    return swaps % 2 == 0


def _sorted_first(flags: list[bool]) -> bool:
    return flags == sorted(flags, reverse=True)
