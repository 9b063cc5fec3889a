"""Smooth unions and hollows of balls and cones as one signed distance, compiled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

# Kind, numbers, blend width in dm. Kinds: "ball" (centre, radii, degrees about x, y, z), "cone" (two ends, two radii).
Solid = tuple[str, tuple[float, ...], float]
_COLUMNS = 20  # kind, hollow, blend width, then numbers: see ``compile_solids``


def _rotation(pitch: float, yaw: float, roll: float) -> np.ndarray:
    x, y, z = np.radians([pitch, yaw, roll])
    rx = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    ry = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    rz = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return ry @ rx @ rz


def compile_solids(*groups: tuple[Sequence[Solid], bool]) -> np.ndarray:
    """Rows [P, 20] of groups of solids, each marked as added (False) or hollowed out (True), in that order."""
    rows = []
    for solids, hollow in groups:
        for kind, numbers, width in solids:
            row = np.zeros(_COLUMNS)
            row[:3] = float(kind == "cone"), float(hollow), width
            if kind == "ball":
                row[3:9], row[9:18] = numbers[:6], _rotation(*numbers[6:9]).ravel()
            else:
                row[3:11] = numbers
            rows.append(row)
    return np.array(rows)


@njit(cache=True, nogil=True)
def _ball(x: float, y: float, z: float, row: np.ndarray) -> float:
    x, y, z = x - row[3], y - row[4], z - row[5]
    a = (x * row[9] + y * row[12] + z * row[15]) / row[6]
    b = (x * row[10] + y * row[13] + z * row[16]) / row[7]
    c = (x * row[11] + y * row[14] + z * row[17]) / row[8]
    near = np.sqrt(a * a + b * b + c * c)
    slope = np.sqrt((a / row[6]) ** 2 + (b / row[7]) ** 2 + (c / row[8]) ** 2)
    return near * (near - 1) / max(slope, 1e-9)


@njit(cache=True, nogil=True)
def _cone(x: float, y: float, z: float, row: np.ndarray) -> float:
    x, y, z = x - row[3], y - row[4], z - row[5]
    ax, ay, az = row[6] - row[3], row[7] - row[4], row[8] - row[5]
    t = min(max((x * ax + y * ay + z * az) / (ax * ax + ay * ay + az * az), 0.0), 1.0)
    x, y, z = x - t * ax, y - t * ay, z - t * az
    return np.sqrt(x * x + y * y + z * z) - (row[9] + t * (row[10] - row[9]))


@njit(cache=True, nogil=True)
def _distance(x: float, y: float, z: float, solids: np.ndarray) -> float:
    x = abs(x)
    total = 10.0
    for k in range(solids.shape[0]):
        row = solids[k]
        shape = _cone(x, y, z, row) if row[0] > 0 else _ball(x, y, z, row)
        sign = -1.0 if row[1] > 0 else 1.0
        width = max(row[2], 1e-9)
        a = sign * total
        h = max(width - abs(a - shape), 0.0) / width
        total = sign * (min(a, shape) - h * h * width / 4)
    return total


@njit(cache=True, nogil=True)
def distances(points: np.ndarray, solids: np.ndarray) -> np.ndarray:
    """Approximate signed distance [N] of points [N, 3]; negative inside; mirror symmetric in x."""
    out = np.empty(len(points))
    for n in range(len(points)):
        out[n] = _distance(points[n, 0], points[n, 1], points[n, 2], solids)
    return out


@njit(cache=True, nogil=True)
def project(points: np.ndarray, solids: np.ndarray, steps: int) -> np.ndarray:
    """Points [N, 3] moved along the gradient of the distance onto the surface."""
    out, e = points.copy(), 1e-4
    for n in range(len(points)):
        x, y, z = out[n]
        for _ in range(steps):
            d = _distance(x, y, z, solids)
            gx = (_distance(x + e, y, z, solids) - d) / e
            gy = (_distance(x, y + e, z, solids) - d) / e
            gz = (_distance(x, y, z + e, solids) - d) / e
            step = d / max(gx * gx + gy * gy + gz * gz, 0.1)
            x, y, z = x - step * gx, y - step * gy, z - step * gz
        out[n] = x, y, z
    return out


@njit(cache=True, nogil=True)
def march(points: np.ndarray, directions: np.ndarray, solids: np.ndarray, steps: int) -> np.ndarray:
    """Points [N, 3] moved along unit directions [N, 3] until they lie on the surface."""
    out = points.copy()
    for n in range(len(points)):
        for _ in range(steps):
            out[n] -= _distance(out[n, 0], out[n, 1], out[n, 2], solids) * directions[n]
    return out
