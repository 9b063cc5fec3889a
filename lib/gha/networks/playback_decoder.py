"""A trained decoder rearranged to decode fast: same function, other order of the same arithmetic.

A bilinear upsampling by two followed by a 3x3 convolution is one 3x3 convolution at the smaller size with four times
the channels, one set for each of the four pixels that a pixel becomes. The enlarged features, four times as much memory
as what they are made of, are then never written. It needs an interpolation that is the same everywhere, so it cannot be
done where corners are aligned.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, pad

from .convolution import channels_to_pixels, pixels_first
from .decoder import (
    BilinearDecoder,
    DecoderConfig,
    ShuffleDecoder,
    SuperResolutionDecoder,
    decoder_input,
    finish_picture,
)

ALIGNMENT = 8
"""Channels that the fast convolutions of GPUs take at a time."""

# Rows: the pixels above, at and below one of the two (first index) that a pixel becomes; columns: what the
# interpolation makes of the pixels above, at and below that pixel.
_TAPS = [
    [[0.75, 0.25, 0.0], [0.25, 0.75, 0.0], [0.0, 0.75, 0.25]],
    [[0.25, 0.75, 0.0], [0.0, 0.75, 0.25], [0.0, 0.25, 0.75]],
]


class PlaybackDecoder(nn.Module):
    """A trained decoder in a form for playback; no gradients.

    Args:
        decoder: the trained decoder.
        dtype: of features and weights; sums are float32, whatever it is, and so are the coarse picture and the result.
        fused: whether kernels of our own do the last steps and normalise; None: where they work.
    """

    def __init__(self, decoder: SuperResolutionDecoder, dtype: torch.dtype, fused: bool | None = None) -> None:
        super().__init__()
        self.config, self.dtype = decoder.config, dtype
        arrange = {BilinearDecoder: _bilinear_layers, ShuffleDecoder: _shuffle_layers}[type(decoder)]
        layers = arrange(decoder)
        if fused is None:
            fused = _fusing_works(next(decoder.parameters()).device)
        layers, self.finish = _fuse(layers, decoder.config) if fused else (layers, None)
        self.layers = nn.Sequential(*layers)
        for parameter in self.layers.parameters():
            parameter.requires_grad_(False)
        self.layers.to(dtype=dtype, memory_format=torch.channels_last)

    def forward(self, features: Tensor, alpha: Tensor, background: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Decode as :meth:`SuperResolutionDecoder.forward`; over a background RGB [3], colour is not premultiplied."""
        x = decoder_input(features, alpha, self.config)
        x = pad(x, (0, 0, 0, 0, 0, -x.shape[1] % ALIGNMENT))
        x = self.layers(x.to(self.dtype, memory_format=torch.channels_last))
        if self.finish is not None:
            return self.finish(x, features, alpha, background)
        details = x[:, : 4 if self.config.predict_alpha else 3].float()
        rgb, alpha = finish_picture(details, features, alpha, self.config)
        return rgb if background is None else rgb + (1 - alpha) * background[:, None, None], alpha


@functools.cache
def _fusing_works(device: torch.device) -> bool:
    """Whether there is Triton, and whether the kernels work there."""
    if device.type != "cuda":
        return False
    try:
        from .playback_decoder_triton import works
    except ImportError:
        return False
    return works(device)


def _fuse(layers: list[nn.Module], config: DecoderConfig) -> tuple[list[nn.Module], nn.Module | None]:
    """The layers that are left where kernels of our own do the rest, and what does the last of that rest."""
    from .playback_decoder_triton import Finish, FusedNormalization, can_finish

    finish = None
    if can_finish(config):
        *layers, last = layers
        if isinstance(last, _ShufflingConvolution):
            layers.append(_Convolution(last.weight, None))
            finish = Finish(config, last.bias, None)
        else:
            while not isinstance(layers[-1], _Convolution):  # ReLU, and InstanceNorm before it
                layers.pop()
            before = layers.pop()
            layers.append(_Convolution(before.weight, None))
            outputs = 4 if config.predict_alpha else 3
            finish = Finish(config, before.bias, (last.weight[:outputs].flatten(1), last.bias[:outputs]))
    normalized = [FusedNormalization() if isinstance(x, nn.InstanceNorm2d) else x for x in layers]
    pairs = zip(normalized, [None, *normalized], strict=False)
    return [x for x, before in pairs if not isinstance(before, FusedNormalization)], finish


def _bilinear_layers(decoder: BilinearDecoder) -> list[nn.Module]:
    """The layers of a decoder with bilinear upsampling; the upsamplings are part of convolutions where they can be."""
    layers: list[nn.Module] = []
    for block in (decoder.block_1, decoder.block_2, decoder.block_3):
        first, *others = block
        if block is decoder.block_1:
            layers.append(_Convolution(*_aligned(first, inputs=True)))
        elif decoder.config.align_corners:
            layers += [_Enlargement(), _Convolution(first.weight, first.bias)]
        else:
            layers.append(_EnlargingConvolution(first.weight, first.bias))
        layers += [_Convolution(x.weight, x.bias) if isinstance(x, nn.Conv2d) else x for x in others]
    return [*layers, _Convolution(*_aligned(decoder.output, inputs=False))]


def _shuffle_layers(decoder: ShuffleDecoder) -> list[nn.Module]:
    """The layers of a decoder with pixel shuffle."""
    first, *others = decoder.block_1
    return [
        _Convolution(*_aligned(first, inputs=True)),
        *(_Convolution(x.weight, x.bias) if isinstance(x, nn.Conv2d) else x for x in others),
        _ShufflingConvolution(decoder.block_2[0].weight, decoder.block_2[0].bias),
        nn.ReLU(inplace=True),
        _Convolution(decoder.block_3[0].weight, decoder.block_3[0].bias),
        nn.ReLU(inplace=True),
        _ShufflingConvolution(decoder.output.weight, decoder.output.bias),
    ]


def _aligned(convolution: nn.Conv2d, inputs: bool) -> tuple[Tensor, Tensor | None]:
    """Weight and bias with as many inputs (or else outputs) of zeros added as alignment asks for."""
    weight, bias = convolution.weight, convolution.bias
    if inputs:
        return pad(weight, (0, 0, 0, 0, 0, -weight.shape[1] % ALIGNMENT)), bias
    missing = -len(weight) % ALIGNMENT
    return pad(weight, (0, 0, 0, 0, 0, 0, 0, missing)), pad(bias, (0, missing))


class _Convolution(nn.Module):
    """A convolution that keeps the size."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone())
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, self.weight, self.bias, padding=self.weight.shape[-1] // 2)


class _Enlargement(nn.Module):
    """Bilinear upsampling by two with aligned corners."""

    def forward(self, x: Tensor) -> Tensor:
        return interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


class _ShufflingConvolution(_Convolution):
    """A convolution whose outputs become the four pixels of each pixel; trained with the four next to each other."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__(pixels_first(weight), pixels_first(bias))

    def forward(self, x: Tensor) -> Tensor:
        return channels_to_pixels(super().forward(x))


class _EnlargingConvolution(_Convolution):
    """Bilinear upsampling by two and a 3x3 convolution in one.

    The convolution pads the enlarged features with zeros, the interpolation repeats the outermost; together that is no
    convolution. So the outermost two pixels are made in two steps.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(weight, bias)
        taps = weight.new_tensor(_TAPS)
        folded = torch.einsum("yka,xlb,oikl->yxoiab", taps, taps, weight.detach()).flatten(0, 2)
        self.folded = _Convolution(folded, None if bias is None else bias.detach().repeat(4))

    def forward(self, x: Tensor) -> Tensor:
        y = channels_to_pixels(self.folded(x))
        rows = self._in_two_steps(torch.cat([x[:, :, :2], x[:, :, -2:]], dim=2))
        columns = self._in_two_steps(torch.cat([x[..., :2], x[..., -2:]], dim=3))
        y[:, :, :2], y[:, :, -2:] = rows[:, :, :2], rows[:, :, -2:]
        y[..., :2], y[..., -2:] = columns[..., :2], columns[..., -2:]
        return y

    def _in_two_steps(self, x: Tensor) -> Tensor:
        return super().forward(interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))
