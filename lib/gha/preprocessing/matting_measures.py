"""How good a matte is, measured against the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

TOLERANCE = 1 / 256  # of the longer side: two pixels at 512
LEAST_TOLERANCE = 1.5  # pixels: neighbours, also diagonal ones, always agree


@dataclass(frozen=True)
class MatteErrors:
    """Errors of one matte.

    Attributes:
        absolute: mean absolute error of alpha over all pixels, in [0, 1].
        edge_absolute: the same over the pixels near the true outline, where hair is.
        boundary_f: harmonic mean of the shares of either outline (alpha = 0.5) that lie within
            :data:`TOLERANCE` (at least :data:`LEAST_TOLERANCE`) of the other; 1 is perfect.
    """

    absolute: float
    edge_absolute: float
    boundary_f: float


def matte_errors(alpha: np.ndarray, truth: np.ndarray, valid: np.ndarray | None = None) -> MatteErrors:
    """Compare ``alpha`` with ``truth``, both [H, W] in [0, 1], where ``valid`` (bool [H, W]; None: everywhere)."""
    valid = np.ones(truth.shape, bool) if valid is None else valid
    difference = np.abs(alpha - truth)
    outlines = [_outline(matte, valid) for matte in (alpha, truth)]
    reach = max(TOLERANCE * max(truth.shape), LEAST_TOLERANCE)
    distances = [ndimage.distance_transform_edt(~outline) for outline in outlines]
    near = (distances[1] <= 4 * reach) & valid
    shares = [
        float((distances[1 - index][outline] <= reach).mean()) if outline.any() else 0.0
        for index, outline in enumerate(outlines)
    ]
    return MatteErrors(
        absolute=float(difference[valid].mean()),
        edge_absolute=float(difference[near].mean()) if near.any() else 0.0,
        boundary_f=2 * shares[0] * shares[1] / max(sum(shares), 1e-9),
    )


def _outline(matte: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Pixels of the subject that touch a valid pixel of the background."""
    inside = matte > 0.5
    return inside & ndimage.binary_dilation(~inside & valid, ndimage.generate_binary_structure(2, 1)) & valid
