"""The backward pass of blending on CUDA, from the farthest chunk of Gaussians to the nearest.

Every pair of a tile and a Gaussian gets its own row of gradients, as matrix products over the pixels of the tile: the
features' is weights times the gradients of the pixels; those of centre, conic and opacity follow from the moments of
the gradient of the Gaussian's exponent, its products with 1, x, y, x², xy and y². A second kernel sums the rows of each
Gaussian in a fixed order. Nothing is added by atomics: the same inputs give the same bits.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .options import RenderOptions
from .triton_blending import Trace, channel_blocks
from .triton_blocks import (
    LEAST,
    alphas,
    halves,
    load_features,
    load_footprints,
    multiply,
    multiply_exactly,
    tile_pixels,
)
from .triton_sums import MOMENTS, sum_rows
from .triton_tiles import TileLists
from .triton_tuning import Tuning


def unblend(
    tiles: TileLists,
    features: Tensor,  # [B, N, C]
    background: Tensor | None,  # [C]
    trace: Trace,
    incoming: tuple[Tensor, Tensor | None, Tensor | None],  # [B, V, C, H, W], [B, V, 1, H, W], [B, V, 1, H, W]
    options: RenderOptions,
    tuning: Tuning,
) -> tuple[Tensor, ...]:
    """Gradients of means2d [B, V, N, 2], conics [B, V, N, 3], depth [B, V, N], opacities [B, N] and features.

    ``incoming`` are the gradients of image, alpha and depth sum, where there are any.
    """
    count, channels = features.shape[1:]
    sets, views, _, height, width = incoming[0].shape
    rows = (
        features.new_empty(tiles.capacity, channels),
        features.new_empty(tiles.capacity, MOMENTS.value),
        torch.zeros(tiles.capacity, dtype=torch.int8, device=features.device),
    )
    of_image, of_alpha, of_depth = (features if gradient is None else gradient for gradient in incoming)
    with torch.cuda.device_of(features):
        for first, block in channel_blocks(channels, tuning):
            _unblend[(tiles.tile_count,)](
                tiles.starts, tiles.gaussians, tiles.pairs, tiles.footprints, features,
                features if background is None else background, trace.transmittance, trace.chunks,
                of_image, of_alpha, of_depth, *rows, first,
                count, views, channels, width, height, tiles.grid[0], tiles.tile_count // (sets * views),
                options.alpha_cap,
                TILE_WIDTH=tuning.tile_width, TILE_HEIGHT=tuning.tile_height, CHUNK=tuning.chunk, CHANNELS=block,
                PRECISION=options.precision,
                HAS_BACKGROUND=background is not None,
                HAS_ALPHA=incoming[1] is not None and first == 0, HAS_DEPTH=incoming[2] is not None and first == 0,
                IS_FIRST=first == 0, num_warps=tuning.backward_warps,
            )  # fmt: skip
        return sum_rows(tiles, features, rows, views, tuning)


@triton.jit(do_not_specialize=["gaussian_count", "views", "height", "columns", "tiles_per_image"])
def _unblend(
    starts: tl.tensor,
    gaussians: tl.tensor,
    pairs: tl.tensor,
    footprints: tl.tensor,
    features: tl.tensor,
    background: tl.tensor,
    transmittance: tl.tensor,
    chunks: tl.tensor,
    of_image: tl.tensor,
    of_alpha: tl.tensor,
    of_depth: tl.tensor,
    feature_rows: tl.tensor,
    moment_rows: tl.tensor,
    reached: tl.tensor,
    first_channel: tl.tensor,
    gaussian_count: tl.tensor,
    views: tl.tensor,
    channels: tl.tensor,
    width: tl.tensor,
    height: tl.tensor,
    columns: tl.tensor,
    tiles_per_image: tl.tensor,
    alpha_cap: tl.tensor,
    TILE_WIDTH: tl.constexpr,
    TILE_HEIGHT: tl.constexpr,
    CHUNK: tl.constexpr,
    CHANNELS: tl.constexpr,
    PRECISION: tl.constexpr,
    HAS_BACKGROUND: tl.constexpr,
    HAS_ALPHA: tl.constexpr,
    HAS_DEPTH: tl.constexpr,
    IS_FIRST: tl.constexpr,
) -> None:
    PIXELS: tl.constexpr = TILE_WIDTH * TILE_HEIGHT
    tile = tl.program_id(0)
    image, column, row, inside = tile_pixels(tile, columns, tiles_per_image, width, height, TILE_WIDTH, TILE_HEIGHT)
    channel = first_channel + tl.arange(0, CHANNELS)
    shift = (image // views - image) * gaussian_count
    start, end = tl.load(starts + tile), tl.load(starts + tile + 1)
    saved = transmittance + (start // CHUNK + tile).to(tl.int64) * PIXELS + tl.arange(0, PIXELS)
    slope_place, shown, direct, depth_slope = _prepare_slopes(
        background, of_image, of_alpha, of_depth, image, row, column, inside, channel, channels, width, height,
        HAS_BACKGROUND, HAS_ALPHA, HAS_DEPTH,
    )  # fmt: skip
    later = (tl.arange(0, CHUNK)[:, None] > tl.arange(0, CHUNK)[None, :]).to(tl.float32)
    behind_sum = tl.zeros([PIXELS], tl.float32)
    chunk = tl.load(chunks + tile) - 1
    while chunk >= 0:
        entry = start + chunk * CHUNK + tl.arange(0, CHUNK)
        listed = entry < end
        gaussian, pair = tl.load(gaussians + entry, listed, other=0), tl.load(pairs + entry, listed, other=0)
        values = load_features(features, gaussian + shift, channel, channels, listed)
        footprint = load_footprints(footprints, gaussian, listed)
        weight, ratio = _recompute(column, row, footprint, alpha_cap, saved + chunk * PIXELS, tl.minimum(chunk, 0) + 1)
        slope = tl.load(slope_place, mask=shown, other=0.0)  # anew: there are no registers to keep it in
        # What the loss gains from a unit of each weight. Transposing products keeps the compiler from giving them the
        # layout of another product.
        gain = tl.trans(multiply(tl.trans(slope), tl.trans(values), PRECISION)) + direct[None, :]
        if HAS_DEPTH:
            gain += footprint[6][:, None] * depth_slope[None, :]
        gained = weight * gain
        hidden = behind_sum[None, :] + tl.trans(multiply_exactly(tl.trans(gained), later))
        behind_sum += tl.sum(gained, axis=0)
        # dL/dpower; nothing is learned through the cap.
        of_power = tl.where(ratio > 0, gained - hidden * ratio, 0.0)
        place = feature_rows + pair[None, :] * channels + channel[:, None]
        tl.store(
            place, multiply(slope, tl.trans(weight), PRECISION), mask=(channel < channels)[:, None] & listed[None, :]
        )
        moments = _moments(of_power, TILE_WIDTH, TILE_HEIGHT, tl.minimum(chunk, 0))
        if HAS_DEPTH:
            moments += _depth_moment(weight, depth_slope, PRECISION)
        _store_moments(moment_rows, reached, pair, listed, moments, IS_FIRST)
        chunk -= 1


@triton.jit
def _prepare_slopes(
    background: tl.tensor,
    of_image: tl.tensor,
    of_alpha: tl.tensor,
    of_depth: tl.tensor,
    image: tl.tensor,
    row: tl.tensor,
    column: tl.tensor,
    inside: tl.tensor,
    channel: tl.tensor,
    channels: tl.tensor,
    width: tl.tensor,
    height: tl.tensor,
    HAS_BACKGROUND: tl.constexpr,
    HAS_ALPHA: tl.constexpr,
    HAS_DEPTH: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """Gradients of the pixels.

    Where those of the features are [channels, pixels], and which there are; then those of the sum of weights and of
    the depth sum [pixels], where there are any.
    """
    plane = (image.to(tl.int64) * channels + channel)[:, None]
    place = of_image + (plane * height + row[None, :]) * width + column[None, :]
    shown = (channel < channels)[:, None] & inside[None, :]
    pixel = (image.to(tl.int64) * height + row) * width + column
    direct = tl.zeros(row.shape, tl.float32)
    depth_slope = tl.zeros(row.shape, tl.float32)
    if HAS_ALPHA:
        direct = tl.load(of_alpha + pixel, mask=inside, other=0.0)
    if HAS_DEPTH:
        depth_slope = tl.load(of_depth + pixel, mask=inside, other=0.0)
    if HAS_BACKGROUND:
        beyond = tl.load(background + channel, mask=channel < channels, other=0.0)
        direct -= tl.sum(tl.load(place, mask=shown, other=0.0) * beyond[:, None], axis=0)
    return place, shown, direct, depth_slope


@triton.jit
def _recompute(
    column: tl.tensor,
    row: tl.tensor,
    footprint: tl.tuple,
    alpha_cap: tl.tensor,
    saved: tl.tensor,
    one: tl.tensor,
) -> tuple[tl.tensor, tl.tensor]:
    """Weights, and alpha / (1 - alpha) [Gaussians, pixels], or -1 where nothing is learned about alpha.

    ``one`` is 1, which the compiler must not know: it would compute all of this again for each layout in which the
    results are used, but it does not take loops apart.
    """
    weight = tl.zeros([footprint[0].shape[0], column.shape[0]], tl.float32)
    ratio = weight
    while one > 0:
        alpha = alphas(column, row, footprint, alpha_cap)
        ratio = alpha / (1 - alpha)
        behind = tl.load(saved)[None, :] * tl.cumprod(1 - alpha, axis=0)
        weight = tl.where(behind >= LEAST, behind * ratio, 0.0)
        ratio = tl.where((weight > 0) & (alpha < alpha_cap), ratio, -1.0)
        one -= 1
    return weight, ratio


@triton.jit
def _moments(of_power: tl.tensor, TILE_WIDTH: tl.constexpr, TILE_HEIGHT: tl.constexpr, zero: tl.tensor) -> tl.tensor:
    """Products of gradients [Gaussians, pixels] with 1, x, y, x², xy, y² about the middle of the tile [16, Gaussians].

    ``zero`` is 0, which the compiler must not know: it would keep these in registers that are needed otherwise.
    """
    lane = tl.arange(0, TILE_WIDTH * TILE_HEIGHT)[None, :]
    x = (lane % TILE_WIDTH).to(tl.float32) + (0.5 - TILE_WIDTH / 2)
    y = (lane // TILE_WIDTH).to(tl.float32) + (0.5 - TILE_HEIGHT / 2)
    moment = tl.arange(0, 16)[:, None] + zero
    basis = tl.where(moment == 0, 1.0, tl.where(moment == 1, x, tl.where(moment == 2, y, 0.0)))
    basis += tl.where(moment == 3, x * x, tl.where(moment == 4, x * y, tl.where(moment == 5, y * y, 0.0)))
    # These have few digits, so the product is exact whatever the precision: moments of small Gaussians are small
    # differences.
    high, low = halves(of_power)
    moments = tl.dot(basis, tl.trans(low), input_precision="tf32")
    return tl.dot(basis, tl.trans(high), moments, input_precision="tf32")


@triton.jit
def _depth_moment(weight: tl.tensor, depth_slope: tl.tensor, PRECISION: tl.constexpr) -> tl.tensor:
    """Gradients of depths, as the last of the moments [16, Gaussians]."""
    of_weight = tl.where(tl.arange(0, 16)[:, None] == 6, depth_slope[None, :], 0.0)
    return multiply(of_weight, tl.trans(weight), PRECISION)


@triton.jit
def _store_moments(
    moment_rows: tl.tensor,
    reached: tl.tensor,
    pair: tl.tensor,
    listed: tl.tensor,
    moments: tl.tensor,
    IS_FIRST: tl.constexpr,
) -> None:
    """Write the moments of the first pass over the channels, add those of others."""
    moment = tl.arange(0, 16)
    place = moment_rows + pair[None, :] * MOMENTS + moment[:, None]
    kept = (moment < MOMENTS)[:, None] & listed[None, :]
    if IS_FIRST:
        tl.store(reached + pair, tl.full(pair.shape, 1, tl.int8), mask=listed)
    else:
        moments += tl.load(place, mask=kept, other=0.0)
    tl.store(place, moments, mask=kept)
