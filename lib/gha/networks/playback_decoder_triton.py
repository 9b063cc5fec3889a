"""The last steps of playback's decoder on a GPU in one kernel, and the moments that InstanceNorm needs in another.

At the size of the picture every pass over memory counts. From what the last 3x3 convolution leaves, one pass makes the
picture: normalisation or bias, ReLU and the 1x1 convolution (or the shuffle of channels to pixels), the enlarged coarse
picture that is corrected, and the background. What :class:`SuperResolutionDecoder` does step by step is the reference.
"""

from __future__ import annotations

import logging
import subprocess
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn
from triton.errors import TritonError

from .decoder import DecoderConfig

logger = logging.getLogger(__name__)

_COLUMNS = 128
"""Coarse pixels of a row, sixteen times as many fine ones of four rows, of which a program makes one row."""
_VALUES, _PROGRAMS = 4096, 1056
"""Values whose moments a program sums at a time, and programs: eight for each of an H200's multiprocessors."""


def can_finish(config: DecoderConfig) -> bool:
    """Whether the kernel knows decoders of such a kind."""
    width = config.capacity
    known = not config.predict_alpha or config.residual
    return known and (config.upsampling != "bilinear" or width & (width - 1) == 0)


class Finish(nn.Module):
    """From what a decoder's last 3x3 convolution leaves, without its bias, to the picture.

    Args:
        config: of the decoder; :func:`can_finish` holds.
        bias: of the 3x3 convolution [C]; None where InstanceNorm follows.
        output: weight [outputs, C] and bias [outputs] of the 1x1 convolution after it; None where channels
            (2, 2, outputs) become pixels instead.
    """

    def __init__(self, config: DecoderConfig, bias: Tensor | None, output: tuple[Tensor, Tensor] | None) -> None:
        super().__init__()
        self.predict_alpha, self.shuffled = config.predict_alpha, output is None
        weight, last_bias = (bias[:0], bias[:0]) if output is None else (x.detach().float() for x in output)
        affine = None if bias is None else torch.stack([torch.ones_like(bias), bias.detach()])[None].float()
        self.register_buffer("affine", affine)
        self.register_buffer("black", weight.new_zeros(3))
        self.register_buffer("weight", weight.detach().clone().contiguous())
        self.register_buffer("last_bias", last_bias.detach().clone())

    def forward(self, x: Tensor, features: Tensor, alpha: Tensor, background: Tensor | None) -> tuple[Tensor, Tensor]:
        """Colour [B, 3, 4h, 4w] over a background [3] (None: premultiplied) and alpha [B, 1, 4h, 4w].

        Args:
            x: [B, C, 4h, 4w], or [B, 4 * outputs, 2h, 2w] where it is shuffled.
            features: splats [B, F, h, w] over black.
            alpha: [B, 1, h, w].
            background: RGB.
        """
        affine = normalization(x) if self.affine is None else self.affine.expand(len(x), -1, -1)
        color = self.black if background is None else background
        kind = self.shuffled, self.predict_alpha
        return _finish(x, affine, self.weight, self.last_bias, features, alpha, color, *kind)


class FusedNormalization(nn.Module):
    """InstanceNorm and ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        """The same size and type as ``x`` [B, C, H, W]."""
        scale, shift = normalization(x)[..., None, None].unbind(1)
        return (x * scale + shift).relu().to(x.dtype)


def normalization(x: Tensor) -> Tensor:
    """Factors and summands [B, 2, C] in float32 that InstanceNorm amounts to for x [B, C, H, W]."""
    mean, square = (_moments(x).sum(1) / x[0, 0].numel()).unbind(1)
    scale = torch.rsqrt((square - mean.square()).clamp_min(0) + 1e-5)
    return torch.stack([scale, -mean * scale], dim=1)


@torch.library.custom_op(
    "gha::finish_picture",
    mutates_args=(),
    schema="(Tensor x, Tensor affine, Tensor weight, Tensor last_bias, Tensor features, Tensor alpha, "
    "Tensor background, bool shuffled, bool predict_alpha) -> (Tensor, Tensor)",
)
def _finish(
    x: Tensor,
    affine: Tensor,
    weight: Tensor,
    last_bias: Tensor,
    features: Tensor,
    alpha: Tensor,
    background: Tensor,
    shuffled: bool,
    predict_alpha: bool,
) -> tuple[Tensor, Tensor]:
    batch, channels, height, width = len(x), features.shape[1], *features.shape[2:]
    rgb, fine_alpha = (features.new_empty(batch, c, 4 * height, 4 * width) for c in (3, 1))
    pixels = x.contiguous(memory_format=torch.channels_last)
    tensors = pixels, affine.contiguous(), weight, last_bias, features.contiguous(), alpha.contiguous(), background
    constants: dict[str, Any] = {
        "CHANNELS": affine.shape[2],
        "OUTPUTS": 4 if predict_alpha else 3,
        "SHUFFLED": shuffled,
        "COLUMNS": _COLUMNS,
    }
    with torch.cuda.device_of(x):
        grid = triton.cdiv(width, _COLUMNS), 4 * height, batch
        _finish_rows[grid](*tensors, rgb, fine_alpha, height, width, channels, **constants)
    return rgb, fine_alpha


@_finish.register_fake
def _(
    x: Tensor,
    affine: Tensor,
    weight: Tensor,
    last_bias: Tensor,
    features: Tensor,
    alpha: Tensor,
    background: Tensor,
    shuffled: bool,
    predict_alpha: bool,
) -> tuple[Tensor, Tensor]:
    height, width = 4 * features.shape[2], 4 * features.shape[3]
    return features.new_empty(len(x), 3, height, width), features.new_empty(len(x), 1, height, width)


@torch.library.custom_op("gha::moments", mutates_args=(), schema="(Tensor x) -> Tensor")
def _moments(x: Tensor) -> Tensor:
    """Sums of values and of squares [B, P, 2, C] of parts of each picture of x [B, C, H, W], in float32."""
    pixels, padded = x.contiguous(memory_format=torch.channels_last), triton.next_power_of_2(x.shape[1])
    sums = torch.empty(_shape_of_moments(x), device=x.device)
    steps = triton.cdiv(x[0, 0].numel(), max(1, _VALUES // padded))
    with torch.cuda.device_of(x):
        _sum_moments[sums.shape[1], len(x)](
            pixels, sums, x[0, 0].numel(), x.shape[1], steps, max(1, _VALUES // padded), padded
        )
    return sums


@_moments.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty(_shape_of_moments(x), device=x.device)


def _shape_of_moments(x: Tensor) -> tuple[int, ...]:
    return len(x), min(_PROGRAMS, -(-x[0].numel() // _VALUES)), 2, x.shape[1]


@triton.jit
def _finish_rows(
    x: tl.tensor,
    affine: tl.tensor,
    weight: tl.tensor,
    last_bias: tl.tensor,
    features: tl.tensor,
    alpha: tl.tensor,
    background: tl.tensor,
    rgb: tl.tensor,
    fine_alpha: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    feature_channels: tl.tensor,
    CHANNELS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    SHUFFLED: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """A row of fine pixels of COLUMNS coarse pixels; values are [COLUMNS, 4]."""
    row, batch = tl.program_id(1), tl.program_id(2).to(tl.int64)
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    plane, fine_plane = height * width, 16 * height * width
    fine = column[:, None] * 4 + tl.arange(0, 4)[None, :]
    inside = (column < width)[:, None] & (fine >= 0)
    place = (batch * 4 * height + row) * 4 * width + fine
    affine += batch * 2 * CHANNELS
    if SHUFFLED:
        channel = (row % 2 * 2 + fine % 2) * OUTPUTS
        start = ((batch * 2 * height + row // 2) * 2 * width + fine // 2) * CHANNELS + channel
        x += start
        affine += CHANNELS + channel
        red, green = _shuffled(x, affine, 0, inside), _shuffled(x, affine, 1, inside)
        blue, opacity = _shuffled(x, affine, 2, inside), _shuffled(x, affine, OUTPUTS - 1, inside)
    else:
        channel = tl.arange(0, CHANNELS)
        values = tl.load(x + place[:, :, None] * CHANNELS + channel[None, None, :], mask=inside[:, :, None], other=0.0)
        scale, shift = tl.load(affine + channel)[None, None, :], tl.load(affine + CHANNELS + channel)[None, None, :]
        values = tl.maximum(values.to(tl.float32) * scale + shift, 0.0)
        red, green = _product(values, weight, last_bias, 0, CHANNELS), _product(values, weight, last_bias, 1, CHANNELS)
        blue = _product(values, weight, last_bias, 2, CHANNELS)
        opacity = _product(values, weight, last_bias, OUTPUTS - 1, CHANNELS)
    alpha += batch * plane
    if OUTPUTS == 4:
        features += batch * feature_channels * plane
        red += _enlarge(features, row, column, height, width, 2)
        green += _enlarge(features + plane, row, column, height, width, 2)
        blue += _enlarge(features + 2 * plane, row, column, height, width, 2)
        opacity += _enlarge(alpha, row, column, height, width, 2)
        opacity = tl.minimum(tl.maximum(opacity, 0.0), 1.0)
        rest = 1 - opacity
    else:  # colour was made over white; what white shows of it is taken away again
        opacity = _enlarge(alpha, row, column, height, width, 1)
        rest = 1 - opacity
        red, green, blue = tl.sigmoid(red) - rest, tl.sigmoid(green) - rest, tl.sigmoid(blue) - rest
    tl.store(fine_alpha + place, opacity, mask=inside)
    place += batch * 2 * fine_plane
    tl.store(rgb + place, red + rest * tl.load(background), mask=inside)
    tl.store(rgb + place + fine_plane, green + rest * tl.load(background + 1), mask=inside)
    tl.store(rgb + place + 2 * fine_plane, blue + rest * tl.load(background + 2), mask=inside)


@triton.jit
def _shuffled(x: tl.tensor, bias: tl.tensor, output: tl.constexpr, inside: tl.tensor) -> tl.tensor:
    """One output of the pixels [COLUMNS, 4] whose channels start at ``x``, their biases at ``bias``."""
    return tl.load(x + output, mask=inside, other=0.0).to(tl.float32) + tl.load(bias + output)


@triton.jit
def _product(
    values: tl.tensor, weight: tl.tensor, bias: tl.tensor, output: tl.constexpr, CHANNELS: tl.constexpr
) -> tl.tensor:
    """One output [COLUMNS, 4] of the 1x1 convolution of values [COLUMNS, 4, CHANNELS]."""
    factors = tl.load(weight + output * CHANNELS + tl.arange(0, CHANNELS))
    return tl.sum(values * factors[None, None, :], axis=2) + tl.load(bias + output)


@triton.jit
def _enlarge(
    plane: tl.tensor, row: tl.tensor, column: tl.tensor, height: tl.tensor, width: tl.tensor, REACH: tl.constexpr
) -> tl.tensor:
    """A fine row's pixels [COLUMNS, 4] of a coarse plane enlarged by four; pixels beyond the border repeat it.

    Cubic interpolation for a REACH of two coarse pixels, linear for one.
    """
    first = row // 4 - (row % 4 < 2).to(tl.int32)  # of the two coarse rows that the fine one lies between
    from_first = (row - 4 * first).to(tl.float32) / 4 - 0.375
    from_column = tl.arange(0, 4).to(tl.float32) / 4 - 0.375
    enlarged = tl.zeros([column.shape[0], 4], tl.float32)
    for across in tl.static_range(-REACH, REACH + 1):
        x = tl.minimum(tl.maximum(column + across, 0), width - 1)
        values = tl.zeros([column.shape[0]], tl.float32)
        for down in tl.static_range(1 - REACH, REACH + 1):
            y = tl.minimum(tl.maximum(first + down, 0), height - 1)
            values += _share(from_first - down, REACH) * tl.load(plane + y * width + x)
        enlarged += values[:, None] * _share(from_column - across, REACH)[None, :]
    return enlarged


@triton.jit
def _share(distance: tl.tensor, REACH: tl.constexpr) -> tl.tensor:
    """Of a pixel at a signed distance: cubic convolution with a slope of -0.75 at distance one, or linear."""
    d = tl.abs(distance)
    if REACH == 1:
        return tl.maximum(1 - d, 0.0)
    near = (1.25 * d - 2.25) * d * d + 1
    far = ((-0.75 * d + 3.75) * d - 6) * d + 3
    return tl.where(d <= 1, near, tl.where(d < 2, far, 0.0))


@triton.jit
def _sum_moments(
    x: tl.tensor,
    sums: tl.tensor,
    pixel_count: tl.tensor,
    channel_count: tl.tensor,
    steps: tl.tensor,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    program, batch = tl.program_id(0), tl.program_id(1).to(tl.int64)
    channel = tl.arange(0, CHANNELS)
    pixel = tl.arange(0, PIXELS)[:, None]
    x += batch * pixel_count * channel_count
    total = tl.zeros([PIXELS, CHANNELS], tl.float32)
    squares = tl.zeros([PIXELS, CHANNELS], tl.float32)
    step = program
    while step < steps:  # the interpreter of today does not take such numbers for a range
        here = step * PIXELS + pixel
        mask = (here < pixel_count) & (channel < channel_count)[None, :]
        values = tl.load(x + here * channel_count + channel[None, :], mask=mask, other=0.0).to(tl.float32)
        total += values
        squares += values * values
        step += tl.num_programs(0)
    sums += (batch * tl.num_programs(0) + program) * 2 * channel_count + channel
    tl.store(sums, tl.sum(total, axis=0), mask=channel < channel_count)
    tl.store(sums + channel_count, tl.sum(squares, axis=0), mask=channel < channel_count)


def works(device: torch.device) -> bool:
    """Whether the kernels compile and run here: they need a C compiler and the headers of Python."""
    try:
        config = DecoderConfig(capacity=32, upsampling="bilinear")
        ones = torch.ones(1, 32, 4, 4, device=device)
        output = torch.zeros(4, 32, device=device), torch.zeros(4, device=device)
        Finish(config, None, output)(ones, ones[:, :3, :1, :1], ones[:, :1, :1, :1], None)
    except (TritonError, RuntimeError, OSError, subprocess.SubprocessError) as error:
        logger.warning("pictures are finished step by step, which is slower: %s", error)
        return False
    return True
