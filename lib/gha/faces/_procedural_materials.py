"""Colours beside the skin: eyes, teeth, mouth and shirt."""

from __future__ import annotations

import numpy as np

from ._procedural_noise import fractal_noise, noise_lattice, value_noise
from ._procedural_parts import IRIS_RADIUS, eye_texture_radius
from ._procedural_rig import smooth_step
from ._procedural_sculpture import EYE_RADIUS
from ._procedural_textures import mix_tones, to_bytes
from .face_model import Material

HAIR_TONES = np.array(
    [[0.10, 0.08, 0.07], [0.20, 0.14, 0.10], [0.32, 0.22, 0.14], [0.52, 0.38, 0.23], [0.45, 0.23, 0.12]]
)
IRIS_TONES = np.array([[0.30, 0.18, 0.10], [0.42, 0.30, 0.16], [0.32, 0.40, 0.30], [0.34, 0.46, 0.56]])
CLOTH_TONES = np.array(
    [[0.22, 0.30, 0.42], [0.35, 0.38, 0.40], [0.42, 0.20, 0.20], [0.24, 0.36, 0.30], [0.66, 0.64, 0.58]]
)


def paint_eye(tone: float, seed: int, size: int) -> Material:
    """Sclera with vessels, iris with fibres, dark limbus and pupil; polar around the optical axis."""
    lattice = noise_lattice(seed + 1)
    grid = (np.arange(size) + 0.5) / size - 0.5
    x, y = np.meshgrid(grid, -grid)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    inside = radius / float(eye_texture_radius(np.array(np.arcsin(IRIS_RADIUS / EYE_RADIUS))))
    colour = _iris(inside, angle, mix_tones(IRIS_TONES, tone), lattice)
    flat = np.ascontiguousarray(np.stack([x, y, 0 * x], axis=-1).reshape(-1, 3))
    white = np.array([0.84, 0.80, 0.77]) * (1 - 0.16 * smooth_step(inside, 1.1, 2.4))[..., None]
    white = white * (1 - smooth_step(inside, 1.4, 2.6)[..., None] * np.array([0.0, 0.06, 0.07]))
    vessels = np.abs(fractal_noise(flat, 22.0, 4, lattice)).reshape(size, size)
    vessel = (1 - smooth_step(vessels, 0.0, 0.10)) * smooth_step(inside, 1.25, 2.2)
    white = white * (1 - vessel[..., None] * np.array([0.04, 0.20, 0.20]))
    blend = smooth_step(inside, 0.95, 1.08)[..., None]
    return Material("eye", to_bytes(colour * (1 - blend) + white * blend), 0.9, 250.0)


def _iris(inside: np.ndarray, angle: np.ndarray, base: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """Colour [H, W, 3] over distance from the pupil's centre (1 at the limbus) and angle."""
    ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=-1)
    fibres = np.zeros_like(inside)
    for frequency, swirl, strength in ((14.0, 1.0, 0.6), (34.0, 2.0, 0.5)):
        at = (ring * frequency + (inside * swirl)[..., None]).reshape(-1, 3)
        fibres += strength * value_noise(np.ascontiguousarray(at), 1.0, lattice).reshape(inside.shape)
    collarette = np.exp(-(((inside - 0.52) / 0.10) ** 2))
    glow = base * (0.80 + 0.45 * fibres + 0.25 * inside)[..., None]
    glow = glow + (np.array([0.22, 0.14, 0.06]) * collarette[..., None]) * (0.6 + 0.4 * fibres[..., None])
    glow = glow * (1 - 0.75 * smooth_step(inside, 0.78, 1.0))[..., None]
    return glow * (0.02 + 0.98 * smooth_step(inside, 0.34, 0.40))[..., None]


def paint_teeth(size: int = 64) -> Material:
    """Ivory: v runs along a tooth, darker and warmer towards its ends, slightly translucent at the edge."""
    v = np.linspace(1, 0, size)[:, None, None]
    colour = np.array([0.88, 0.85, 0.77]) * (0.86 + 0.14 * np.sin(np.pi * v)) * np.ones((size, size, 1))
    return Material("teeth", to_bytes(colour), 0.45, 70.0)


def paint_mouth(seed: int, size: int = 128) -> Material:
    """Gums, tongue and lining of the cavity."""
    v, u = np.meshgrid(np.arange(size) / size, np.arange(size) / size, indexing="ij")
    points = np.ascontiguousarray(np.stack([u, v, 0 * u], axis=-1).reshape(-1, 3))
    noise = fractal_noise(points, 30.0, 3, noise_lattice(seed + 2)).reshape(size, size, 1)
    colour = np.array([0.50, 0.22, 0.21]) * (1 + 0.10 * noise)
    return Material("mouth", to_bytes(colour), 0.35, 45.0)


def paint_cloth(tone: np.ndarray, seed: int, size: int) -> Material:
    """A knitted fabric: columns of small V-shaped stitches, ribs on the collar."""
    v, u = np.meshgrid(1 - (np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size, indexing="ij")
    column = u * 320.0
    slant = np.abs(column - np.floor(column) - 0.5)
    stitch = np.sin(2 * np.pi * (v * 150.0 + slant * 1.2))
    gap = np.cos(2 * np.pi * column)
    knit = 0.6 * stitch - 0.4 * gap
    ribs = np.cos(2 * np.pi * u * 90)
    collar = v > 0.86
    relief = np.where(collar, ribs, knit)
    points = np.ascontiguousarray(np.stack([u, v, 0 * u], axis=-1).reshape(-1, 3))
    mottled = fractal_noise(points, 18.0, 4, noise_lattice(seed + 3)).reshape(size, size)
    colour = tone * (1 + 0.13 * relief + 0.05 * mottled)[..., None]
    return Material("cloth", to_bytes(colour), 0.03, 8.0, to_bytes(0.5 + 0.4 * relief), 0.012)
