"""What can be measured on one picture and its mask."""

from __future__ import annotations

import hashlib

import numpy as np
from PIL import Image

INSIDE = 128
THUMBNAIL = (32, 32)


def mask_share(mask: np.ndarray) -> float:
    """Share of the picture that a mask [H, W] covers, soft edges in part."""
    return float(mask.mean()) / 255


def sharpness(gray: np.ndarray, mask: np.ndarray) -> float:
    """Standard deviation of the Laplacian inside the mask, in grey levels; 0 where the mask is empty.

    Args:
        gray: uint8 [H, W].
        mask: uint8 [H, W].
    """
    rows, columns = (np.flatnonzero((mask >= INSIDE).any(axis)) for axis in (1, 0))
    if len(rows) < 3 or len(columns) < 3:
        return 0.0
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    values = gray[window].astype(np.int16)
    laplacian = 4 * values[1:-1, 1:-1] - values[:-2, 1:-1] - values[2:, 1:-1] - values[1:-1, :-2] - values[1:-1, 2:]
    inside = mask[window][1:-1, 1:-1] >= INSIDE
    return float(laplacian[inside].astype(np.float32).std()) if inside.any() else 0.0


def points_on_mask(pixels: np.ndarray, mask: np.ndarray, tolerance: int) -> np.ndarray:
    """Which points [L, 2] (x, y in pixels) have mask within ``tolerance`` pixels; False for points off the picture."""
    height, width = mask.shape
    found = np.zeros(len(pixels), bool)
    for index in np.flatnonzero(inside_picture(pixels, width, height)):
        column, row = pixels[index].astype(int)
        top, left = max(0, row - tolerance), max(0, column - tolerance)
        found[index] = (mask[top : row + tolerance + 1, left : column + tolerance + 1] >= INSIDE).any()
    return found


def inside_picture(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Which points [L, 2] (x, y in pixels) lie in a picture."""
    return ((pixels >= 0) & (pixels < [width, height])).all(1)


def fingerprint(gray: np.ndarray) -> str:
    """The same for pictures that are equal in every pixel, and for no others."""
    return hashlib.blake2b(np.ascontiguousarray(gray), digest_size=12).hexdigest()


def difference(first: np.ndarray, second: np.ndarray) -> float:
    """Mean absolute difference of two pictures [H, W] of any sizes, seen from afar, in grey levels."""
    small = [
        np.asarray(Image.fromarray(picture).resize(THUMBNAIL, Image.Resampling.BOX), np.float32)
        for picture in (first, second)
    ]
    return float(np.abs(small[0] - small[1]).mean())
