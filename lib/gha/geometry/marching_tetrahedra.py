"""Marching tetrahedra: from signs on tetrahedra to a triangle mesh, and differentiable positions on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import permutations

import torch
from torch import Tensor


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


def crossing_fraction(sdf: Tensor, edges: Tensor) -> Tensor:
    """Where the zero lies on edges [Nv, 2] as a fraction [Nv, 1] of the way from the inside to the outside end.

    Differentiable in ``sdf`` [M]. Always in [0, 1]: also where a value is exactly zero, where both ends are nearly
    equal (then 0.5, without gradient), or where re-evaluation in another precision has turned a sign.
    """
    inside = sdf.index_select(0, edges[:, 0])
    outside = sdf.index_select(0, edges[:, 1])
    span = outside - inside
    clear = span > 1e-8
    fraction = torch.where(clear, -inside / torch.where(clear, span, 1.0), 0.5)
    return fraction.clamp(0, 1)[:, None]


def interpolate_on_edges(values: Tensor, sdf: Tensor, edges: Tensor) -> Tensor:
    """Values at the surface vertices: linear between the ends of each edge, at the zero of ``sdf``.

    Args:
        values: positions, features, ... at the tetrahedron vertices, [M, C].
        sdf: signed distance there, [M].
        edges: inside and outside ids, [Nv, 2].

    Returns:
        [Nv, C], differentiable in ``values`` and ``sdf``. Concatenate what shares the edges to interpolate it once.
    """
    inside = values.index_select(0, edges[:, 0])
    outside = values.index_select(0, edges[:, 1])
    return torch.lerp(inside, outside, crossing_fraction(sdf, edges).to(values.dtype))


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
