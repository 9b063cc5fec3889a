"""The soft silhouette: 1 on covered pixels, falling to 0 within three pixels of the outline, at any resolution."""

from __future__ import annotations

import itertools
import math
from functools import cache

import torch
from torch import Tensor

from .mesh_interpolation import gather_points, locate_pixels
from .mesh_projection import ScreenMesh

SOFT_SCALE = 1.5
"""Pixels: the fall-off is a Gaussian bell exp(-(d / scale)^2), lowered so that it ends in zero."""
SOFT_REACH = 3.0
"""Pixels: how far from the outline the soft silhouette ends."""

LOWEST = math.exp(-((SOFT_REACH / SOFT_SCALE) ** 2))
"""The bell at ``SOFT_REACH``, by which it is lowered."""


def fall_off(squared_distance: Tensor) -> Tensor:
    """From 1 on the outline to 0 at ``SOFT_REACH`` pixels, by the squared distance to it in square pixels."""
    return (((-squared_distance / SOFT_SCALE**2).exp() - LOWEST) / (1 - LOWEST)).clamp_min(0)


def soft_silhouette(mesh: ScreenMesh, face_ids: Tensor, edge_ids: Tensor) -> Tensor:
    """Soft masks [I, 1, H, W], differentiable in the vertices.

    The nearest edge is given; only the distance to it is computed here, and only for the pixels that have one.

    Args:
        mesh: the projected mesh.
        face_ids: [I, H, W], -1 on uncovered pixels.
        edge_ids: [I, H, W], 3 * face + k for the nearest edge (corner k to the next), -1 where none is in reach.
    """
    index, image, centre = locate_pixels(mesh, edge_ids)
    soft = fall_off(_squared_distance(mesh, image, centre, edge_ids.reshape(-1).index_select(0, index)))
    mask = (face_ids >= 0).to(soft.dtype).reshape(-1)
    mask.index_copy_(0, index, soft)
    return mask.reshape(mesh.image_count, 1, mesh.height, mesh.width)


def _squared_distance(mesh: ScreenMesh, image: Tensor, centre: Tensor, edge_ids: Tensor) -> Tensor:
    """From pixel centres [P, 2] in images [P] to edges [P], in square pixels [P]."""
    edges = torch.stack([mesh.triangles, mesh.triangles.roll(-1, 1)], dim=-1).reshape(-1, 2)
    start, end = gather_points(mesh, image, edges.index_select(0, edge_ids))[..., :2].unbind(1)
    direction, offset = end - start, centre - start
    along = (offset * direction).sum(-1) / (direction * direction).sum(-1).clamp_min(1e-12)
    nearest = offset - along.clamp(0, 1)[:, None] * direction
    return (nearest * nearest).sum(-1)


def soften_mask(mask: Tensor) -> Tensor:
    """The soft silhouette of a mask image: what ``soft_mask`` would be if a mesh covered exactly ``mask``.

    Comparing a rendered soft mask with the plain truth shrinks the mesh by 1.3 pixels, since the fall-off lies outside
    it; comparing with the softened truth is right to 0.15 pixels.

    Args:
        mask: [..., 1, H, W] in [0, 1].
    """
    reach = math.ceil(SOFT_REACH)
    flat = mask.reshape(-1, 1, *mask.shape[-2:])
    if mask.is_cuda:  # in few operators
        around = torch.nn.functional.unfold(flat, 2 * reach + 1, padding=reach)
        return (around * _weights_around(reach, mask.dtype, mask.device)).amax(1).reshape(mask.shape)
    height, width = mask.shape[-2:]
    padded, soft = torch.nn.functional.pad(flat, (reach,) * 4), torch.zeros_like(flat)
    for place, weight in enumerate(_weights_around(reach, mask.dtype, mask.device)[:, 0].tolist()):
        if weight > 0:
            top, left = divmod(place, 2 * reach + 1)
            soft = torch.maximum(soft, weight * padded[..., top : top + height, left : left + width])
    return soft.reshape(mask.shape)


@cache
def _weights_around(reach: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Fall-off from each of the K = (2 reach + 1)² pixels around a pixel to it, row by row, [K, 1]; 0 out of reach."""
    offsets = itertools.product(range(-reach, reach + 1), repeat=2)
    distances = [max(math.hypot(down, right) - 0.5, 0.0) for down, right in offsets]
    weights = [float(fall_off(torch.tensor(d**2))) if d < SOFT_REACH else 0.0 for d in distances]
    return torch.tensor(weights, dtype=dtype, device=device)[:, None]
