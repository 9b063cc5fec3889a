"""LeakyReLU with the bias before it, and both gradients, in one pass over memory each.

PyTorch needs two passes for the gradients, of which the one that adds up the bias's takes four times as long as reading
its input does: a fifth of what the networks cost in a training step.
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

from .activation import SLOPE

logger = logging.getLogger(__name__)

_ELEMENTS = 4096
"""That a program holds at a time."""
_MOST_PROGRAMS = 1024
"""Each leaves one row of sums, which are then added up in a fixed order."""


class BiasedLeakyReLU(torch.autograd.Function):
    """LeakyReLU of products [..., C] plus a bias [C], in place of the products, which lie contiguously."""

    @staticmethod
    def forward(ctx: FunctionCtx, products: Tensor, bias: Tensor) -> Tensor:
        """Overwrite the products."""
        rows, columns, width = products.numel() // len(bias), len(bias), triton.next_power_of_2(len(bias))
        if rows:
            grid = (triton.cdiv(rows, _block(width)),)
            _activate[grid](products, bias.contiguous(), rows, columns, SLOPE=SLOPE, ROWS=_block(width), WIDTH=width)
        ctx.mark_dirty(products)
        ctx.save_for_backward(products)
        return products

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of the products and of the bias; the sign of what came out says on which side of zero it was."""
        (activated,) = ctx.saved_tensors
        columns = activated.shape[-1]
        rows, width = activated.numel() // max(columns, 1), triton.next_power_of_2(columns)
        of_products = torch.empty_like(activated)
        tiles = triton.cdiv(rows, _block(width))
        programs = min(tiles, _MOST_PROGRAMS)
        sums = activated.new_empty(programs, columns)
        if rows:
            _differentiate[(programs,)](
                gradient.contiguous(), activated, of_products, sums, rows, columns, triton.cdiv(tiles, programs),
                SLOPE=SLOPE, ROWS=_block(width), WIDTH=width,
            )  # fmt: skip
        return of_products, sums.sum(0)


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
    x = tl.load(place, there, 0.0) + tl.load(bias + column, column < columns, 0.0)[None, :]
    tl.store(place, tl.where(x > 0, x, SLOPE * x), there)


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
        x = tl.load(gradient + place, there, 0.0)
        x = tl.where(above, x, SLOPE * x)
        tl.store(of_products + place, x, there)
        total += tl.sum(x, 0)
    tl.store(sums + tl.program_id(0) * columns + column, total, column < columns)


def works(device: torch.device) -> bool:
    """Whether the kernels compile and run here: they need a C compiler and the headers of Python."""
    try:
        with torch.inference_mode(False), torch.enable_grad():
            products, bias = torch.zeros(2, 256, device=device), torch.zeros(256, device=device, requires_grad=True)
            BiasedLeakyReLU.apply(products, bias).sum().backward()
    except (TritonError, RuntimeError, OSError, subprocess.SubprocessError) as error:
        logger.warning("networks are trained by PyTorch's own kernels, which is slower: %s", error)
        return False
    return True
