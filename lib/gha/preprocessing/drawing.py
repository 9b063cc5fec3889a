"""A canvas for charts: smooth lines and small text, drawn at twice the size and averaged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

FACTOR = 2

INK = "#22272e"
FAINT = "#d8dee4"
QUIET = "#77818c"
TRAINED = "#2166ac"
HELD_OUT = "#e08214"
GOOD = "#17c964"
BAD = "#e5203a"

Point = tuple[float, float]
Box = tuple[float, float, float, float]


class Canvas:
    """A white picture whose coordinates are pixels of the result.

    Args:
        width: pixels.
        height: pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._image = Image.new("RGB", (FACTOR * width, FACTOR * height), "white")
        self._draw = ImageDraw.Draw(self._image)
        self._taken: list[Box] = []

    def line(self, points: Sequence[Point], colour: str, width: float = 1.0) -> None:
        """A line through points."""
        self._draw.line(_scaled(points), colour, max(1, round(FACTOR * width)))

    def polygon(self, points: Sequence[Point], fill: str | None, outline: str) -> None:
        """A closed shape."""
        self._draw.polygon(_scaled(points), fill, outline, width=FACTOR)

    def rectangle(self, box: Box, fill: str) -> None:
        """A filled box: left, top, right, bottom; nothing if it has no extent."""
        left, top, right, bottom = (FACTOR * value for value in box)
        if right >= left + 1 and bottom >= top + 1:
            self._draw.rectangle((left, top, right - 1, bottom - 1), fill)

    def circle(self, centre: Point, radius: float, outline: str) -> None:
        """An empty circle."""
        self._draw.circle([FACTOR * value for value in centre], FACTOR * radius, outline=outline, width=1)

    def dot(self, centre: Point, radius: float, fill: str) -> None:
        """A filled circle."""
        self._draw.circle([FACTOR * value for value in centre], FACTOR * radius, fill)

    def keep_clear(self, centre: Point, radius: float) -> None:
        """Ask later labels to stay off a square about a point."""
        x, y = centre
        self._taken.append((x - radius, y - radius, x + radius, y + radius))

    def text(self, at: Point, text: str, colour: str = INK, size: int = 12, anchor: str = "la") -> None:
        """Text at a point, which ``anchor`` places in it as Pillow does ("la" left top, "mm" middle ...)."""
        self._draw.text(_scaled([at])[0], text, colour, ImageFont.load_default(FACTOR * size), anchor)

    def label(self, near: Point, away_from: Point, text: str, colour: str, size: int = 10) -> None:
        """A small text beside ``near``, away from another point, and from the labels that are there already."""
        direction = np.subtract(near, away_from)
        direction = direction / max(1e-6, float(np.linalg.norm(direction)))
        width = text_width(text, size)
        boxes = []
        for distance, turn in _ATTEMPTS:
            cosine, sine = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
            turned = np.array([[cosine, -sine], [sine, cosine]]) @ direction
            x, y = np.add(near, turned * (distance + np.abs(turned) @ [width / 2, size / 2]))
            x = float(np.clip(x, width / 2 + 2, self.width - width / 2 - 2))
            y = float(np.clip(y, size, self.height - size))
            boxes.append((x - width / 2, y - size / 2, x + width / 2, y + size / 2))
        box = min(boxes, key=lambda one: sum(_overlap(one, other) for other in self._taken))
        self._taken.append(box)
        self.text(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), text, colour, size, "mm")

    def finish(self) -> Image.Image:
        """The picture."""
        return self._image.reduce(FACTOR)


def text_width(text: str, size: int) -> float:
    """Pixels that a text takes."""
    return ImageFont.load_default(FACTOR * size).getlength(text) / FACTOR


_ATTEMPTS = [(distance, turn) for distance in (5, 14, 24, 36, 50) for turn in (0, 25, -25, 50, -50, 90, -90)]


def _overlap(first: Box, second: Box) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(0.0, width) * max(0.0, height)


def _scaled(points: Sequence[Point]) -> list[Point]:
    return [(FACTOR * x, FACTOR * y) for x, y in points]
