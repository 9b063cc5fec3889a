"""Visibility and nearest outline edges on CUDA: faces tried in parallel, pixels settled by 64-bit atomic minima.

Two launches per image batch and no wait: what the tensor back end computes step by step, a kernel does in registers.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .mesh_projection import SUBPIXELS, ScreenMesh
from .mesh_tiles import empty_keys, summed_area, unpack_keys

# Faces of a few pixels, as a mesh head has at 256 pixels: windows of 2x2 and one warp for 8 faces take a quarter of the
# time of 8x8 windows and four warps for 4 (0.26 instead of 1.17 ms for both kernels and four views on an H200).
_FACES_PER_PROGRAM = 8
_CONSTANTS = {"SUBPIXELS": float(SUBPIXELS), "FACES": _FACES_PER_PROGRAM, "TILE": 2, "num_warps": 1}


def visible_faces(mesh: ScreenMesh) -> Tensor:
    """The front face nearest to each pixel centre [I, H, W] int64, -1 where there is none."""
    keys = empty_keys(mesh)
    if mesh.triangles.numel():
        with torch.cuda.device_of(keys):
            _draw_faces[_grid(mesh)](keys, *_geometry(mesh), **_CONSTANTS)
    return unpack_keys(mesh, keys)


def nearest_edges(mesh: ScreenMesh, face_ids: Tensor, reach: float) -> Tensor:
    """The edge, 3 * face + k, nearest to each uncovered pixel within ``reach`` pixels, [I, H, W], -1 for none."""
    keys = empty_keys(mesh)
    if mesh.triangles.numel():
        with torch.cuda.device_of(keys):
            sums = summed_area(face_ids < 0)
            _draw_edges[_grid(mesh)](keys, *_geometry(mesh), face_ids.contiguous(), sums, reach, **_CONSTANTS)
    return unpack_keys(mesh, keys)


def _geometry(mesh: ScreenMesh) -> tuple[Tensor | int | float, ...]:
    """What both kernels read: points, triangles, numbers of faces (of all images, of one) and vertices, sizes, near."""
    points, triangles = mesh.points.detach().contiguous(), mesh.triangles.contiguous()
    faces = mesh.image_count * len(triangles)
    return points, triangles, faces, len(triangles), mesh.vertex_count, mesh.width, mesh.height, mesh.near


def _grid(mesh: ScreenMesh) -> tuple[int, int]:
    """Programs along the faces of all images and, where those are few, several that share the windows of each."""
    faces = mesh.image_count * len(mesh.triangles)
    return triton.cdiv(faces, _FACES_PER_PROGRAM), max(1, min(64, 4096 // max(faces, 1)))


@triton.jit
def _draw_faces(
    keys: tl.tensor,
    points: tl.tensor,
    triangles: tl.tensor,
    total_faces: tl.tensor,
    face_count: tl.tensor,
    vertex_count: tl.tensor,
    width: tl.tensor,
    height: tl.tensor,
    near: tl.tensor,
    SUBPIXELS: tl.constexpr,
    FACES: tl.constexpr,
    TILE: tl.constexpr,
) -> None:
    image, face, live = _my_faces(total_faces, face_count, FACES)
    ax, ay, az = _load_corner(points, triangles, image, face, 0, vertex_count, live)
    bx, by, bz = _load_corner(points, triangles, image, face, 1, vertex_count, live)
    cx, cy, cz = _load_corner(points, triangles, image, face, 2, vertex_count, live)
    ax, ay, bx = _snap(ax, SUBPIXELS), _snap(ay, SUBPIXELS), _snap(bx, SUBPIXELS)
    by, cx, cy = _snap(by, SUBPIXELS), _snap(cx, SUBPIXELS), _snap(cy, SUBPIXELS)
    front = live & _is_front(ax, ay, bx, by, cx, cy) & (tl.minimum(tl.minimum(az, bz), cz) > near)
    left, right = _pixel_range(ax, bx, cx, 0.0, width, front, SUBPIXELS)
    top, bottom = _pixel_range(ay, by, cy, 0.0, height, front, SUBPIXELS)
    across, count = _window_count(left, right, top, bottom, front, TILE)
    for step in range(tl.program_id(1), tl.max(count), tl.num_programs(1)):
        column, row, valid = _window_pixels(step, left, right, top, bottom, across, count, TILE)
        px = (column.to(tl.float64) + 0.5) * SUBPIXELS
        py = (row.to(tl.float64) + 0.5) * SUBPIXELS
        wa = (cy - by) * (px - bx) - (cx - bx) * (py - by)
        wb = (ay - cy) * (px - cx) - (ax - cx) * (py - cy)
        wc = (by - ay) * (px - ax) - (bx - ax) * (py - ay)
        inside = _owns(wa, cx - bx, cy - by) & _owns(wb, ax - cx, ay - cy) & _owns(wc, bx - ax, by - ay)
        total = wa * (1 / az) + wb * (1 / bz) + wc * (1 / cz)
        inside = inside & valid
        inverse_depth = tl.where(inside, total, 1.0) / tl.where(inside, wa + wb + wc, 1.0)
        bits = inverse_depth.to(tl.float32).to(tl.int32, bitcast=True)
        key = ((0x7FFFFFFF - bits).to(tl.int64) << 32) | face
        tl.atomic_min(keys + (image * height + row) * width + column, key, mask=inside)


@triton.jit
def _draw_edges(
    keys: tl.tensor,
    points: tl.tensor,
    triangles: tl.tensor,
    total_faces: tl.tensor,
    face_count: tl.tensor,
    vertex_count: tl.tensor,
    width: tl.tensor,
    height: tl.tensor,
    near: tl.tensor,
    face_ids: tl.tensor,
    sums: tl.tensor,
    reach: tl.tensor,
    SUBPIXELS: tl.constexpr,
    FACES: tl.constexpr,
    TILE: tl.constexpr,
) -> None:
    image, face, live = _my_faces(total_faces, face_count, FACES)
    ax, ay, az = _load_corner(points, triangles, image, face, 0, vertex_count, live)
    bx, by, bz = _load_corner(points, triangles, image, face, 1, vertex_count, live)
    cx, cy, cz = _load_corner(points, triangles, image, face, 2, vertex_count, live)
    sax, say, sbx = _snap(ax, SUBPIXELS), _snap(ay, SUBPIXELS), _snap(bx, SUBPIXELS)
    sby, scx, scy = _snap(by, SUBPIXELS), _snap(cx, SUBPIXELS), _snap(cy, SUBPIXELS)
    front = live & _is_front(sax, say, sbx, sby, scx, scy) & (tl.minimum(tl.minimum(az, bz), cz) > near)
    margin = reach + 1 / SUBPIXELS
    left, right = _pixel_range(sax, sbx, scx, margin, width, front, SUBPIXELS)
    top, bottom = _pixel_range(say, sby, scy, margin, height, front, SUBPIXELS)
    free = _free_pixels(sums + image * (height + 1) * (width + 1), width, left, right, top, bottom, front)
    across, count = _window_count(left, right, top, bottom, free > 0, TILE)  # most faces have none near them
    for step in range(tl.program_id(1), tl.max(count), tl.num_programs(1)):
        column, row, valid = _window_pixels(step, left, right, top, bottom, across, count, TILE)
        pixel = (image * height + row) * width + column
        valid = valid & (tl.load(face_ids + pixel, mask=valid, other=0) < 0)
        px = column.to(tl.float64) + 0.5
        py = row.to(tl.float64) + 0.5
        edge = face * 3
        key = _edge_key(ax, ay, bx, by, px, py, edge)
        key = tl.minimum(key, _edge_key(bx, by, cx, cy, px, py, edge + 1))
        key = tl.minimum(key, _edge_key(cx, cy, ax, ay, px, py, edge + 2))
        squared = (key >> 32).to(tl.int32).to(tl.float32, bitcast=True)
        tl.atomic_min(keys + pixel, key, mask=valid & (squared < reach * reach))


@triton.jit
def _my_faces(
    total_faces: tl.tensor, face_count: tl.tensor, FACES: tl.constexpr
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Images and faces [FACES, 1] of this program, and which of them there are."""
    work = tl.program_id(0).to(tl.int64) * FACES + tl.arange(0, FACES)[:, None]
    return work // face_count, work % face_count, work < total_faces


@triton.jit
def _load_corner(
    points: tl.tensor,
    triangles: tl.tensor,
    image: tl.tensor,
    face: tl.tensor,
    corner: tl.constexpr,
    vertex_count: tl.tensor,
    live: tl.tensor,
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Pixel x, pixel y and depth of one corner of each face, in float64."""
    vertex = tl.load(triangles + face * 3 + corner, mask=live, other=0)
    place = points + (image * vertex_count + vertex) * 3
    x = tl.load(place, mask=live, other=0.0).to(tl.float64)
    y = tl.load(place + 1, mask=live, other=0.0).to(tl.float64)
    z = tl.load(place + 2, mask=live, other=1.0).to(tl.float64)
    return x, y, z


@triton.jit
def _snap(pixel: tl.tensor, SUBPIXELS: tl.constexpr) -> tl.tensor:
    """To whole numbers of subpixels."""
    return tl.floor(pixel * SUBPIXELS + 0.5)


@triton.jit
def _is_front(ax: tl.tensor, ay: tl.tensor, bx: tl.tensor, by: tl.tensor, cx: tl.tensor, cy: tl.tensor) -> tl.tensor:
    """Whether the corners are counter-clockwise as seen from outside, and finite."""
    area = (by - ay) * (cx - ax) - (bx - ax) * (cy - ay)
    return (area > 0) & (area < float("inf"))


@triton.jit
def _pixel_range(
    a: tl.tensor,
    b: tl.tensor,
    c: tl.tensor,
    margin: tl.tensor,
    size: tl.tensor,
    front: tl.tensor,
    SUBPIXELS: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """First and last pixel along one axis whose centres are at most ``margin`` pixels from the corners' interval."""
    low = tl.minimum(tl.minimum(a, b), c) / SUBPIXELS
    high = tl.maximum(tl.maximum(a, b), c) / SUBPIXELS
    first = tl.minimum(tl.maximum(tl.ceil(low - (margin + 0.5)), 0.0), size * 1.0)
    last = tl.minimum(tl.maximum(tl.floor(high + (margin - 0.5)), -1.0), size * 1.0 - 1.0)
    return tl.where(front, first, 0.0).to(tl.int32), tl.where(front, last, -1.0).to(tl.int32)


@triton.jit
def _free_pixels(
    sums: tl.tensor,
    width: tl.tensor,
    left: tl.tensor,
    right: tl.tensor,
    top: tl.tensor,
    bottom: tl.tensor,
    front: tl.tensor,
) -> tl.tensor:
    """Uncovered pixels in the ranges of front faces, by the sums [H + 1, W + 1] of their images; of others 0."""
    after = tl.maximum(right + 1, left)
    above, below = sums + top * (width + 1), sums + tl.maximum(bottom + 1, top) * (width + 1)
    upper = tl.load(above + after, mask=front, other=0) - tl.load(above + left, mask=front, other=0)
    return tl.load(below + after, mask=front, other=0) - tl.load(below + left, mask=front, other=0) - upper


@triton.jit
def _window_count(
    left: tl.tensor, right: tl.tensor, top: tl.tensor, bottom: tl.tensor, front: tl.tensor, TILE: tl.constexpr
) -> tuple[tl.tensor, tl.tensor]:
    """Windows of TILE x TILE pixels in a row, at least 1, and in all."""
    across = tl.maximum(right - left, 0) // TILE + 1
    down = tl.maximum(bottom - top, 0) // TILE + 1
    return across, tl.where(front & (right >= left) & (bottom >= top), across * down, 0)


@triton.jit
def _window_pixels(
    step: tl.tensor,
    left: tl.tensor,
    right: tl.tensor,
    top: tl.tensor,
    bottom: tl.tensor,
    across: tl.tensor,
    count: tl.tensor,
    TILE: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Columns and rows [FACES, TILE * TILE] of each face's window ``step``, and which of them are in its range."""
    lane = tl.arange(0, TILE * TILE)[None, :]
    column = left + step % across * TILE + lane % TILE
    row = top + step // across * TILE + lane // TILE
    return column, row, (step < count) & (column <= right) & (row <= bottom)


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
