"""Loss terms on images and masks; each returns a scalar."""

from __future__ import annotations

from torch import Tensor


def visible_l1(prediction: Tensor, truth: Tensor, visible: Tensor) -> Tensor:
    """Mean over all pixels of the absolute error of images [..., 3, H, W] times ``visible`` [..., 1, H, W].

    ``visible`` is 0 where the truth is unknown, 1 where it is known, more where an error counts more.
    """
    return ((prediction - truth).abs() * visible).mean()


def soft_iou_loss(prediction: Tensor, truth: Tensor) -> Tensor:
    """One minus intersection over union of soft masks [..., 1, H, W], averaged over views."""
    intersection = (prediction * truth).flatten(-3).sum(-1)
    union = (prediction + truth).flatten(-3).sum(-1) - intersection
    return 1 - (intersection / union.clamp_min(1e-6)).mean()


def visible_squared_error(prediction: Tensor, truth: Tensor, visible: Tensor) -> Tensor:
    """Mean over all pixels of the squared error times ``visible``, which is that of :func:`visible_l1`."""
    return ((prediction - truth).square() * visible).mean()
