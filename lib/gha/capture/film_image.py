"""The kernel that turns triangle records into an image, tile by tile and row by row."""

from __future__ import annotations

import numpy as np

from .film_compile import njit
from .film_develop import blur_row, develop_row
from .film_geometry import DEPTH_BUCKETS, bin_triangles, depth_range, draw_triangle
from .film_records import MATERIAL, NEAREST, STRAND, TILE
from .film_shading import shade


@njit(nogil=True)
def photograph(
    records: np.ndarray,
    count: int,
    rays: np.ndarray,
    materials: np.ndarray,
    texels: np.ndarray,
    levels: np.ndarray,
    lights: np.ndarray,
    size: tuple[int, int],
    supersample: int,
    reach: float,
    lens: np.ndarray,
    backdrop: np.ndarray,
    gain: np.ndarray,
    encoding: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw, shade and develop: uint8 [H, W, 3] and coverage uint8 [H, W].

    The linear light of one row of tiles is kept at a time: a whole image of it would leave the cache, and its fresh
    memory cost as much as drawing half of the triangles.

    Args:
        records: triangle records, of which ``count`` are used.
        count: number of triangles.
        rays: [3, 3] maps homogeneous pixels to world directions.
        materials: material records.
        texels: of all textures, as packed.
        levels: mip levels, as packed.
        lights: lighting record.
        size: width and height in pixels.
        supersample: samples along the side of a pixel.
        reach: samples of a pixel whose depths differ by less than this share are shaded once if their material is the
            same.
        lens: weights of the point spread along rows and columns, float32 [2 r + 1].
        backdrop: record of linear colours.
        gain: factors on linear red, green and blue [3].
        encoding: table from linear light to bytes.
    """
    width, height = size
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    tiles = bin_triangles(records, count, columns, rows, TILE * supersample)
    slack = 2.0 * depth_range(records, count)[1] / DEPTH_BUCKETS
    rgb, alpha = np.empty((height, width, 3), dtype=np.uint8), np.empty((height, width), dtype=np.uint8)
    exposure = np.empty((TILE, width, 4), dtype=np.float32)
    light = exposure.reshape(TILE, width * 4)
    # A ring of rows that are already blurred along themselves; every row of the image is a sum of them.
    blur = lens.shape[0] // 2
    ring = np.zeros((lens.shape[0], width * 4), dtype=np.float32)
    for row in range(rows):
        top, bottom = row * TILE, min(row * TILE + TILE, height)
        expose(
            records, tiles, slack, top, rays, materials, texels, levels, lights, supersample, reach, height, exposure
        )
        # Beyond its borders the scene goes on as it ends there.
        for py in range(top - (blur if top == 0 else 0), bottom + (blur if bottom == height else 0)):
            blur_row(light[min(max(py, top), bottom - 1) - top], lens, ring[py % lens.shape[0]])
            if py >= blur:
                develop_row(ring, py - blur, lens, backdrop, gain, encoding, rgb, alpha)
    return rgb, alpha


@njit(nogil=True)
def expose(
    records: np.ndarray,
    tiles: tuple[np.ndarray, np.ndarray],
    slack: float,
    top: int,
    rays: np.ndarray,
    materials: np.ndarray,
    texels: np.ndarray,
    levels: np.ndarray,
    lights: np.ndarray,
    supersample: int,
    reach: float,
    height: int,
    exposure: np.ndarray,
) -> None:
    """Write one row of tiles, from pixel row ``top``, into ``exposure`` float32 [TILE, W, 4].

    That is the linear light of the head, and the share of each pixel that it covers.
    """
    exposure[:] = 0.0
    offsets, ids = tiles
    size, width = TILE * supersample, exposure.shape[1]
    columns = (width + TILE - 1) // TILE
    depth, owner = np.empty((size, size), dtype=np.float32), np.empty((size, size), dtype=np.int32)
    for column in range(columns):
        tile = top // TILE * columns + column
        first, last = offsets[tile], offsets[tile + 1]
        if first == last:
            continue
        _draw_tile(records, ids[first:last], slack, column * size, top * supersample, depth, owner)
        _shade_tile(
            records, depth, owner, column * TILE, top, rays, materials, texels, levels, lights, supersample, reach,
            height, exposure,
        )  # fmt: skip


@njit(nogil=True)
def _draw_tile(
    records: np.ndarray, ids: np.ndarray, slack: float, left: int, top: int, depth: np.ndarray, owner: np.ndarray
) -> None:
    """Find the owner of every sample of the tile whose corner is sample (left, top).

    ``ids`` come from near to far, except that 1/z may rise again by less than ``slack``.
    """
    depth[:] = 0.0
    owner[:] = -1
    covered_to = np.float32(0.0)  # the farthest surface of a tile that is covered all over
    pause, look = 32, 32
    for slot in range(ids.shape[0]):
        if slot == look:
            covered_to = _farthest(depth)
            if covered_to == 0:
                pause += 16  # it may never be covered
            look += pause
        nearest = records[ids[slot], NEAREST]
        if nearest >= covered_to:
            draw_triangle(records[ids[slot]], ids[slot], left, top, depth, owner)
        elif nearest + slack < covered_to:
            break


@njit(nogil=True, fastmath=True)
def _farthest(depth: np.ndarray) -> np.float32:
    """The smallest 1/z of a tile [S, S], for most tiles 0 soon; numpy's own stops at every sample to look for NaN."""
    smallest = depth[0, 0]
    for row in range(depth.shape[0]):
        for column in range(depth.shape[1]):
            smallest = min(smallest, depth[row, column])
        if smallest == 0:
            break
    return smallest


@njit(nogil=True, fastmath=True)
def _shade_tile(
    records: np.ndarray,
    depth: np.ndarray,
    owner: np.ndarray,
    left: int,
    top: int,
    rays: np.ndarray,
    materials: np.ndarray,
    texels: np.ndarray,
    levels: np.ndarray,
    lights: np.ndarray,
    supersample: int,
    reach: float,
    height: int,
    exposure: np.ndarray,
) -> None:
    """Add up the light of the pixels of one tile from the owners of their samples; ``exposure`` begins at ``top``."""
    width = exposure.shape[1]
    samples = supersample * supersample
    # Levels are chosen per pixel, not per sample, and a little sharper than one texel per pixel.
    mip_bias = np.log2(np.float64(supersample)) - 0.3
    ids, depths = np.empty(samples, dtype=np.int32), np.empty(samples, dtype=np.float32)
    for py in range(top, min(top + TILE, height)):
        for px in range(left, min(left + TILE, width)):
            covered = _gather(
                depth, owner, (px - left) * supersample, (py - top) * supersample, supersample, ids, depths
            )
            if covered == 0:
                continue
            red, green, blue = 0.0, 0.0, 0.0
            view = _view_direction(rays, px + 0.5, py + 0.5)
            for s in range(samples):
                if ids[s] >= 0:
                    triangle = np.uint64(ids[s])
                    x, y, weight = _claim(ids, depths, s, records, materials, supersample, reach)
                    x, y = px * supersample + x, py * supersample + y
                    r, g, b = shade(records, triangle, x, y, view, materials, texels, levels, mip_bias, lights)
                    red, green, blue = red + r * weight, green + g * weight, blue + b * weight
            pixel = exposure[py - top, px]
            pixel[0], pixel[1], pixel[2], pixel[3] = red / samples, green / samples, blue / samples, covered / samples


@njit(nogil=True, forceinline=True)
def _gather(
    depth: np.ndarray, owner: np.ndarray, column: int, row: int, supersample: int, ids: np.ndarray, depths: np.ndarray
) -> int:
    """Copy owners and 1/z of one pixel's samples; returns how many are covered."""
    covered, slot = 0, 0
    for j in range(supersample):
        for i in range(supersample):
            ids[slot] = owner[row + j, column + i]
            depths[slot] = depth[row + j, column + i]
            covered += ids[slot] >= 0
            slot += 1
    return covered


@njit(nogil=True, forceinline=True)
def _claim(
    ids: np.ndarray,
    depths: np.ndarray,
    first: int,
    records: np.ndarray,
    materials: np.ndarray,
    supersample: int,
    reach: float,
) -> tuple[float, float, int]:
    """Take the samples that are shaded together with ``first`` out of ``ids``: their mean position, their number.

    Those are the samples of the same triangle, and of others of the same material that continue its surface.
    """
    triangle = ids[first]
    material = records[triangle, MATERIAL]
    within = reach * depths[first] if materials[int(material), STRAND] == 0 else 0.0
    x, y, weight, slot = 0.0, 0.0, 0, 0
    for j in range(supersample):
        for i in range(supersample):
            other = ids[slot]
            if other == triangle or (
                other >= 0 and records[other, MATERIAL] == material and abs(depths[slot] - depths[first]) < within
            ):
                ids[slot] = -1
                x += i
                y += j
                weight += 1
            slot += 1
    return x / weight + 0.5, y / weight + 0.5, weight


@njit(nogil=True, forceinline=True)
def _view_direction(rays: np.ndarray, x: float, y: float) -> tuple[float, float, float]:
    """Unit vector from the surface at pixel (x, y) towards the camera."""
    vx = -(rays[0, 0] * x + rays[0, 1] * y + rays[0, 2])
    vy = -(rays[1, 0] * x + rays[1, 1] * y + rays[1, 2])
    vz = -(rays[2, 0] * x + rays[2, 1] * y + rays[2, 2])
    length = 1.0 / np.sqrt(vx * vx + vy * vy + vz * vz)
    return vx * length, vy * length, vz * length
