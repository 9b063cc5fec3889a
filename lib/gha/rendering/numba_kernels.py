"""Blending of Gaussians on the CPU, forward and backward.

Tiles run in parallel and share nothing: the backward pass writes one row of gradients for each pair of a tile and a
Gaussian, and a second kernel sums the rows of each Gaussian in a fixed order. Results are therefore the same bits for
any number of threads. Inside a tile, one row of pixels is one vector for the geometry, and the channels of a pixel
are one vector for the blending.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from .numba_tiles import TILE_HEIGHT, TILE_WIDTH
from .options import ALPHA_CUT, MIN_TRANSMITTANCE

# Rows of pixels of a tile, one plane for each quantity.
TRANSMITTANCE, ACTIVE, DEPTH, ALPHA, WEIGHT, COVERAGE = range(6)

# Moments of dL/dpower over the pixels of a tile; then depth; then the features.
MOMENTS = 6
FIRST_FEATURE = MOMENTS + 1

_ZERO, _HALF, _ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
_CUT = np.float32(ALPHA_CUT)
_LEAST = np.float32(MIN_TRANSMITTANCE)
_LOG2E = np.float32(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_LOWEST = np.float32(-80.0)
_EXP = tuple(
    np.float32(c)
    for c in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
)
_SUM = {"reassoc", "contract", "nsz"}


@njit(cache=True, inline="always")
def _exp(x: np.float32) -> np.float32:
    """e^x for x <= 0 to one or two units in the last place, in operations that vectorise; e^-80 below -80."""
    x = max(x, _LOWEST)
    # For negative x truncation after subtracting a half rounds to the nearest integer.
    power = np.int32(x * _LOG2E - _HALF)
    rest = x - np.float32(power) * _LN2_HIGH
    rest = rest - np.float32(power) * _LN2_LOW
    series = _EXP[0]
    series = series * rest + _EXP[1]
    series = series * rest + _EXP[2]
    series = series * rest + _EXP[3]
    series = series * rest + _EXP[4]
    series = series * rest + _EXP[5]
    series = series * rest * rest + rest + _ONE
    return series * np.int32((power + np.int32(127)) << np.int32(23)).view(np.float32)


@njit(cache=True, inline="always")
def _row_alphas(row: np.ndarray, left: np.float32, dy: np.float32, shape: tuple, cap: np.float32) -> None:
    """Alphas of one Gaussian along a row of pixels, 0 where it does not reach; in the reference's order of operations.

    ``left`` is the first pixel centre, ``shape`` is (x, xx, xy, yy, opacity).
    """
    x, xx, xy, yy, opacity = shape
    for k in range(TILE_WIDTH):
        dx = left + np.float32(k) - x
        power = -_HALF * (xx * dx * dx + yy * dy * dy) - xy * dx * dy
        alpha = min(opacity * _exp(power), cap)
        row[ALPHA, k] = alpha if (alpha >= _CUT) & (power <= _ZERO) else _ZERO


@njit(cache=True, inline="always")
def _row_weights(row: np.ndarray, last: np.ndarray, rank: int, depth: np.float32) -> int:
    """Weights of one Gaussian along a row, and what they do to the pixels; returns how many pixels it ended."""
    ended = np.int32(0)
    for k in range(TILE_WIDTH):
        alpha, before = row[ALPHA, k], row[TRANSMITTANCE, k]
        behind = before * (_ONE - alpha)
        reached = (alpha > _ZERO) & (row[ACTIVE, k] > _ZERO)
        ends = reached & (behind < _LEAST)
        drawn = reached & (behind >= _LEAST)
        weight = alpha * before if drawn else _ZERO
        row[WEIGHT, k] = weight
        row[TRANSMITTANCE, k] = behind if drawn else before
        row[ACTIVE, k] = _ZERO if ends else row[ACTIVE, k]
        row[COVERAGE, k] += weight
        row[DEPTH, k] += weight * depth
        last[k] = rank if drawn else last[k]
        ended += np.int32(ends)
    return ended


@njit(cache=True, fastmath=_SUM)
def _add_scaled(total: np.ndarray, weight: np.float32, values: np.ndarray) -> None:
    for c in range(len(values)):
        total[c] += weight * values[c]


@njit(cache=True, fastmath=_SUM)
def _dot(left: np.ndarray, right: np.ndarray) -> np.float32:
    total = _ZERO
    for c in range(len(left)):
        total += left[c] * right[c]
    return total


@njit(cache=True, inline="always")
def _covered(center: np.float32, radius: np.float32, start: int, count: int) -> tuple[int, int]:
    """Pixels [first, end) of ``count`` from ``start`` on whose centres may lie within ``radius``, and one to spare."""
    first = max(center - radius - np.float32(start) - _ONE, _ZERO)
    end = min(center + radius - np.float32(start) + _ONE, np.float32(count))
    return int(first), int(end)


@njit(cache=True)
def _blend(
    gaussians: np.ndarray,
    footprints: tuple,
    features: np.ndarray,
    window: tuple,
    cap: np.float32,
    rows: np.ndarray,
    last: np.ndarray,
    colors: np.ndarray,
) -> None:
    """Blend the listed Gaussians into the pixels of a tile: rows [h, 6, w], last [h, w], colors [h * w, C]."""
    means2d, conics, radii, depth, opacities, sources = footprints
    left, top, width, height = window
    remaining = width * height
    for rank in range(len(gaussians)):
        gaussian = gaussians[rank]
        source = sources[gaussian]
        x, y = means2d[gaussian, 0], means2d[gaussian, 1]
        shape = (x, conics[gaussian, 0], conics[gaussian, 1], conics[gaussian, 2], opacities[source])
        first_row, end_row = _covered(y, radii[gaussian, 1], top, height)
        first, end = _covered(x, radii[gaussian, 0], left, width)
        for r in range(first_row, end_row):
            dy = np.float32(top + r) + _HALF - y
            _row_alphas(rows[r], np.float32(left) + _HALF, dy, shape, cap)
            remaining -= _row_weights(rows[r], last[r], rank + 1, depth[gaussian])
            for k in range(first, end):
                if rows[r, WEIGHT, k] > _ZERO:
                    _add_scaled(colors[r * TILE_WIDTH + k], rows[r, WEIGHT, k], features[source])
        if remaining <= 0:
            return


@njit(cache=True, inline="always")
def _window(tile: int, columns: int, rows: int, size: tuple) -> tuple:
    """Image, and left, top, width, height of a tile in it; ``size`` is the (width, height) of the image."""
    image = tile // (columns * rows)
    place = tile - image * columns * rows
    left, top = place % columns * TILE_WIDTH, place // columns * TILE_HEIGHT
    return image, (left, top, min(TILE_WIDTH, size[0] - left), min(TILE_HEIGHT, size[1] - top))


@njit(cache=True, inline="always")
def _scattered(index: int, count: int) -> int:
    """A permutation of range(count) that spreads neighbours, so that threads get equal shares of busy regions."""
    stride = 7919 if count % 7919 else 7927
    return index * stride % count


@njit(cache=True)
def _draw_tile(
    tile: int,
    gaussians: np.ndarray,
    grid: tuple,
    footprints: tuple,
    features: np.ndarray,
    background: np.ndarray,
    cap: np.float32,
    images: tuple,
) -> None:
    """Draw one tile from its list of Gaussians; the other arguments are those of ``draw``."""
    image_features, image_alpha, image_transmittance, image_depth, image_last = images
    channels = features.shape[1]
    image, window = _window(tile, grid[0], grid[1], (image_features.shape[3], image_features.shape[2]))
    left, top, width, height = window
    rows = np.zeros((TILE_HEIGHT, 6, TILE_WIDTH), np.float32)
    rows[:, TRANSMITTANCE] = _ONE
    rows[:, ACTIVE, :width] = _ONE
    last = np.zeros((TILE_HEIGHT, TILE_WIDTH), np.int32)
    colors = np.zeros((TILE_HEIGHT * TILE_WIDTH, channels), np.float32)
    _blend(gaussians, footprints, features, window, cap, rows, last, colors)
    for r in range(height):
        for k in range(width):
            # Summed, because one minus the transmittance is inaccurate where little is seen.
            image_alpha[image, top + r, left + k] = rows[r, COVERAGE, k]
            image_transmittance[image, top + r, left + k] = rows[r, TRANSMITTANCE, k]
            image_depth[image, top + r, left + k] = rows[r, DEPTH, k]
            image_last[image, top + r, left + k] = last[r, k]
    for c in range(channels):
        for r in range(height):
            for k in range(width):
                color = colors[r * TILE_WIDTH + k, c] + rows[r, TRANSMITTANCE, k] * background[c]
                image_features[image, c, top + r, left + k] = color


@njit(cache=True, parallel=True)
def draw(
    tile_starts: np.ndarray,
    gaussians: np.ndarray,
    grid: tuple,
    footprints: tuple,
    features: np.ndarray,
    background: np.ndarray,
    cap: np.float32,
    images: tuple,
) -> None:
    """Draw all tiles into features [I, C, H, W], alpha, transmittance, depth and last [I, H, W].

    Args:
        tile_starts: see TileLists.
        gaussians: see TileLists.
        grid: columns and rows of tiles.
        footprints: means2d [M, 2], conics [M, 3], radii [M, 2], depth [M], opacities [S] and the set row of each, [M].
        features: [S, C].
        background: [C].
        cap: largest alpha.
        images: outputs.
    """
    tiles = len(tile_starts) - 1
    for index in prange(tiles):
        tile = _scattered(index, tiles)
        listed = gaussians[tile_starts[tile] : tile_starts[tile + 1]]
        _draw_tile(tile, listed, grid, footprints, features, background, cap, images)


# Planes of the backward pass.
BEHIND, SUFFIX, DEPTH_GRADIENT, PRODUCT = 0, 1, 2, 5


@njit(cache=True, inline="always")
def _row_unblend(row: np.ndarray, last: np.ndarray, rank: int) -> None:
    """From the transmittance behind a Gaussian to its weights along a row."""
    for k in range(TILE_WIDTH):
        alpha = row[ALPHA, k] if rank < last[k] else _ZERO
        before = row[BEHIND, k] / (_ONE - alpha)
        row[ALPHA, k] = alpha
        row[BEHIND, k] = before
        row[WEIGHT, k] = alpha * before


@njit(cache=True, fastmath=_SUM)
def _row_gradients(row: np.ndarray, dx: np.float32, depth: np.float32, cap: np.float32) -> tuple:
    """Sums over a row of dL/dpower times 1, dx and dx², and of weight times dL/ddepth; ``dx`` is that of pixel 0."""
    total, total_x, total_xx, total_depth = _ZERO, _ZERO, _ZERO, _ZERO
    for k in range(TILE_WIDTH):
        alpha, weight = row[ALPHA, k], row[WEIGHT, k]
        product = row[PRODUCT, k] + depth * row[DEPTH_GRADIENT, k]
        gradient = row[BEHIND, k] * product - row[SUFFIX, k] / (_ONE - alpha)
        gradient = gradient * alpha if alpha < cap else _ZERO
        row[SUFFIX, k] += weight * product
        x = dx + np.float32(k)
        total += gradient
        total_x += gradient * x
        total_xx += gradient * x * x
        total_depth += weight * row[DEPTH_GRADIENT, k]
    return total, total_x, total_xx, total_depth


@njit(cache=True)
def _undraw_gaussian(
    gaussian: int,
    rank: int,
    footprints: tuple,
    features: np.ndarray,
    window: tuple,
    cap: np.float32,
    rows: np.ndarray,
    last: np.ndarray,
    gradients: np.ndarray,
    out: np.ndarray,
) -> None:
    """Gradients of one Gaussian in one tile, [7 + C], and the state of the tile's pixels in front of it."""
    means2d, conics, radii, depth, opacities, sources = footprints
    left, top, width, height = window
    source = sources[gaussian]
    x, y = means2d[gaussian, 0], means2d[gaussian, 1]
    xx, xy, yy = conics[gaussian, 0], conics[gaussian, 1], conics[gaussian, 2]
    shape = (x, xx, xy, yy, opacities[source])
    first_row, end_row = _covered(y, radii[gaussian, 1], top, height)
    first, end = _covered(x, radii[gaussian, 0], left, width)
    sum_1, sum_x, sum_y, sum_xx, sum_xy, sum_yy, sum_depth = _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO
    for r in range(first_row, end_row):
        dy = np.float32(top + r) + _HALF - y
        _row_alphas(rows[r], np.float32(left) + _HALF, dy, shape, cap)
        _row_unblend(rows[r], last[r], rank)
        for k in range(first, end):
            weight = rows[r, WEIGHT, k]
            rows[r, PRODUCT, k] = _ZERO
            if weight > _ZERO:
                rows[r, PRODUCT, k] = _dot(features[source], gradients[r * TILE_WIDTH + k])
                _add_scaled(out[FIRST_FEATURE:], weight, gradients[r * TILE_WIDTH + k])
        row_1, row_x, row_xx, row_depth = _row_gradients(rows[r], np.float32(left) + _HALF - x, depth[gaussian], cap)
        sum_1 += row_1
        sum_x += row_x
        sum_y += row_1 * dy
        sum_xx += row_xx
        sum_xy += row_x * dy
        sum_yy += row_1 * dy * dy
        sum_depth += row_depth
    out[0], out[1] = xx * sum_x + xy * sum_y, xy * sum_x + yy * sum_y
    out[2], out[3], out[4] = -_HALF * sum_xx, -sum_xy, -_HALF * sum_yy
    out[5], out[6] = sum_1 / opacities[source], sum_depth


@njit(cache=True)
def _undraw_tile(
    tile: int,
    gaussians: np.ndarray,
    pairs: np.ndarray,
    grid: tuple,
    footprints: tuple,
    features: np.ndarray,
    background: np.ndarray,
    cap: np.float32,
    images: tuple,
    pair_gradients: np.ndarray,
) -> None:
    """Gradients of the pairs of one tile; the other arguments are those of ``undraw``."""
    image_transmittance, image_last, gradient_features, gradient_transmittance, gradient_depth = images
    channels = features.shape[1]
    image, window = _window(tile, grid[0], grid[1], (image_last.shape[2], image_last.shape[1]))
    left, top, width, height = window
    rows = np.zeros((TILE_HEIGHT, 6, TILE_WIDTH), np.float32)
    last = np.zeros((TILE_HEIGHT, TILE_WIDTH), np.int32)
    gradients = np.zeros((TILE_HEIGHT * TILE_WIDTH, channels), np.float32)
    for c in range(channels):
        for r in range(height):
            for k in range(width):
                gradients[r * TILE_WIDTH + k, c] = gradient_features[image, c, top + r, left + k]
    deepest = 0
    for r in range(height):
        for k in range(width):
            behind = image_transmittance[image, top + r, left + k]
            through = _dot(gradients[r * TILE_WIDTH + k], background)
            rows[r, BEHIND, k] = behind
            rows[r, SUFFIX, k] = behind * (through + gradient_transmittance[image, top + r, left + k])
            rows[r, DEPTH_GRADIENT, k] = gradient_depth[image, top + r, left + k]
            last[r, k] = image_last[image, top + r, left + k]
            deepest = max(deepest, last[r, k])
    for rank in range(len(gaussians) - 1, -1, -1):
        out = pair_gradients[pairs[rank]]
        out[:] = _ZERO
        if rank < deepest:
            _undraw_gaussian(gaussians[rank], rank, footprints, features, window, cap, rows, last, gradients, out)


@njit(cache=True, parallel=True)
def undraw(
    tile_starts: np.ndarray,
    gaussians: np.ndarray,
    pairs: np.ndarray,
    grid: tuple,
    footprints: tuple,
    features: np.ndarray,
    background: np.ndarray,
    cap: np.float32,
    images: tuple,
    pair_gradients: np.ndarray,
) -> None:
    """Gradients of each tile-Gaussian pair [P, 7 + C]: means2d, conics, opacity, depth, features.

    ``images`` holds what ``draw`` left, transmittance and last [I, H, W], and the gradients of the loss: features
    [I, C, H, W], transmittance and depth [I, H, W]. The other arguments are those of ``draw``.
    """
    tiles = len(tile_starts) - 1
    for index in prange(tiles):
        tile = _scattered(index, tiles)
        start, end = tile_starts[tile], tile_starts[tile + 1]
        _undraw_tile(
            tile,
            gaussians[start:end],
            pairs[start:end],
            grid,
            footprints,
            features,
            background,
            cap,
            images,
            pair_gradients,
        )


@njit(cache=True)
def _gather_source(
    source: int, pair_starts: np.ndarray, pair_gradients: np.ndarray, views: int, count: int, outputs: tuple
) -> None:
    means2d, conics, depth, opacities, features = outputs
    index = source // count
    for view in range(views):
        gaussian = (index * views + view) * count + source - index * count
        for pair in range(pair_starts[gaussian], pair_starts[gaussian + 1]):
            row = pair_gradients[pair]
            means2d[gaussian, 0] += row[0]
            means2d[gaussian, 1] += row[1]
            conics[gaussian, 0] += row[2]
            conics[gaussian, 1] += row[3]
            conics[gaussian, 2] += row[4]
            opacities[source] += row[5]
            depth[gaussian] += row[6]
            _add_scaled(features[source], _ONE, row[FIRST_FEATURE:])


@njit(cache=True, parallel=True)
def gather(
    pair_starts: np.ndarray,
    pair_gradients: np.ndarray,
    views: int,
    count: int,
    outputs: tuple,
) -> None:
    """Sum the pairs of each Gaussian over its tiles, then features and opacities over the views, in fixed order."""
    for source in prange(len(outputs[3])):
        _gather_source(source, pair_starts, pair_gradients, views, count, outputs)
