"""The activation of hidden layers, and where a GPU does it faster."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

SLOPE = 0.01
"""Of LeakyReLU below zero."""


@functools.cache
def fused_activation(device: torch.device) -> Callable[[Tensor, Tensor], Tensor] | None:
    """LeakyReLU of products [..., C] plus a bias [C] by a kernel of ours, in place; None where there is none.

    Without it a layer adds its bias itself, in the product, before PyTorch's LeakyReLU.
    """
    if device.type != "cuda":
        return None
    try:
        from .activation_triton import BiasedLeakyReLU, works
    except ImportError:
        return None
    return BiasedLeakyReLU.apply if works(device) else None
