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
from .triton_blocks import alphas, load_features, load_footprints, tile_pixels, transmittances
from .triton_tiles import TileLists
from .triton_tuning import Tuning

MOMENTS: tl.constexpr = tl.constexpr(8)
"""Numbers in a row of moments: 1, x, y, x², xy, y² about the middle of the tile; depth; one that is not used."""

_GAUSSIANS = 32
"""Gaussians per program of the kernels that sum rows."""


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
                # Moments of small Gaussians are small differences.
                MOMENT_PRECISION="tf32x3" if options.precision == "tf32" else options.precision,
                HAS_BACKGROUND=background is not None,
                HAS_ALPHA=incoming[1] is not None and first == 0, HAS_DEPTH=incoming[2] is not None and first == 0,
                IS_FIRST=first == 0, num_warps=tuning.backward_warps,
            )  # fmt: skip
        return _sum_rows(tiles, features, rows, views, tuning)


def _sum_rows(
    tiles: TileLists, features: Tensor, rows: tuple[Tensor, Tensor, Tensor], views: int, tuning: Tuning
) -> tuple[Tensor, ...]:
    """Gradients of each Gaussian from the rows of its pairs: features, moments, and whether the pair was reached."""
    sets, count, channels = features.shape
    feature_rows, moment_rows, reached = rows
    leading = (sets, views, count)
    of_means2d, of_conics, of_depth = (features.new_empty(*leading, *width) for width in ((2,), (3,), ()))
    of_opacities, of_features = features.new_empty(sets, count), torch.empty_like(features)
    blocks, width = triton.cdiv(count, _GAUSSIANS), max(16, triton.next_power_of_2(min(channels, 64)))
    _sum_moments[(blocks, sets)](
        tiles.spans, tiles.tiles, tiles.footprints, moment_rows, reached, of_means2d, of_conics, of_depth, of_opacities,
        count, views, tiles.grid[0], tiles.tile_count // (sets * views),
        TILE_WIDTH=tuning.tile_width, TILE_HEIGHT=tuning.tile_height, GAUSSIANS=_GAUSSIANS, num_warps=1,
    )  # fmt: skip
    if channels:
        _sum_features[(blocks, sets, triton.cdiv(channels, width))](
            tiles.spans, feature_rows, reached, of_features, count, views, channels,
            GAUSSIANS=_GAUSSIANS, CHANNELS=width, num_warps=4,
        )  # fmt: skip
    return of_means2d, of_conics, of_depth, of_opacities, of_features


@triton.jit
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
    MOMENT_PRECISION: tl.constexpr,
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
    start = tl.load(starts + tile)
    end = tl.load(starts + tile + 1)
    saved = transmittance + (start // CHUNK + tile).to(tl.int64) * PIXELS + tl.arange(0, PIXELS)
    slope, direct, depth_slope = _load_slopes(
        background, of_image, of_alpha, of_depth, image, row, column, inside, channel, channels, width, height,
        HAS_BACKGROUND, HAS_ALPHA, HAS_DEPTH,
    )  # fmt: skip
    basis = _moment_basis(TILE_WIDTH, TILE_HEIGHT)
    moment = tl.arange(0, 16)
    behind_sum = tl.zeros([PIXELS], tl.float32)
    chunk = tl.load(chunks + tile) - 1
    while chunk >= 0:
        entry = start + chunk * CHUNK + tl.arange(0, CHUNK)
        listed = entry < end
        gaussian = tl.load(gaussians + entry, mask=listed, other=0)
        pair = tl.load(pairs + entry, mask=listed, other=0)
        values = load_features(features, gaussian + shift, channel, channels, listed)
        footprint = load_footprints(footprints, gaussian, listed)
        alpha = alphas(column, row, footprint, alpha_cap)
        _, weight = transmittances(alpha, tl.load(saved + chunk * PIXELS))
        # What the image gains from a unit of this Gaussian's weight.
        gain = tl.dot(values, slope, input_precision=PRECISION) + direct[None, :]
        if HAS_DEPTH:
            gain += footprint[6][:, None] * depth_slope[None, :]
        gained = weight * gain
        tail = tl.cumsum(gained, axis=0, reverse=True)
        hidden = behind_sum[None, :] + tail - gained
        # dL/dpower; nothing is learned through the cap.
        learns = (weight > 0) & (alpha < alpha_cap)
        of_power = tl.where(learns, weight * gain - hidden * (alpha / (1 - alpha)), 0.0)
        behind_sum += tl.sum(gained, axis=0)
        row_gradient = tl.dot(weight, tl.trans(slope), input_precision=PRECISION)
        place = feature_rows + pair[:, None] * channels + channel[None, :]
        tl.store(place, row_gradient, mask=listed[:, None] & (channel < channels)[None, :])
        moments = tl.dot(of_power, basis, input_precision=MOMENT_PRECISION)
        if HAS_DEPTH:
            of_weight = tl.where(moment[None, :] == 6, depth_slope[:, None], 0.0)
            moments = tl.dot(weight, of_weight, moments, input_precision=MOMENT_PRECISION)
        place = moment_rows + pair[:, None] * MOMENTS + moment[None, :]
        kept = listed[:, None] & (moment < MOMENTS)[None, :]
        if IS_FIRST:
            tl.store(reached + pair, tl.full([CHUNK], 1, tl.int8), mask=listed)
        else:
            moments += tl.load(place, mask=kept, other=0.0)
        tl.store(place, moments, mask=kept)
        chunk -= 1


@triton.jit
def _load_slopes(
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
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Gradients of the pixels: of features [channels, pixels], of the sum of weights and of the depth sum [pixels]."""
    plane = (image.to(tl.int64) * channels + channel)[:, None]
    place = of_image + (plane * height + row[None, :]) * width + column[None, :]
    slope = tl.load(place, mask=(channel < channels)[:, None] & inside[None, :], other=0.0)
    pixel = (image.to(tl.int64) * height + row) * width + column
    direct = tl.zeros_like(row).to(tl.float32)
    depth_slope = direct
    if HAS_ALPHA:
        direct += tl.load(of_alpha + pixel, mask=inside, other=0.0)
    if HAS_DEPTH:
        depth_slope = tl.load(of_depth + pixel, mask=inside, other=0.0)
    if HAS_BACKGROUND:
        beyond = tl.load(background + channel, mask=channel < channels, other=0.0)
        direct -= tl.sum(slope * beyond[:, None], axis=0)
    return slope, direct, depth_slope


@triton.jit
def _moment_basis(TILE_WIDTH: tl.constexpr, TILE_HEIGHT: tl.constexpr) -> tl.tensor:
    """1, x, y, x², xy, y² about the middle of the tile [pixels, 16]: few bits, so exact in TF32."""
    lane = tl.arange(0, TILE_WIDTH * TILE_HEIGHT)[:, None]
    x = (lane % TILE_WIDTH).to(tl.float32) + (0.5 - TILE_WIDTH / 2)
    y = (lane // TILE_WIDTH).to(tl.float32) + (0.5 - TILE_HEIGHT / 2)
    moment = tl.arange(0, 16)[None, :]
    first = tl.where(moment == 0, 1.0, tl.where(moment == 1, x, tl.where(moment == 2, y, 0.0)))
    second = tl.where(moment == 3, x * x, tl.where(moment == 4, x * y, tl.where(moment == 5, y * y, 0.0)))
    return first + second


@triton.jit
def _sum_moments(
    spans: tl.tensor,
    tiles: tl.tensor,
    footprints: tl.tensor,
    moment_rows: tl.tensor,
    reached: tl.tensor,
    of_means2d: tl.tensor,
    of_conics: tl.tensor,
    of_depth: tl.tensor,
    of_opacities: tl.tensor,
    gaussian_count: tl.tensor,
    views: tl.tensor,
    columns: tl.tensor,
    tiles_per_image: tl.tensor,
    TILE_WIDTH: tl.constexpr,
    TILE_HEIGHT: tl.constexpr,
    GAUSSIANS: tl.constexpr,
) -> None:
    """Gradients of footprints, summed over the tiles of each, and of opacities, summed over the views too."""
    index = tl.program_id(0) * GAUSSIANS + tl.arange(0, GAUSSIANS)
    live = index < gaussian_count
    of_opacity = tl.zeros([GAUSSIANS], tl.float32)
    for view in range(views):
        gaussian = (tl.program_id(1) * views + view) * gaussian_count + index
        first = tl.load(spans + gaussian * 2, mask=live, other=0)
        number = tl.load(spans + gaussian * 2 + 1, mask=live, other=0)
        footprint = load_footprints(footprints, gaussian, live & (number > 0))
        zero = tl.zeros([GAUSSIANS], tl.float32)
        sum_1, sum_x, sum_y, sum_xx, sum_xy, sum_yy, sum_depth = zero, zero, zero, zero, zero, zero, zero
        for step in range(tl.max(number, axis=0)):
            pair = first + step
            listed = step < number
            listed = listed & (tl.load(reached + pair, mask=listed, other=0) > 0)
            place = tl.load(tiles + pair, mask=listed, other=0).to(tl.int32) % tiles_per_image
            # The centre, seen from the middle of the tile.
            x = footprint[0] - (place % columns * TILE_WIDTH + TILE_WIDTH / 2)
            y = footprint[1] - (place // columns * TILE_HEIGHT + TILE_HEIGHT / 2)
            row = moment_rows + pair.to(tl.int64) * MOMENTS
            one = tl.load(row, mask=listed, other=0.0)
            of_x = tl.load(row + 1, mask=listed, other=0.0)
            of_y = tl.load(row + 2, mask=listed, other=0.0)
            sum_1 += one
            sum_x += of_x - x * one
            sum_y += of_y - y * one
            sum_xx += tl.load(row + 3, mask=listed, other=0.0) - 2 * x * of_x + x * x * one
            sum_xy += tl.load(row + 4, mask=listed, other=0.0) - x * of_y - y * of_x + x * y * one
            sum_yy += tl.load(row + 5, mask=listed, other=0.0) - 2 * y * of_y + y * y * one
            sum_depth += tl.load(row + 6, mask=listed, other=0.0)
        _, _, xx, xy, yy, opacity, _ = footprint
        tl.store(of_means2d + gaussian * 2, xx * sum_x + xy * sum_y, mask=live)
        tl.store(of_means2d + gaussian * 2 + 1, xy * sum_x + yy * sum_y, mask=live)
        tl.store(of_conics + gaussian * 3, -0.5 * sum_xx, mask=live)
        tl.store(of_conics + gaussian * 3 + 1, -sum_xy, mask=live)
        tl.store(of_conics + gaussian * 3 + 2, -0.5 * sum_yy, mask=live)
        tl.store(of_depth + gaussian, sum_depth, mask=live)
        of_opacity += tl.where(number > 0, sum_1 / opacity, 0.0)
    tl.store(of_opacities + tl.program_id(1) * gaussian_count + index, of_opacity, mask=live)


@triton.jit
def _sum_features(
    spans: tl.tensor,
    feature_rows: tl.tensor,
    reached: tl.tensor,
    of_features: tl.tensor,
    gaussian_count: tl.tensor,
    views: tl.tensor,
    channels: tl.tensor,
    GAUSSIANS: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    """Gradients of features, summed over the tiles and views of each Gaussian."""
    index = tl.program_id(0) * GAUSSIANS + tl.arange(0, GAUSSIANS)
    channel = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    live = index < gaussian_count
    total = tl.zeros([GAUSSIANS, CHANNELS], tl.float32)
    for view in range(views):
        gaussian = (tl.program_id(1) * views + view) * gaussian_count + index
        first = tl.load(spans + gaussian * 2, mask=live, other=0)
        number = tl.load(spans + gaussian * 2 + 1, mask=live, other=0)
        for step in range(tl.max(number, axis=0)):
            pair = first + step
            listed = step < number
            listed = listed & (tl.load(reached + pair, mask=listed, other=0) > 0)
            place = feature_rows + pair.to(tl.int64)[:, None] * channels + channel[None, :]
            total += tl.load(place, mask=listed[:, None] & (channel < channels)[None, :], other=0.0)
    source = (tl.program_id(1) * gaussian_count + index).to(tl.int64)
    place = of_features + source[:, None] * channels + channel[None, :]
    tl.store(place, total, mask=live[:, None] & (channel < channels)[None, :])
