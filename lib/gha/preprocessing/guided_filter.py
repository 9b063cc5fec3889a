"""Filters that follow the edges of a picture: the guided filter of He, Sun and Tang (ECCV 2010), weighted."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def box_mean(values: np.ndarray, radius: int) -> np.ndarray:
    """Mean [H, W] over squares of side ``2 radius + 1``; beyond the border the nearest value goes on."""
    return ndimage.uniform_filter(values, 2 * radius + 1, mode="nearest")


def guided_filter(
    values: np.ndarray, guide: np.ndarray, radius: int, smoothness: float, weights: np.ndarray | None = None
) -> np.ndarray:
    """Smooth ``values`` but for edges of ``guide``: locally the result is a linear function of the guide's colours.

    Args:
        values: float [H, W].
        guide: picture float [H, W, 3] in [0, 1].
        radius: of the square neighbourhood, in pixels.
        smoothness: variance of colour that still counts as flat.
        weights: float [H, W], how much each value is worth; None: all the same.
    """
    weights = np.ones_like(values) if weights is None else weights
    total = np.maximum(box_mean(weights, radius), 1e-6)

    def mean(array: np.ndarray) -> np.ndarray:
        return box_mean(weights * array, radius) / total

    channels = [np.ascontiguousarray(guide[..., channel]) for channel in range(3)]
    means, mean_value = [mean(channel) for channel in channels], mean(values)
    cross = [mean(channel * values) - m * mean_value for channel, m in zip(channels, means, strict=True)]
    pairs = {
        (i, j): mean(channels[i] * channels[j]) - means[i] * means[j] + (smoothness if i == j else 0.0)
        for i in range(3)
        for j in range(i, 3)
    }
    slopes = _solve_symmetric(pairs, cross)
    offset = mean_value - sum(slope * m for slope, m in zip(slopes, means, strict=True))
    smooth_slopes = [box_mean(slope, radius) for slope in slopes]
    linear = sum(slope * channel for slope, channel in zip(smooth_slopes, channels, strict=True))
    return linear + box_mean(offset, radius)


def _solve_symmetric(pairs: dict[tuple[int, int], np.ndarray], right: list[np.ndarray]) -> list[np.ndarray]:
    """Solutions [H, W] of symmetric 3x3 systems, one per pixel, by Cramer's rule."""
    a, b, c = pairs[0, 0], pairs[0, 1], pairs[0, 2]
    d, e, f = pairs[1, 1], pairs[1, 2], pairs[2, 2]
    inverse = [
        [d * f - e * e, c * e - b * f, b * e - c * d],
        [c * e - b * f, a * f - c * c, b * c - a * e],
        [b * e - c * d, b * c - a * e, a * d - b * b],
    ]
    determinant = a * inverse[0][0] + b * inverse[1][0] + c * inverse[2][0]
    return [sum(x * r for x, r in zip(row, right, strict=True)) / determinant for row in inverse]
