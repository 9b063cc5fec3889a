"""Convolutions and what stands behind them: ReLU, and the shuffle that makes pixels of channels."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pixel_shuffle, relu

from .activation import fused_activation


def activated(convolution: nn.Conv2d, x: Tensor, to_pixels: bool = False) -> Tensor:
    """ReLU of a convolution of x [B, C, h, w]; with ``to_pixels`` four channels become the four pixels of a pixel."""
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    simple = convolution.bias is not None and convolution.padding_mode == "zeros"
    fused = fused_activation(x.device) if last and simple else None
    if fused is None:
        out = convolution(x)
        return relu(pixel_shuffle(out, 2) if to_pixels else out, inplace=True)
    weight, bias = convolution.weight, convolution.bias
    if to_pixels:
        weight, bias = pixels_first(weight), pixels_first(bias)
    products = conv2d(
        x, weight, None, convolution.stride, convolution.padding, convolution.dilation, convolution.groups
    )
    products = products.contiguous(memory_format=torch.channels_last)  # as they nearly always are
    out = fused(products, bias, 0.0, True)
    return channels_to_pixels(out) if to_pixels else out


def pixels_first(outputs: Tensor) -> Tensor:
    """Weights or biases of a shuffled convolution, [(C, 2, 2), ...] as trained, in the order [(2, 2, C), ...]."""
    return outputs.unflatten(0, (-1, 4)).transpose(0, 1).flatten(0, 1)


def channels_to_pixels(x: Tensor) -> Tensor:
    """Channels-last [B, (2, 2, C), h, w] to [B, C, 2h, 2w], channels last again.

    PyTorch's pixel shuffle, which takes them in the other order, makes them first; every convolution behind it would
    turn them around.
    """
    x = x.permute(0, 2, 3, 1).unflatten(-1, (2, 2, -1))
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)


class ActivatedConvolution(nn.Module):
    """A convolution and the ReLU behind it."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, x: Tensor) -> Tensor:
        """From [B, C, h, w] to the channels and size that the convolution makes."""
        return activated(self.convolution, x)


def join_activations(network: nn.Module) -> None:
    """Make one layer of every convolution in a sequence that has a ReLU behind it; both keep their names."""
    for sequence in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for (name, layer), (behind, activation) in pairwise(list(sequence.named_children())):
            if isinstance(layer, nn.Conv2d) and isinstance(activation, nn.ReLU):
                sequence.add_module(name, ActivatedConvolution(layer))
                sequence.add_module(behind, nn.Identity())
