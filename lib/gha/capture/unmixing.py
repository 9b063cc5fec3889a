"""The subject's own colour where a pixel shows the subject and what is behind it.

Along an outline a photograph mixes both, in linear light: I = a F + (1 - a) B. Composited over something else as it is,
such a rim keeps the colour of the studio, and an avatar learns a bright fringe. Where a picture B of the empty stage is
there, F can be had from it.

A picture that was made smaller mixes twice: it also averages whole pixels of either kind, by their bytes. Solved in
linear light alone, outlines come out too dark (by 9 of 255 at an eighth of the size of the built-in head), in bytes
alone too bright. An outline is about a pixel of the photograph wide: at one nth of the size, one part in n was mixed by
light.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gha.numba_compile import kernel_compiler

from .film_textures import encoding_table, srgb_to_linear

njit = kernel_compiler(Path(__file__).parent, "unmixing.py")

_LIGHT = srgb_to_linear(np.arange(256) / 255)
_BYTES = encoding_table()
_NOTHING, _EVERYTHING = np.uint64(0), np.uint64(2**64 - 1)


def unmix(image: np.ndarray, mask: np.ndarray, plate: np.ndarray, reduction: float = 1.0) -> None:
    """Replace the colour of partly covered pixels by that of the subject, in place.

    Args:
        image: sRGB uint8 [3, H, W].
        mask: coverage uint8 [1, H, W]; pixels with 0 or 255 stay as they are.
        plate: the empty stage, sRGB uint8 [3, H, W].
        reduction: pixels of the photograph along the side of a pixel of ``image``; below 1 it was enlarged.
    """
    whole = mask.shape[-1] // 8 * 8
    words = np.ascontiguousarray(mask[0, :, :whole]).view(np.uint64)
    _unmix(image, mask[0], words, plate, _LIGHT, _BYTES, 1 / max(reduction, 1.0))


@njit(nogil=True)
def _unmix(
    image: np.ndarray,
    mask: np.ndarray,
    words: np.ndarray,
    plate: np.ndarray,
    light: np.ndarray,
    encoding: np.ndarray,
    in_light: float,
) -> None:
    """``words`` holds eight pixels of the mask each: hardly any of them lies on an outline."""
    height, width = mask.shape
    for row in range(height):
        for word in range(words.shape[1]):
            if words[row, word] != _NOTHING and words[row, word] != _EVERYTHING:
                _unmix_pixels(image, mask, row, 8 * word, 8 * word + 8, plate, light, encoding, in_light)
        _unmix_pixels(image, mask, row, 8 * words.shape[1], width, plate, light, encoding, in_light)


@njit(nogil=True)
def _unmix_pixels(
    image: np.ndarray,
    mask: np.ndarray,
    row: int,
    start: int,
    end: int,
    plate: np.ndarray,
    light: np.ndarray,
    encoding: np.ndarray,
    in_light: float,
) -> None:
    last = encoding.shape[0] - 1
    for column in range(start, end):
        coverage = mask[row, column]
        if coverage == 0 or coverage == 255:
            continue
        share = coverage / 255.0
        for channel in range(3):
            mixed, behind = image[channel, row, column], plate[channel, row, column]
            own = (light[mixed] - (1.0 - share) * light[behind]) / share
            by_light = float(encoding[int(min(max(own, 0.0), 1.0) * last + 0.5)])
            by_bytes = min(max((mixed - (1.0 - share) * behind) / share, 0.0), 255.0)
            image[channel, row, column] = int(in_light * by_light + (1.0 - in_light) * by_bytes + 0.5)
