"""Zoom augmentation: random windows of the views, with cameras that see exactly the window.

The original resamples feature maps by nearest neighbour; here the camera is cropped and zoomed instead, and the
truth is resampled with an antialiasing filter, so nothing aliases and the splats keep their sharpness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from gha.capture.frame import Frame


@dataclass(frozen=True)
class Window:
    """A rectangle of the recorded image and the size it is resampled to, all in pixels; may reach outside."""

    left: int
    top: int
    source_width: int
    source_height: int
    width: int
    height: int


def sample_window(
    generator: torch.Generator,
    image_size: tuple[int, int],
    window_size: tuple[int, int],
    zoom: tuple[float, float],
    about: tuple[float, float] | None = None,
) -> Window:
    """Draw a window.

    Args:
        generator: on the CPU.
        image_size: (height, width) of the recorded image.
        window_size: (height, width) of the result.
        zoom: range of the magnification, drawn uniformly.
        about: (y, x) of a pixel that must come to lie in the middle half of the window, which then may reach outside
            the image; None: anywhere inside the image.
    """
    factor = zoom[0] + (zoom[1] - zoom[0]) * torch.rand((), generator=generator).item()
    height, width = (max(1, round(side / factor)) for side in window_size)
    if about is None:
        top, left = (_place(full, part, generator) for full, part in zip(image_size, (height, width), strict=True))
    else:
        top, left = (
            round(place - part * (0.25 + 0.5 * torch.rand((), generator=generator).item()))
            for place, part in zip(about, (height, width), strict=True)
        )
    return Window(left, top, width, height, window_size[1], window_size[0])


def _place(full: int, part: int, generator: torch.Generator) -> int:
    """Uniform position of a window of ``part`` pixels in (or, if larger, around) ``full`` pixels."""
    low, high = min(0, full - part), max(0, full - part)
    return int(torch.randint(low, high + 1, (), generator=generator).item())


def crop_views(frame: Frame, windows: Sequence[Window]) -> Frame:
    """Crop every view of a frame [B, V] to its own window, in floats; the results must have one size."""
    views = [crop_frame(_one_view(frame, index), window) for index, window in enumerate(windows)]
    if len(views) == 1:
        return views[0]
    camera = replace(
        views[0].camera,
        K=torch.cat([view.camera.K for view in views], dim=-3),
        w2c=torch.cat([view.camera.w2c for view in views], dim=-3),
    )
    images = {name: torch.cat([getattr(v, name) for v in views], dim=1) for name in ("image", "mask", "visible")}
    return replace(frame, camera=camera, **images)


def _one_view(frame: Frame, index: int) -> Frame:
    """View ``index`` of a frame [B, V], as a frame [B, 1]."""
    view, camera = slice(index, index + 1), frame.camera
    return replace(
        frame,
        image=frame.image[:, view],
        mask=frame.mask[:, view],
        visible=frame.visible[:, view],
        camera=replace(camera, K=camera.K[..., view, :, :], w2c=camera.w2c[..., view, :, :]),
        camera_ids=tuple(ids[view] for ids in frame.camera_ids),
    )


def crop_frame(frame: Frame, window: Window) -> Frame:
    """The part of every view [B, V, ., H, W] inside the window, in floats; pixels outside are not visible."""
    camera = frame.camera.crop(window.left, window.top, window.source_width, window.source_height)
    images = {name: _crop(getattr(frame, name), window) for name in ("image", "mask", "visible")}
    cropped = replace(frame, camera=camera.resize(window.width, window.height), **images).in_floats()
    size = (window.height, window.width)
    if cropped.image.shape[-2:] == size:
        return cropped
    return replace(cropped, **{name: _resample(getattr(cropped, name), size) for name in images})


def _crop(images: Tensor, window: Window) -> Tensor:
    height, width = images.shape[-2:]
    right, bottom = window.left + window.source_width, window.top + window.source_height
    inside = images[..., max(0, window.top) : min(height, bottom), max(0, window.left) : min(width, right)]
    padding = (max(0, -window.left), max(0, right - width), max(0, -window.top), max(0, bottom - height))
    return pad(inside, padding) if any(padding) else inside


def _resample(images: Tensor, size: tuple[int, int]) -> Tensor:
    flat = images.flatten(0, -4)
    resized = interpolate(flat, size, mode="bilinear", antialias=True, align_corners=False)
    return resized.unflatten(0, images.shape[:-3])
