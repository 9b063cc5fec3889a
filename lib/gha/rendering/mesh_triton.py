"""Visibility and nearest outline edges on CUDA: windows tried in parallel, pixels settled by 64-bit atomic minima."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .mesh_projection import SUBPIXELS, ScreenMesh
from .mesh_tiles import TILE, covering_windows, empty_keys, outline_windows, unpack_keys, window_corners

_WINDOWS_PER_PROGRAM = 4
_CONSTANTS = {"WINDOWS": _WINDOWS_PER_PROGRAM, "TILE": TILE}


def visible_faces(mesh: ScreenMesh) -> Tensor:
    """The front face nearest to each pixel centre [I, H, W] int64, -1 where there is none."""
    faces, keys = mesh.faces, empty_keys(mesh)
    windows = covering_windows(mesh)
    count = len(windows.face)
    if count:
        arrays = keys, faces.corners.contiguous(), faces.inverse_depth.contiguous(), windows.face, windows.bounds
        sizes = count, mesh.triangles.shape[0], mesh.width, mesh.height
        with torch.cuda.device_of(keys):
            _draw_faces[_grid(count)](*arrays, *sizes, SUBPIXELS=float(SUBPIXELS), **_CONSTANTS)
    return unpack_keys(mesh, keys)


def nearest_edges(mesh: ScreenMesh, face_ids: Tensor, reach: float) -> Tensor:
    """The edge, 3 * face + k, nearest to each uncovered pixel within ``reach`` pixels, [I, H, W], -1 for none."""
    keys, free = empty_keys(mesh), face_ids < 0
    windows = outline_windows(mesh, free, reach)
    count = len(windows.face)
    if count:
        arrays = keys, window_corners(mesh, windows).contiguous(), free.to(torch.int8), windows.face, windows.bounds
        sizes = count, mesh.triangles.shape[0], mesh.width, mesh.height
        with torch.cuda.device_of(keys):
            _draw_edges[_grid(count)](*arrays, *sizes, reach**2, **_CONSTANTS)
    return unpack_keys(mesh, keys)


def _grid(count: int) -> tuple[int]:
    return (triton.cdiv(count, _WINDOWS_PER_PROGRAM),)


@triton.jit
def _draw_faces(
    keys: tl.tensor,
    corners: tl.tensor,
    inverse_depths: tl.tensor,
    window_faces: tl.tensor,
    window_bounds: tl.tensor,
    count: tl.tensor,
    face_count: tl.tensor,
    width: tl.tensor,
    height: tl.tensor,
    SUBPIXELS: tl.constexpr,
    WINDOWS: tl.constexpr,
    TILE: tl.constexpr,
) -> None:
    window = tl.program_id(0) * WINDOWS + tl.arange(0, WINDOWS)[:, None]
    face = tl.load(window_faces + window, mask=window < count, other=0)
    column, row, valid = _window_pixels(window_bounds, window, count, TILE)
    px = (column.to(tl.float64) + 0.5) * SUBPIXELS
    py = (row.to(tl.float64) + 0.5) * SUBPIXELS
    ax, ay, bx, by, cx, cy = _load_corners(corners, face, window < count)
    wa = (cy - by) * (px - bx) - (cx - bx) * (py - by)
    wb = (ay - cy) * (px - cx) - (ax - cx) * (py - cy)
    wc = (by - ay) * (px - ax) - (bx - ax) * (py - ay)
    inside = _owns(wa, cx - bx, cy - by) & _owns(wb, ax - cx, ay - cy) & _owns(wc, bx - ax, by - ay)
    total = wa * tl.load(inverse_depths + face * 3)
    total += wb * tl.load(inverse_depths + face * 3 + 1)
    total += wc * tl.load(inverse_depths + face * 3 + 2)
    area = tl.where(inside, wa + wb + wc, 1.0)
    bits = (total / area).to(tl.float32).to(tl.int32, bitcast=True)
    key = ((0x7FFFFFFF - bits).to(tl.int64) << 32) | (face % face_count)
    pixel = ((face // face_count) * height + row) * width + column
    tl.atomic_min(keys + pixel, key, mask=valid & inside)


@triton.jit
def _draw_edges(
    keys: tl.tensor,
    corners: tl.tensor,
    free: tl.tensor,
    window_faces: tl.tensor,
    window_bounds: tl.tensor,
    count: tl.tensor,
    face_count: tl.tensor,
    width: tl.tensor,
    height: tl.tensor,
    reach_squared: tl.tensor,
    WINDOWS: tl.constexpr,
    TILE: tl.constexpr,
) -> None:
    window = tl.program_id(0) * WINDOWS + tl.arange(0, WINDOWS)[:, None]
    face = tl.load(window_faces + window, mask=window < count, other=0)
    column, row, valid = _window_pixels(window_bounds, window, count, TILE)
    pixel = ((face // face_count) * height + row) * width + column
    valid = valid & (tl.load(free + pixel, mask=valid, other=0) != 0)
    px = column.to(tl.float64) + 0.5
    py = row.to(tl.float64) + 0.5
    ax, ay, bx, by, cx, cy = _load_corners(corners, window, window < count)
    edge = (face % face_count) * 3
    key = _edge_key(ax, ay, bx, by, px, py, edge)
    key = tl.minimum(key, _edge_key(bx, by, cx, cy, px, py, edge + 1))
    key = tl.minimum(key, _edge_key(cx, cy, ax, ay, px, py, edge + 2))
    squared = (key >> 32).to(tl.int32).to(tl.float32, bitcast=True)
    tl.atomic_min(keys + pixel, key, mask=valid & (squared < reach_squared))


@triton.jit
def _window_pixels(
    window_bounds: tl.tensor, window: tl.tensor, count: tl.tensor, TILE: tl.constexpr
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Columns, rows [WINDOWS, TILE * TILE] and which of them lie in the window."""
    live = window < count
    lane = tl.arange(0, TILE * TILE)[None, :]
    column = tl.load(window_bounds + window * 4, mask=live, other=0) + lane % TILE
    row = tl.load(window_bounds + window * 4 + 1, mask=live, other=0) + lane // TILE
    right = tl.load(window_bounds + window * 4 + 2, mask=live, other=-1)
    bottom = tl.load(window_bounds + window * 4 + 3, mask=live, other=-1)
    return column, row, (column <= right) & (row <= bottom)


@triton.jit
def _load_corners(corners: tl.tensor, row: tl.tensor, live: tl.tensor) -> tuple[tl.tensor, ...]:
    """The x and y of three corners from rows of six."""
    ax = tl.load(corners + row * 6, mask=live, other=0.0)
    ay = tl.load(corners + row * 6 + 1, mask=live, other=0.0)
    bx = tl.load(corners + row * 6 + 2, mask=live, other=0.0)
    by = tl.load(corners + row * 6 + 3, mask=live, other=0.0)
    cx = tl.load(corners + row * 6 + 4, mask=live, other=0.0)
    cy = tl.load(corners + row * 6 + 5, mask=live, other=0.0)
    return ax, ay, bx, by, cx, cy


@triton.jit
def _owns(side: tl.tensor, dx: tl.tensor, dy: tl.tensor) -> tl.tensor:
    """Whether a point is inside an edge; on it, whether it is after an infinitesimal shift right, then down."""
    return (side > 0) | ((side == 0) & ((dy > 0) | ((dy == 0) & (dx < 0))))


@triton.jit
def _edge_key(
    sx: tl.tensor, sy: tl.tensor, ex: tl.tensor, ey: tl.tensor, px: tl.tensor, py: tl.tensor, edge: tl.tensor
) -> tl.tensor:
    """Squared distance to a segment in the high half, the edge's id in the low half."""
    dx, dy = ex - sx, ey - sy
    along = ((px - sx) * dx + (py - sy) * dy) / tl.maximum(dx * dx + dy * dy, 1e-12)
    along = tl.minimum(tl.maximum(along, 0.0), 1.0)
    ox, oy = px - sx - along * dx, py - sy - along * dy
    bits = (ox * ox + oy * oy).to(tl.float32).to(tl.int32, bitcast=True)
    return (bits.to(tl.int64) << 32) | edge
