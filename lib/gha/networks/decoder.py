"""The super-resolution decoder: 32-channel feature splats to colour and alpha at four times their size."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle

from gha.limits import Limit, limited

from .bicubic import enlarge_bicubic
from .convolution import activated


def _bilinear(config: DecoderConfig) -> bool:
    return config.upsampling == "bilinear"


@limited(
    capacity=Limit(
        "at least 1, and even where upsampling is light",
        lambda value, config: value >= 1 and (value % 2 == 0 or config.upsampling != "light"),
    ),
    normalization=Limit(
        "'none', which is all there is unless upsampling is bilinear",
        lambda x, config: _bilinear(config) or x == "none",
    ),
    align_corners=Limit("false unless upsampling is bilinear", lambda x, config: _bilinear(config) or not x),
)
@dataclass
class DecoderConfig:
    """Widths and variants of the decoder."""

    capacity: int = 32
    """Channels of the layers at the largest size there is; others have up to eight times as many."""
    upsampling: Literal["bilinear", "pixel_shuffle", "light"] = "pixel_shuffle"
    """"pixel_shuffle": no layer works at full size, "light": the same with narrower layers, an eighth of the arithmetic
    of the original's, or "bilinear" (the original)."""
    normalization: Literal["none", "instance"] = "none"
    """"none", or "instance" as in the original (makes the output depend on the whole frame; bilinear only)."""
    align_corners: bool = False
    """Interpolation grid of bilinear upsampling; the original aligns corners, which breaks crop equivariance."""
    residual: bool = True
    """Predict a correction of the enlarged coarse colour and alpha, rather than colour from nothing."""
    predict_alpha: bool = True
    """Decode alpha too; without it (the original) the decoder paints its training background and alpha is enlarged."""


ORIGINAL_DECODER = DecoderConfig(
    upsampling="bilinear", normalization="instance", align_corners=True, residual=False, predict_alpha=False
)

SHUFFLE_WIDTHS = {"pixel_shuffle": (4, 8, 2), "light": (2, 2, 1)}
"""Channels, in capacities: of two layers at the size of the splats, of a third (shuffled to a quarter as many at twice
the size), and of a layer at twice the size."""


def build_decoder(feature_channels: int, config: DecoderConfig) -> SuperResolutionDecoder:
    """The decoder of splats with ``feature_channels`` that a configuration names."""
    if config.normalization not in ("none", "instance"):
        raise ValueError(f"decoder normalization must be 'none' or 'instance', got {config.normalization!r}")
    if config.upsampling == "bilinear":
        return BilinearDecoder(feature_channels, config)
    if config.upsampling not in SHUFFLE_WIDTHS:
        raise ValueError(f"decoder upsampling must be bilinear, pixel_shuffle or light, got {config.upsampling!r}")
    if config.normalization != "none":
        raise ValueError(
            f"a decoder with upsampling {config.upsampling!r} takes no normalization, got {config.normalization!r}"
        )
    return ShuffleDecoder(feature_channels, config)


class SuperResolutionDecoder(nn.Module, ABC):
    """Decode splatted features to an image four times larger in each direction.

    Colour in and out is premultiplied with alpha (that is, composited over black), which keeps every operation
    linear at the outline. With ``normalization="none"`` and ``align_corners=False`` the decoder commutes with
    cropping away from the border.

    Args:
        config: widths and variants.
    """

    upscale = 4

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def details(self, x: Tensor) -> Tensor:
        """What the layers make of splats [B, C, h, w]: channels at four times the size, before any activation."""

    def forward(self, features: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """Decode features [B, C, h, w] over black and alpha [B, 1, h, w].

        Returns:
            Premultiplied colour [B, 3, 4h, 4w] and alpha [B, 1, 4h, 4w]; alpha in [0, 1], colour unclamped.
        """
        x = decoder_input(features, alpha, self.config)
        if x.is_cuda:  # as convolutions are fastest there
            x = x.contiguous(memory_format=torch.channels_last)
        details = self.details(x)
        return finish_picture(details, features, alpha, self.config)


def decoder_input(features: Tensor, alpha: Tensor, config: DecoderConfig) -> Tensor:
    """What the layers see of features [B, C, h, w] over black and alpha [B, 1, h, w].

    The original sees features over ones in every channel and paints colour over white.
    """
    return torch.cat([features, alpha], dim=1) if config.predict_alpha else features + (1 - alpha)


def finish_picture(details: Tensor, features: Tensor, alpha: Tensor, config: DecoderConfig) -> tuple[Tensor, Tensor]:
    """Premultiplied colour [B, 3, 4h, 4w] and alpha [B, 1, 4h, 4w] of what the layers make.

    Args:
        details: [B, 4 or, where alpha is not predicted, 3, 4h, 4w].
        features: splats [B, C, h, w] over black.
        alpha: [B, 1, h, w].
        config: of the decoder.
    """
    factor = SuperResolutionDecoder.upscale
    if not config.predict_alpha:
        alpha_out = interpolate(alpha, scale_factor=factor, mode="bilinear", align_corners=False)
        return torch.sigmoid(details) - (1 - alpha_out), alpha_out
    color, alpha_out = details.split([3, 1], dim=1)
    if config.residual:
        enlarged = enlarge_bicubic(torch.cat([features[:, :3], alpha], dim=1), factor)
        return color + enlarged[:, :3], (alpha_out + enlarged[:, 3:]).clamp(0, 1)
    alpha_out = torch.sigmoid(alpha_out)
    return torch.sigmoid(color) * alpha_out, alpha_out


class BilinearDecoder(SuperResolutionDecoder):
    """Three blocks of two convolutions with a bilinear upsampling by two before the second and the third.

    Args:
        feature_channels: C; the first three channels are colour.
        config: widths and variants.
    """

    def __init__(self, feature_channels: int, config: DecoderConfig) -> None:
        super().__init__(config)
        inputs, outputs = _channels(feature_channels, config)
        width, norm = config.capacity, config.normalization
        self.block_1 = DoubleConvolution(inputs, 4 * width, norm)
        self.block_2 = DoubleConvolution(4 * width, 2 * width, norm)
        self.block_3 = DoubleConvolution(2 * width, width, norm)
        self.output = nn.Conv2d(width, outputs, 1)
        _silence(self.output, config)

    def details(self, x: Tensor) -> Tensor:
        """What the layers make of splats [B, C, h, w], at four times the size."""
        return self.output(self.hidden(x))

    def hidden(self, x: Tensor) -> Tensor:
        """What the last layer sees [B, capacity, 4h, 4w]."""
        x = self.block_2(self._enlarge(self.block_1(x)))
        return self.block_3(self._enlarge(x))

    def _enlarge(self, x: Tensor) -> Tensor:
        return interpolate(x, scale_factor=2, mode="bilinear", align_corners=self.config.align_corners)


class ShuffleDecoder(SuperResolutionDecoder):
    """Convolutions at the size of the splats and at twice their size; pixels come out of channels.

    Args:
        feature_channels: C; the first three channels are colour.
        config: widths and variants.
    """

    def __init__(self, feature_channels: int, config: DecoderConfig) -> None:
        super().__init__(config)
        inputs, outputs = _channels(feature_channels, config)
        coarse, shuffled, fine = (config.capacity * width for width in SHUFFLE_WIDTHS[config.upsampling])
        self.block_1 = DoubleConvolution(inputs, coarse, "none")
        # One layer each, in a sequence as checkpoints name them.
        self.block_2 = nn.Sequential(_convolution(coarse, shuffled))
        self.block_3 = nn.Sequential(_convolution(shuffled // 4, fine))
        self.output = _convolution(fine, 4 * outputs)
        _silence(self.output, config)

    def details(self, x: Tensor) -> Tensor:
        """What the layers make of splats [B, C, h, w], at four times the size."""
        return pixel_shuffle(self.output(self.hidden(x)), 2)

    def hidden(self, x: Tensor) -> Tensor:
        """What the last layer sees, at twice the size of the splats."""
        x = activated(self.block_2[0], self.block_1(x), to_pixels=True)
        return activated(self.block_3[0], x)


class DoubleConvolution(nn.Sequential):
    """Twice: 3x3 convolution, optional InstanceNorm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, normalization: str) -> None:
        layers: list[nn.Module] = []
        for channels in (in_channels, out_channels):
            convolution = _convolution(channels, out_channels, normalization)
            layers.append(convolution)
            if normalization == "instance":
                layers.append(nn.InstanceNorm2d(out_channels))
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """From [B, in_channels, h, w] to [B, out_channels, h, w]."""
        if isinstance(self[1], nn.InstanceNorm2d):
            return super().forward(x)
        for convolution in list(self)[::2]:
            x = activated(convolution, x)
        return x


def _convolution(in_channels: int, out_channels: int, normalization: str = "none") -> nn.Conv2d:
    """3x3 convolution; a bias in front of InstanceNorm would be subtracted again."""
    convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=normalization == "none")
    if normalization == "none":
        # PyTorch's own start shrinks what passes to a hundredth over the blocks: learning then starts late.
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        nn.init.zeros_(convolution.bias)
    return convolution


def _channels(feature_channels: int, config: DecoderConfig) -> tuple[int, int]:
    """Channels that go into the first layer and come out of the last, per pixel."""
    return (feature_channels + 1, 4) if config.predict_alpha else (feature_channels, 3)


def _silence(output: nn.Conv2d, config: DecoderConfig) -> None:
    """A correction starts as none."""
    if config.residual:
        nn.init.zeros_(output.weight)
        nn.init.zeros_(output.bias)
