"""The multilayer perceptron with one skip connection that every head network is made of."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, linear

from gha.limits import at_least, limited

from .activation import fused_activation

_SLOPE = 0.01
"""Of LeakyReLU below zero."""


@limited(width=at_least(1), layers=at_least(0))
@dataclass
class LayerSizes:
    """Hidden layers of one network."""

    width: int = 256
    """Channels of each hidden layer."""
    layers: int = 2
    """Number of hidden layers."""

    def hidden(self) -> list[int]:
        """Widths of the hidden layers as a list."""
        return [self.width] * self.layers


class MLP(nn.Module):
    """Fully connected layers on per-point inputs and a condition shared by many points.

    LeakyReLU (slope 0.01) follows every layer but the last. Layer ``floor(L / 2)``, L counting the input and all
    layer outputs, receives its predecessor's output and the network input again (Gaussian Head Avatar, CVPR 2024).

    Weights are those of layers that see ``[points, condition]`` concatenated; the product with the condition is
    computed once for all points that share it and added to the bias, which equals the concatenation and costs less.

    Args:
        input_size: channels per point.
        hidden_sizes: widths of the hidden layers; may be empty.
        output_size: channels per point that come out; no activation follows.
        condition_size: channels of the shared condition; 0 for none.
    """

    def __init__(self, input_size: int, hidden_sizes: list[int], output_size: int, condition_size: int = 0) -> None:
        super().__init__()
        self.input_size, self.condition_size = input_size, condition_size
        total_input = input_size + condition_size
        widths = [total_input, *hidden_sizes, output_size]
        skip = len(widths) // 2
        # A network of one layer has its input anyway; there is nothing to skip to.
        self.skip_layer = skip if skip < len(widths) - 1 else -1
        self.layers = nn.ModuleList(
            nn.Linear(widths[i] + (total_input if i == self.skip_layer else 0), widths[i + 1])
            for i in range(len(widths) - 1)
        )

    def forward(self, points: Tensor, condition: Tensor | None = None) -> Tensor:
        """Map points [..., N, input_size] to [..., N, output_size].

        Args:
            points: per-point inputs; leading dimensions broadcast with those of ``condition``.
            condition: [..., condition_size], the same for all N points; required exactly if ``condition_size`` > 0.
        """
        if (condition is not None) != (self.condition_size > 0):
            raise ValueError(
                f"this network takes a condition of size {self.condition_size}; got {condition is not None}"
            )
        leading = (
            points.shape[:-2] if condition is None else torch.broadcast_shapes(points.shape[:-2], condition.shape[:-1])
        )
        count = points.shape[-2]
        if condition is None or condition.numel() == self.condition_size:
            points = points.flatten(0, -2)  # matrices can be added up within a product
        hidden = None
        for index in range(len(self.layers)):
            factors, bias = self._layer(index, hidden, points, condition)
            hidden = _product(factors, bias) if index == len(self.layers) - 1 else _activated(factors, bias)
        return hidden.view(*leading, count, hidden.shape[-1])

    def _layer(
        self, index: int, hidden: Tensor | None, points: Tensor, condition: Tensor | None
    ) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
        """What layer ``index`` multiplies with which weights, and the bias [..., width] that it adds."""
        layer = self.layers[index]
        if index not in (0, self.skip_layer):
            return [(hidden, layer.weight)], layer.bias
        sizes = [layer.in_features - self.input_size - self.condition_size, self.input_size, self.condition_size]
        of_hidden, of_points, of_condition = layer.weight.split(sizes, dim=1)
        bias = layer.bias
        if condition is not None:
            bias = linear(condition, of_condition, bias)
            if bias.numel() == layer.out_features:  # one condition for all points: it is the bias of a single product
                bias = bias.view(-1)
        # A second product costs less than a copy of both inputs side by side, whose gradient is taken apart again.
        return [(points, of_points)] + ([] if hidden is None else [(hidden, of_hidden)]), bias

    @property
    def last_layer(self) -> nn.Linear:
        """The output layer, for callers that want another initialisation."""
        return self.layers[-1]


def _product(factors: list[tuple[Tensor, Tensor]], bias: Tensor | None) -> Tensor:
    """Sum of the products of inputs [..., N, .] with weights, plus a bias [..., width]."""
    (x, weight), *others = factors
    one = bias is None or bias.dim() == 1
    out = linear(x, weight, bias) if one else linear(x, weight) + bias[..., None, :]
    for x, weight in others:
        alike = x.dim() == 2 and out.dtype == x.dtype == weight.dtype  # not so under autocast
        out = out.addmm_(x, weight.t()) if alike else out + linear(x, weight)
    return out


def _activated(factors: list[tuple[Tensor, Tensor]], bias: Tensor) -> Tensor:
    """LeakyReLU of the same."""
    fused = fused_activation(bias.device) if bias.dim() == 1 else None
    if fused is not None:
        return fused(_product(factors, None).contiguous(), bias, _SLOPE, False)
    return leaky_relu(_product(factors, bias), _SLOPE, inplace=True)


def initialize_near_zero(mlp: MLP, scale: float = 0.01) -> None:
    """Shrink the last layer so that the network starts close to zero output (no deformation, no change)."""
    with torch.no_grad():
        mlp.last_layer.weight.mul_(scale)
        mlp.last_layer.bias.zero_()
