"""How open every vertex is to the light around it, and smooth normals: single-threaded kernels without the GIL."""

from __future__ import annotations

import numpy as np

from .film_compile import njit


def light_directions(count: int) -> np.ndarray:
    """Float32 [count, 3]: unit vectors spread evenly over the sphere, leaving out the lowest part (the floor)."""
    i = np.arange(count) + 0.5
    y = 1.0 - 1.5 * i / count
    around = np.pi * (1 + 5**0.5) * i
    radius = np.sqrt(1 - y * y)
    return np.stack([radius * np.sin(around), y, radius * np.cos(around)], axis=-1).astype(np.float32)


@njit(nogil=True)
def smooth_normals(vertices: np.ndarray, triangles: np.ndarray, normal_ids: np.ndarray, count: int) -> np.ndarray:
    """Area-weighted unit normals float32 [count, 3]; corner k of triangle f adds to ``normal_ids[f, k]``."""
    normals = np.zeros((count, 3), dtype=np.float32)
    for f in range(triangles.shape[0]):
        a, b, c = vertices[triangles[f, 0]], vertices[triangles[f, 1]], vertices[triangles[f, 2]]
        ex, ey, ez = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        gx, gy, gz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
        nx, ny, nz = ey * gz - ez * gy, ez * gx - ex * gz, ex * gy - ey * gx
        for k in range(3):
            normal = normals[normal_ids[f, k]]
            normal[0] += nx
            normal[1] += ny
            normal[2] += nz
    for i in range(count):
        n = normals[i]
        length = np.sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]) + np.float32(1e-20)
        for k in range(3):
            n[k] /= length
    return normals


@njit(nogil=True)
def openness(
    vertices: np.ndarray,
    triangles: np.ndarray,
    normals: np.ndarray,
    directions: np.ndarray,
    strands: np.ndarray,
    centre: np.ndarray,
    radius: float,
    resolution: int,
    bias: float,
) -> np.ndarray:
    """Share of the light around that reaches each vertex, float32 [V] in [0, 1].

    One small shadow map per direction, over the sphere about ``centre`` [3] with ``radius`` that holds the vertices;
    light counts by the cosine with the vertex normal [V, 3], and from all sides for the vertices marked in ``strands``
    (hair). ``bias`` is the depth, in the unit of the vertices, below which a surface does not shadow itself.
    """
    count = vertices.shape[0]
    reached, total = np.zeros(count, dtype=np.float32), np.zeros(count, dtype=np.float32)
    axes, local = np.empty((3, 3)), np.empty((count, 3), dtype=np.float32)
    for d in range(directions.shape[0]):
        _frame_of(directions[d], axes)
        for i in range(count):
            for k in range(3):
                value = 0.0
                for j in range(3):
                    value += (vertices[i, j] - centre[j]) * axes[k, j]
                local[i, k] = (value / radius * 0.5 + 0.5) * resolution if k < 2 else value
        depth = _shadow_map(local, triangles, resolution)
        for i in range(count):
            weight = 0.5
            if not strands[i]:
                weight = 0.0
                for j in range(3):
                    weight += normals[i, j] * directions[d, j]
            if weight > 0:
                total[i] += weight
                reached[i] += weight * _lit(depth, local[i], bias)
    for i in range(count):
        reached[i] = reached[i] / total[i] if total[i] > 0 else 0.0
    return reached


@njit(nogil=True)
def _frame_of(direction: np.ndarray, axes: np.ndarray) -> None:
    """Rows of ``axes``: two axes across the direction, then the direction; in scalars, which compile in no time."""
    x, y, z = direction[0], direction[1], direction[2]
    across_x, across_y, across_z = (0.0, -z, y) if abs(x) < 0.7 else (z, 0.0, -x)
    length = np.sqrt(across_x * across_x + across_y * across_y + across_z * across_z)
    across_x, across_y, across_z = across_x / length, across_y / length, across_z / length
    axes[0, 0], axes[0, 1], axes[0, 2] = across_x, across_y, across_z
    axes[1, 0] = y * across_z - z * across_y
    axes[1, 1] = z * across_x - x * across_z
    axes[1, 2] = x * across_y - y * across_x
    axes[2, 0], axes[2, 1], axes[2, 2] = x, y, z


@njit(nogil=True)
def _shadow_map(local: np.ndarray, triangles: np.ndarray, resolution: int) -> np.ndarray:
    """Largest third coordinate of the surface over each cell, float32 [resolution, resolution]."""
    depth = np.full((resolution, resolution), -1e9, dtype=np.float32)
    for f in range(triangles.shape[0]):
        p, q, r = local[triangles[f, 0]], local[triangles[f, 1]], local[triangles[f, 2]]
        area = (q[0] - p[0]) * (r[1] - p[1]) - (r[0] - p[0]) * (q[1] - p[1])
        if area == 0:
            continue
        x_first, x_last = int(np.ceil(min(p[0], q[0], r[0]) - 0.5)), int(np.floor(max(p[0], q[0], r[0]) - 0.5))
        y_first, y_last = int(np.ceil(min(p[1], q[1], r[1]) - 0.5)), int(np.floor(max(p[1], q[1], r[1]) - 0.5))
        for row in range(max(y_first, 0), min(y_last, resolution - 1) + 1):
            for column in range(max(x_first, 0), min(x_last, resolution - 1) + 1):
                x, y = column + 0.5, row + 0.5
                w0 = ((q[0] - x) * (r[1] - y) - (r[0] - x) * (q[1] - y)) / area
                w1 = ((r[0] - x) * (p[1] - y) - (p[0] - x) * (r[1] - y)) / area
                w2 = 1.0 - w0 - w1
                if w0 >= 0 and w1 >= 0 and w2 >= 0:
                    z = w0 * p[2] + w1 * q[2] + w2 * r[2]
                    if z > depth[row, column]:
                        depth[row, column] = z
    return depth


@njit(nogil=True)
def _lit(depth: np.ndarray, point: np.ndarray, bias: float) -> float:
    """Share of the four cells around a point that do not shadow it."""
    last = depth.shape[0] - 1
    column, row = int(point[0] - 0.5), int(point[1] - 0.5)
    fx, fy = point[0] - 0.5 - column, point[1] - 0.5 - row
    lit = 0.0
    for j in range(2):
        for i in range(2):
            c, r = min(max(column + i, 0), last), min(max(row + j, 0), last)
            weight = (fx if i else 1 - fx) * (fy if j else 1 - fy)
            if depth[r, c] <= point[2] + bias:
                lit += weight
    return lit


@njit(nogil=True)
def smooth_over_edges(values: np.ndarray, triangles: np.ndarray, rounds: int) -> np.ndarray:
    """Average [V] with the neighbours along triangle edges, ``rounds`` times."""
    values = values.copy()
    for _ in range(rounds):
        total, count = values.copy(), np.ones_like(values)
        for f in range(triangles.shape[0]):
            for k in range(3):
                a, b = triangles[f, k], triangles[f, (k + 1) % 3]
                total[a] += values[b]
                count[a] += 1
                total[b] += values[a]
                count[b] += 1
        values = total / count
    return values
