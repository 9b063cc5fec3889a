"""A bias and the activation behind it, where a GPU does both at once."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

FusedActivation = Callable[[Tensor, Tensor, float, bool], Tensor]
"""LeakyReLU of products plus a bias [C], in place, given its slope below zero and whether channels are the dimension
of pixels [B, C, h, w] in channels-last memory, or else the last one."""


@functools.cache
def fused_activation(device: torch.device) -> FusedActivation | None:
    """A kernel of ours; None where there is none.

    Without it a layer adds its bias itself, before PyTorch's activation.
    """
    if device.type != "cuda":
        return None
    try:
        from .activation_triton import BiasedLeakyReLU, works
    except ImportError:
        return None
    return BiasedLeakyReLU.apply if works(device) else None
