"""Bicubic enlargement."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.functional import interpolate

_LARGEST_PRODUCT = 128  # pixels on a side, up to which products cost the CPU a fraction of its scalar interpolation


def enlarge_bicubic(images: Tensor, factor: int) -> Tensor:
    """Images [B, C, H, W] ``factor`` times larger each way, as ``interpolate`` makes them where corners do not align.

    On the CPU small images are multiplied by the weights of their rows and columns: the same to a few roundings, seven
    times as fast and with its gradient ten times. On a GPU gradients are such products, whatever the size.
    """
    if images.is_cuda:
        return _Interpolation.apply(images, factor) if images.requires_grad else _interpolate(images, factor)
    if max(images.shape[-2:]) > _LARGEST_PRODUCT:
        return _interpolate(images, factor)
    rows, columns = (_weights(side, factor, images.device).to(images.dtype) for side in images.shape[-2:])
    return rows @ images @ columns.mT


class _Interpolation(torch.autograd.Function):
    """Interpolation whose gradient is made of products; PyTorch's adds up sixteen pixels in memory, one by one."""

    @staticmethod
    def forward(ctx: FunctionCtx, images: Tensor, factor: int) -> Tensor:
        """Enlarge."""
        ctx.size, ctx.factor = images.shape[-2:], factor
        return _interpolate(images, factor)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        """The same weights, transposed."""
        rows, columns = (_weights(side, ctx.factor, gradient.device).to(gradient.dtype) for side in ctx.size)
        return rows.mT @ (gradient @ columns), None


def _interpolate(images: Tensor, factor: int) -> Tensor:
    return interpolate(images, scale_factor=factor, mode="bicubic", align_corners=False)


@lru_cache(maxsize=16)
def _weights(side: int, factor: int, device: torch.device) -> Tensor:
    """Share [factor * side, side] of each of ``side`` pixels in each pixel of the enlarged line."""
    with torch.inference_mode(False), torch.no_grad():
        lines = torch.eye(side)[None, None]
        return interpolate(lines, size=(factor * side, side), mode="bicubic", align_corners=False)[0, 0].to(device)
