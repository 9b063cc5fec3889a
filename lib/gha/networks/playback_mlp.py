"""A multilayer perceptron over points that stay the same while the condition changes: what playback evaluates."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, linear

from .mlp import MLP


class PlaybackMLP(nn.Module):
    """A trained network with everything done beforehand that does not depend on the condition.

    The layers that see the points (the first, and the one that the skip connection leads to) need their product with
    the points only once; per condition a bias is left of it. No gradients.

    Args:
        mlp: the trained network; it takes a condition.
        points: its inputs [N, input_size].
        dtype: of hidden activations and weights. Conditions enter, and products accumulate, in float32.
    """

    def __init__(self, mlp: MLP, points: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.layers = nn.ModuleList(
            _Layer(layer, mlp, points, dtype, first=index == 0, sees_points=index in (0, mlp.skip_layer))
            for index, layer in enumerate(mlp.layers)
        )

    def forward(self, condition: Tensor) -> Tensor:
        """Outputs [B, N, output_size] in float32 for conditions [B, condition_size]."""
        hidden = None
        for layer in self.layers[:-1]:
            hidden = leaky_relu(layer(hidden, condition), 0.01)
        return self.layers[-1](hidden, condition).float()


class _Layer(nn.Module):
    """One layer: product with the hidden activations, what is known of the product with the points, and a bias."""

    def __init__(
        self, layer: nn.Linear, mlp: MLP, points: Tensor, dtype: torch.dtype, first: bool, sees_points: bool
    ) -> None:
        super().__init__()
        weight, bias = (x.detach().float().clone() for x in (layer.weight, layer.bias))
        seen = [mlp.input_size, mlp.condition_size] if sees_points else [0, 0]
        of_hidden, of_points, of_condition = weight.split([weight.shape[1] - sum(seen), *seen], dim=1)
        self.register_buffer("of_hidden", None if first else of_hidden.to(dtype))
        self.register_buffer("known", (points @ of_points.T).to(dtype) if sees_points else None)
        self.register_buffer("of_condition", of_condition.contiguous() if sees_points else None)
        self.register_buffer("bias", bias if sees_points else bias.to(dtype))

    def forward(self, hidden: Tensor | None, condition: Tensor) -> Tensor:
        """[B, N, width] from the layer before [B, N, .] and conditions [B, condition_size]."""
        if self.known is None:
            return linear(hidden, self.of_hidden, self.bias)
        known = self.known + linear(condition, self.of_condition, self.bias).to(self.known.dtype)[:, None]
        return known if hidden is None else known + linear(hidden, self.of_hidden)
