"""Making the colours of several cameras alike, as the colour calibration of a rig says.

The calibration of a camera is a matrix [3, T]: linear light of the calibrated picture is the matrix times T monomials
of the recorded linear light (Cheung, Westland, Connah and Ripamonti 2004, "A comparative study of the characterisation
of colour cameras by means of neural networks and polynomial transforms"); T = 3 is a plain matrix. This is what
NeRSemble's color_calibration.json holds, for pictures decoded from sRGB.
"""

from __future__ import annotations

import numpy as np

from gha.capture.film_textures import encoding_table, srgb_to_linear

# Exponents of red, green and blue of each monomial, in the order that colour chart software has given them since.
_LINEAR = [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
_PAIRS = [(1, 1, 0), (1, 0, 1), (0, 1, 1)]
_SQUARES = [(2, 0, 0), (0, 2, 0), (0, 0, 2)]
_CUBES = [(3, 0, 0), (0, 3, 0), (0, 0, 3)]
_CYCLE = [(2, 1, 0), (0, 2, 1), (1, 0, 2)]
_COUNTER_CYCLE = [(2, 0, 1), (1, 2, 0), (0, 1, 2)]
_ALL = [(1, 1, 1)]
_ONE = [(0, 0, 0)]
_UP_TO_THREE = _LINEAR + _PAIRS + _SQUARES + _ALL + _CYCLE + _COUNTER_CYCLE + _CUBES
_CUBE_PAIRS = [(3, 1, 0), (3, 0, 1), (1, 3, 0), (0, 3, 1), (1, 0, 3), (0, 1, 3)]
_SQUARE_ALL = [(2, 1, 1), (1, 2, 1), (1, 1, 2)]
_SQUARE_PAIRS = [(2, 2, 0), (2, 0, 2), (0, 2, 2)]
_FOURTHS = [(4, 0, 0), (0, 4, 0), (0, 0, 4)]
TERMS = {
    len(terms): terms
    for terms in (
        _LINEAR,
        _LINEAR + _ONE,
        _LINEAR + _ALL + _ONE,
        _LINEAR + _PAIRS + _ONE,
        _LINEAR + _PAIRS + _ALL + _ONE,
        _LINEAR + _PAIRS + _SQUARES + _ONE,
        _LINEAR + _PAIRS + _SQUARES + _ALL + _ONE,
        _LINEAR + _PAIRS + _SQUARES + _ALL + _CUBES + _ONE,
        _LINEAR + _PAIRS + _SQUARES + _ALL + _CYCLE + _CUBES,
        _LINEAR + _PAIRS + _SQUARES + _ALL + _CYCLE + _CUBES + _ONE,
        _UP_TO_THREE,
        _UP_TO_THREE + _ONE,
        _UP_TO_THREE + _SQUARE_ALL,
        _UP_TO_THREE + _CUBE_PAIRS + _SQUARE_ALL + _SQUARE_PAIRS + _FOURTHS + _ONE,
    )
}
_TO_LINEAR = srgb_to_linear(np.arange(256) / 255)
_TO_BYTES = encoding_table()


def correct_colours(picture: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """A picture as a calibrated camera would have taken it.

    Args:
        picture: sRGB uint8 [H, W, 3].
        matrix: calibration of its camera [3, T], T a key of :data:`TERMS`.

    Returns:
        sRGB uint8 [H, W, 3]; what is darker than black or brighter than white is cut off.
    """
    light = np.moveaxis(_TO_LINEAR[picture], -1, 0)
    corrected = np.zeros(light.shape, dtype=np.float32)
    for exponents, column in zip(TERMS[matrix.shape[1]], matrix.T.astype(np.float32), strict=True):
        monomial = np.float32(1)
        for channel, exponent in zip(light, exponents, strict=True):
            for _ in range(exponent):
                monomial = monomial * channel
        for out, weight in zip(corrected, column, strict=True):
            out += weight * monomial
    index = np.rint(np.clip(corrected, 0, 1) * (len(_TO_BYTES) - 1)).astype(np.uint16)
    return np.ascontiguousarray(np.moveaxis(_TO_BYTES[index], 0, -1))
