"""What the forward and the backward blending kernels share: the pixels of a tile, Gaussians of a list, alphas.

Blocks are [Gaussians, pixels]: a thread then holds one pixel, and running products along the Gaussians stay in it.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .options import ALPHA_CUT, MIN_TRANSMITTANCE

CUT: tl.constexpr = tl.constexpr(ALPHA_CUT)
LEAST: tl.constexpr = tl.constexpr(MIN_TRANSMITTANCE)


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
    row = footprints + gaussian * 8
    return (
        tl.load(row, mask=listed, other=0.0),
        tl.load(row + 1, mask=listed, other=0.0),
        tl.load(row + 2, mask=listed, other=0.0),
        tl.load(row + 3, mask=listed, other=0.0),
        tl.load(row + 4, mask=listed, other=0.0),
        tl.load(row + 5, mask=listed, other=0.0),
        tl.load(row + 6, mask=listed, other=0.0),
    )


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
    dx = (column.to(tl.float32) + 0.5)[None, :] - footprint[0][:, None]
    dy = (row.to(tl.float32) + 0.5)[None, :] - footprint[1][:, None]
    xx, xy, yy = footprint[2][:, None], footprint[3][:, None], footprint[4][:, None]
    power = -0.5 * (xx * dx * dx + yy * dy * dy) - xy * dx * dy
    alpha = tl.minimum(footprint[5][:, None] * tl.exp(power), alpha_cap)
    return tl.where((alpha >= CUT) & (power <= 0), alpha, 0.0)


@triton.jit
def transmittances(alpha: tl.tensor, before: tl.tensor) -> tuple[tl.tensor, tl.tensor]:
    """Running transmittances behind each Gaussian, whether drawn or not, and weights [Gaussians, pixels].

    ``before`` [pixels] is what the Gaussians of earlier chunks let through. The first Gaussian behind which less than
    the bound is left ends its pixel: neither it nor what follows has a weight.
    """
    behind = before[None, :] * tl.cumprod(1 - alpha, axis=0)
    return behind, tl.where(behind >= LEAST, behind * (alpha / (1 - alpha)), 0.0)
