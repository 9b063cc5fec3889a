"""Distance of two stacks of features as LPIPS has it, and its gradients, in one pass over memory each.

PyTorch needs a dozen passes in float32, a tenth of what a training step costs.
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

_ELEMENTS = 2048
"""Of each stack that a program holds at a time."""


class FeatureDistance(torch.autograd.Function):
    """Weighted squared difference of features [B, C, h, w] that have length one at every pixel, its mean [B].

    Args:
        one, other: features; read in channels-last memory.
        weights: [C] of the channels; results are as precise as these. They get no gradient.
        tiny: added to lengths.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, one: Tensor, other: Tensor, weights: Tensor, tiny: float) -> Tensor:
        """Means over the pixels [B]."""
        one, other = (x.contiguous(memory_format=torch.channels_last) for x in (one, other))
        weights = weights.contiguous()
        pixels, width, rows = _sizes(one)
        values = weights.new_empty(pixels)
        with torch.cuda.device_of(one):
            _measure[(triton.cdiv(pixels, rows),)](
                one, other, weights, values, pixels, one.shape[1], TINY=tiny, ROWS=rows, WIDTH=width
            )
        ctx.save_for_backward(one, other, weights)
        ctx.tiny = tiny
        return values.view(len(one), -1).mean(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Gradients of the features that want one."""
        one, other, weights = ctx.saved_tensors
        pixels, width, rows = _sizes(one)
        each = pixels // len(one)
        of_one, of_other = (
            torch.empty_like(x) if ctx.needs_input_grad[i] else None for i, x in enumerate((one, other))
        )
        with torch.cuda.device_of(one):
            _differentiate[(triton.cdiv(pixels, rows),)](
                one, other, weights, gradient.contiguous() / each, of_one, of_other, pixels, one.shape[1], each,
                TINY=ctx.tiny, ROWS=rows, WIDTH=width,
            )  # fmt: skip
        return of_one, of_other, None, None


def _sizes(features: Tensor) -> tuple[int, int, int]:
    """Number of pixels, channels rounded up to a power of two, pixels that a program holds."""
    width = triton.next_power_of_2(features.shape[1])
    return features.numel() // features.shape[1], width, max(1, _ELEMENTS // width)


@triton.jit
def _places(
    pixels: tl.tensor, channels: tl.tensor, ROWS: tl.constexpr, WIDTH: tl.constexpr
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """This program's pixels [ROWS], where in memory their features lie [ROWS, WIDTH], and which of those there are."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, WIDTH)
    there = (row < pixels)[:, None] & (column < channels)[None, :]
    return row, row.to(tl.int64)[:, None] * channels + column[None, :], there


@triton.jit
def _load(
    features: tl.tensor,
    pixels: tl.tensor,
    channels: tl.tensor,
    weights: tl.tensor,
    TINY: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """Features [ROWS, WIDTH] of this program's pixels, as precise as the weights, and their lengths [ROWS, 1]."""
    _, place, there = _places(pixels, channels, ROWS, WIDTH)
    x = tl.load(features + place, there, 0.0).to(weights.dtype.element_ty)
    return x, tl.maximum(tl.sqrt(tl.sum(x * x, 1)), TINY)[:, None]


@triton.jit
def _compare(
    one: tl.tensor,
    other: tl.tensor,
    pixels: tl.tensor,
    channels: tl.tensor,
    weights: tl.tensor,
    TINY: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """Both features with their lengths, their difference at length one, and that times the weights."""
    x, x_length = _load(one, pixels, channels, weights, TINY, ROWS, WIDTH)
    y, y_length = _load(other, pixels, channels, weights, TINY, ROWS, WIDTH)
    column = tl.arange(0, WIDTH)
    weight = tl.load(weights + column, column < channels, 0.0)[None, :]
    difference = x / (x_length + TINY) - y / (y_length + TINY)
    return x, x_length, y, y_length, difference, weight * difference


@triton.jit
def _measure(
    one: tl.tensor,
    other: tl.tensor,
    weights: tl.tensor,
    values: tl.tensor,
    pixels: tl.tensor,
    channels: tl.tensor,
    TINY: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
) -> None:
    _, _, _, _, difference, weighted = _compare(one, other, pixels, channels, weights, TINY, ROWS, WIDTH)
    row, _, _ = _places(pixels, channels, ROWS, WIDTH)
    tl.store(values + row, tl.sum(weighted * difference, 1), row < pixels)


@triton.jit
def _differentiate(
    one: tl.tensor,
    other: tl.tensor,
    weights: tl.tensor,
    gradient: tl.tensor,
    of_one: tl.tensor,
    of_other: tl.tensor,
    pixels: tl.tensor,
    channels: tl.tensor,
    each: tl.tensor,
    TINY: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
) -> None:
    x, x_length, y, y_length, _, weighted = _compare(one, other, pixels, channels, weights, TINY, ROWS, WIDTH)
    row, place, there = _places(pixels, channels, ROWS, WIDTH)
    slopes = 2 * tl.load(gradient + row // each, row < pixels, 0.0)[:, None] * weighted
    if of_one is not None:
        tl.store(of_one + place, _of_features(x, x_length, slopes, TINY), there)
    if of_other is not None:
        tl.store(of_other + place, _of_features(y, y_length, -slopes, TINY), there)


@triton.jit
def _of_features(x: tl.tensor, length: tl.tensor, slopes: tl.tensor, TINY: tl.constexpr) -> tl.tensor:
    """Gradient of x, given that of x / (length + TINY)."""
    along = tl.sum(x * slopes, 1)[:, None] / ((length + TINY) * length)
    return (slopes - x * along) / (length + TINY)


def works(device: torch.device) -> bool:
    """Whether the kernels compile and run here: they need a C compiler and the headers of Python."""
    try:
        with torch.inference_mode(False), torch.enable_grad():
            one = torch.ones(1, 64, 2, 2, device=device, requires_grad=True)
            other, weights = torch.zeros(1, 64, 2, 2, device=device), torch.ones(64, device=device)
            FeatureDistance.apply(one, other, weights, 1e-10).sum().backward()
    except (TritonError, RuntimeError, OSError, subprocess.SubprocessError) as error:
        logger.warning("LPIPS is computed by PyTorch's own kernels, which is slower: %s", error)
        return False
    return True
