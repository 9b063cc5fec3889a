"""What is fixed about the surface of a mesh head between two searches of its lattice."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gha.geometry import ActiveTetrahedra, Neighbours, SurfaceTopology, interpolate_at_zero, marching_tetrahedra

from .division import Division
from .fields import HeadFields


@dataclass(frozen=True)
class CrossedEdges:
    """Lattice vertices at the ends of edges that the surface crosses, and how its vertices and triangles follow."""

    positions: Tensor  # [M, 3]
    encoded: Tensor  # [M, P]
    topology: SurfaceTopology

    @classmethod
    def of(cls, active: ActiveTetrahedra, fields: HeadFields) -> CrossedEdges:
        """Triangulate inside the tetrahedra that a search found."""
        topology = marching_tetrahedra(active.sdf, active.tets)
        return cls(active.vertices, fields.encode_positions(active.vertices), topology)


@dataclass(frozen=True)
class SurfaceLayout:
    """Surface vertices in the order of their division, and all that is fixed until the surface is searched again.

    The learned landmarks come before them, where there are any: the values at the ends of crossed edges are followed by
    those at the landmarks, each of which is an edge from and to itself.
    """

    edges: Tensor  # [L + N, 2]
    triangles: Tensor  # [F, 3], surface vertices from 0
    division: Division
    nearest: Tensor  # [mixed], landmark nearest to each vertex that both expression and pose move
    neighbours: Neighbours

    @classmethod
    def of(
        cls, crossed: CrossedEdges, values: Tensor, landmarks: Tensor, fields: HeadFields, slack: float
    ) -> SurfaceLayout:
        """Sort the surface vertices, given the values [M + L, 1 + 3 + feature_size]."""
        count, device = len(crossed.positions), values.device
        edges, triangles = crossed.topology.edges, crossed.topology.triangles
        vertices = interpolate_at_zero(values[:, :4].detach(), edges)[:, 1:]
        order, division, nearest = fields.divide(vertices, landmarks, slack)
        place = torch.empty_like(order).index_copy_(0, order, torch.arange(len(order), device=device))
        triangles = place[triangles]
        of_landmarks = torch.arange(count, len(values), device=device)[:, None].expand(-1, 2)
        neighbours = Neighbours.of(triangles, len(order), values.dtype)
        return cls(torch.cat([of_landmarks, edges[order]]), triangles, division, nearest, neighbours)
