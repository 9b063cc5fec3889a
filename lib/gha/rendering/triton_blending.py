"""Blending on CUDA: a tile's Gaussians a chunk at a time, their features by matrix products.

A program draws one tile. For each chunk of Gaussians it computes the alphas at all pixels, from their running product
the transmittances, and adds weights times features as one matrix product, on tensor cores. It stops when no pixel lets
light through any more.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from .options import RenderOptions
from .triton_blocks import LEAST, alphas, load_features, load_footprints, multiply, tile_pixels
from .triton_tiles import TileLists
from .triton_tuning import Tuning


@dataclass(frozen=True)
class Trace:
    """What the backward pass needs to know of the forward pass.

    Attributes:
        transmittance: of each pixel of a tile before each chunk of Gaussians [chunks, pixels of a tile]; empty if no
            gradients are wanted. The chunks of a tile are consecutive; those of tile t start at row
            ``starts[t] // chunk + t``.
        chunks: how many chunks each tile drew, int32 [tiles].
    """

    transmittance: Tensor
    chunks: Tensor


def channel_blocks(channels: int, tuning: Tuning) -> list[tuple[int, int]]:
    """First channel of each pass over the tiles, and how many it makes room for (a power of two, at least 16)."""
    starts = range(0, max(channels, 1), tuning.channels)
    return [(start, max(16, triton.next_power_of_2(min(tuning.channels, channels - start)))) for start in starts]


def blend(
    tiles: TileLists,
    features: Tensor,  # [B, N, C]
    background: Tensor | None,  # [C]
    views: int,
    size: tuple[int, int],
    options: RenderOptions,
    saves: bool,
    tuning: Tuning,
) -> tuple[Tensor, Tensor, Tensor, Trace]:
    """Draw all tiles of images of ``size`` (width, height); ``saves`` what the backward pass needs.

    Returns:
        Features [I, C, H, W], alpha and sum of weight times depth [I, H, W], and the trace.
    """
    sets, count, channels = features.shape
    images, (width, height) = sets * views, size
    image = features.new_empty(images, channels, height, width)
    alpha, depth = (features.new_empty(images, height, width) for _ in range(2))
    rows = tiles.capacity // tuning.chunk + tiles.tile_count if saves else 0
    trace = Trace(features.new_empty(rows, tuning.pixels), tiles.starts.new_empty(tiles.tile_count))
    with torch.cuda.device_of(features):
        for first, block in channel_blocks(channels, tuning):
            _blend[(tiles.tile_count,)](
                tiles.starts, tiles.gaussians, tiles.footprints, features,
                features if background is None else background,
                image, alpha, depth, trace.transmittance, trace.chunks, first,
                count, views, channels, width, height, tiles.grid[0], tiles.tile_count // images, options.alpha_cap,
                TILE_WIDTH=tuning.tile_width, TILE_HEIGHT=tuning.tile_height, CHUNK=tuning.chunk, CHANNELS=block,
                PRECISION=options.precision, HAS_BACKGROUND=background is not None, IS_FIRST=first == 0,
                SAVES=saves and first == 0, num_warps=tuning.forward_warps,
            )  # fmt: skip
    return image, alpha, depth, trace


@triton.jit(do_not_specialize=["gaussian_count", "views", "height", "columns", "tiles_per_image"])
def _blend(
    starts: tl.tensor,
    gaussians: tl.tensor,
    footprints: tl.tensor,
    features: tl.tensor,
    background: tl.tensor,
    image_out: tl.tensor,
    alpha_out: tl.tensor,
    depth_out: tl.tensor,
    transmittance_out: tl.tensor,
    chunks_out: tl.tensor,
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
    IS_FIRST: tl.constexpr,
    SAVES: tl.constexpr,
) -> None:
    PIXELS: tl.constexpr = TILE_WIDTH * TILE_HEIGHT
    tile = tl.program_id(0)
    image, column, row, inside = tile_pixels(tile, columns, tiles_per_image, width, height, TILE_WIDTH, TILE_HEIGHT)
    channel = first_channel + tl.arange(0, CHANNELS)
    # From a Gaussian of this image to its row of features, which all views of a set share.
    shift = (image // views - image) * gaussian_count
    start = tl.load(starts + tile)
    end = tl.load(starts + tile + 1)
    saved = transmittance_out + (start // CHUNK + tile).to(tl.int64) * PIXELS + tl.arange(0, PIXELS)
    colors = tl.zeros([CHANNELS, PIXELS], tl.float32)
    coverage = tl.zeros([PIXELS], tl.float32)
    depth_sum = tl.zeros([PIXELS], tl.float32)
    before = tl.where(inside, 1.0, 0.0)
    chunk = 0
    open_pixels = tl.max(inside.to(tl.int32), axis=0)
    while (start + chunk * CHUNK < end) & (open_pixels > 0):
        if SAVES:
            tl.store(saved + chunk * PIXELS, before)
        entry = start + chunk * CHUNK + tl.arange(0, CHUNK)
        listed = entry < end
        gaussian = tl.load(gaussians + entry, mask=listed, other=0)
        values = load_features(features, gaussian + shift, channel, channels, listed)
        footprint = load_footprints(footprints, gaussian, listed)
        alpha = alphas(column, row, footprint, alpha_cap)
        # Behind each Gaussian, whether drawn or not. The first behind which less than the bound is left ends its pixel:
        # neither it nor what follows has a weight.
        behind = before[None, :] * tl.cumprod(1 - alpha, axis=0)
        weight = tl.where(behind >= LEAST, behind * (alpha / (1 - alpha)), 0.0)
        colors += multiply(tl.trans(values), weight, PRECISION)
        coverage += tl.sum(weight, axis=0)
        depth_sum += tl.sum(weight * footprint[6][:, None], axis=0)
        before = tl.min(behind, axis=0)
        open_pixels = tl.max((before >= LEAST).to(tl.int32), axis=0)
        chunk += 1
    if HAS_BACKGROUND:
        beyond = tl.load(background + channel, mask=channel < channels, other=0.0)
        colors += (1 - coverage)[None, :] * beyond[:, None]
    plane = (image.to(tl.int64) * channels + channel)[:, None]
    place = image_out + (plane * height + row[None, :]) * width + column[None, :]
    tl.store(place, colors, mask=(channel < channels)[:, None] & inside[None, :])
    if IS_FIRST:
        pixel = (image.to(tl.int64) * height + row) * width + column
        tl.store(alpha_out + pixel, coverage, mask=inside)
        tl.store(depth_out + pixel, depth_sum, mask=inside)
        tl.store(chunks_out + tile, chunk)
