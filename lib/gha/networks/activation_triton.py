"""LeakyReLU with the bias before it, and both gradients, in one pass over memory each.

PyTorch needs two or three passes, and the one that adds up the bias's gradient takes four times as long as reading its
input does: a fifth of what the networks cost in a training step.
"""

from __future__ import annotations

import logging
import subprocess

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from triton.errors import TritonError

logger = logging.getLogger(__name__)

_ELEMENTS = 4096
"""That a program holds at a time."""
_MOST_PROGRAMS = 1024
"""Each leaves one row of sums, which are then added up in a fixed order."""


class BiasedLeakyReLU(torch.autograd.Function):
    """LeakyReLU of products plus a bias [C], in place of the products.

    Channels must be what lies side by side in memory: the last dimension of contiguous products [..., C] or, with
    ``pixels``, the first of channels-last products [B, C, h, w]. Sums are as precise as the bias.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, products: Tensor, bias: Tensor, slope: float, pixels: bool) -> Tensor:
        """Overwrite the products."""
        columns = len(bias)
        rows, width = products.numel() // columns, triton.next_power_of_2(columns)
        if rows:
            with torch.cuda.device_of(products):
                _activate[(triton.cdiv(rows, _block(width)),)](
                    products, bias.contiguous(), rows, columns, SLOPE=slope, ROWS=_block(width), WIDTH=width
                )
        ctx.mark_dirty(products)
        ctx.save_for_backward(products)
        ctx.dtype, ctx.columns, ctx.slope, ctx.pixels = bias.dtype, columns, slope, pixels
        return products

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Gradients of the products and of the bias; the sign of what came out says on which side of zero it was."""
        (activated,) = ctx.saved_tensors
        rows, width = activated.numel() // ctx.columns, triton.next_power_of_2(ctx.columns)
        layout = torch.channels_last if ctx.pixels else torch.contiguous_format
        of_products = torch.empty_like(activated, memory_format=layout)
        tiles = triton.cdiv(rows, _block(width))
        programs = min(tiles, _MOST_PROGRAMS)
        sums = activated.new_empty(programs, ctx.columns, dtype=ctx.dtype)
        if rows:
            with torch.cuda.device_of(activated):
                _differentiate[(programs,)](
                    gradient.contiguous(memory_format=layout), activated, of_products, sums, rows, ctx.columns,
                    triton.cdiv(tiles, programs), SLOPE=ctx.slope, ROWS=_block(width), WIDTH=width,
                )  # fmt: skip
        return of_products, sums.sum(0), None, None


def _block(width: int) -> int:
    """Rows of ``width`` columns that a program holds at a time."""
    return max(1, _ELEMENTS // width)


@triton.jit(do_not_specialize=["rows"])
def _activate(
    products: tl.tensor,
    bias: tl.tensor,
    rows: tl.tensor,
    columns: tl.tensor,
    SLOPE: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
) -> None:
    """One tile of rows per program."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, WIDTH)
    place = products + row.to(tl.int64)[:, None] * columns + column[None, :]
    there = (row < rows)[:, None] & (column < columns)[None, :]
    added = tl.load(bias + column, column < columns, 0.0)
    x = tl.load(place, there, 0.0).to(added.dtype) + added[None, :]
    tl.store(place, tl.where(x > 0, x, SLOPE * x if SLOPE > 0 else 0.0), there)


@triton.jit(do_not_specialize=["rows", "tiles_each"])
def _differentiate(
    gradient: tl.tensor,
    activated: tl.tensor,
    of_products: tl.tensor,
    sums: tl.tensor,
    rows: tl.tensor,
    columns: tl.tensor,
    tiles_each: tl.tensor,
    SLOPE: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
) -> None:
    """``tiles_each`` neighbouring tiles of rows per program, and the sum over their rows."""
    column = tl.arange(0, WIDTH)
    total = tl.zeros((WIDTH,), sums.dtype.element_ty)
    for tile in range(tiles_each):
        row = (tl.program_id(0) * tiles_each + tile) * ROWS + tl.arange(0, ROWS)
        place = row.to(tl.int64)[:, None] * columns + column[None, :]
        there = (row < rows)[:, None] & (column < columns)[None, :]
        above = tl.load(activated + place, there, 0.0) > 0
        x = tl.load(gradient + place, there, 0.0).to(total.dtype)
        x = tl.where(above, x, SLOPE * x if SLOPE > 0 else 0.0)
        tl.store(of_products + place, x, there)
        total += tl.sum(x, 0)
    tl.store(sums + tl.program_id(0) * columns + column, total, column < columns)


def works(device: torch.device) -> bool:
    """Whether the kernels compile and run here: they need a C compiler and the headers of Python."""
    try:
        with torch.inference_mode(False), torch.enable_grad():
            products, bias = torch.zeros(2, 256, device=device), torch.zeros(256, device=device, requires_grad=True)
            BiasedLeakyReLU.apply(products, bias, 0.01, False).sum().backward()
    except (TritonError, RuntimeError, OSError, subprocess.SubprocessError) as error:
        logger.warning("networks are trained by PyTorch's own kernels, which is slower: %s", error)
        return False
    return True
