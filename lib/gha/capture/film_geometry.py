"""Single-threaded kernels of the film camera; they release the GIL, so images are made in parallel threads.

A pixel is covered by ``supersample ** 2`` samples. Visibility is tested at every sample, colour is computed once per
pixel and triangle at the centre of the samples that the triangle covers (textures are filtered by mip levels).
"""

from __future__ import annotations

import numpy as np

from .film_compile import njit
from .film_records import CORNER, GRAD_U, MATERIAL, MIP, NEAREST, RECORD, RELIEF, STRAND, TWO_SIDED

DEPTH_BUCKETS = 1024


@njit(nogil=True)
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


@njit(nogil=True)
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
        record[NEAREST] = max(screen[a, 2], screen[b, 2], screen[c, 2])
        _fill_texture_frame(
            record, vertices[a], vertices[b], vertices[c], corner_uvs[f], materials[material], sizes[material]
        )
        uv = corner_uvs[f]
        uv_area = abs((uv[1, 0] - uv[0, 0]) * (uv[2, 1] - uv[0, 1]) - (uv[2, 0] - uv[0, 0]) * (uv[1, 1] - uv[0, 1]))
        texels = uv_area * sizes[material, 0] * sizes[material, 1]
        record[MIP] = 0.5 * np.log2(max(texels, 1e-12) / abs(area))
    return records, count


@njit(nogil=True)
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


@njit(nogil=True)
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


@njit(nogil=True)
def accumulate(counts: np.ndarray) -> None:
    """Replace every count [N] by the sum up to it; numpy's own takes seconds to compile, most of it error messages."""
    for i in range(1, counts.shape[0]):
        counts[i] += counts[i - 1]


@njit(nogil=True)
def depth_range(records: np.ndarray, count: int) -> tuple[np.float32, float]:
    """The largest 1/z of all triangles, and how much larger it is than that of the farthest triangle."""
    nearest = farthest = records[0, NEAREST] if count else np.float32(0.0)
    for t in range(count):
        nearest, farthest = max(nearest, records[t, NEAREST]), min(farthest, records[t, NEAREST])
    return nearest, max(np.float64(nearest - farthest), 1e-12)


@njit(nogil=True)
def depth_order(records: np.ndarray, count: int) -> np.ndarray:
    """Triangles int32 [count] from near to far up to ``1 / DEPTH_BUCKETS`` of the range, else in index order."""
    order = np.empty(count, dtype=np.int32)
    nearest, extent = depth_range(records, count)
    step = (DEPTH_BUCKETS - 1) / extent
    starts = np.zeros(DEPTH_BUCKETS + 1, dtype=np.int64)
    for t in range(count):
        starts[int((nearest - records[t, NEAREST]) * step) + 1] += 1
    accumulate(starts)
    for t in range(count):
        bucket = int((nearest - records[t, NEAREST]) * step)
        order[starts[bucket]] = t
        starts[bucket] += 1
    return order


@njit(nogil=True)
def bin_triangles(
    records: np.ndarray, count: int, columns: int, rows: int, tile_samples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of every tile: offsets int64 [columns * rows + 1] into the ids, and the ids, near ones first."""
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
    accumulate(offsets)
    ids = np.empty(offsets[-1], dtype=np.int32)
    cursor = offsets[:-1].copy()
    for t in depth_order(records, count):
        for row in range(boxes[t, 2], boxes[t, 3] + 1):
            for column in range(boxes[t, 0], boxes[t, 1] + 1):
                tile = row * columns + column
                ids[cursor[tile]] = t
                cursor[tile] += 1
    return offsets, ids


@njit(nogil=True)
def draw_triangle(
    record: np.ndarray, index: int, x_start: int, y_start: int, depth: np.ndarray, owner: np.ndarray
) -> None:
    """Z-test one triangle against a tile of samples [S, S] whose corner is (x_start, y_start).

    Every row is one span. A shared edge gives both neighbours the same crossing, so no sample is lost between them.
    """
    size = depth.shape[0]
    x0, y0 = np.float64(record[0]) - x_start, np.float64(record[1]) - y_start
    x1, y1 = np.float64(record[CORNER]) - x_start, np.float64(record[CORNER + 1]) - y_start
    x2, y2 = np.float64(record[2 * CORNER]) - x_start, np.float64(record[2 * CORNER + 1]) - y_start
    row_first = max(0, int(np.ceil(min(y0, y1, y2) - 0.5)))
    row_last = min(size - 1, int(np.floor(max(y0, y1, y2) - 0.5)))
    if row_first > row_last:
        return
    inverse_area = 1.0 / ((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0))
    z0, z1, z2 = record[2] * inverse_area, record[CORNER + 2] * inverse_area, record[2 * CORNER + 2] * inverse_area
    za = (y1 - y2) * z0 + (y2 - y0) * z1 + (y0 - y1) * z2
    zb = (x2 - x1) * z0 + (x0 - x2) * z1 + (x1 - x0) * z2
    zc = (x1 * y2 - x2 * y1) * z0 + (x2 * y0 - x0 * y2) * z1 + (x0 * y1 - x1 * y0) * z2
    slope0, start0, side0 = _edge(x1, y1, x2, y2)
    slope1, start1, side1 = _edge(x2, y2, x0, y0)
    slope2, start2, side2 = _edge(x0, y0, x1, y1)
    for row in range(row_first, row_last + 1):
        yc = row + 0.5
        low, high = -0.5, size - 0.5
        low, high = _clip_span(low, high, slope0 * yc + start0, side0)
        low, high = _clip_span(low, high, slope1 * yc + start1, side1)
        low, high = _clip_span(low, high, slope2 * yc + start2, side2)
        base = zb * yc + zc
        for column in range(int(np.ceil(low)), int(np.floor(high)) + 1):
            z = np.float32(base + za * (column + 0.5))
            if z > depth[row, column]:
                depth[row, column] = z
                owner[row, column] = index


@njit(nogil=True)
def _edge(xa: float, ya: float, xb: float, yb: float) -> tuple[float, float, int]:
    """The line through two points crosses row y at column ``slope * y + start``, with the inside on one side.

    The side is 1 (right), -1 (left) or, for a level edge, 0. Both neighbours of an edge get the same crossing:
    swapping the points changes only the side.
    """
    a, b, c = ya - yb, xb - xa, xa * yb - xb * ya
    if a == 0:
        return 0.0, 0.0, 0
    return -b / a, -c / a - 0.5, 1 if a > 0 else -1


@njit(nogil=True)
def _clip_span(low: float, high: float, crossing: float, side: int) -> tuple[float, float]:
    """Cut a span of columns at an edge."""
    if side > 0:
        return max(low, crossing), high
    if side < 0:
        return low, min(high, crossing)
    return low, high
