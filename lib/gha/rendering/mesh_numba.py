"""Visibility and nearest outline edges on the CPU: bands of rows in parallel, results independent of their number."""

from __future__ import annotations

import math
from pathlib import Path

import numba
import numpy as np
import torch
from numba import prange
from torch import Tensor

from gha.numba_compile import kernel_compiler

from .mesh_projection import SUBPIXELS, ScreenMesh
from .numba_lock import KERNEL_LOCK

njit = kernel_compiler(Path(__file__).parent, "mesh_numba.py", "mesh_projection.py")


def visible_faces(mesh: ScreenMesh) -> Tensor:
    """The front face nearest to each pixel centre [I, H, W] int64, -1 where there is none."""
    points, triangles = _host_arrays(mesh)
    faces = np.full((mesh.image_count, mesh.height, mesh.width), -1, dtype=np.int64)
    with KERNEL_LOCK:
        _draw_faces(points, triangles, mesh.near, _bands(mesh), faces)
    return torch.from_numpy(faces)


def nearest_edges(mesh: ScreenMesh, face_ids: Tensor, reach: float) -> Tensor:
    """The edge nearest to each uncovered pixel within ``reach`` pixels of a front face.

    Args:
        mesh: the projected mesh.
        face_ids: [I, H, W] from ``visible_faces``.
        reach: pixels.

    Returns:
        [I, H, W] int64: 3 * face + k for the edge from corner k to the next, -1 where there is none.
    """
    points, triangles = _host_arrays(mesh)
    edges = np.full((mesh.image_count, mesh.height, mesh.width), -1, dtype=np.int64)
    free = face_ids.numpy() < 0
    with KERNEL_LOCK:
        _draw_edges(points, triangles, mesh.near, reach, _bands(mesh), free, _summed_area(free), edges)
    return torch.from_numpy(edges)


def _host_arrays(mesh: ScreenMesh) -> tuple[np.ndarray, np.ndarray]:
    return mesh.points.detach().double().contiguous().numpy(), mesh.triangles.contiguous().numpy()


def _bands(mesh: ScreenMesh) -> int:
    """Bands per image: enough tasks to keep every thread busy."""
    return max(1, min(mesh.height, math.ceil(2 * numba.get_num_threads() / mesh.image_count)))


def _summed_area(free: np.ndarray) -> np.ndarray:
    """Counts of free pixels above and left of each corner [I, H + 1, W + 1]: any rectangle in four look-ups."""
    sums = np.zeros((free.shape[0], free.shape[1] + 1, free.shape[2] + 1), dtype=np.int32)
    np.cumsum(np.cumsum(free, axis=1, dtype=np.int32), axis=2, out=sums[:, 1:, 1:])
    return sums


@njit(inline="always")
def _snap(pixel: float) -> float:
    return np.floor(pixel * SUBPIXELS + 0.5)  # stays a float: exact up to 2^53, and infinity stays infinite


@njit(inline="always")
def _edge(ax: float, ay: float, bx: float, by: float, px: float, py: float) -> float:
    """Twice the area between edge a-b and point p: positive where p lies inside a front face."""
    return (by - ay) * (px - ax) - (bx - ax) * (py - ay)


@njit(inline="always")
def _inside(value: float, dx: float, dy: float) -> bool:
    """Points on an edge belong to the side they fall on after an infinitesimal shift right, then down."""
    return value > 0 or (value == 0 and (dy > 0 or (dy == 0 and dx < 0)))


@njit(inline="always")
def _first_centre(low: float) -> int:
    return math.ceil(low - 0.5)


@njit(inline="always")
def _last_centre(high: float) -> int:
    return math.floor(high - 0.5)


@njit(parallel=True)
def _draw_faces(points: np.ndarray, triangles: np.ndarray, near: float, bands: int, faces: np.ndarray) -> None:
    images, height, _ = faces.shape
    nearest = np.zeros(faces.shape, dtype=np.float32)
    for task in prange(images * bands):
        image = task // bands
        top = (task % bands) * height // bands
        bottom = (task % bands + 1) * height // bands
        for face in range(triangles.shape[0]):
            _draw_face(points[image], triangles[face], face, near, top, bottom, nearest[image], faces[image])


@njit
def _draw_face(
    points: np.ndarray,
    corners: np.ndarray,
    face: int,
    near: float,
    top: int,
    bottom: int,
    nearest: np.ndarray,
    faces: np.ndarray,
) -> None:
    a, b, c = points[corners[0]], points[corners[1]], points[corners[2]]
    if not min(a[2], b[2], c[2]) > near:
        return
    first = max(top, _first_centre(max(-1.0, min(a[1], b[1], c[1]) - 0.01)))
    last = min(bottom - 1, _last_centre(min(bottom + 1.0, max(a[1], b[1], c[1]) + 0.01)))
    if not first <= last:
        return
    ax, ay, bx, by, cx, cy = _snap(a[0]), _snap(a[1]), _snap(b[0]), _snap(b[1]), _snap(c[0]), _snap(c[1])
    area = _edge(ax, ay, bx, by, cx, cy)
    if not 0 < area < np.inf:
        return
    left = max(0, _first_centre(max(-1.0, min(ax, bx, cx) / SUBPIXELS)))
    right = min(faces.shape[1] - 1, _last_centre(min(faces.shape[1] + 1.0, max(ax, bx, cx) / SUBPIXELS)))
    for row in range(first, last + 1):
        py = (row + 0.5) * SUBPIXELS
        for column in range(left, right + 1):
            px = (column + 0.5) * SUBPIXELS
            wa = _edge(bx, by, cx, cy, px, py)
            wb = _edge(cx, cy, ax, ay, px, py)
            wc = _edge(ax, ay, bx, by, px, py)
            if _inside(wa, cx - bx, cy - by) and _inside(wb, ax - cx, ay - cy) and _inside(wc, bx - ax, by - ay):
                inverse_depth = np.float32((wa / a[2] + wb / b[2] + wc / c[2]) / area)
                if inverse_depth > nearest[row, column]:
                    nearest[row, column] = inverse_depth
                    faces[row, column] = face


@njit(parallel=True)
def _draw_edges(
    points: np.ndarray,
    triangles: np.ndarray,
    near: float,
    reach: float,
    bands: int,
    free: np.ndarray,
    sums: np.ndarray,
    edges: np.ndarray,
) -> None:
    images, height, _ = edges.shape
    best = np.full(edges.shape, np.float32(reach * reach))
    for task in prange(images * bands):
        image = task // bands
        top = (task % bands) * height // bands
        bottom = (task % bands + 1) * height // bands
        for face in range(triangles.shape[0]):
            _draw_edges_of(
                points[image], triangles[face], face, near, reach, top, bottom,
                free[image], sums[image], best[image], edges[image],
            )  # fmt: skip


@njit
def _draw_edges_of(
    points: np.ndarray,
    corners: np.ndarray,
    face: int,
    near: float,
    reach: float,
    top: int,
    bottom: int,
    free: np.ndarray,
    sums: np.ndarray,
    best: np.ndarray,
    edges: np.ndarray,
) -> None:
    a, b, c = points[corners[0]], points[corners[1]], points[corners[2]]
    area = _edge(_snap(a[0]), _snap(a[1]), _snap(b[0]), _snap(b[1]), _snap(c[0]), _snap(c[1]))
    if not (min(a[2], b[2], c[2]) > near and 0 < area < np.inf):
        return
    x0, x1 = min(a[0], b[0], c[0]), max(a[0], b[0], c[0])
    y0, y1 = min(a[1], b[1], c[1]), max(a[1], b[1], c[1])
    first = max(top, _first_centre(max(-1.0, y0 - reach)))
    last = min(bottom - 1, _last_centre(min(bottom + 1.0, y1 + reach)))
    left = max(0, _first_centre(max(-1.0, x0 - reach)))
    right = min(edges.shape[1] - 1, _last_centre(min(edges.shape[1] + 1.0, x1 + reach)))
    if first > last or left > right:
        return
    if sums[last + 1, right + 1] - sums[first, right + 1] - sums[last + 1, left] + sums[first, left] == 0:
        return
    for row in range(first, last + 1):
        py = row + 0.5
        dy = max(y0 - py, 0.0, py - y1)
        for column in range(left, right + 1):
            px = column + 0.5
            dx = max(x0 - px, 0.0, px - x1)
            if free[row, column] and dx * dx + dy * dy < best[row, column]:
                for k in range(3):
                    start, end = points[corners[k]], points[corners[(k + 1) % 3]]
                    squared = np.float32(_squared_distance(start, end, px, py))
                    if squared < best[row, column]:
                        best[row, column] = squared
                        edges[row, column] = 3 * face + k


@njit
def _squared_distance(start: np.ndarray, end: np.ndarray, px: float, py: float) -> float:
    """From a pixel centre to a segment, in square pixels."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = ((px - start[0]) * dx + (py - start[1]) * dy) / max(dx * dx + dy * dy, 1e-12)
    along = min(max(along, 0.0), 1.0)
    ox, oy = start[0] + along * dx - px, start[1] + along * dy - py
    return ox * ox + oy * oy
