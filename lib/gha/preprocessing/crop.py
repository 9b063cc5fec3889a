"""A window of a picture at another size: pictures, where they are real, and cameras, always by the same numbers."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from PIL import Image

from gha.errors import InputError
from gha.geometry import Camera

WHOLLY = 240  # of 255; the filter rings a little on the inner side of an edge


@dataclass(frozen=True)
class CropWindow:
    """Which part of a recorded picture is kept, and at which size.

    Attributes:
        left: first column of the window in recorded pixels; negative: black columns are added.
        top: first row.
        width: of the window in recorded pixels.
        height: of the window.
        longer_side: of the result, in pixels.
    """

    left: int
    top: int
    width: int
    height: int
    longer_side: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1 or self.longer_side < 1:
            raise InputError(f"crop: found {self}, expected a window and a size of at least one pixel")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the result, in the proportions of the window."""
        factor = Fraction(self.longer_side, max(self.width, self.height))
        return max(1, round(self.height * factor)), max(1, round(self.width * factor))

    def share_of(self, size: tuple[int, int]) -> float:
        """How much of the window lies within a picture of ``size`` (height, width)."""
        rows = min(self.top + self.height, size[0]) - max(self.top, 0)
        columns = min(self.left + self.width, size[1]) - max(self.left, 0)
        return max(rows, 0) * max(columns, 0) / (self.width * self.height)

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """The window of a picture uint8 [H, W, 3] or [H, W], antialiased; black outside."""
        height, width = self.size
        window = (self.left, self.top, self.left + self.width, self.top + self.height)
        cut = Image.fromarray(picture).crop(window)
        return np.asarray(cut if cut.size == (width, height) else cut.resize((width, height), Image.Resampling.LANCZOS))

    def visible(self, size: tuple[int, int]) -> np.ndarray:
        """Uint8 [H, W]: 255 where the result shows a recorded picture of ``size`` (height, width), 0 in the padding.

        A pixel that is padding in part shows some black, and is not trusted at all.
        """
        return np.where(self.apply(np.full(size, 255, dtype=np.uint8)) < WHOLLY, 0, 255).astype(np.uint8)

    def camera(self, camera: Camera) -> Camera:
        """The camera of the result: K follows window and size, whatever the principal point."""
        height, width = self.size
        return camera.crop(self.left, self.top, self.width, self.height).resize(width, height)
