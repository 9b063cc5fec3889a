"""Visibility and nearest outline edges, said plainly: every pixel against every face. For tests and tiny scenes."""

from __future__ import annotations

import torch
from torch import Tensor

from .mesh_projection import SUBPIXELS, ScreenMesh, snap_to_grid


def visible_faces(mesh: ScreenMesh) -> Tensor:
    """The front face nearest to each pixel centre [I, H, W] int64, -1 where there is none."""
    faces = [_visible_in_image(mesh, points) for points in mesh.points.detach()]
    return torch.stack(faces).reshape(-1, mesh.height, mesh.width)


def nearest_edges(mesh: ScreenMesh, face_ids: Tensor, reach: float) -> Tensor:
    """The edge, 3 * face + k, nearest to each uncovered pixel within ``reach`` pixels, [I, H, W], -1 for none."""
    edges = torch.stack([_nearest_in_image(mesh, points, reach) for points in mesh.points.detach()])
    return torch.where(face_ids < 0, edges.reshape(face_ids.shape), -1)


def _visible_in_image(mesh: ScreenMesh, points: Tensor) -> Tensor:
    """Visible faces [P] of one image, from points [Nv, 3]."""
    corners = snap_to_grid(points)[mesh.triangles]
    depth = points[mesh.triangles][..., 2].double()
    centres = _pixel_centres(mesh) * SUBPIXELS
    weights, inside = [], _is_front(corners, depth, mesh.near)[:, None]
    for start, end in ((1, 2), (2, 0), (0, 1)):
        direction = (corners[:, end] - corners[:, start])[:, None]
        offset = centres - corners[:, None, start]
        side = direction[..., 1] * offset[..., 0] - direction[..., 0] * offset[..., 1]
        on_own_edge = (direction[..., 1] > 0) | ((direction[..., 1] == 0) & (direction[..., 0] < 0))
        inside = inside & ((side > 0) | ((side == 0) & on_own_edge))
        weights.append(side)
    weights = torch.stack(weights, dim=-1)
    inverse_depth = ((weights / depth[:, None]).sum(-1) / weights.sum(-1)).float()
    return _first_minimum(-inverse_depth, inside)


def _nearest_in_image(mesh: ScreenMesh, points: Tensor, reach: float) -> Tensor:
    """Nearest edges [P] of one image, from points [Nv, 3]."""
    corners = points[mesh.triangles].double()
    front = _is_front(snap_to_grid(corners), corners[..., 2], mesh.near)
    start, end = corners[..., :2].reshape(-1, 1, 2), corners[..., :2].roll(-1, 1).reshape(-1, 1, 2)
    direction, offset = end - start, _pixel_centres(mesh) - start
    along = (offset * direction).sum(-1) / (direction * direction).sum(-1).clamp_min(1e-12)
    squared = (offset - along.clamp(0, 1)[..., None] * direction).square().sum(-1).float()
    return _first_minimum(squared, front.repeat_interleave(3)[:, None] & (squared < reach**2))


def _is_front(corners: Tensor, depth: Tensor, near: float) -> Tensor:
    """Faces [F] that turn their outside to the camera, from grid positions [F, 3, 2] and depths [F, 3]."""
    (ab, ac), behind = (corners[:, 1:] - corners[:, :1]).unbind(1), (depth <= near).any(1)
    return (ab[:, 1] * ac[:, 0] - ab[:, 0] * ac[:, 1] > 0) & ~behind


def _pixel_centres(mesh: ScreenMesh) -> Tensor:
    """[P, 2] float64."""
    rows, columns = (torch.arange(size, device=mesh.points.device) + 0.5 for size in (mesh.height, mesh.width))
    return torch.cartesian_prod(rows, columns).flip(1).double()


def _first_minimum(values: Tensor, allowed: Tensor) -> Tensor:
    """Row of the smallest allowed value in each column of [R, P]; the first of equals, -1 where none is allowed."""
    values = torch.where(allowed, values, torch.inf)
    is_smallest = allowed & (values == values.amin(0))
    return torch.where(is_smallest.any(0), is_smallest.int().argmax(0), -1)
