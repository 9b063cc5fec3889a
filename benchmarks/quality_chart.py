"""A chart of quality against seconds of training: one panel for each figure, one line for each side."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image
from quality_curves import FIGURES, Curve

from gha.preprocessing.drawing import FAINT, HELD_OUT, INK, QUIET, TRAINED, Canvas

COLOURS = {"library": TRAINED, "baseline": HELD_OUT}
WIDTH, HEIGHT = 420, 320
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 52, 40


def draw_curves(curves: Mapping[str, Curve]) -> Image.Image:
    """Panels side by side; a dashed level is what the baseline has in the end."""
    panels = [_panel(figure, curves) for figure in FIGURES]
    sheet = Image.new("RGB", (WIDTH * len(panels), HEIGHT), "white")
    for index, panel in enumerate(panels):
        sheet.paste(panel, (index * WIDTH, 0))
    return sheet


def _panel(figure: str, curves: Mapping[str, Curve]) -> Image.Image:
    canvas = Canvas(WIDTH, HEIGHT)
    canvas.text((LEFT, 8), FIGURES[figure], size=14)
    points = [point for curve in curves.values() for point in curve]
    last = max(point.seconds for point in points) or 1.0
    values = [point.figures[figure] for point in points]
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or 1.0
    low, high = low - margin, high + margin

    def at(seconds: float, value: float) -> tuple[float, float]:
        across, up = seconds / last, (value - low) / (high - low)
        return LEFT + (WIDTH - LEFT - RIGHT) * across, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * up

    for share in range(5):
        value, seconds = low + share / 4 * (high - low), share / 4 * last
        canvas.line([at(0, value), at(last, value)], FAINT)
        canvas.text((LEFT - 6, at(0, value)[1]), f"{value:.3g}", QUIET, 10, "rm")
        canvas.text((at(seconds, low)[0], HEIGHT - BOTTOM + 6), f"{seconds:.3g}", QUIET, 10, "ma")
    canvas.text(((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8), "seconds of training", QUIET, 11, "md")
    if "baseline" in curves:
        final = curves["baseline"][-1].figures[figure]
        for dash in range(0, 60, 2):
            canvas.line([at(dash / 60 * last, final), at((dash + 1) / 60 * last, final)], COLOURS["baseline"])
    for row, (side, curve) in enumerate(curves.items()):
        line = [at(point.seconds, point.figures[figure]) for point in curve]
        if len(line) > 1:
            canvas.line(line, COLOURS[side], 2)
        for place in line:
            canvas.dot(place, 2.5, COLOURS[side])
        canvas.dot((LEFT + 6 + 90 * row, 36), 4, COLOURS[side])
        canvas.text((LEFT + 14 + 90 * row, 36), side, INK, 11, "lm")
    return canvas.finish()
