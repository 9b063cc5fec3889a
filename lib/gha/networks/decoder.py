"""The super-resolution decoder: 32-channel feature splats to colour and alpha at four times their size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle

from gha.limits import at_least, limited

from .bicubic import enlarge_bicubic


@limited(capacity=at_least(1))
@dataclass
class DecoderConfig:
    """Widths and variants of the decoder."""

    capacity: int = 32
    """Channels of the last block; the first has four times, the second twice as many."""
    upsampling: Literal["bilinear", "pixel_shuffle"] = "bilinear"
    """"bilinear" (the original), or "pixel_shuffle": no layer works at full size."""
    normalization: Literal["none", "instance"] = "none"
    """"none", or "instance" as in the original (makes the output depend on the whole frame)."""
    align_corners: bool = False
    """Interpolation grid of the two upsamplings; the original aligns corners, which breaks crop equivariance."""
    residual: bool = True
    """Predict a correction of the enlarged coarse colour and alpha, rather than colour from nothing."""
    predict_alpha: bool = True
    """Decode alpha too; without it (the original) the decoder paints its training background and alpha is enlarged."""


ORIGINAL_DECODER = DecoderConfig(normalization="instance", align_corners=True, residual=False, predict_alpha=False)


def _convolution(in_channels: int, out_channels: int, normalization: str = "none") -> nn.Conv2d:
    """3x3 convolution; a bias in front of InstanceNorm would be subtracted again."""
    convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=normalization == "none")
    if normalization == "none":
        # PyTorch's own start shrinks what passes to a hundredth over the blocks: learning then starts late.
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        nn.init.zeros_(convolution.bias)
    return convolution


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


class SuperResolutionDecoder(nn.Module):
    """Decode splatted features to an image four times larger in each direction.

    Colour in and out is premultiplied with alpha (that is, composited over black), which keeps every operation
    linear at the outline. With ``normalization="none"`` and ``align_corners=False`` the decoder commutes with
    cropping away from the border.

    Args:
        feature_channels: C; the first three channels are colour.
        config: widths and variants.
    """

    upscale = 4

    def __init__(self, feature_channels: int, config: DecoderConfig) -> None:
        super().__init__()
        norm = config.normalization
        if norm not in ("none", "instance"):
            raise ValueError(f"decoder normalization must be 'none' or 'instance', got {norm!r}")
        if config.upsampling == "pixel_shuffle" and norm != "none":
            raise ValueError(f"a decoder with pixel_shuffle takes no normalization, got {norm!r}")
        self.config = config
        width = config.capacity
        inputs = feature_channels + 1 if config.predict_alpha else feature_channels
        outputs = 4 if config.predict_alpha else 3
        self.block_1 = DoubleConvolution(inputs, 4 * width, norm)
        if config.upsampling == "pixel_shuffle":
            self.block_2 = nn.Sequential(_convolution(4 * width, 8 * width), nn.PixelShuffle(2), nn.ReLU(inplace=True))
            self.block_3 = nn.Sequential(_convolution(2 * width, 2 * width), nn.ReLU(inplace=True))
            self.output = _convolution(2 * width, 4 * outputs)
        else:
            self.block_2 = DoubleConvolution(4 * width, 2 * width, norm)
            self.block_3 = DoubleConvolution(2 * width, width, norm)
            self.output = nn.Conv2d(width, outputs, 1)
        if config.residual:
            nn.init.zeros_(self.output.weight)
            nn.init.zeros_(self.output.bias)

    def forward(self, features: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """Decode features [B, C, h, w] over black and alpha [B, 1, h, w].

        Returns:
            Premultiplied colour [B, 3, 4h, 4w] and alpha [B, 1, 4h, 4w]; alpha in [0, 1], colour unclamped.
        """
        if not self.config.predict_alpha:
            return self._decode_over_white(features, alpha)
        color, alpha_out = self._decoded(torch.cat([features, alpha], dim=1)).split([3, 1], dim=1)
        if self.config.residual:
            coarse = torch.cat([features[:, :3], alpha], dim=1)
            enlarged = enlarge_bicubic(coarse, self.upscale)
            return color + enlarged[:, :3], (alpha_out + enlarged[:, 3:]).clamp(0, 1)
        alpha_out = torch.sigmoid(alpha_out)
        return torch.sigmoid(color) * alpha_out, alpha_out

    def _decode_over_white(self, features: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """The original: features over ones in every channel, colour over white; premultiplied afterwards."""
        color = torch.sigmoid(self._decoded(features + (1 - alpha)))
        alpha_out = interpolate(alpha, scale_factor=self.upscale, mode="bilinear", align_corners=False)
        return color - (1 - alpha_out), alpha_out

    def _decoded(self, x: Tensor) -> Tensor:
        """Output channels at four times the size, before any activation."""
        out = self.output(self._blocks(x))
        return pixel_shuffle(out, 2) if self.config.upsampling == "pixel_shuffle" else out

    def _blocks(self, x: Tensor) -> Tensor:
        """What the last layer sees: at four times the size, or with pixel shuffle at twice."""
        x = self.block_1(x)
        if self.config.upsampling == "pixel_shuffle":
            return self.block_3(self.block_2(x))
        x = self.block_2(self._enlarge(x))
        return self.block_3(self._enlarge(x))

    def _enlarge(self, x: Tensor) -> Tensor:
        return interpolate(x, scale_factor=2, mode="bilinear", align_corners=self.config.align_corners)
