"""What the forward and the backward blending kernels share: tiles, blocks of 4 x 4 pixels, alphas."""

from __future__ import annotations

import numpy as np

from .numba_compile import njit
from .numba_tiles import TILE
from .numba_vectors import (
    LANES,
    VectorType,
    count_bits,
    load,
    lowest_bit,
    multiply_add,
    power_of_two,
    select_less,
    splat,
    store,
    truncate,
)
from .options import ALPHA_CUT

BLOCK = 4
BLOCKS = TILE // BLOCK  # in a row of a tile, and rows of them; a row of a tile's pixels is one vector
PIXELS = TILE * TILE  # of a tile; pixel k of block b has number 16 b + k

ZERO, HALF, ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
CENTERS_X = (np.arange(LANES) % BLOCK + 0.5).astype(np.float32)
CENTERS_Y = (np.arange(LANES) // BLOCK + 0.5).astype(np.float32)

_CUT = np.float32(ALPHA_CUT)
_LOG2E = np.float32(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_LOWEST = np.float32(-80.0)
_E5, _E4, _E3 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
_E2, _E1, _E0 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)


@njit
def exponential(x: VectorType) -> VectorType:
    """e^x for x <= 0 to about two units in the last place; e^-80 below -80."""
    x = select_less(x, splat(_LOWEST), splat(_LOWEST), x)
    # For negative x truncation after subtracting a half rounds to the nearest integer.
    power = truncate(x * splat(_LOG2E) - splat(HALF))
    rest = x - power * splat(_LN2_HIGH) - power * splat(_LN2_LOW)
    series = multiply_add(splat(_E5), rest, splat(_E4))
    series = multiply_add(series, rest, splat(_E3))
    series = multiply_add(series, rest, splat(_E2))
    series = multiply_add(series, rest, splat(_E1))
    series = multiply_add(series, rest, splat(_E0))
    series = multiply_add(series * rest, rest, rest) + splat(ONE)
    return series * power_of_two(power)


@njit
def alphas(dx: VectorType, dy: VectorType, shape: tuple, cap: np.float32) -> VectorType:
    """Alphas of a Gaussian at sixteen offsets from its centre, 0 where it does not reach.

    ``shape`` is (xx, xy, yy, opacity). The operations are those of the reference in the same order, so that both find
    the same pixels at the boundary.
    """
    xx, xy, yy = splat(shape[0]), splat(shape[1]), splat(shape[2])
    power = splat(-HALF) * (xx * dx * dx + yy * dy * dy) - xy * dx * dy
    alpha = splat(shape[3]) * exponential(power)
    alpha = select_less(splat(cap), alpha, splat(cap), alpha)
    alpha = select_less(alpha, splat(_CUT), splat(ZERO), alpha)
    return select_less(splat(ZERO), power, splat(ZERO), alpha)


@njit
def covered_blocks(center: np.float32, radius: np.float32, start: int) -> tuple[int, int]:
    """Blocks [first, end) of a tile from ``start`` on in which pixel centres may lie within ``radius``."""
    first = max(center - radius - np.float32(start) - HALF, ZERO)
    last = min(center + radius - np.float32(start) + HALF, np.float32(TILE - 1))
    return int(first) // BLOCK, (int(last) // BLOCK + 1 if last >= ZERO else 0)


@njit
def list_pixels(bits: int, start: int, pixels: np.ndarray, count: int) -> int:
    """Append the pixels of the block at ``start`` whose bits are set; returns the new length of the list.

    Eight at a time, because a loop of unpredictable length costs more than a few entries too many; ``pixels`` needs
    room for a block more than it will hold.
    """
    end = count + count_bits(bits)
    for at in range(count, end, 8):
        for k in range(8):
            pixels[at + k] = start + lowest_bit(bits)
            bits &= bits - 1
    return end


@njit
def place_tile(index: int, tiles: int, grid: tuple) -> tuple[int, int, int, int]:
    """Number, image, left and top of the tile that is drawn ``index``-th; ``grid`` is (columns, rows).

    The order is a permutation that spreads neighbours, so that threads get equal shares of busy regions.
    """
    stride = 7919 if tiles % 7919 else 7927
    tile = index * stride % tiles
    image = tile // (grid[0] * grid[1])
    place = tile - image * grid[0] * grid[1]
    return tile, image, place % grid[0] * TILE, place // grid[0] * TILE


@njit
def aligned_zeros(count: int) -> np.ndarray:
    """Zeros that start on a cache line, so that no vector in them straddles two."""
    buffer = np.zeros(count + LANES, np.float32)
    start = (-buffer.ctypes.data % 64) // 4
    return buffer[start : start + count]


@njit
def write_row(value: VectorType, image: np.ndarray, index: int, room: int) -> None:
    """Write a row of a tile's pixels to an image that goes on for ``room`` pixels."""
    if room >= TILE:
        store(image, index, value)
    else:
        _write_some(value, image, index, room)


@njit
def _write_some(value: VectorType, image: np.ndarray, index: int, count: int) -> None:
    spill = np.empty(LANES, np.float32)
    store(spill, 0, value)
    for x in range(count):
        image[index + x] = spill[x]


@njit
def read_row(image: np.ndarray, index: int, room: int) -> VectorType:
    """The inverse of ``write_row``; 0 outside the image."""
    return load(image, index) if room >= TILE else _read_some(image, index, room)


@njit
def _read_some(image: np.ndarray, index: int, count: int) -> VectorType:
    spill = np.zeros(LANES, np.float32)
    for x in range(count):
        spill[x] = image[index + x]
    return load(spill, 0)
