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
    """A distance of the size and form of LPIPS with VGG-16, with random frozen weights.

    Features after each of the five blocks are normalised over channels; their squared differences are weighted per
    channel and averaged over the image. ``scaling_layer``, ``net`` and ``lins`` are called as the package ``lpips``
    calls them, so that the library can use it in its own way; ``forward`` is one operation after the other.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scaling_layer = Scaling()
        self.net = Pyramid()
        self.lins = nn.ModuleList(ChannelWeights(widths[-1]) for widths in VGG16)
        self.requires_grad_(False)

    def forward(self, prediction: Tensor, truth: Tensor) -> Tensor:
        """Distances [B, 1, 1, 1] of images [B, 3, H, W] in [0, 1]."""
        distance = prediction.new_zeros(len(prediction), 1, 1, 1)
        pair = [self.net(self.scaling_layer(2 * x - 1)) for x in (prediction, truth)]
        for *features, weights in zip(*pair, self.lins, strict=True):
            one, other = (x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10) for x in features)
            distance = distance + weights.model((one - other).square()).mean((2, 3), keepdim=True)
        return distance


class Scaling(nn.Module):
    """From images [B, 3, H, W] in [-1, 1] to what VGG-16 was trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188])[:, None, None])
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450])[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """Scaled images [B, 3, H, W]."""
        return (images - self.shift) / self.scale


class Pyramid(nn.ModuleList):
    """The convolutions of VGG-16, in five blocks."""

    def __init__(self) -> None:
        super().__init__()
        channels = 3
        for index, widths in enumerate(VGG16):
            layers: list[nn.Module] = [nn.MaxPool2d(2)] if index else []
            for width in widths:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = width
            self.append(nn.Sequential(*layers))

    def forward(self, x: Tensor) -> list[Tensor]:
        """What comes out of every block."""
        features = []
        for block in self:
            x = block(x)
            features.append(x)
        return features


class ChannelWeights(nn.Module):
    """Random weights of the channels of one block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Conv2d(channels, 1, 1, bias=False))
        nn.init.uniform_(self.model[0].weight)
