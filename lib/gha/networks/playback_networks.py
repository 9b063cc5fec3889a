"""Networks that playback evaluates for the same condition: fused where a kernel for them works, else layer by layer."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .mlp import MLP
from .playback_mlp import PlaybackMLP


class PlaybackNetworks(nn.Module):
    """Networks with one condition, each over points of its own. No gradients.

    Args:
        networks: in their form for playback.
    """

    def __init__(self, networks: list[PlaybackMLP]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, condition: Tensor) -> list[Tensor]:
        """Outputs [B, N, output_size] of each network in float32 for conditions [B, condition_size]."""
        return [network(condition) for network in self.networks]


@torch.no_grad()
def build_playback_networks(mlps: Sequence[MLP], points: Sequence[Tensor], dtype: torch.dtype) -> nn.Module:
    """:class:`PlaybackNetworks`, or what does the same faster on the device of the points.

    Args:
        mlps: trained networks that take the same condition.
        points: inputs [N, input_size] of each.
        dtype: of hidden activations and weights.
    """
    networks = [PlaybackMLP(mlp, x, dtype) for mlp, x in zip(mlps, points, strict=True)]
    if points[0].device.type == "cuda" and dtype != torch.float32 and _fusing_works(points[0].device, dtype):
        from .playback_mlp_triton import FusedNetworks, can_fuse

        if all(can_fuse(mlp, dtype) for mlp in mlps):
            return FusedNetworks(networks)
    return PlaybackNetworks(networks)


@functools.cache
def _fusing_works(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether there is Triton, and whether its kernel works there."""
    try:
        from .playback_mlp_triton import works
    except ImportError:
        return False
    return works(device, dtype)
