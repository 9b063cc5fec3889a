"""Sine and cosine features of low-dimensional inputs."""

from __future__ import annotations

import torch
from torch import Tensor


def encoded_size(channels: int, frequencies: int) -> int:
    """Number of channels :func:`positional_encoding` returns for ``channels`` inputs."""
    return channels * (1 + 2 * frequencies)


def positional_encoding(x: Tensor, frequencies: int = 4) -> Tensor:
    """Encode [..., D] as [..., D * (1 + 2 * frequencies)].

    Order: all raw coordinates, then sin(x), cos(x), sin(2x), cos(2x), sin(4x), ... each over all coordinates;
    no factor of pi (Gaussian Head Avatar, CVPR 2024).
    """
    octaves = 2.0 ** torch.arange(frequencies, dtype=x.dtype, device=x.device)
    angles = octaves[:, None] * x[..., None, :]
    waves = torch.stack([torch.sin(angles), torch.cos(angles)], dim=-2)
    return torch.cat([x, waves.flatten(-3)], dim=-1)
