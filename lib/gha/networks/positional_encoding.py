"""Sine and cosine features of low-dimensional inputs."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def encoded_size(channels: int, frequencies: int) -> int:
    """Number of channels :func:`positional_encoding` returns for ``channels`` inputs."""
    return channels * (1 + 2 * frequencies)


def positional_encoding(x: Tensor, frequencies: int = 4) -> Tensor:
    """Encode [..., D] as [..., D * (1 + 2 * frequencies)].

    Order: all raw coordinates, then sin(x), cos(x), sin(2x), cos(2x), sin(4x), ... each over all coordinates;
    no factor of pi (Gaussian Head Avatar, CVPR 2024).
    """
    return _Encoding.apply(x, frequencies)


def plain_positional_encoding(x: Tensor, frequencies: int) -> Tensor:
    """The same as :func:`positional_encoding`, in operators that a compiler can follow."""
    angles = x[..., None, :] * 2.0 ** torch.arange(frequencies, device=x.device)[:, None]
    return torch.cat([x, torch.stack([angles.sin(), angles.cos()], dim=-2).flatten(-3)], dim=-1)


class _Encoding(Function):
    """With its gradient in closed form: a third of the operators that autograd would launch for it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, frequencies: int) -> Tensor:
        angles = _octaves(frequencies, x.dtype, x.device) * x[..., None, :]
        encoded = x.new_empty(*x.shape[:-1], 1 + 2 * frequencies, x.shape[-1])
        raw, sine, cosine = _parts(encoded)
        raw.copy_(x)
        if x.is_cuda:
            torch.sin(angles, out=sine)
            torch.cos(angles, out=cosine)
        else:  # vectorised only where it writes one number after the other
            sine.copy_(torch.sin(angles))
            cosine.copy_(torch.cos(angles))
        encoded = encoded.flatten(-2)
        ctx.frequencies = frequencies
        ctx.save_for_backward(encoded)
        return encoded

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (encoded,) = ctx.saved_tensors
        shape = (1 + 2 * ctx.frequencies, -1)
        _, sine, cosine = _parts(encoded.unflatten(-1, shape))
        of_raw, of_sine, of_cosine = _parts(gradient.unflatten(-1, shape))
        of_angles = (of_sine * cosine).addcmul_(of_cosine, sine, value=-1)
        octaves = _octaves(ctx.frequencies, encoded.dtype, encoded.device)
        return of_angles.mul_(octaves).sum(-2).add_(of_raw), None


def _parts(encoded: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Views of the coordinates [..., D] and of their sines and cosines [..., F, D] in [..., 1 + 2 F, D]."""
    return encoded[..., 0, :], encoded[..., 1::2, :], encoded[..., 2::2, :]


@cache
def _octaves(frequencies: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """1, 2, 4, ... as a column [F, 1]: made once, since on a GPU every making costs a launch and a wait."""
    return (2.0 ** torch.arange(frequencies, dtype=dtype))[:, None].to(device)
