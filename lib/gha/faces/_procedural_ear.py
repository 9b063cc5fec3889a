"""Ears: a relief over an egg-shaped outline, folded back onto the head."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator

from ._procedural_distance import march
from ._procedural_parts import Part, sheet
from ._procedural_sculpture import HEAD

COLUMNS, FRONT_ROWS, BACK_ROWS = 64, 22, 8
MIDDLE = (-0.165, -0.83)  # height and depth of the deepest point
STAND_OFF = 0.062  # of the ear's plane there from the head
TILT, FLARE = np.radians(12), np.radians(26)  # leaning backwards; standing off the head
# Outline radius in dm by direction in degrees: 0 backwards, 90 up, 180 forwards, 270 down.
OUTLINE = ((-90, 0.285), (-45, 0.215), (0, 0.200), (45, 0.270), (90, 0.310), (135, 0.220), (180, 0.130), (225, 0.160))
# Height in dm over the ear's plane by distance from the middle (0) to the rim (1): of the upper and of the lobe side.
UPPER_RELIEF = (
    (0, -0.075), (0.15, -0.075), (0.32, -0.055), (0.46, 0.0), (0.58, 0.030), (0.70, 0.012), (0.80, 0.002),
    (0.88, 0.025), (0.95, 0.048), (1, 0.035),
)  # fmt: skip
LOBE_RELIEF = ((0, -0.075), (0.22, -0.06), (0.38, 0.0), (0.50, 0.018), (0.75, 0.010), (0.92, 0.008), (1, -0.008))
FRONT_RELIEF = ((0, -0.075), (0.35, -0.06), (0.55, 0.01), (0.75, 0.015), (0.9, -0.02), (1, -0.06))


def ear(name: str) -> Part:
    """The subject's left ear; texture strip at the lower edge of the skin texture."""
    angle = np.linspace(0, 2 * np.pi, COLUMNS, endpoint=False)
    degrees, radius = np.array(OUTLINE).T
    closed = PchipInterpolator(np.concatenate([degrees - 360, degrees, degrees + 360]), np.tile(radius, 3))
    outline = closed((np.degrees(angle) + 90) % 360 - 90)
    rows = [_front_row(s, angle, outline) for s in np.linspace(0.02, 1, FRONT_ROWS)]
    rows += [_back_row(s, angle, outline, rows[-1]) for s in np.linspace(0, 1, BACK_ROWS + 1)[1:]]
    local = np.stack(rows)
    up = np.array([0, np.cos(TILT), -np.sin(TILT)])
    back = np.array([np.sin(FLARE), -np.sin(TILT) * np.cos(FLARE), -np.cos(TILT) * np.cos(FLARE)])
    start = np.array([[1.2, *MIDDLE]])
    centre = march(start, np.array([[1.0, 0.0, 0.0]]), HEAD, 40)[0] + [STAND_OFF, 0, 0]
    points = centre + local @ np.stack([back, up, np.cross(back, up)])
    return sheet(name, "skin", points[:, ::-1], True, (0.0, 0.0, 0.5, 0.1))


def _blend(degrees: np.ndarray, centre: float, width: float) -> np.ndarray:
    away = np.abs((degrees - centre + 180) % 360 - 180)
    return np.clip(1.5 - away / width, 0, 1) ** 2 * (3 - 2 * np.clip(1.5 - away / width, 0, 1))


def _front_row(s: float, angle: np.ndarray, outline: np.ndarray) -> np.ndarray:
    degrees = np.degrees(angle)
    lobe, front = _blend(degrees, 265, 40), _blend(degrees, 185, 38)
    height = [float(PchipInterpolator(*np.array(r).T)(s)) for r in (UPPER_RELIEF, LOBE_RELIEF, FRONT_RELIEF)]
    h = height[0] * (1 - lobe) * (1 - front) + height[1] * lobe * (1 - front) + height[2] * front
    return np.stack([s * outline * np.cos(angle), s * outline * np.sin(angle), h], axis=1)


def _back_row(s: float, angle: np.ndarray, outline: np.ndarray, rim: np.ndarray) -> np.ndarray:
    shrink = 1 - 0.45 * max(s - 0.15, 0) + 0.02 * np.sin(np.pi * min(s / 0.3, 1))
    depth = rim[:, 2] - 0.045 * min(s / 0.25, 1) - 0.18 * max(s - 0.3, 0)
    return np.stack([shrink * rim[:, 0], shrink * rim[:, 1], depth], axis=1)
