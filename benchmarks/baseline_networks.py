"""The original's networks at their released sizes, in plain eager PyTorch and fp32.

Written from a description of the released system (layer widths, order of operations), not from its source: the MLPs
of 1x1 convolutions over channels-first points, the InstanceNorm super-resolution network, and a perceptual distance
of the size of LPIPS with VGG-16. Weights are random; ``baseline_training`` puts those of a trained mesh head into the
MLPs, the perceptual distance is only ever timed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

FEATURE_SIZE = 128
"""Channels of a Gaussian's own feature."""

HEAD_MLPS: dict[str, tuple[int, ...]] = {
    "exp_color": (128 + 64, 256, 256, 32),  # tanh feature and expression
    "pose_color": (128 + 54, 128, 32),  # tanh feature and encoded pose
    "exp_deform": (27 + 64, 256, 256, 256, 256, 256, 3),  # encoded position and expression
    "pose_deform": (27 + 54, 256, 256, 3),  # encoded position and encoded pose
    "exp_attributes": (128 + 64, 256, 256, 256, 8),
    "pose_attributes": (128 + 54, 128, 128, 8),
}
"""Widths of the six MLPs of the Gaussian stage, input first."""

VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""3x3 convolutions of configuration D (Simonyan and Zisserman, 2015, table 1); pooling by two between the blocks."""


class PointMLP(nn.Module):
    """1x1 convolutions over points [B, C, N] with LeakyReLU between them and one skip connection.

    The layer with index ``floor(len(widths) / 2)`` receives its predecessor's output and the input again.

    Args:
        widths: input, hidden and output channels.
        bounded: tanh after the last layer.
    """

    def __init__(self, widths: Sequence[int], bounded: bool = False) -> None:
        super().__init__()
        self.skip, self.bounded = len(widths) // 2, bounded
        self.layers = nn.ModuleList(
            nn.Conv1d(width + (widths[0] if index == self.skip else 0), widths[index + 1], 1)
            for index, width in enumerate(widths[:-1])
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [B, widths[0], N] to [B, widths[-1], N]."""
        hidden = inputs
        for index, layer in enumerate(self.layers):
            if index == self.skip:
                hidden = torch.cat([hidden, inputs], dim=1)
            hidden = layer(hidden)
            if index < len(self.layers) - 1:
                hidden = leaky_relu(hidden, 0.01)
        return torch.tanh(hidden) if self.bounded else hidden


def encode(x: Tensor, octaves: int = 4) -> Tensor:
    """Positional encoding [..., D] to [..., D * (1 + 2 * octaves)]: raw, then sin and cos of 1x, 2x, 4x, 8x."""
    parts = [x]
    for octave in range(octaves):
        parts += [torch.sin(2**octave * x), torch.cos(2**octave * x)]
    return torch.cat(parts, dim=-1)


class DoubleConvolution(nn.Sequential):
    """Twice: 3x3 convolution without bias, InstanceNorm without weights, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        layers: list[nn.Module] = []
        for channels in (inputs, outputs):
            convolution = nn.Conv2d(channels, outputs, 3, padding=1, bias=False)
            layers += [convolution, nn.InstanceNorm2d(outputs), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class Upsampler(nn.Sequential):
    """Super-resolution by four: 32 channels [B, 32, h, w] over white to RGB [B, 3, 4h, 4w] in (0, 1)."""

    def __init__(self, inputs: int = 32, capacity: int = 32) -> None:
        super().__init__(
            DoubleConvolution(inputs, 4 * capacity),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            DoubleConvolution(4 * capacity, 2 * capacity),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            DoubleConvolution(2 * capacity, capacity),
            nn.Conv2d(capacity, 3, 1),
            nn.Sigmoid(),
        )


class PerceptualNetwork(nn.Module):
    """A distance of the size of LPIPS with VGG-16, with random frozen weights.

    Features after each of the five blocks are normalised over channels; their squared differences are weighted per
    channel and averaged over the image.
    """

    def __init__(self) -> None:
        super().__init__()
        channels, blocks = 3, []
        for index, widths in enumerate(VGG16):
            layers: list[nn.Module] = [nn.MaxPool2d(2)] if index else []
            for width in widths:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = width
            blocks.append(nn.Sequential(*layers))
        self.blocks = nn.ModuleList(blocks)
        self.weights = nn.ParameterList(torch.rand(widths[-1], 1, 1) for widths in VGG16)
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188])[:, None, None])
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450])[:, None, None])
        self.requires_grad_(False)

    def forward(self, prediction: Tensor, truth: Tensor, normalize: bool = True) -> Tensor:
        """Distances [B, 1, 1, 1] of images [B, 3, H, W], in [0, 1] if ``normalize``, else in [-1, 1]."""
        distance = prediction.new_zeros(len(prediction), 1, 1, 1)
        pair = [(2 * x - 1 if normalize else x) for x in (prediction, truth)]
        pair = [(x - self.shift) / self.scale for x in pair]
        for block, weight in zip(self.blocks, self.weights, strict=True):
            pair = [block(x) for x in pair]
            one, other = (x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10) for x in pair)
            difference = ((one - other).square() * weight).sum(1, keepdim=True)
            distance = distance + difference.mean((2, 3), keepdim=True)
        return distance
