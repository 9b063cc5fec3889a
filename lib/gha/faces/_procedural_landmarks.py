"""The 68 landmarks of iBUG order on the head skin."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from ._procedural_grid import EYE_LAYERS, LIP_LAYERS, MOUTH_SKIN_LAYERS, HeadGrid

# Places in sculpting space on the subject's left; the jaw line from ear to chin, brow from inside outwards.
JAW_LINE = (
    (0.74, 0.02, -0.44), (0.73, -0.19, -0.42), (0.70, -0.39, -0.38), (0.66, -0.58, -0.30), (0.58, -0.78, -0.20),
    (0.45, -0.95, -0.05), (0.31, -1.04, 0.10), (0.155, -1.085, 0.24), (0.0, -1.105, 0.27),
)  # fmt: skip
BROW = ((0.115, 0.225, 0.29), (0.24, 0.262, 0.27), (0.37, 0.262, 0.21), (0.48, 0.225, 0.12), (0.575, 0.155, 0.02))
NOSE_BRIDGE = ((0, 0.04, 0.30), (0, -0.08, 0.37), (0, -0.19, 0.44), (0, -0.325, 0.52))
NOSE_BASE = ((0.0, -0.485, 0.375), (0.06, -0.470, 0.36), (0.125, -0.455, 0.32))


def find_landmarks(head: HeadGrid, points: np.ndarray) -> np.ndarray:
    """Vertex ids [68] for neutral skin vertices ``points`` [V, 3]."""
    nearest = cKDTree(points[: head.mouth.vertices[1:].min()])  # vertices of the grid only

    def find(places: tuple, side: int) -> list[int]:
        return nearest.query(np.array(places) * [side, 1, 1])[1].tolist()

    jaw = find(JAW_LINE, -1) + find(JAW_LINE[:-1], 1)[::-1]
    brows = find(BROW, -1)[::-1] + find(BROW, 1)
    base = find(NOSE_BASE, -1)[::-1] + find(NOSE_BASE[1:], 1)
    nose = find(NOSE_BRIDGE, 1) + base
    eyes = _eye(head.right_eye.vertices[EYE_LAYERS - 1]) + _eye(head.left_eye.vertices[EYE_LAYERS - 1])
    return np.array(jaw + brows + nose + eyes + _mouth(head))


def _eye(rim: np.ndarray) -> list[int]:
    """From the corner on the image's left, over the upper lid, back along the lower lid."""
    n = len(rim)
    return [int(rim[round(n * f)]) for f in (0.5, 1 / 3, 1 / 6, 0.0, 5 / 6, 2 / 3)]


def _mouth(head: HeadGrid) -> list[int]:
    border = head.mouth.vertices[MOUTH_SKIN_LAYERS - 1]
    contact = head.mouth.vertices[MOUTH_SKIN_LAYERS - 1 + LIP_LAYERS]
    n = len(border)
    outer_at = (0.5, 0.42, 0.315, 0.25, 0.185, 0.08, 0.0, 0.92, 0.83, 0.75, 0.67, 0.58)
    inner_at = (0.5, 0.36, 0.25, 0.14, 0.0, 0.86, 0.75, 0.64)
    outer = [int(border[round(n * f) % n]) for f in outer_at]
    return outer + [int(contact[round(n * f) % n]) for f in inner_at]
