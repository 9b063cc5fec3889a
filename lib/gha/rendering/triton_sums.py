"""Sums of the gradients of pairs over the tiles of each Gaussian, in a fixed order, on CUDA."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .triton_blocks import load_footprints
from .triton_tiles import TileLists
from .triton_tuning import Tuning

MOMENTS: tl.constexpr = tl.constexpr(8)
"""Numbers in a row of moments: 1, x, y, x², xy, y² about the middle of the tile; depth; one that is not used."""

_GAUSSIANS = 32
"""Gaussians per program."""


def sum_rows(
    tiles: TileLists, features: Tensor, rows: tuple[Tensor, Tensor, Tensor], views: int, tuning: Tuning
) -> tuple[Tensor, ...]:
    """Gradients of means2d [B, V, N, 2], conics [B, V, N, 3], depth [B, V, N], opacities [B, N] and features.

    Args:
        tiles: the pairs.
        features: [B, N, C].
        rows: of each pair, gradients of features [P, C], moments [P, 8], and whether there are any, int8 [P].
        views: V.
        tuning: which tiles the middle of the moments belongs to.
    """
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


@triton.jit(do_not_specialize=["gaussian_count", "views", "columns", "tiles_per_image"])
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


@triton.jit(do_not_specialize=["gaussian_count", "views"])
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
