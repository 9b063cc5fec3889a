"""Bicubic enlargement."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import interpolate

_LARGEST_PRODUCT = 128  # pixels on a side, up to which products cost the CPU a fraction of its scalar interpolation


def enlarge_bicubic(images: Tensor, factor: int) -> Tensor:
    """Images [B, C, H, W] ``factor`` times larger each way, as ``interpolate`` makes them where corners do not align.

    On the CPU small images are multiplied by the weights of their rows and columns: the same to a few roundings, seven
    times as fast and with its gradient ten times.
    """
    height, width = images.shape[-2:]
    if images.is_cuda or max(height, width) > _LARGEST_PRODUCT:
        return interpolate(images, scale_factor=factor, mode="bicubic", align_corners=False)
    rows, columns = (_weights(side, factor).to(images.dtype) for side in (height, width))
    return rows @ images @ columns.mT


@lru_cache(maxsize=16)
def _weights(side: int, factor: int) -> Tensor:
    """Share [factor * side, side] of each of ``side`` pixels in each pixel of the enlarged line."""
    with torch.inference_mode(False), torch.no_grad():
        lines = torch.eye(side)[None, None]
        return interpolate(lines, size=(factor * side, side), mode="bicubic", align_corners=False)[0, 0]
