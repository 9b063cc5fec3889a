"""Pictures for people: floats to bytes without wrap-around, rows and grids, error maps, captions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from gha.files import open_atomically
from gha.training import pictures

Picture = Tensor | np.ndarray
"""Tensor [3, H, W] or [1, H, W] in [0, 1], or array uint8 [H, W, 3]."""


def to_uint8(image: Picture) -> np.ndarray:
    """A picture as uint8 [H, W, 3]; floats outside [0, 1] are clamped and NaN shows as black."""
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
            raise ValueError(f"expected uint8 [H, W, 3], got {image.dtype} {list(image.shape)}")
        return image
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError(f"expected a picture [3, H, W] or [1, H, W], got {list(image.shape)}")
    return pictures.to_uint8(image)


def resize_to_height(image: np.ndarray, height: int) -> np.ndarray:
    """A uint8 picture [H, W, 3] at another height, proportions kept."""
    if image.shape[0] == height:
        return image
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def make_row(images: Sequence[Picture], height: int | None = None) -> np.ndarray:
    """Pictures side by side, brought to one height (default: that of the tallest), as uint8 [H, W, 3]."""
    arrays = [to_uint8(image) for image in images]
    height = height or max(array.shape[0] for array in arrays)
    return np.concatenate([resize_to_height(array, height) for array in arrays], axis=1)


def make_grid(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows uint8 [H, W, 3] below each other; narrower ones are padded with black on the right."""
    width = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows], axis=0)


def error_heat(prediction: Tensor, truth: Tensor, full_scale: float = 0.25) -> Tensor:
    """Mean absolute error over the channels as a picture [3, H, W]: black, red, yellow, white at ``full_scale``."""
    level = 3 * (prediction - truth).abs().mean(0) / full_scale
    return torch.stack([level, level - 1, level - 2]).clamp(0, 1)


def write_captions(picture: np.ndarray, captions: Sequence[tuple[int, int, str]]) -> np.ndarray:
    """A copy of a uint8 picture with white text on black at pixel positions (x, y)."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    for x, y, text in captions:
        draw.rectangle(draw.textbbox((x, y), text), fill="black")
        draw.text((x, y), text, fill="white")
    return np.asarray(image)


def save_png(path: Path | str, picture: Picture) -> None:
    """Write a picture as PNG, atomically; missing folders are made."""
    with open_atomically(path) as file:
        Image.fromarray(to_uint8(picture)).save(file, format="PNG", compress_level=3)
