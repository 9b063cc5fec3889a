"""Which Gaussians touch which tile of the image, nearest first (CPU kernels)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from .options import ALPHA_CUT

TILE = 16

_HALF = np.float32(0.5)
_ZERO = np.float32(0.0)
_SLACK = np.float32(1.001)


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


def list_tiles(
    means2d: np.ndarray,
    conics: np.ndarray,
    radii: np.ndarray,
    depth: np.ndarray,
    opacities: np.ndarray,
    size: tuple[int, int],
) -> TileLists:
    """Sort Gaussians into tiles.

    Args:
        means2d: pixels [I, N, 2].
        conics: inverse covariances [I, N, 3].
        radii: half extents in pixels [I, N, 2]; 0 means not drawn.
        depth: positive z-depths [I, N].
        opacities: [B, N]; sets have I / B images each.
        size: width and height in pixels.
    """
    images, count = depth.shape
    columns, rows = -(-size[0] // TILE), -(-size[1] // TILE)
    limits = np.float32(2) * np.log(np.maximum(opacities, ALPHA_CUT) * np.float32(255)) * _SLACK + np.float32(1e-3)
    footprints = (means2d.reshape(-1, 2), conics.reshape(-1, 3), radii.reshape(-1, 2), limits.astype(np.float32))
    tiles_of = np.zeros(images * count + 1, np.int64)
    _count_tiles(*footprints, columns, rows, tiles_of[1:])
    pair_starts = np.cumsum(tiles_of)
    tile_of_pair = np.empty(pair_starts[-1], np.int32)
    _fill_tiles(*footprints, columns, rows, pair_starts, tile_of_pair)
    lists = np.empty((2, len(tile_of_pair)), np.int32)
    starts = np.zeros(images * rows * columns + 1, np.int64)
    _sort_pairs(depth_order(depth), pair_starts, tile_of_pair, starts, lists[0], lists[1])
    return TileLists((columns, rows), pair_starts, starts, lists[0], lists[1])


def depth_order(depth: np.ndarray) -> np.ndarray:
    """Indices that sort positive depths [I, N], nearest first, ties by index."""
    # The bits of positive floats order like integers; with the index below them every key is unique.
    keys = depth.view(np.int32).astype(np.int64) << 32 | np.arange(depth.shape[1], dtype=np.int64)
    return np.sort(keys, axis=1) & 0xFFFFFFFF


@njit(cache=True, inline="always")
def _tile_range(center: np.float32, radius: np.float32, tile: int, count: int) -> tuple[int, int]:
    """First and one past the last tile that meets [center - radius, center + radius]."""
    first = max(_ZERO, (center - radius) / np.float32(tile))
    last = min(np.float32(count - 1), (center + radius) / np.float32(tile))
    return int(first), int(np.floor(last)) + 1


@njit(cache=True)
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


@njit(cache=True)
def _visit_tiles(
    means2d: np.ndarray,
    conics: np.ndarray,
    radii: np.ndarray,
    limit: np.float32,
    gaussian: int,
    columns: int,
    rows: int,
    first_tile: int,
    out: np.ndarray,
    slot: int,
) -> int:
    """Number of tiles that a Gaussian reaches; written to ``out`` from ``slot`` on unless ``slot`` is negative."""
    x, y = means2d[gaussian, 0], means2d[gaussian, 1]
    xx, xy, yy = conics[gaussian, 0], conics[gaussian, 1], conics[gaussian, 2]
    left, right = _tile_range(x, radii[gaussian, 0], TILE, columns)
    top, bottom = _tile_range(y, radii[gaussian, 1], TILE, rows)
    found = 0
    for row in range(top, bottom):
        for column in range(left, right):
            offset_x = np.float32(column * TILE) + _HALF - x
            offset_y = np.float32(row * TILE) + _HALF - y
            if _lowest_power(xx, xy, yy, offset_x, offset_y) <= limit:
                if slot >= 0:
                    out[slot + found] = first_tile + row * columns + column
                found += 1
    return found


@njit(cache=True, parallel=True)
def _count_tiles(
    means2d: np.ndarray,
    conics: np.ndarray,
    radii: np.ndarray,
    limits: np.ndarray,
    columns: int,
    rows: int,
    counts: np.ndarray,
) -> None:
    count = limits.shape[1]
    views = len(means2d) // limits.size if limits.size else 1
    nothing = np.empty(0, np.int32)
    for gaussian in prange(len(means2d)):
        if radii[gaussian, 0] > _ZERO:
            image = gaussian // count
            limit = limits[image // views, gaussian - image * count]
            counts[gaussian] = _visit_tiles(means2d, conics, radii, limit, gaussian, columns, rows, 0, nothing, -1)


@njit(cache=True, parallel=True)
def _fill_tiles(
    means2d: np.ndarray,
    conics: np.ndarray,
    radii: np.ndarray,
    limits: np.ndarray,
    columns: int,
    rows: int,
    pair_starts: np.ndarray,
    tile_of_pair: np.ndarray,
) -> None:
    count = limits.shape[1]
    views = len(means2d) // limits.size if limits.size else 1
    for gaussian in prange(len(means2d)):
        start = pair_starts[gaussian]
        if pair_starts[gaussian + 1] > start:
            image = gaussian // count
            limit = limits[image // views, gaussian - image * count]
            first_tile = image * rows * columns
            _visit_tiles(means2d, conics, radii, limit, gaussian, columns, rows, first_tile, tile_of_pair, start)


@njit(cache=True)
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
