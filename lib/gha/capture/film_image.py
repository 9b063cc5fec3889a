"""The kernel that turns triangle records into the light that reaches every pixel, tile by tile."""

from __future__ import annotations

import numpy as np

from .film_compile import njit
from .film_geometry import bin_triangles, draw_triangle
from .film_records import MATERIAL, NEAREST, STRAND, TILE
from .film_shading import shade


@njit(nogil=True)
def expose(
    records: np.ndarray,
    count: int,
    rays: np.ndarray,
    materials: np.ndarray,
    texels: np.ndarray,
    levels: np.ndarray,
    lights: np.ndarray,
    width: int,
    height: int,
    supersample: int,
    reach: float,
) -> np.ndarray:
    """Draw and shade: linear light of the head, and the share of each pixel that it covers, float32 [H, W, 4].

    ``rays`` [3, 3] maps homogeneous pixels to world directions. Samples of a pixel whose depths differ by a share of
    less than ``reach`` are shaded once if their material is the same.
    """
    exposure = np.zeros((height, width, 4), dtype=np.float32)
    size = TILE * supersample
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    offsets, ids = bin_triangles(records, count, columns, rows, size)
    depth = np.empty((size, size), dtype=np.float32)
    owner = np.empty((size, size), dtype=np.int32)
    for row in range(rows):
        for column in range(columns):
            tile = row * columns + column
            if offsets[tile] < offsets[tile + 1]:
                depth[:] = 0.0
                owner[:] = -1
            covered_to = np.float32(0.0)  # the farthest surface of a tile that is covered all over
            for slot in range(offsets[tile], offsets[tile + 1]):
                triangle = ids[slot]
                if (slot - offsets[tile]) % 32 == 31:
                    covered_to = depth.min()
                if records[triangle, NEAREST] >= covered_to:
                    draw_triangle(records[triangle], triangle, column * size, row * size, depth, owner)
            if offsets[tile] < offsets[tile + 1]:
                _shade_tile(
                    records, depth, owner, column * TILE, row * TILE, rays, materials, texels, levels, lights,
                    supersample, reach, exposure,
                )  # fmt: skip
    return exposure


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
    exposure: np.ndarray,
) -> None:
    """Add up the light of the pixels of one tile from the owners of their samples."""
    height, width = exposure.shape[:2]
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
            left_over, s = covered, 0
            while left_over > 0:
                if ids[s] >= 0:
                    triangle = ids[s]
                    x, y, weight = _claim(ids, depths, s, records, materials, supersample, reach)
                    x, y = px * supersample + x, py * supersample + y
                    r, g, b = shade(records, triangle, x, y, view, materials, texels, levels, mip_bias, lights)
                    red, green, blue = red + r * weight, green + g * weight, blue + b * weight
                    left_over -= weight
                s += 1
            pixel = exposure[py, px]
            pixel[0], pixel[1], pixel[2], pixel[3] = red / samples, green / samples, blue / samples, covered / samples


@njit(nogil=True, inline="always")
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


@njit(nogil=True, inline="always")
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


@njit(nogil=True, inline="always")
def _view_direction(rays: np.ndarray, x: float, y: float) -> tuple[float, float, float]:
    """Unit vector from the surface at pixel (x, y) towards the camera."""
    vx = -(rays[0, 0] * x + rays[0, 1] * y + rays[0, 2])
    vy = -(rays[1, 0] * x + rays[1, 1] * y + rays[1, 2])
    vz = -(rays[2, 0] * x + rays[2, 1] * y + rays[2, 2])
    length = 1.0 / np.sqrt(vx * vx + vy * vy + vz * vz)
    return vx * length, vy * length, vz * length
