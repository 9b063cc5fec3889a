"""Charts: from where the head is seen how often, and what the expression does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from .drawing import BAD, FAINT, HELD_OUT, INK, QUIET, TRAINED, Canvas
from .validation_statistics import CoefficientStatistics
from .validation_tracking import STILL

BIN = 10
MARGIN = 40
WIDEST_BAR = 40


def draw_yaw_histogram(trained: np.ndarray, held_out: np.ndarray, width: int, height: int) -> Image.Image:
    """Number of views by yaw in steps of 10 degrees, seen from the head: trained below, held out above."""
    canvas = Canvas(width, height)
    canvas.text((10, 8), "views by yaw: subject's right to left, degrees", size=14)
    everything = np.concatenate([trained, held_out])
    if not len(everything):
        canvas.text((width / 2, height / 2), "unknown", QUIET, anchor="mm")
        return canvas.finish()
    reach = BIN * int(np.ceil(max(60, np.abs(everything).max() + 1) / BIN))
    bins = np.arange(-reach, reach + 1, BIN)
    counts = [np.histogram(values, bins)[0] for values in (trained, held_out)]
    top = max(1, int(sum(counts).max()))
    left, right, base, ceiling = MARGIN, width - 12, height - 26, 38
    step = (right - left) / (len(bins) - 1)
    canvas.text((left - 5, ceiling), str(top), QUIET, 10, "rm")
    canvas.line([(left, ceiling), (right, ceiling)], FAINT)
    for index, (low, high) in enumerate(zip(*counts, strict=True)):
        x = left + index * step
        middle = base - (base - ceiling) * low / top
        canvas.rectangle((x + 1, middle, x + step - 1, base), TRAINED)
        canvas.rectangle((x + 1, middle - (base - ceiling) * high / top, x + step - 1, middle), HELD_OUT)
    canvas.line([(left, base), (right, base)], INK)
    for degrees in range(-reach + reach % 30, reach + 1, 30):
        x = left + (degrees + reach) / BIN * step
        canvas.line([(x, base), (x, base + 4)], INK)
        canvas.text((x, base + 6), f"{degrees}", QUIET, 10, "ma")
    return canvas.finish()


def draw_expression_ranges(expression: Sequence[CoefficientStatistics], width: int, height: int) -> Image.Image:
    """From least to most of every coefficient: in frames that are trained on, and beyond; still ones are crossed."""
    canvas = Canvas(width, height)
    canvas.text((10, 8), "expression coefficients, lowest to highest", size=14)
    if not expression:
        canvas.text((width / 2, height / 2), "unknown", QUIET, anchor="mm")
        return canvas.finish()
    low = min(0.0, *(one.range[0] for one in expression))
    high = max(*(one.range[1] for one in expression), low + STILL)
    left, right, base, ceiling = MARGIN, width - 12, height - 26, 38
    step = min(WIDEST_BAR, (right - left) / len(expression))

    def row(value: float) -> float:
        return base - (base - ceiling) * (value - low) / (high - low)

    for value in sorted({low, 0.0, high}):
        canvas.line([(left, row(value)), (right, row(value))], FAINT)
        canvas.text((left - 5, row(value)), f"{value:.2g}", QUIET, 10, "rm")
    for index, one in enumerate(expression):
        x = left + index * step
        if one.range[1] - one.range[0] <= STILL:
            canvas.rectangle((x + step / 4, row(one.range[0]) - 3, x + 3 * step / 4, row(one.range[0]) + 3), BAD)
            continue
        for values, colour in ((one.range, HELD_OUT), (one.trained, TRAINED)):
            if values is not None:
                canvas.rectangle((x + step / 8, row(values[1]), x + 7 * step / 8, row(values[0])), colour)
    for index in range(0, len(expression), 10):
        canvas.text((left + (index + 0.5) * step, base + 6), str(index), QUIET, 10, "ma")
    canvas.text((right, 10), "red: never moves", BAD, 11, "ra")
    return canvas.finish()
