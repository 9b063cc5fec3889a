"""Attributes, depth and normals of covered pixels by perspective-correct barycentrics; gradients are autograd's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .mesh_projection import ScreenMesh

MIN_WEIGHT = 1e-9
"""Square pixels. Keeps weights inside the triangle: a pixel on its border may lie outside by a rounding error."""


@dataclass(frozen=True)
class CoveredPixels:
    """The P pixels that show a face: all that is computed per pixel is computed for these alone.

    Attributes:
        index: [P] position in the flattened images I * H * W.
        image: [P] which image.
        centre: [P, 2] pixel coordinates of the centre.
        corners: [P, 3] vertex ids of the visible face.
    """

    index: Tensor
    image: Tensor
    centre: Tensor
    corners: Tensor


def find_covered(mesh: ScreenMesh, face_ids: Tensor) -> CoveredPixels:
    """Gather the pixels where ``face_ids`` [I, H, W] is not negative."""
    index, image, centre = locate_pixels(mesh, face_ids)
    faces = face_ids.reshape(-1).index_select(0, index)
    return CoveredPixels(index, image, centre, mesh.triangles.index_select(0, faces))


def locate_pixels(mesh: ScreenMesh, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Flat position [P], image [P] and centre [P, 2] of the pixels where ``ids`` [I, H, W] is not negative."""
    image, row, column = (ids >= 0).reshape(mesh.image_count, mesh.height, mesh.width).nonzero().unbind(-1)
    centre = torch.stack([column, row], dim=-1).to(mesh.points.dtype) + 0.5
    return (image * mesh.height + row) * mesh.width + column, image, centre


def gather_points(mesh: ScreenMesh, image: Tensor, vertex_ids: Tensor) -> Tensor:
    """Projected points [P, k, 3] of vertices [P, k] as images [P] see them."""
    rows = vertex_ids + (image * mesh.vertex_count)[:, None]
    return take_rows(mesh.points.flatten(0, 1), rows)


def take_rows(table: Tensor, rows: Tensor) -> Tensor:
    """Rows [..., C] of a table [R, C]; index_select has by far the quickest backward of the ways to say this."""
    return table.index_select(0, rows.reshape(-1)).reshape(*rows.shape, table.shape[1])


def perspective_weights(mesh: ScreenMesh, pixels: CoveredPixels) -> tuple[Tensor, Tensor]:
    """Perspective-correct barycentrics [P, 3] (positive, sum 1) and z-depth [P, 1]."""
    corners = gather_points(mesh, pixels.image, pixels.corners)
    x, y = (corners[..., :2] - pixels.centre[:, None]).unbind(-1)
    area = torch.linalg.cross(y, x, dim=-1).clamp_min(MIN_WEIGHT)  # twice that of the pixel with each opposite edge
    over_depth = area / corners[..., 2]
    total = over_depth.sum(-1, keepdim=True)
    return over_depth / total, area.sum(-1, keepdim=True) / total


def draw_attributes(mesh: ScreenMesh, face_ids: Tensor, attributes: Tensor) -> Tensor:
    """Images [I, C, H, W] of attributes [B, Nv, C], zero where ``face_ids`` [I, H, W] is negative; differentiable."""
    pixels = find_covered(mesh, face_ids)
    weights, _ = perspective_weights(mesh, pixels)
    return scatter_pixels(mesh, pixels.index, interpolate(mesh, pixels, weights, attributes))


def interpolate(mesh: ScreenMesh, pixels: CoveredPixels, weights: Tensor, attributes: Tensor) -> Tensor:
    """Attributes [B, Nv, C] of the geometries at covered pixels [P, C]."""
    return (take_rows(attributes.flatten(0, 1), _geometry_rows(mesh, pixels)) * weights[..., None]).sum(1)


def face_normals(mesh: ScreenMesh, pixels: CoveredPixels, vertices: Tensor) -> Tensor:
    """Unit normals [P, 3] of the visible faces in world space, from world vertices [B, Nv, 3]."""
    a, b, c = take_rows(vertices.flatten(0, 1), _geometry_rows(mesh, pixels)).unbind(1)
    normals = torch.linalg.cross(b - a, c - a, dim=-1)
    return normals / normals.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(normals.dtype).tiny)


def _geometry_rows(mesh: ScreenMesh, pixels: CoveredPixels) -> Tensor:
    """Rows [P, 3] of the pixels' corners in a table of all geometries' vertices."""
    if mesh.views == mesh.image_count:
        return pixels.corners
    geometry = torch.div(pixels.image, mesh.views, rounding_mode="floor")
    return pixels.corners + (geometry * mesh.vertex_count)[:, None]


def scatter_pixels(mesh: ScreenMesh, index: Tensor, values: Tensor) -> Tensor:
    """Images [I, C, H, W] with values [P, C] at flat positions [P], zero elsewhere (channels last in memory)."""
    images = values.new_zeros(mesh.image_count * mesh.height * mesh.width, values.shape[-1])
    images.index_copy_(0, index, values)
    return images.reshape(mesh.image_count, mesh.height, mesh.width, -1).permute(0, 3, 1, 2)
