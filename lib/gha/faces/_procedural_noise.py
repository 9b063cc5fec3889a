"""Smooth random fields in space, and attributes of a surface spread over its texture."""

from __future__ import annotations

import numpy as np
from numba import njit

LATTICE = 64  # period of the noise in cells


def noise_lattice(seed: int) -> np.ndarray:
    """Random values in [-1, 1], float32 [64, 64, 64]."""
    return (np.random.default_rng(seed).random((LATTICE,) * 3, dtype=np.float32) * 2 - 1).astype(np.float32)


@njit(cache=True, nogil=True)
def value_noise(points: np.ndarray, frequency: float, lattice: np.ndarray) -> np.ndarray:
    """Noise [N] in [-1, 1] at points [N, 3], smooth on the scale 1 / ``frequency``."""
    size = lattice.shape[0]
    out = np.empty(points.shape[0], np.float32)
    for n in range(points.shape[0]):
        x, y, z = points[n, 0] * frequency, points[n, 1] * frequency, points[n, 2] * frequency
        fx, fy, fz = np.floor(x), np.floor(y), np.floor(z)
        i, j, k = int(fx) % size, int(fy) % size, int(fz) % size
        i1, j1, k1 = (i + 1) % size, (j + 1) % size, (k + 1) % size
        u, v, w = x - fx, y - fy, z - fz
        u, v, w = u * u * (3 - 2 * u), v * v * (3 - 2 * v), w * w * (3 - 2 * w)
        low = lattice[i, j, k] * (1 - u) + lattice[i1, j, k] * u
        low = low * (1 - v) + (lattice[i, j1, k] * (1 - u) + lattice[i1, j1, k] * u) * v
        high = lattice[i, j, k1] * (1 - u) + lattice[i1, j, k1] * u
        high = high * (1 - v) + (lattice[i, j1, k1] * (1 - u) + lattice[i1, j1, k1] * u) * v
        out[n] = low * (1 - w) + high * w
    return out


def fractal_noise(points: np.ndarray, frequency: float, octaves: int, lattice: np.ndarray) -> np.ndarray:
    """Sum [N] of octaves of noise, each twice as fine and half as strong; roughly in [-1, 1]."""
    total = np.zeros(len(points), np.float32)
    for octave in range(octaves):
        total += value_noise(points + 7.31 * octave, frequency * 2**octave, lattice) / 2**octave
    return total


@njit(cache=True, nogil=True)
def _rasterise(
    uvs: np.ndarray, triangle_uvs: np.ndarray, triangles: np.ndarray, values: np.ndarray, size: int
) -> tuple:
    out = np.zeros((size, size, values.shape[1]), np.float32)
    covered = np.zeros((size, size), np.bool_)
    for t in range(len(triangles)):
        a, b, c = triangle_uvs[t]
        x0, y0 = uvs[a, 0] * size, (1 - uvs[a, 1]) * size
        x1, y1 = uvs[b, 0] * size, (1 - uvs[b, 1]) * size
        x2, y2 = uvs[c, 0] * size, (1 - uvs[c, 1]) * size
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-12:
            continue
        for row in range(max(int(min(y0, y1, y2) - 0.5), 0), min(int(max(y0, y1, y2) + 0.5) + 1, size)):
            for column in range(max(int(min(x0, x1, x2) - 0.5), 0), min(int(max(x0, x1, x2) + 0.5) + 1, size)):
                x, y = column + 0.5, row + 0.5
                w1 = ((x - x0) * (y2 - y0) - (x2 - x0) * (y - y0)) / area
                w2 = ((x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)) / area
                w0 = 1 - w1 - w2
                if w0 < -1e-6 or w1 < -1e-6 or w2 < -1e-6:
                    continue
                covered[row, column] = True
                i, j, k = triangles[t]
                for channel in range(values.shape[1]):
                    out[row, column, channel] = (
                        w0 * values[i, channel] + w1 * values[j, channel] + w2 * values[k, channel]
                    )
    return out, covered


def spread_over_texture(
    uvs: np.ndarray, triangle_uvs: np.ndarray, triangles: np.ndarray, values: np.ndarray, size: int
) -> np.ndarray:
    """Interpolate vertex values [V, C] over a square texture: float32 [size, size, C], gaps filled from beside.

    Args:
        uvs: [U, 2].
        triangle_uvs: [F, 3] into ``uvs``.
        triangles: [F, 3] into ``values``.
        values: [V, C].
        size: of the texture in texels.
    """
    out, covered = _rasterise(uvs, triangle_uvs, triangles, np.asarray(values, np.float32), size)
    for _ in range(4):
        for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
            rows, columns = np.nonzero(np.roll(covered, step, axis) & ~covered)
            beside = ((rows - step) % size, columns) if axis == 0 else (rows, (columns - step) % size)
            out[rows, columns] = out[beside]
            covered[rows, columns] = True
    return out
