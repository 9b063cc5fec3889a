"""What the forward and the backward blending kernels share: the pixels of a tile, Gaussians of a list, alphas.

Blocks are [Gaussians, pixels]: a thread then holds one pixel, and running products along the Gaussians stay in it.
"""

from __future__ import annotations

import math

import triton
import triton.language as tl

from .options import ALPHA_CUT, MIN_TRANSMITTANCE

CUT: tl.constexpr = tl.constexpr(ALPHA_CUT)
LEAST: tl.constexpr = tl.constexpr(MIN_TRANSMITTANCE)
LOG2E: tl.constexpr = tl.constexpr(math.log2(math.e))


@triton.jit
def tile_pixels(
    tile: tl.tensor,
    columns: tl.tensor,
    tiles_per_image: tl.tensor,
    width: tl.tensor,
    height: tl.tensor,
    TILE_WIDTH: tl.constexpr,
    TILE_HEIGHT: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """Image of a tile, and columns, rows and validity [pixels] of its pixels."""
    place = tile % tiles_per_image
    lane = tl.arange(0, TILE_WIDTH * TILE_HEIGHT)
    column = place % columns * TILE_WIDTH + lane % TILE_WIDTH
    row = place // columns * TILE_HEIGHT + lane // TILE_WIDTH
    return tile // tiles_per_image, column, row, (column < width) & (row < height)


@triton.jit
def load_footprints(footprints: tl.tensor, gaussian: tl.tensor, listed: tl.tensor) -> tuple:
    """x, y, conic, opacity and depth [Gaussians]; nothing but zeros where nothing is listed."""
    place = footprints + (gaussian * 8)[:, None] + tl.arange(0, 8)[None, :]
    rows = tl.load(place, mask=listed[:, None], other=0.0)
    even, odd = tl.split(tl.reshape(rows, [rows.shape[0], 2, 2, 2]))
    x_yy, xx_depth = tl.split(even)
    y_opacity, xy_unused = tl.split(odd)
    x, yy = tl.split(x_yy)
    xx, depth = tl.split(xx_depth)
    y, opacity = tl.split(y_opacity)
    xy, _ = tl.split(xy_unused)
    return x, y, xx, xy, yy, opacity, depth


@triton.jit
def load_features(
    features: tl.tensor,
    source: tl.tensor,
    channel: tl.tensor,
    channels: tl.tensor,
    listed: tl.tensor,
) -> tl.tensor:
    """Features [Gaussians, channels] of the rows ``source``; zeros where nothing is listed."""
    place = features + source.to(tl.int64)[:, None] * channels + channel[None, :]
    return tl.load(place, mask=listed[:, None] & (channel < channels)[None, :], other=0.0)


@triton.jit
def alphas(column: tl.tensor, row: tl.tensor, footprint: tl.tuple, alpha_cap: tl.tensor) -> tl.tensor:
    """Alphas [Gaussians, pixels], 0 where a Gaussian does not reach."""
    # The exponent of 2, so that it takes five operations.
    xx, xy, yy = footprint[2] * (LOG2E * -0.5), footprint[3] * (LOG2E * -1.0), footprint[4] * (LOG2E * -0.5)
    dx = (column.to(tl.float32) + 0.5)[None, :] - footprint[0][:, None]
    dy = (row.to(tl.float32) + 0.5)[None, :] - footprint[1][:, None]
    power = dx * (xx[:, None] * dx + xy[:, None] * dy) + yy[:, None] * dy * dy
    alpha = tl.minimum(footprint[5][:, None] * tl.exp2(power), alpha_cap)
    return tl.where((alpha >= CUT) & (power <= 0), alpha, 0.0)


@triton.jit
def halves(value: tl.tensor) -> tuple[tl.tensor, tl.tensor]:
    """A number as a sum of two of which TF32 keeps all of the first and, of the second, as much as float32 has."""
    high = (value.to(tl.int32, bitcast=True) & -8192).to(tl.float32, bitcast=True)
    return high, value - high


@triton.jit
def multiply(a: tl.tensor, b: tl.tensor, PRECISION: tl.constexpr) -> tl.tensor:
    """Matrix product a @ b."""
    if PRECISION == "tf32x3":
        a_high, a_low = halves(a)
        b_high, b_low = halves(b)
        product = tl.dot(a_low, b_high, input_precision="tf32")
        product = tl.dot(a_high, b_low, product, input_precision="tf32")
        product = tl.dot(a_high, b_high, product, input_precision="tf32")
    else:
        product = tl.dot(a, b, input_precision=PRECISION)
    return product


@triton.jit
def multiply_exactly(a: tl.tensor, b: tl.tensor) -> tl.tensor:
    """Matrix product a @ b where b has no more digits than TF32."""
    high, low = halves(a)
    return tl.dot(high, b, tl.dot(low, b, input_precision="tf32"), input_precision="tf32")
