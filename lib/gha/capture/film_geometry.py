"""Single-threaded kernels of the film camera; they release the GIL, so images are made in parallel threads.

A pixel is covered by ``supersample ** 2`` samples. Visibility is tested at every sample, colour is computed once per
pixel and triangle at the centre of the samples that the triangle covers (textures are filtered by mip levels).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .film_records import CORNER, GRAD_U, MATERIAL, MIP, RECORD, RELIEF, STRAND, TWO_SIDED


@njit(cache=True, nogil=True)
def project_vertices(vertices: np.ndarray, w2c: np.ndarray, K: np.ndarray, supersample: int) -> np.ndarray:
    """World vertices [V, 3] to float32 [V, 3]: sample x, sample y, 1/z (0 behind the camera)."""
    out = np.zeros((vertices.shape[0], 3), dtype=np.float32)
    for i in range(vertices.shape[0]):
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        cx = w2c[0, 0] * x + w2c[0, 1] * y + w2c[0, 2] * z + w2c[0, 3]
        cy = w2c[1, 0] * x + w2c[1, 1] * y + w2c[1, 2] * z + w2c[1, 3]
        cz = w2c[2, 0] * x + w2c[2, 1] * y + w2c[2, 2] * z + w2c[2, 3]
        if cz > 1e-3:
            out[i, 0] = (K[0, 0] * cx / cz + K[0, 1] * cy / cz + K[0, 2]) * supersample
            out[i, 1] = (K[1, 1] * cy / cz + K[1, 2]) * supersample
            out[i, 2] = 1.0 / cz
    return out


@njit(cache=True, nogil=True)
def make_records(
    screen: np.ndarray,
    vertices: np.ndarray,
    normals: np.ndarray,
    openness: np.ndarray,
    triangles: np.ndarray,
    normal_ids: np.ndarray,
    corner_uvs: np.ndarray,
    triangle_materials: np.ndarray,
    materials: np.ndarray,
    sizes: np.ndarray,
    extent: tuple[int, int],
) -> tuple[np.ndarray, int]:
    """Records [F, RECORD] of the triangles that face the camera and touch the image, and how many there are.

    ``extent`` is (columns, rows) in samples. Corners are ordered so that all records have positive area.
    """
    records = np.empty((triangles.shape[0], RECORD), dtype=np.float32)
    count = 0
    for f in range(triangles.shape[0]):
        material = triangle_materials[f]
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        if screen[a, 2] <= 0 or screen[b, 2] <= 0 or screen[c, 2] <= 0:
            continue
        x0, y0, x1, y1, x2, y2 = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1], screen[c, 0], screen[c, 1]
        # Image y points down, so a triangle that is counter-clockwise from outside has negative area when seen.
        area = np.float64(x1 - x0) * (y2 - y0) - np.float64(x2 - x0) * (y1 - y0)
        if area == 0 or (area > 0 and materials[material, TWO_SIDED] == 0):
            continue
        if max(x0, x1, x2) <= 0 or max(y0, y1, y2) <= 0 or min(x0, x1, x2) >= extent[0] or min(y0, y1, y2) >= extent[1]:
            continue
        record = records[count]
        count += 1
        facing = np.float32(1.0) if area < 0 else np.float32(-1.0)
        for k in range(3):
            source = k if (area > 0 or k == 0) else 3 - k
            _fill_corner(
                record[k * CORNER : (k + 1) * CORNER],
                screen[triangles[f, source]],
                normals[normal_ids[f, source]],
                openness[triangles[f, source]],
                corner_uvs[f, source],
                facing,
            )
        record[MATERIAL] = material
        _fill_texture_frame(
            record, vertices[a], vertices[b], vertices[c], corner_uvs[f], materials[material], sizes[material]
        )
        uv = corner_uvs[f]
        uv_area = abs((uv[1, 0] - uv[0, 0]) * (uv[2, 1] - uv[0, 1]) - (uv[2, 0] - uv[0, 0]) * (uv[1, 1] - uv[0, 1]))
        texels = uv_area * sizes[material, 0] * sizes[material, 1]
        record[MIP] = 0.5 * np.log2(max(texels, 1e-12) / abs(area))
    return records, count


@njit(cache=True, nogil=True)
def _fill_corner(
    corner: np.ndarray, screen: np.ndarray, normal: np.ndarray, openness: float, uv: np.ndarray, facing: float
) -> None:
    """Write one corner of a record: position, 1/z and the attributes divided by z."""
    inverse = screen[2]
    corner[0], corner[1], corner[2] = screen[0], screen[1], inverse
    for k in range(3):
        corner[3 + k] = normal[k] * facing * inverse
    corner[6] = openness * inverse
    corner[7] = uv[0] * inverse
    corner[8] = uv[1] * inverse


@njit(cache=True, nogil=True)
def _fill_texture_frame(
    record: np.ndarray,
    p0: np.ndarray,
    p1: np.ndarray,
    p2: np.ndarray,
    uv: np.ndarray,
    material: np.ndarray,
    size: np.ndarray,
) -> None:
    """Write the surface gradients of u and v (times relief depth), or for strands the direction along v."""
    if material[RELIEF] == 0 and material[STRAND] == 0:
        return
    ex, ey, ez = p1[0] - p0[0], p1[1] - p0[1], p1[2] - p0[2]
    gx, gy, gz = p2[0] - p0[0], p2[1] - p0[1], p2[2] - p0[2]
    nx, ny, nz = ey * gz - ez * gy, ez * gx - ex * gz, ex * gy - ey * gx
    squared = nx * nx + ny * ny + nz * nz + 1e-30
    # g x n and n x e, over |n|^2, are the gradients of the two barycentric coordinates.
    ax, ay, az = (gy * nz - gz * ny) / squared, (gz * nx - gx * nz) / squared, (gx * ny - gy * nx) / squared
    bx, by, bz = (ny * ez - nz * ey) / squared, (nz * ex - nx * ez) / squared, (nx * ey - ny * ex) / squared
    for axis in range(2):
        d1, d2 = uv[1, axis] - uv[0, axis], uv[2, axis] - uv[0, axis]
        x, y, z = d1 * ax + d2 * bx, d1 * ay + d2 * by, d1 * az + d2 * bz
        factor = (
            material[RELIEF] * size[axis] if material[STRAND] == 0 else 1.0 / np.sqrt(x * x + y * y + z * z + 1e-30)
        )
        start = GRAD_U + 3 * axis
        record[start], record[start + 1], record[start + 2] = x * factor, y * factor, z * factor


@njit(cache=True, nogil=True)
def bin_triangles(
    records: np.ndarray, count: int, columns: int, rows: int, tile_samples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of every tile: offsets int64 [columns * rows + 1] into the ids, and the ids, in index order."""
    boxes = np.empty((count, 4), dtype=np.int32)
    offsets = np.zeros(columns * rows + 1, dtype=np.int64)
    for t in range(count):
        r = records[t]
        x0, x1 = min(r[0], r[CORNER], r[2 * CORNER]), max(r[0], r[CORNER], r[2 * CORNER])
        y0, y1 = min(r[1], r[CORNER + 1], r[2 * CORNER + 1]), max(r[1], r[CORNER + 1], r[2 * CORNER + 1])
        boxes[t, 0] = max(0, int(x0) // tile_samples)
        boxes[t, 1] = min(columns - 1, int(x1) // tile_samples)
        boxes[t, 2] = max(0, int(y0) // tile_samples)
        boxes[t, 3] = min(rows - 1, int(y1) // tile_samples)
        for row in range(boxes[t, 2], boxes[t, 3] + 1):
            for column in range(boxes[t, 0], boxes[t, 1] + 1):
                offsets[row * columns + column + 1] += 1
    offsets[:] = np.cumsum(offsets)
    ids = np.empty(offsets[-1], dtype=np.int32)
    cursor = offsets[:-1].copy()
    for t in range(count):
        for row in range(boxes[t, 2], boxes[t, 3] + 1):
            for column in range(boxes[t, 0], boxes[t, 1] + 1):
                tile = row * columns + column
                ids[cursor[tile]] = t
                cursor[tile] += 1
    return offsets, ids


@njit(cache=True, nogil=True)
def draw_triangle(
    record: np.ndarray, index: int, x_start: int, y_start: int, depth: np.ndarray, owner: np.ndarray
) -> None:
    """Z-test one triangle against a tile of samples [S, S] whose corner is (x_start, y_start).

    Every row is one span. A shared edge gives both neighbours the same crossing, so no sample is lost between them.
    """
    size = depth.shape[0]
    x = np.empty(3)
    y = np.empty(3)
    for k in range(3):
        x[k], y[k] = np.float64(record[k * CORNER]) - x_start, np.float64(record[k * CORNER + 1]) - y_start
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    ea, eb, ec = np.empty(3), np.empty(3), np.empty(3)
    za, zb, zc = 0.0, 0.0, 0.0
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        ea[k], eb[k], ec[k] = y[i] - y[j], x[j] - x[i], x[i] * y[j] - x[j] * y[i]
        weight = np.float64(record[k * CORNER + 2]) / area
        za, zb, zc = za + ea[k] * weight, zb + eb[k] * weight, zc + ec[k] * weight
    row_first = max(0, int(np.ceil(min(y[0], y[1], y[2]) - 0.5)))
    row_last = min(size - 1, int(np.floor(max(y[0], y[1], y[2]) - 0.5)))
    for row in range(row_first, row_last + 1):
        yc = row + 0.5
        low, high = 0.0, size - 1.0
        for k in range(3):
            rest = eb[k] * yc + ec[k]
            if ea[k] > 0:
                low = max(low, np.ceil(-rest / ea[k] - 0.5))
            elif ea[k] < 0:
                high = min(high, np.floor(-rest / ea[k] - 0.5))
            elif rest < 0:
                high = -1.0
        base = zb * yc + zc
        for column in range(int(low), int(high) + 1):
            z = np.float32(base + za * (column + 0.5))
            if z > depth[row, column]:
                depth[row, column] = z
                owner[row, column] = index
