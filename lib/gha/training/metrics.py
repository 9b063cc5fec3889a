"""Image metrics: plain functions of images [..., 3, H, W] in [0, 1], each with an optional mask [..., 1, H, W]."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d

_SMALLEST_ERROR = 1e-10  # PSNR of a perfect image: 100 dB, a number that JSON and averages can hold
_SSIM_WINDOW = 11
_SSIM_SIGMA = 1.5


def masked_mean(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of ``values`` [..., C, H, W] over the channels and the pixels where ``mask`` [..., 1, H, W] exceeds 0.5.

    Returns:
        One mean per image [...]; NaN for an image whose mask is empty.
    """
    if mask is None:
        return values.mean((-3, -2, -1))
    inside = (mask > 0.5).expand_as(values)
    total = torch.where(inside, values, torch.zeros_like(values)).sum((-3, -2, -1))
    return total / inside.sum((-3, -2, -1))


def psnr(prediction: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio in dB, one per image [...]; at most 100.

    The squared error is averaged over the pixels inside the mask and the three channels. Average these figures
    over images, not the errors.
    """
    error = masked_mean((prediction - truth) ** 2, mask)
    return -10 * torch.log10(error.clamp_min(_SMALLEST_ERROR))


def fit_gain(prediction: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """The gain per image and channel [..., 3, 1, 1] that brings ``prediction`` closest to ``truth`` in the mask."""
    inside = torch.ones_like(truth[..., :1, :, :]) if mask is None else (mask > 0.5).to(truth.dtype)
    product = (inside * prediction * truth).sum((-2, -1), keepdim=True)
    power = (inside * prediction * prediction).sum((-2, -1), keepdim=True)
    # A channel that is black throughout has no best gain; 1 leaves it alone.
    return torch.where(power > 0, product / power.clamp_min(1e-20), torch.ones_like(power))


def gain_aligned_psnr(prediction: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """PSNR after one RGB gain per image, fitted by least squares inside the mask: forgives exposure, nothing else."""
    return psnr(fit_gain(prediction, truth, mask) * prediction, truth, mask)


def _gaussian_window(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Normalised samples of a Gaussian [11]."""
    offsets = torch.arange(_SSIM_WINDOW, dtype=dtype, device=device) - _SSIM_WINDOW // 2
    weights = torch.exp(-(offsets**2) / (2 * _SSIM_SIGMA**2))
    return weights / weights.sum()


def _blur(images: Tensor) -> Tensor:
    """Gaussian means [M, H-10, W-10] of single-channel images [M, H, W]; no padding."""
    window, count = _gaussian_window(images.dtype, images.device), len(images)
    # As channels of one picture: a hundred times faster on a CPU than as pictures of one channel.
    columns = conv2d(images[None], window.view(1, 1, -1, 1).expand(count, 1, -1, 1), groups=count)
    return conv2d(columns, window.view(1, 1, 1, -1).expand(count, 1, 1, -1), groups=count)[0]


def ssim_map(prediction: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity of every pixel whose window fits into the image: [..., 3, H-10, W-10].

    Gaussian window of 11 x 11 pixels and sigma 1.5, K1 = 0.01, K2 = 0.03, data range 1, biased (co)variances;
    every channel by itself. Differentiable.
    """
    prediction, truth = torch.broadcast_tensors(prediction, truth)
    height, width = truth.shape[-2:]
    if min(height, width) < _SSIM_WINDOW:
        raise ValueError(
            f"SSIM needs images of at least {_SSIM_WINDOW} x {_SSIM_WINDOW} pixels, got {height} x {width}"
        )
    x, y = prediction.reshape(-1, height, width), truth.reshape(-1, height, width)
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = _blur(torch.cat([x, y, x * x, y * y, x * y])).chunk(5)
    variance_x, variance_y = mean_xx - mean_x**2, mean_yy - mean_y**2
    covariance = mean_xy - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return (luminance * structure).reshape(*truth.shape[:-2], *mean_x.shape[-2:])


def mean_similarity(similarity: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean per image [...] of an :func:`ssim_map` over the window centres inside the mask [..., 1, H, W]."""
    border = _SSIM_WINDOW // 2
    return masked_mean(similarity, None if mask is None else mask[..., border:-border, border:-border])


def ssim(prediction: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean structural similarity per image [...], over the window centres inside the mask; see :func:`ssim_map`."""
    return mean_similarity(ssim_map(prediction, truth), mask)


def mask_iou(alpha: Tensor, mask: Tensor) -> Tensor:
    """Intersection over union of ``alpha > 0.5`` and ``mask > 0.5`` [..., 1, H, W], one per image; 1 if both empty."""
    predicted, expected = alpha > 0.5, mask > 0.5
    intersection = (predicted & expected).sum((-3, -2, -1)).float()
    union = (predicted | expected).sum((-3, -2, -1)).float()
    return torch.where(union > 0, intersection / union.clamp_min(1), torch.ones_like(union))
