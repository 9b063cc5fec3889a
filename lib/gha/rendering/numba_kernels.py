"""Blending of Gaussians on the CPU.

Tiles run in parallel and share nothing, so results are the same bits for any number of threads. A tile is cut into
blocks of 4 x 4 pixels: the geometry of a block (alphas, weights) is computed in vectors of sixteen pixels, and
features are blended in vectors of sixteen channels, for the pixels that a Gaussian reaches.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from .numba_blocks import (
    BLOCK,
    BLOCKS,
    CENTERS_X,
    CENTERS_Y,
    ONE,
    PIXELS,
    ZERO,
    aligned_zeros,
    alphas,
    covered_blocks,
    list_pixels,
    place_tile,
    write_row,
)
from .numba_compile import njit
from .numba_vectors import (
    LANES,
    VectorType,
    load,
    load_block,
    multiply_add,
    positive_lanes,
    select_less,
    splat,
    store,
    transpose,
)
from .options import MIN_TRANSMITTANCE

# The state of a tile's pixels, one plane for each quantity.
TRANSMITTANCE, WEIGHT, ACTIVE, COVERAGE, DEPTH, LAST = range(0, 6 * PIXELS, PIXELS)

_LEAST = np.float32(MIN_TRANSMITTANCE)


@njit(parallel=True)
def draw(
    tile_starts: np.ndarray,
    gaussians: np.ndarray,
    grid: tuple,
    footprints: tuple,
    features: np.ndarray,
    background: np.ndarray,
    cap: np.float32,
    size: tuple,
    images: tuple,
) -> None:
    """Draw all tiles.

    Args:
        tile_starts: see TileLists.
        gaussians: see TileLists.
        grid: columns and rows of tiles.
        footprints: means2d [M, 2], conics [M, 3], radii [M, 2], depth [M], opacities [S] and the set row of each, [M].
        features: [S, C'], C' being C padded to a multiple of 16.
        background: [C].
        cap: largest alpha.
        size: C, height and width of the images.
        images: outputs, flat: features [I, C, H, W]; alpha, transmittance, sum of weight times depth, and length of
            the list up to the last Gaussian drawn [I, H, W].
    """
    tiles = len(tile_starts) - 1
    for index in prange(tiles):
        tile, image, left, top = place_tile(index, tiles, grid)
        listed = gaussians[tile_starts[tile] : tile_starts[tile + 1]]
        _draw_tile((image, left, top), listed, footprints, features, background, cap, size, images)


@njit
def _draw_tile(
    corner: tuple,
    gaussians: np.ndarray,
    footprints: tuple,
    features: np.ndarray,
    background: np.ndarray,
    cap: np.float32,
    size: tuple,
    images: tuple,
) -> None:
    """Draw one tile from its list of Gaussians; ``corner`` is its image, left and top."""
    state = aligned_zeros(6 * PIXELS)
    colors = aligned_zeros(PIXELS * features.shape[1])
    _open_pixels(size[2] - corner[1], size[1] - corner[2], state)
    _blend(gaussians, footprints, features, corner, cap, state, colors)
    scratch = aligned_zeros(BLOCKS * LANES * LANES)
    for row in range(BLOCKS):
        _write_state(row, corner, size, state, images)
        _write_colors(row, corner, size, state, colors, background, images[0], scratch)


@njit
def _open_pixels(width: int, height: int, state: np.ndarray) -> None:
    """Mark the pixels of a tile that lie in an image that goes on for ``width`` and ``height`` pixels."""
    for block in range(BLOCKS * BLOCKS):
        for k in range(LANES):
            x, y = block % BLOCKS * BLOCK + k % BLOCK, block // BLOCKS * BLOCK + k // BLOCK
            state[TRANSMITTANCE + block * LANES + k] = ONE
            state[ACTIVE + block * LANES + k] = ONE if x < width and y < height else ZERO


@njit
def _blend(
    gaussians: np.ndarray,
    footprints: tuple,
    features: np.ndarray,
    corner: tuple,
    cap: np.float32,
    state: np.ndarray,
    colors: np.ndarray,
) -> None:
    """Blend the listed Gaussians, nearest first, into the pixels of a tile."""
    means2d, conics, radii, depth, opacities, sources = footprints
    pixels = np.empty(PIXELS + LANES, np.int64)
    is_open = np.ones(BLOCKS * BLOCKS, np.bool_)
    remaining = BLOCKS * BLOCKS
    for rank in range(len(gaussians)):
        if remaining == 0:
            return
        gaussian = gaussians[rank]
        source = sources[gaussian]
        x, y = means2d[gaussian, 0], means2d[gaussian, 1]
        shape = (conics[gaussian, 0], conics[gaussian, 1], conics[gaussian, 2], opacities[source])
        left, right = covered_blocks(x, radii[gaussian, 0], corner[1])
        top, bottom = covered_blocks(y, radii[gaussian, 1], corner[2])
        count = 0
        for row in range(top, bottom):
            dy = load(CENTERS_Y, 0) + splat(np.float32(corner[2] + row * BLOCK)) - splat(y)
            for column in range(left, right):
                block = row * BLOCKS + column
                if is_open[block]:
                    dx = load(CENTERS_X, 0) + splat(np.float32(corner[1] + column * BLOCK)) - splat(x)
                    alpha = alphas(dx, dy, shape, cap)
                    at = block * LANES
                    drawn, is_open[block] = _weigh(alpha, depth[gaussian], np.float32(rank + 1), at, state)
                    count = list_pixels(drawn, at, pixels, count)
                    remaining -= not is_open[block]
        _add_features(features, source, pixels, count, state, colors)


@njit
def _weigh(alpha: VectorType, depth: np.float32, rank: np.float32, at: int, state: np.ndarray) -> tuple[int, bool]:
    """Draw a Gaussian in the block at ``at``: bits of the pixels it shows in, and whether any pixel is still open."""
    before, active = load(state, TRANSMITTANCE + at), load(state, ACTIVE + at)
    alpha = alpha * active
    behind = before * (splat(ONE) - alpha)
    active = select_less(behind, splat(_LEAST), splat(ZERO), active)
    alpha = select_less(behind, splat(_LEAST), splat(ZERO), alpha)
    weight = alpha * before
    store(state, WEIGHT + at, weight)
    store(state, TRANSMITTANCE + at, select_less(splat(ZERO), alpha, behind, before))
    store(state, ACTIVE + at, active)
    # Summed, because one minus the transmittance is inaccurate where little is seen.
    store(state, COVERAGE + at, load(state, COVERAGE + at) + weight)
    store(state, DEPTH + at, load(state, DEPTH + at) + weight * splat(depth))
    store(state, LAST + at, select_less(splat(ZERO), alpha, splat(rank), load(state, LAST + at)))
    return positive_lanes(weight), positive_lanes(active) != 0


@njit
def _add_features(
    features: np.ndarray, source: int, pixels: np.ndarray, count: int, state: np.ndarray, colors: np.ndarray
) -> None:
    """Add weight times features of one Gaussian to the listed pixels."""
    channels = features.shape[1]
    for first in range(0, channels, LANES):
        values = load(features, source * channels + first)
        for n in range(count):
            at = pixels[n] * channels + first
            weight = splat(state[WEIGHT + pixels[n]])
            store(colors, at, multiply_add(weight, values, load(colors, at)))


@njit
def _write_state(row: int, corner: tuple, size: tuple, state: np.ndarray, images: tuple) -> None:
    """Copy a row of blocks of the tile's state to the images of one channel."""
    top = corner[2] + row * BLOCK
    room = size[2] - corner[1]
    for y in range(min(BLOCK, size[1] - top)):
        index = (corner[0] * size[1] + top + y) * size[2] + corner[1]
        at = row * BLOCKS * LANES + y * BLOCK
        write_row(load_block(state, COVERAGE + at, LANES), images[1], index, room)
        write_row(load_block(state, TRANSMITTANCE + at, LANES), images[2], index, room)
        write_row(load_block(state, DEPTH + at, LANES), images[3], index, room)
        write_row(load_block(state, LAST + at, LANES), images[4], index, room)


@njit
def _write_colors(
    row: int,
    corner: tuple,
    size: tuple,
    state: np.ndarray,
    colors: np.ndarray,
    background: np.ndarray,
    image: np.ndarray,
    scratch: np.ndarray,
) -> None:
    """Copy a row of blocks of the tile's colours to the image, over the background: whole cache lines at a time."""
    top = corner[2] + row * BLOCK
    channels = len(colors) // PIXELS
    for first in range(0, size[0], LANES):
        for column in range(BLOCKS):
            start = (row * BLOCKS + column) * LANES * channels + first
            transpose(colors, start, channels, scratch, column * LANES * LANES, LANES)
        for k in range(min(LANES, size[0] - first)):
            for y in range(min(BLOCK, size[1] - top)):
                index = ((corner[0] * size[0] + first + k) * size[1] + top + y) * size[2] + corner[1]
                uncovered = load_block(state, TRANSMITTANCE + row * BLOCKS * LANES + y * BLOCK, LANES)
                color = load_block(scratch, k * LANES + y * BLOCK, LANES * LANES)
                color = multiply_add(uncovered, splat(background[first + k]), color)
                write_row(color, image, index, size[2] - corner[1])
