"""Which Gaussians touch which tile of the image, nearest first (CPU kernels)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import prange

from .numba_compile import njit
from .options import ALPHA_CUT

TILE = 16

_HALF = np.float32(0.5)
_ZERO = np.float32(0.0)
_SLACK, _SLACK_0 = np.float32(1.001), np.float32(1e-3)


@dataclass(frozen=True)
class TileLists:
    """Pairs of a tile and a Gaussian that reaches it. Images are numbered I, their Gaussians I * N.

    Attributes:
        grid: tiles in a row of an image, and rows of them.
        pair_starts: first pair of each Gaussian, int64 [I * N + 1]; its pairs are consecutive.
        starts: first list entry of each tile, int64 [I * tiles + 1].
        gaussians: Gaussian of each list entry, nearest first in each tile, int32 [P].
        pairs: pair of each list entry, int32 [P].
    """

    grid: tuple[int, int]
    pair_starts: np.ndarray
    starts: np.ndarray
    gaussians: np.ndarray
    pairs: np.ndarray


def list_tiles(footprints: tuple, shape: tuple[int, int], size: tuple[int, int]) -> TileLists:
    """Sort Gaussians into tiles.

    Args:
        footprints: means2d, conics, radii, depth, opacities, sources as for ``numba_kernels.draw``; a radius of 0
            means that a Gaussian is not drawn, and depths are positive.
        shape: I and N.
        size: width and height in pixels.
    """
    means2d, conics, radii, depth, opacities, sources = footprints
    columns, rows = -(-size[0] // TILE), -(-size[1] // TILE)
    limits = np.float32(2) * np.log(np.maximum(opacities, np.float32(ALPHA_CUT)) * np.float32(255)) * _SLACK + _SLACK_0
    reached = (means2d, conics, radii, limits, sources)
    tiles_of = np.zeros(len(depth) + 1, np.int64)
    _count_tiles(reached, (columns, rows), tiles_of[1:])
    pair_starts = np.cumsum(tiles_of)
    tile_of_pair = np.empty(pair_starts[-1], np.int32)
    _fill_tiles(reached, (columns, rows), shape[1], pair_starts, tile_of_pair)
    lists = np.empty((2, len(tile_of_pair)), np.int32)
    starts = np.zeros(shape[0] * rows * columns + 1, np.int64)
    _sort_pairs(depth_order(depth.reshape(shape)), pair_starts, tile_of_pair, starts, lists[0], lists[1])
    return TileLists((columns, rows), pair_starts, starts, lists[0], lists[1])


def depth_order(depth: np.ndarray) -> np.ndarray:
    """Indices that sort positive depths [I, N], nearest first, ties by index."""
    # The bits of positive floats order like integers; with the index below them every key is unique.
    keys = depth.view(np.int32).astype(np.int64) << 32 | np.arange(depth.shape[1], dtype=np.int64)
    return np.sort(keys, axis=1) & 0xFFFFFFFF


@njit
def _tile_range(center: np.float32, radius: np.float32, count: int) -> tuple[int, int]:
    """First and one past the last of ``count`` tiles that meet [center - radius, center + radius]."""
    first = max(_ZERO, (center - radius) / np.float32(TILE))
    last = min(np.float32(count - 1), (center + radius) / np.float32(TILE))
    return int(first), int(np.floor(last)) + 1


@njit
def _lowest_power(xx: np.float32, xy: np.float32, yy: np.float32, left: np.float32, top: np.float32) -> np.float32:
    """Least Mahalanobis distance squared over the pixel centres' rectangle that starts at (left, top), centre at 0."""
    right, bottom = left + np.float32(TILE - 1), top + np.float32(TILE - 1)
    edge_x = left if left > _ZERO else min(right, _ZERO)
    edge_y = top if top > _ZERO else min(bottom, _ZERO)
    # The minimum over a box that misses the centre lies on one of the edges that face the centre.
    y = min(max(-xy * edge_x / yy, top), bottom)
    along_x_edge = xx * edge_x * edge_x + np.float32(2) * xy * edge_x * y + yy * y * y
    x = min(max(-xy * edge_y / xx, left), right)
    along_y_edge = xx * x * x + np.float32(2) * xy * x * edge_y + yy * edge_y * edge_y
    if edge_x == _ZERO:
        return along_y_edge
    if edge_y == _ZERO:
        return along_x_edge
    return min(along_x_edge, along_y_edge)


@njit
def _visit_tiles(reached: tuple, gaussian: int, grid: tuple, first_tile: int, out: np.ndarray, slot: int) -> int:
    """Number of tiles that a Gaussian reaches; written to ``out`` from ``slot`` on unless ``slot`` is negative."""
    means2d, conics, radii, limits, sources = reached
    x, y = means2d[gaussian, 0], means2d[gaussian, 1]
    xx, xy, yy = conics[gaussian, 0], conics[gaussian, 1], conics[gaussian, 2]
    left, right = _tile_range(x, radii[gaussian, 0], grid[0])
    top, bottom = _tile_range(y, radii[gaussian, 1], grid[1])
    found = 0
    for row in range(top, bottom):
        for column in range(left, right):
            offset_x = np.float32(column * TILE) + _HALF - x
            offset_y = np.float32(row * TILE) + _HALF - y
            if _lowest_power(xx, xy, yy, offset_x, offset_y) <= limits[sources[gaussian]]:
                if slot >= 0:
                    out[slot + found] = first_tile + row * grid[0] + column
                found += 1
    return found


@njit(parallel=True)
def _count_tiles(reached: tuple, grid: tuple, counts: np.ndarray) -> None:
    """How many tiles each Gaussian reaches."""
    nothing = np.empty(0, np.int32)
    for gaussian in prange(len(counts)):
        if reached[2][gaussian, 0] > _ZERO:
            counts[gaussian] = _visit_tiles(reached, gaussian, grid, 0, nothing, -1)


@njit(parallel=True)
def _fill_tiles(reached: tuple, grid: tuple, count: int, pair_starts: np.ndarray, tile_of_pair: np.ndarray) -> None:
    """The tiles that each Gaussian reaches, numbered over all images."""
    for gaussian in prange(len(pair_starts) - 1):
        if pair_starts[gaussian + 1] > pair_starts[gaussian]:
            first_tile = gaussian // count * grid[0] * grid[1]
            _visit_tiles(reached, gaussian, grid, first_tile, tile_of_pair, pair_starts[gaussian])


@njit
def _sort_pairs(
    order: np.ndarray,
    pair_starts: np.ndarray,
    tile_of_pair: np.ndarray,
    starts: np.ndarray,
    gaussians: np.ndarray,
    pairs: np.ndarray,
) -> None:
    """Counting sort by tile that visits Gaussians in depth order, so that each tile's list is in depth order."""
    for pair in range(len(tile_of_pair)):
        starts[tile_of_pair[pair] + 1] += 1
    for tile in range(len(starts) - 1):
        starts[tile + 1] += starts[tile]
    next_slot = starts.copy()
    images, count = order.shape
    for image in range(images):
        for rank in range(count):
            gaussian = image * count + order[image, rank]
            for pair in range(pair_starts[gaussian], pair_starts[gaussian + 1]):
                slot = next_slot[tile_of_pair[pair]]
                next_slot[tile_of_pair[pair]] = slot + 1
                gaussians[slot] = gaussian
                pairs[slot] = pair
