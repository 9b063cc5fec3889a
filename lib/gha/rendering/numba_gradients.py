"""The backward pass of the blending, from the farthest Gaussian to the nearest.

Every pair of a tile and a Gaussian that reaches it gets its own row of gradients; a second kernel sums the rows of
each Gaussian in a fixed order. Results are therefore the same bits for any number of threads.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from .numba_blocks import (
    BLOCK,
    BLOCKS,
    CENTERS_X,
    CENTERS_Y,
    HALF,
    ONE,
    PIXELS,
    ZERO,
    aligned_zeros,
    alphas,
    covered_blocks,
    list_pixels,
    place_tile,
    read_row,
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
    store_block,
    total,
    transpose,
)

# The state of a tile's pixels, one plane for each quantity. SUFFIX is dL/dalpha's share of all that lies behind.
TRANSMITTANCE, WEIGHT, ALPHA, SUFFIX, PRODUCT, DEPTH_GRADIENT, LAST = range(0, 7 * PIXELS, PIXELS)

FIRST_FEATURE = LANES
"""A row of gradients holds centre (2), conic (3), opacity, depth; from here on the features."""


@njit(parallel=True)
def undraw(
    tile_starts: np.ndarray,
    gaussians: np.ndarray,
    pairs: np.ndarray,
    grid: tuple,
    footprints: tuple,
    features: np.ndarray,
    background: np.ndarray,
    cap: np.float32,
    size: tuple,
    images: tuple,
    rows: np.ndarray,
) -> None:
    """Gradients of each pair of a tile and a Gaussian.

    Args:
        tile_starts: see TileLists.
        gaussians: see TileLists.
        pairs: see TileLists.
        grid: and the following, see ``numba_kernels.draw``.
        footprints: as there.
        features: as there.
        background: as there.
        cap: as there.
        size: as there.
        images: transmittance and list lengths [I, H, W] from ``draw``; then the gradients of the loss with respect to
            features [I, C, H, W], alpha and depth sum [I, H, W]; all flat.
        rows: the result, flat [P, 16 + C'].
    """
    tiles = len(tile_starts) - 1
    for index in prange(tiles):
        tile, image, left, top = place_tile(index, tiles, grid)
        start, end = tile_starts[tile], tile_starts[tile + 1]
        if end > start:
            corner = (image, left, top)
            lists = (gaussians[start:end], pairs[start:end])
            _undraw_tile(corner, lists, footprints, features, background, cap, size, images, rows)


@njit
def _undraw_tile(
    corner: tuple,
    lists: tuple,
    footprints: tuple,
    features: np.ndarray,
    background: np.ndarray,
    cap: np.float32,
    size: tuple,
    images: tuple,
    rows: np.ndarray,
) -> None:
    """Gradients of the pairs of one tile; ``corner`` is its image, left and top."""
    channels = features.shape[1]
    state = aligned_zeros(7 * PIXELS)
    gradients = aligned_zeros(PIXELS * channels)
    scratch = aligned_zeros(BLOCKS * LANES * LANES)
    for row in range(BLOCKS):
        _read_colors(row, corner, size, images[2], background, state, gradients, scratch)
        _read_state(row, corner, size, images, state)
    deepest = np.zeros(BLOCKS * BLOCKS, np.int64)
    for pixel in range(PIXELS):
        deepest[pixel // LANES] = max(deepest[pixel // LANES], int(state[LAST + pixel]))
    gaussians, pairs = lists
    pixels, blocks = np.empty(PIXELS + LANES, np.int64), np.empty(BLOCKS * BLOCKS, np.int64)
    for rank in range(len(gaussians) - 1, -1, -1):
        row = pairs[rank] * (FIRST_FEATURE + channels)
        source = footprints[5][gaussians[rank]]
        counts = _unweigh(gaussians[rank], rank, footprints, corner, cap, deepest, state, pixels, blocks)
        _differentiate_features(features, source, pixels, counts[0], state, gradients, rows, row)
        _differentiate_footprint(gaussians[rank], footprints, corner, cap, blocks, counts[1], state, rows, row)


@njit
def _read_colors(
    row: int,
    corner: tuple,
    size: tuple,
    image: np.ndarray,
    background: np.ndarray,
    state: np.ndarray,
    gradients: np.ndarray,
    scratch: np.ndarray,
) -> None:
    """Copy a row of blocks of the gradients of features, so that the channels of a pixel lie side by side.

    Leaves their products with the background, summed over the channels, in ``SUFFIX``.
    """
    top = corner[2] + row * BLOCK
    channels = len(gradients) // PIXELS
    for first in range(0, size[0], LANES):
        for k in range(min(LANES, size[0] - first)):
            for y in range(min(BLOCK, size[1] - top)):
                index = ((corner[0] * size[0] + first + k) * size[1] + top + y) * size[2] + corner[1]
                gradient = read_row(image, index, size[2] - corner[1])
                at = SUFFIX + row * BLOCKS * LANES + y * BLOCK
                through = multiply_add(gradient, splat(background[first + k]), load_block(state, at, LANES))
                store_block(state, at, LANES, through)
                store_block(scratch, k * LANES + y * BLOCK, LANES * LANES, gradient)
        for column in range(BLOCKS):
            start = (row * BLOCKS + column) * LANES * channels + first
            transpose(scratch, column * LANES * LANES, LANES, gradients, start, channels)


@njit
def _read_state(row: int, corner: tuple, size: tuple, images: tuple, state: np.ndarray) -> None:
    """Copy a row of blocks of the images of one channel, after ``_read_colors``."""
    transmittance, last, _, gradient_alpha, gradient_depth = images
    top = corner[2] + row * BLOCK
    room = size[2] - corner[1]
    for y in range(min(BLOCK, size[1] - top)):
        index = (corner[0] * size[1] + top + y) * size[2] + corner[1]
        at = row * BLOCKS * LANES + y * BLOCK
        behind = read_row(transmittance, index, room)
        through = load_block(state, SUFFIX + at, LANES) - read_row(gradient_alpha, index, room)
        store_block(state, TRANSMITTANCE + at, LANES, behind)
        store_block(state, SUFFIX + at, LANES, behind * through)
        store_block(state, DEPTH_GRADIENT + at, LANES, read_row(gradient_depth, index, room))
        store_block(state, LAST + at, LANES, read_row(last, index, room))


@njit
def _unweigh(
    gaussian: int,
    rank: int,
    footprints: tuple,
    corner: tuple,
    cap: np.float32,
    deepest: np.ndarray,
    state: np.ndarray,
    pixels: np.ndarray,
    blocks: np.ndarray,
) -> tuple[int, int]:
    """Move a tile from behind a Gaussian to before it; lists the pixels and blocks it shows in and returns how many."""
    means2d, conics, radii, _, opacities, sources = footprints
    x, y = means2d[gaussian, 0], means2d[gaussian, 1]
    shape = (conics[gaussian, 0], conics[gaussian, 1], conics[gaussian, 2], opacities[sources[gaussian]])
    left, right = covered_blocks(x, radii[gaussian, 0], corner[1])
    top, bottom = covered_blocks(y, radii[gaussian, 1], corner[2])
    count, block_count = 0, 0
    for row in range(top, bottom):
        dy = load(CENTERS_Y, 0) + splat(np.float32(corner[2] + row * BLOCK)) - splat(y)
        for column in range(left, right):
            block = row * BLOCKS + column
            if rank < deepest[block]:
                dx = load(CENTERS_X, 0) + splat(np.float32(corner[1] + column * BLOCK)) - splat(x)
                drawn = _unweigh_block(alphas(dx, dy, shape, cap), np.float32(rank), block * LANES, state)
                if drawn:
                    blocks[block_count] = block
                    block_count += 1
                    count = list_pixels(drawn, block * LANES, pixels, count)
    return count, block_count


@njit
def _unweigh_block(alpha: VectorType, rank: np.float32, at: int, state: np.ndarray) -> int:
    """From the transmittance behind a Gaussian to that before it and its weights; bits of the pixels it shows in."""
    alpha = select_less(splat(rank), load(state, LAST + at), alpha, splat(ZERO))
    before = load(state, TRANSMITTANCE + at) / (splat(ONE) - alpha)
    weight = alpha * before
    store(state, ALPHA + at, alpha)
    store(state, TRANSMITTANCE + at, before)
    store(state, WEIGHT + at, weight)
    return positive_lanes(weight)


@njit
def _differentiate_features(
    features: np.ndarray,
    source: int,
    pixels: np.ndarray,
    count: int,
    state: np.ndarray,
    gradients: np.ndarray,
    rows: np.ndarray,
    row: int,
) -> None:
    """Gradient of the features of one Gaussian, and for each listed pixel the product of features and gradient."""
    channels = features.shape[1]
    for n in range(count):
        state[PRODUCT + pixels[n]] = ZERO
    for first in range(0, channels, LANES):
        values = load(features, source * channels + first)
        gathered = splat(ZERO)
        for n in range(count):
            gradient = load(gradients, pixels[n] * channels + first)
            gathered = multiply_add(splat(state[WEIGHT + pixels[n]]), gradient, gathered)
            state[PRODUCT + pixels[n]] += total(values * gradient)
        store(rows, row + FIRST_FEATURE + first, gathered)


@njit
def _differentiate_footprint(
    gaussian: int,
    footprints: tuple,
    corner: tuple,
    cap: np.float32,
    blocks: np.ndarray,
    count: int,
    state: np.ndarray,
    rows: np.ndarray,
    row: int,
) -> None:
    """Gradients of one footprint (centre, conic, opacity, depth) from moments of dL/dpower over the listed blocks."""
    means2d, conics, _, depth, opacities, sources = footprints
    sum_1, sum_x, sum_y, sum_depth = splat(ZERO), splat(ZERO), splat(ZERO), splat(ZERO)
    sum_xx, sum_xy, sum_yy = splat(ZERO), splat(ZERO), splat(ZERO)
    for n in range(count):
        left, top = corner[1] + blocks[n] % BLOCKS * BLOCK, corner[2] + blocks[n] // BLOCKS * BLOCK
        dx = load(CENTERS_X, 0) + splat(np.float32(left)) - splat(means2d[gaussian, 0])
        dy = load(CENTERS_Y, 0) + splat(np.float32(top)) - splat(means2d[gaussian, 1])
        power, of_depth = _differentiate_block(depth[gaussian], cap, blocks[n] * LANES, state)
        power_x, power_y = power * dx, power * dy
        sum_1, sum_x, sum_y, sum_depth = sum_1 + power, sum_x + power_x, sum_y + power_y, sum_depth + of_depth
        sum_xx, sum_xy, sum_yy = sum_xx + power_x * dx, sum_xy + power_x * dy, sum_yy + power_y * dy
    moment_x, moment_y = total(sum_x), total(sum_y)
    xx, xy, yy = conics[gaussian, 0], conics[gaussian, 1], conics[gaussian, 2]
    rows[row], rows[row + 1] = xx * moment_x + xy * moment_y, xy * moment_x + yy * moment_y
    rows[row + 2], rows[row + 3], rows[row + 4] = -HALF * total(sum_xx), -total(sum_xy), -HALF * total(sum_yy)
    rows[row + 5], rows[row + 6] = total(sum_1) / opacities[sources[gaussian]], total(sum_depth)


@njit
def _differentiate_block(
    depth: np.float32, cap: np.float32, at: int, state: np.ndarray
) -> tuple[VectorType, VectorType]:
    """dL/dpower and the gradient of depth in a block; adds the Gaussian to what lies behind the next one."""
    alpha, weight, suffix = load(state, ALPHA + at), load(state, WEIGHT + at), load(state, SUFFIX + at)
    depth_gradient = load(state, DEPTH_GRADIENT + at)
    product = load(state, PRODUCT + at) + splat(depth) * depth_gradient
    product = select_less(splat(ZERO), alpha, product, splat(ZERO))
    gradient = load(state, TRANSMITTANCE + at) * product - suffix / (splat(ONE) - alpha)
    store(state, SUFFIX + at, suffix + weight * product)
    # Nothing is learned through the cap.
    return select_less(alpha, splat(cap), gradient * alpha, splat(ZERO)), weight * depth_gradient


@njit(parallel=True)
def gather(pair_starts: np.ndarray, rows: np.ndarray, views: int, count: int, outputs: tuple) -> None:
    """Sum the rows of each Gaussian over its tiles, then features and opacities over the views, in fixed order.

    Args:
        pair_starts: see TileLists.
        rows: [P, 16 + C'], from ``undraw``.
        views: V.
        count: N.
        outputs: gradients of means2d, conics, depth [I * N], opacities and features [B * N]; flat, zero on entry.
    """
    for source in prange(len(outputs[3])):
        _gather_source(source, pair_starts, rows, views, count, outputs)


@njit
def _gather_source(
    source: int, pair_starts: np.ndarray, rows: np.ndarray, views: int, count: int, outputs: tuple
) -> None:
    """Sum the rows of one Gaussian."""
    means2d, conics, depth, opacities, features = outputs
    channels = len(features) // len(opacities)
    index = source // count
    for view in range(views):
        gaussian = (index * views + view) * count + source - index * count
        for pair in range(pair_starts[gaussian], pair_starts[gaussian + 1]):
            for k in range(2):
                means2d[gaussian * 2 + k] += rows[pair, k]
            for k in range(3):
                conics[gaussian * 3 + k] += rows[pair, 2 + k]
            opacities[source] += rows[pair, 5]
            depth[gaussian] += rows[pair, 6]
            for c in range(channels):
                features[source * channels + c] += rows[pair, FIRST_FEATURE + c]
