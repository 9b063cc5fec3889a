"""Visibility and nearest outline edges in plain tensor operations: the fallback on any device."""

from __future__ import annotations

import torch
from torch import Tensor

from .mesh_projection import SUBPIXELS, ScreenFaces, ScreenMesh
from .mesh_tiles import (
    TILE,
    Windows,
    covering_windows,
    empty_keys,
    outline_windows,
    unpack_keys,
    window_corners,
)

_CHUNK = 1 << 14
"""Windows tried at once, 64 pixels each: bounds the memory."""


def visible_faces(mesh: ScreenMesh) -> Tensor:
    """The front face nearest to each pixel centre [I, H, W] int64, -1 where there is none."""
    faces, keys = mesh.faces, empty_keys(mesh)
    for windows in covering_windows(mesh).split(_CHUNK):
        pixels, columns, rows, valid = _window_pixels(mesh, windows)
        inside, inverse_depth = _cover(faces, windows.face, columns, rows)
        priority = 0x7FFFFFFF - _float_bits(inverse_depth)
        ids = (windows.face % mesh.triangles.shape[0])[:, None]
        _keep_smallest(keys, pixels, priority << 32 | ids, inside & valid)
    return unpack_keys(mesh, keys)


def nearest_edges(mesh: ScreenMesh, face_ids: Tensor, reach: float) -> Tensor:
    """The edge, 3 * face + k, nearest to each uncovered pixel within ``reach`` pixels, [I, H, W], -1 for none."""
    keys, free = empty_keys(mesh), face_ids < 0
    for windows in outline_windows(mesh, free, reach).split(_CHUNK):
        pixels, columns, rows, valid = _window_pixels(mesh, windows)
        valid = valid & free.reshape(-1)[pixels]
        corners = window_corners(mesh, windows)
        for k in range(3):
            squared = _squared_distance(corners[:, k], corners[:, (k + 1) % 3], columns, rows)
            ids = (windows.face % mesh.triangles.shape[0])[:, None] * 3 + k
            _keep_smallest(keys, pixels, _float_bits(squared) << 32 | ids, valid & (squared < reach**2))
    return unpack_keys(mesh, keys)


def _window_pixels(mesh: ScreenMesh, windows: Windows) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Flat position, centre column and row (float64), and validity of the pixels of each window, all [M, 64]."""
    lane = torch.arange(TILE * TILE, device=windows.face.device)
    left, top, right, bottom = windows.bounds.long()[..., None].unbind(1)
    column, row = left + lane % TILE, top + lane // TILE
    valid = (column <= right) & (row <= bottom)
    column, row = torch.minimum(column, right), torch.minimum(row, bottom)
    image = (windows.face // mesh.triangles.shape[0])[:, None]
    return (image * mesh.height + row) * mesh.width + column, column.double() + 0.5, row.double() + 0.5, valid


def _cover(faces: ScreenFaces, face: Tensor, columns: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Whether faces [M] cover pixel centres [M, 64], and their inverse depth there."""
    corners = faces.corners.flatten(0, 1)[face]
    inverse_depth = faces.inverse_depth.flatten(0, 1)[face]
    inside, area, total = True, 0, 0
    for corner, start, end in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        x, y = corners[:, start, :, None].unbind(1)
        dx, dy = (corners[:, end] - corners[:, start])[..., None].unbind(1)
        side = dy * (columns * SUBPIXELS - x) - dx * (rows * SUBPIXELS - y)
        inside = inside & ((side > 0) | ((side == 0) & ((dy > 0) | ((dy == 0) & (dx < 0)))))
        area, total = area + side, total + side * inverse_depth[:, corner, None]
    return inside, total / area


def _squared_distance(start: Tensor, end: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """From pixel centres [M, 64] to segments with ends [M, 2], in square pixels."""
    (x, y), (dx, dy) = start[..., None].unbind(1), (end - start)[..., None].unbind(1)
    along = ((columns - x) * dx + (rows - y) * dy) / (dx * dx + dy * dy).clamp_min(1e-12)
    along = along.clamp(0, 1)
    return (columns - x - along * dx).square() + (rows - y - along * dy).square()


def _float_bits(values: Tensor) -> Tensor:
    """Bits of non-negative values as float32, in int64: they sort as the values do."""
    return values.float().view(torch.int32).long()


def _keep_smallest(keys: Tensor, pixels: Tensor, candidates: Tensor, valid: Tensor) -> None:
    keys.scatter_reduce_(0, pixels[valid], candidates[valid], "amin")
