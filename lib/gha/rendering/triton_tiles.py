"""Which Gaussians touch which tile of the image, nearest first, on CUDA: two sorts and three launches, no wait.

Gaussians are sorted by depth, the tiles of each are written one after the other in that order, and a stable sort by
tile makes the lists. The tiles of one Gaussian are consecutive before that sort, so that gradients can be summed over
them in a fixed order.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from .options import ALPHA_CUT
from .triton_capacity import PairBudget, pair_budget
from .triton_tuning import Tuning

CUT: tl.constexpr = tl.constexpr(ALPHA_CUT)
SLACK: tl.constexpr = tl.constexpr(1.001)
SLACK_PIXELS: tl.constexpr = tl.constexpr(0.01)
_BLOCK = 64
_SLOTS = 512
"""Gaussians and list entries per program."""


@dataclass(frozen=True)
class TileLists:
    """Pairs of a tile and a Gaussian that reaches it. Images are numbered I, their Gaussians I * N.

    Attributes:
        grid: tiles in a row of an image, and rows of them.
        footprints: x, y, conic (xx, xy, yy), opacity and depth of each Gaussian [I * N, 8]; where it reaches no tile,
            not written.
        spans: first pair and number of pairs of each Gaussian, int32 [I * N, 2]; its pairs are consecutive.
        tiles: tile of each pair [P], numbered over all images; P is the capacity, which may be more than there are.
        starts: first list entry of each tile, int32 [I * tiles + 1].
        gaussians: Gaussian of each list entry, nearest first in each tile, int32 [P].
        pairs: pair of each list entry, int64 [P].
        budget: which knows whether all pairs fitted.
    """

    grid: tuple[int, int]
    footprints: Tensor
    spans: Tensor
    tiles: Tensor
    starts: Tensor
    gaussians: Tensor
    pairs: Tensor
    budget: PairBudget

    @property
    def capacity(self) -> int:
        """P, the number of pairs for which there is room."""
        return self.tiles.shape[0]

    @property
    def tile_count(self) -> int:
        """Tiles of all images."""
        return self.starts.shape[0] - 1


def list_tiles(
    means2d: Tensor,  # [B, V, N, 2]
    conics: Tensor,  # [B, V, N, 3]
    radii: Tensor,  # [B, V, N, 2]
    depth: Tensor,  # [B, V, N]
    opacities: Tensor,  # [B, N]
    size: tuple[int, int],
    tuning: Tuning,
) -> TileLists:
    """Sort Gaussians into the tiles of images of ``size`` (width, height); a radius of 0 means not drawn."""
    sets, views, count = depth.shape
    images, total = sets * views, depth.numel()
    columns, rows = -(-size[0] // tuning.tile_width), -(-size[1] // tuning.tile_height)
    tile_count = images * columns * rows
    order = torch.sort(depth.reshape(images, count), dim=-1, stable=True).indices
    footprints, spans = means2d.new_empty(total, 8), order.new_empty((total, 2), dtype=torch.int32)
    counts = order.new_empty(total)
    inputs = (order, means2d.contiguous(), conics.contiguous(), radii.contiguous(), depth.contiguous(), opacities)
    sizes = {"TILE_WIDTH": tuning.tile_width, "TILE_HEIGHT": tuning.tile_height, "BLOCK": _BLOCK}
    grid = (triton.cdiv(total, _BLOCK),)
    budget = pair_budget(depth.device, images, count, *size, tuning.tile_width, tuning.tile_height)
    with torch.cuda.device_of(depth):
        _count_tiles[grid](*inputs, footprints, counts, total, count, views, columns, rows, num_warps=2, **sizes)
        ends = counts.cumsum(0)
        capacity = budget.prepare(ends)
        tiles = order.new_full((capacity,), tile_count, dtype=torch.int16 if tile_count < 2**15 else torch.int32)
        owners = order.new_empty(capacity, dtype=torch.int32)
        _list_pairs[grid](
            *inputs, counts, ends, tiles, owners, spans, budget.counts, total, count, views, capacity, columns, rows,
            num_warps=2, **sizes,
        )  # fmt: skip
        budget.request()
        lists = torch.sort(tiles, stable=True)
        gaussians, starts = torch.empty_like(owners), owners.new_empty(tile_count + 1)
        _start_tiles[(triton.cdiv(max(capacity, tile_count + 1), _SLOTS),)](
            *lists, owners, gaussians, starts, capacity, tile_count, BLOCK=_SLOTS
        )
    return TileLists((columns, rows), footprints, spans, tiles, starts, gaussians, lists.indices, budget)


@triton.jit(do_not_specialize=["total", "gaussian_count", "views", "columns", "rows"])
def _count_tiles(
    order: tl.tensor,
    means2d: tl.tensor,
    conics: tl.tensor,
    radii: tl.tensor,
    depth: tl.tensor,
    opacities: tl.tensor,
    footprints: tl.tensor,
    counts: tl.tensor,
    total: tl.tensor,
    gaussian_count: tl.tensor,
    views: tl.tensor,
    columns: tl.tensor,
    rows: tl.tensor,
    TILE_WIDTH: tl.constexpr,
    TILE_HEIGHT: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Tiles of each Gaussian in order of depth; packs what blending reads of it."""
    rank = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    live = rank < total
    image, gaussian = _my_gaussians(order, rank, gaussian_count, live)
    source = image // views * gaussian_count + gaussian % gaussian_count
    opacity = tl.load(opacities + source, mask=live, other=0.0)
    x, y, xx, xy, yy, reach_x, reach_y, half = _load_ellipses(means2d, conics, radii, gaussian, opacity, live)
    first, last = _tile_range(y, reach_y, rows, TILE_HEIGHT)
    found = tl.zeros([BLOCK], tl.int64)
    for step in range(tl.max(last - first, axis=0) + 1):
        left, right = _row_range(
            first + step, x, y, xx, xy, yy, reach_x, reach_y, half, columns, TILE_WIDTH, TILE_HEIGHT
        )
        found += tl.where(first + step <= last, tl.maximum(right - left + 1, 0), 0)
    tl.store(counts + rank, found, mask=live)
    drawn = live & (found > 0)
    row = footprints + gaussian * 8
    tl.store(row, x, mask=drawn)
    tl.store(row + 1, y, mask=drawn)
    tl.store(row + 2, xx, mask=drawn)
    tl.store(row + 3, xy, mask=drawn)
    tl.store(row + 4, yy, mask=drawn)
    tl.store(row + 5, opacity, mask=drawn)
    tl.store(row + 6, tl.load(depth + gaussian, mask=drawn, other=0.0), mask=drawn)


@triton.jit(do_not_specialize=["total", "gaussian_count", "views", "capacity", "columns", "rows"])
def _list_pairs(
    order: tl.tensor,
    means2d: tl.tensor,
    conics: tl.tensor,
    radii: tl.tensor,
    depth: tl.tensor,
    opacities: tl.tensor,
    counts: tl.tensor,
    ends: tl.tensor,
    tiles: tl.tensor,
    owners: tl.tensor,
    spans: tl.tensor,
    needed: tl.tensor,
    total: tl.tensor,
    gaussian_count: tl.tensor,
    views: tl.tensor,
    capacity: tl.tensor,
    columns: tl.tensor,
    rows: tl.tensor,
    TILE_WIDTH: tl.constexpr,
    TILE_HEIGHT: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Write the tiles of each Gaussian, in order of depth, as far as there is room."""
    rank = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    live = rank < total
    image, gaussian = _my_gaussians(order, rank, gaussian_count, live)
    number = tl.load(counts + rank, mask=live, other=0)
    end = tl.load(ends + rank, mask=live, other=0)
    slot = end - number
    room = tl.minimum(tl.maximum(capacity - slot, 0), number)
    tl.store(spans + gaussian * 2, tl.minimum(slot, capacity).to(tl.int32), mask=live)
    tl.store(spans + gaussian * 2 + 1, room.to(tl.int32), mask=live)
    # The last Gaussian knows how many pairs there are.
    tl.atomic_max(needed + rank * 0, end, mask=rank == total - 1)
    tl.atomic_max(needed + rank * 0 + 1, end, mask=(rank == total - 1) & (end > capacity))
    listed = live & (number > 0)
    source = image // views * gaussian_count + gaussian % gaussian_count
    opacity = tl.load(opacities + source, mask=listed, other=0.0)
    x, y, xx, xy, yy, reach_x, reach_y, half = _load_ellipses(means2d, conics, radii, gaussian, opacity, listed)
    first, last = _tile_range(y, reach_y, rows, TILE_HEIGHT)
    for step in range(tl.max(last - first, axis=0) + 1):
        left, right = _row_range(
            first + step, x, y, xx, xy, yy, reach_x, reach_y, half, columns, TILE_WIDTH, TILE_HEIGHT
        )
        across = tl.where(first + step <= last, tl.maximum(right - left + 1, 0), 0)
        tile = (image * rows + first + step) * columns + left
        for column in range(tl.max(across, axis=0)):
            fits = (column < across) & (slot + column < capacity)
            tl.store(tiles + slot + column, (tile + column).to(tiles.dtype.element_ty), mask=fits)
            tl.store(owners + slot + column, gaussian.to(tl.int32), mask=fits)
        slot += across


@triton.jit(do_not_specialize=["capacity", "tile_count"])
def _start_tiles(
    sorted_tiles: tl.tensor,
    pairs: tl.tensor,
    owners: tl.tensor,
    gaussians: tl.tensor,
    starts: tl.tensor,
    capacity: tl.tensor,
    tile_count: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Gaussians of the list entries, and by bisection the first entry of each tile."""
    entry = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    live = entry < capacity
    live = live & (tl.load(sorted_tiles + entry, mask=live, other=0).to(tl.int32) < tile_count)
    pair = tl.load(pairs + entry, mask=live, other=0)
    tl.store(gaussians + entry, tl.load(owners + pair, mask=live, other=0), mask=live)
    if tl.program_id(0) * BLOCK <= tile_count:
        low = tl.zeros([BLOCK], tl.int32)
        high = low + capacity
        for _ in range(32):
            open_ = low < high
            middle = low + (high - low) // 2
            tile = tl.load(sorted_tiles + middle, mask=open_, other=0).to(tl.int32)
            low = tl.where(open_ & (tile < entry), middle + 1, low)
            high = tl.where(open_ & (tile >= entry), middle, high)
        tl.store(starts + entry, low, mask=entry <= tile_count)


@triton.jit
def _my_gaussians(
    order: tl.tensor, rank: tl.tensor, gaussian_count: tl.tensor, live: tl.tensor
) -> tuple[tl.tensor, tl.tensor]:
    """Image and number of the Gaussians at these ranks."""
    image = rank // gaussian_count
    return image, image * gaussian_count + tl.load(order + rank, mask=live, other=0).to(tl.int32)


@triton.jit
def _load_ellipses(
    means2d: tl.tensor,
    conics: tl.tensor,
    radii: tl.tensor,
    gaussian: tl.tensor,
    opacity: tl.tensor,
    live: tl.tensor,
) -> tuple:
    """The ellipses where alpha >= 1/255, a little widened.

    Centres, conics, half extents along x and y (-1 if not drawn), and half the width at the height of the centre.
    """
    x = tl.load(means2d + gaussian * 2, mask=live, other=0.0)
    y = tl.load(means2d + gaussian * 2 + 1, mask=live, other=0.0)
    xx = tl.load(conics + gaussian * 3, mask=live, other=1.0)
    xy = tl.load(conics + gaussian * 3 + 1, mask=live, other=0.0)
    yy = tl.load(conics + gaussian * 3 + 2, mask=live, other=1.0)
    reach_x = tl.load(radii + gaussian * 2, mask=live, other=0.0)
    reach_y = tl.load(radii + gaussian * 2 + 1, mask=live, other=0.0)
    drawn = reach_x > 0
    reach_x = tl.where(drawn, reach_x * SLACK + SLACK_PIXELS, -1.0)
    reach_y = tl.where(drawn, reach_y * SLACK + SLACK_PIXELS, -1.0)
    half = tl.sqrt(2 * tl.log(tl.maximum(opacity / CUT, 1.0)) / xx) * SLACK
    return x, y, xx, xy, yy, reach_x, reach_y, half


@triton.jit
def _tile_range(
    center: tl.tensor, reach: tl.tensor, tile_count: tl.tensor, TILE: tl.constexpr
) -> tuple[tl.tensor, tl.tensor]:
    """First and last tile with a pixel centre in [center - reach, center + reach]; none if reach is negative."""
    first = tl.maximum(tl.ceil((center - reach + 0.5) / TILE) - 1, 0.0)
    last = tl.minimum(tl.floor((center + reach - 0.5) / TILE), tile_count - 1.0)
    some = (reach >= 0) & (first <= last)
    return tl.where(some, first, 0.0).to(tl.int32), tl.where(some, last, -1.0).to(tl.int32)


@triton.jit
def _row_range(
    row: tl.tensor,
    x: tl.tensor,
    y: tl.tensor,
    xx: tl.tensor,
    xy: tl.tensor,
    yy: tl.tensor,
    reach_x: tl.tensor,
    reach_y: tl.tensor,
    half: tl.tensor,
    columns: tl.tensor,
    TILE_WIDTH: tl.constexpr,
    TILE_HEIGHT: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """First and last tile of a row of tiles that an ellipse reaches.

    The part of the ellipse between the row's uppermost and lowest pixel centres is convex, so it meets all tiles
    from its leftmost to its rightmost point. These lie where the whole ellipse has them, at height ``tip`` above or
    below its centre, or at the nearer edge of the row.
    """
    top = row * TILE_HEIGHT + 0.5 - y
    bottom = top + (TILE_HEIGHT - 1)
    tip = -xy / yy * reach_x
    lower, upper = tl.minimum(tl.maximum(-tip, top), bottom), tl.minimum(tl.maximum(tip, top), bottom)
    left = x - xy / xx * lower - half * _width_at(lower, reach_y)
    right = x - xy / xx * upper + half * _width_at(upper, reach_y)
    meets = (top <= reach_y) & (bottom >= -reach_y)
    reach = tl.where(meets, (right - left) / 2 + SLACK_PIXELS, -1.0)
    return _tile_range((left + right) / 2, reach, columns, TILE_WIDTH)


@triton.jit
def _width_at(height: tl.tensor, reach_y: tl.tensor) -> tl.tensor:
    """An ellipse's width at a height above its centre, relative to that at its centre."""
    share = height / reach_y
    return tl.sqrt(tl.maximum(1 - share * share, 0.0))
