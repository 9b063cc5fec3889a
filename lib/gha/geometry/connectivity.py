"""Which vertices, edges and faces of a triangle mesh touch: edges, adjacency, components, closedness."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_matrix, csgraph
from torch import Tensor


def half_edges(triangles: Tensor) -> Tensor:
    """Directed edges [3 F, 2] of triangles [F, 3]: the three of a face follow each other."""
    return torch.stack([triangles, triangles.roll(-1, dims=1)], dim=-1).reshape(-1, 2)


def unique_edges(triangles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Undirected edges of triangles [F, 3].

    Returns:
        Edges [E, 2] (smaller id first, sorted), how many faces use each [E], and the edges of each face [F, 3], those
        from its corners 0, 1, 2 to the next.
    """
    ends = half_edges(triangles).sort(dim=1).values
    count = int(triangles.max()) + 1 if triangles.numel() else 1
    keys, of_face, uses = torch.unique(ends[:, 0] * count + ends[:, 1], return_inverse=True, return_counts=True)
    return torch.stack([keys // count, keys % count], dim=-1), uses, of_face.view(-1, 3)


def face_adjacency(triangles: Tensor) -> Tensor:
    """Pairs [A, 2] of faces that share an edge, for every edge that exactly two faces use."""
    _, uses, of_face = unique_edges(triangles)
    edge_of_slot, slots = of_face.reshape(-1).sort(stable=True)
    return (slots[uses[edge_of_slot] == 2] // 3).view(-1, 2)


def is_closed(triangles: Tensor) -> bool:
    """Whether every edge is used by exactly two faces, once in each direction: closed and consistently oriented."""
    directed = half_edges(triangles)
    count = int(triangles.max()) + 1 if triangles.numel() else 1
    forward = directed[:, 0] * count + directed[:, 1]
    backward = directed[:, 1] * count + directed[:, 0]
    ordered = forward.sort().values
    return bool((ordered[1:] != ordered[:-1]).all()) and torch.equal(ordered, backward.sort().values)


def euler_characteristic(triangles: Tensor) -> int:
    """Vertices in use - edges + faces: 2 for a sphere, 0 for a torus, summed over components."""
    edges, _, _ = unique_edges(triangles)
    return torch.unique(triangles).numel() - edges.shape[0] + triangles.shape[0]


def connected_components(triangles: Tensor, vertex_count: int) -> Tensor:
    """Component labels [N] of the vertices, 0 .. components - 1; an unused vertex is a component of its own."""
    ends = half_edges(triangles).cpu().numpy()
    graph = coo_matrix((np.ones(len(ends), dtype=bool), (ends[:, 0], ends[:, 1])), shape=(vertex_count, vertex_count))
    labels = csgraph.connected_components(graph, directed=False)[1]
    return torch.as_tensor(labels, dtype=torch.int64, device=triangles.device)


def largest_component(triangles: Tensor, vertex_count: int) -> tuple[Tensor, Tensor]:
    """The connected part with the most faces.

    Returns:
        Ids [U] of its vertices, ascending, and its triangles [F', 3] as indices into them: the mesh is
        ``vertices[ids], triangles``.
    """
    of_face = connected_components(triangles, vertex_count)[triangles[:, 0]]
    kept = triangles[of_face == of_face.bincount().argmax()] if triangles.numel() else triangles
    ids, local = torch.unique(kept, return_inverse=True)
    return ids, local
