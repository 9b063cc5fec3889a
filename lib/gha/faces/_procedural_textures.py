"""Colours of one person: skin, lips, brows, scalp, eyes, teeth, mouth and shirt, painted in space."""

from __future__ import annotations

import numpy as np

from ._procedural_grid import LIP_LAYERS, MOUTH_SKIN_LAYERS
from ._procedural_noise import fractal_noise, noise_lattice, spread_over_texture, value_noise
from ._procedural_parts import IRIS_RADIUS, eye_texture_radius
from ._procedural_rig import smooth_step
from ._procedural_sculpture import EYE_RADIUS
from ._procedural_template import MATERIALS, Template
from .face_model import Material

SKIN_TONES = np.array(
    [[0.90, 0.73, 0.64], [0.84, 0.65, 0.54], [0.72, 0.52, 0.40], [0.52, 0.35, 0.26], [0.36, 0.24, 0.18]]
)
HAIR_TONES = np.array(
    [[0.08, 0.06, 0.05], [0.16, 0.10, 0.07], [0.28, 0.18, 0.11], [0.46, 0.32, 0.18], [0.38, 0.18, 0.09]]
)
IRIS_TONES = np.array([[0.30, 0.18, 0.10], [0.40, 0.29, 0.15], [0.30, 0.40, 0.30], [0.32, 0.46, 0.58]])
CLOTH_TONES = np.array(
    [[0.22, 0.30, 0.42], [0.35, 0.38, 0.40], [0.42, 0.20, 0.20], [0.24, 0.36, 0.30], [0.70, 0.68, 0.62]]
)


def mix_tones(table: np.ndarray, at: float) -> np.ndarray:
    at = float(np.clip(at, 0, len(table) - 1))
    low = min(int(at), len(table) - 2)
    return table[low] + (at - low) * (table[low + 1] - table[low])


def _bytes(colour: np.ndarray) -> np.ndarray:
    return (np.clip(colour, 0, 1) * 255 + 0.5).astype(np.uint8)


def hairline(points: np.ndarray) -> np.ndarray:
    """Signed distance-like value [N]: positive where hair grows, for points [N, 3] in sculpting space."""
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    front = y - (0.66 - 0.10 * (x / 0.3) ** 2 * np.exp(-((x - 0.42) ** 2) / 0.06))
    side = -(z + 0.52 + 0.25 * np.clip(y - 0.1, 0, 1)) * 1.0
    nape = y + 0.62 + 0.35 * np.clip(z + 1.2, 0, 1)
    return np.minimum(np.maximum(front, np.minimum(side, 1.0)), nape)


def vertex_masks(template: Template) -> np.ndarray:
    """What textures need at each vertex: position in sculpting space (3), red of the lips (1): [V, 4]."""
    lips = np.zeros(len(template.vertices))
    ring = template.head.mouth.vertices
    lips[ring[MOUTH_SKIN_LAYERS:]] = 1.0
    lips[ring[MOUTH_SKIN_LAYERS - 1]] = 0.5
    return np.concatenate([template.vertices + template.origin, lips[:, None]], axis=1)


def brow_density(points: np.ndarray) -> np.ndarray:
    """How densely brow hair grows [N] in [0, 1]."""
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    centre = 0.225 + 0.055 * np.sin(np.clip((x - 0.08) / 0.52, 0, 1) * np.pi * 0.85)
    thickness = 0.036 * smooth_step(x, 0.07, 0.14) * (1 - 0.75 * smooth_step(x, 0.34, 0.60))
    away = np.abs(y - centre) / np.maximum(thickness, 1e-4)
    return (
        (1 - smooth_step(away, 0.5, 1.2)) * smooth_step(x, 0.08, 0.13) * (1 - smooth_step(x, 0.54, 0.62)) * (z > -0.2)
    )


def paint_skin(template: Template, tone: float, hair: np.ndarray, seed: int, size: int) -> Material:
    """The skin of head, neck and ears."""
    is_skin = template.triangle_materials == MATERIALS.index("skin")
    values = spread_over_texture(
        template.uvs, template.triangle_uvs[is_skin], template.triangles[is_skin], vertex_masks(template), size
    ).reshape(-1, 4)
    points, lips = np.ascontiguousarray(values[:, :3]), values[:, 3]
    lattice = noise_lattice(seed)
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    colour = np.broadcast_to(mix_tones(SKIN_TONES, tone), points.shape).copy()

    def blob(cx: float, cy: float, sx: float, sy: float) -> np.ndarray:
        return np.exp(-(((x - cx) / sx) ** 2 + ((y - cy) / sy) ** 2) / 2) * (z > -0.5)

    red = 0.8 * blob(0.42, -0.32, 0.17, 0.15) + 0.9 * blob(0, -0.36, 0.12, 0.10) + 0.4 * blob(0, -0.98, 0.15, 0.1)
    red += 0.5 * (x > 0.74) + 0.35 * blob(0.3, 0.0, 0.14, 0.08)
    red += 0.25 * fractal_noise(points, 4.0, 3, lattice)
    colour *= 1 + red[:, None] * np.array([0.02, -0.10, -0.09])
    colour *= 1 + 0.035 * fractal_noise(points, 10.0, 4, lattice)[:, None]
    colour *= 1 + 0.05 * value_noise(points, 130.0, lattice)[:, None]
    edge = smooth_step(lips + 0.12 * fractal_noise(points, 25.0, 2, lattice), 0.35, 0.75)[:, None]
    lip_tone = mix_tones(SKIN_TONES, tone) * np.array([0.86, 0.58, 0.58])
    colour = colour * (1 - 0.85 * edge) + lip_tone * (0.85 * edge)
    nostril = blob(0.062, -0.468, 0.028, 0.02) * (z > 0.3)
    colour *= 1 - 0.85 * np.clip(nostril * 1.4, 0, 1)[:, None]
    strands = value_noise(points * np.array([1.0, 0.35, 1.0]), 160.0, lattice)
    brows = np.clip(brow_density(points) * 1.5 + 0.7 * strands - 0.45, 0, 1)[:, None] * 0.85
    colour = colour * (1 - brows) + hair * brows
    scalp = smooth_step(hairline(points) + 0.04 * fractal_noise(points, 12.0, 3, lattice), -0.02, 0.05)[:, None]
    scalp = np.where((x > 0.735)[:, None] & (y < 0.2)[:, None] & (z > -1.12)[:, None], 0, scalp)
    colour = colour * (1 - 0.95 * scalp) + hair * 0.6 * 0.95 * scalp
    pores = 0.6 * value_noise(points, 90.0, lattice) + 0.4 * value_noise(points, 200.0, lattice)
    bump = _bytes(0.5 + 0.45 * pores).reshape(size, size)
    return Material("skin", _bytes(colour).reshape(size, size, 3), 0.16, 16.0, bump, 0.004)


def paint_eye(tone: float, seed: int, size: int) -> Material:
    """Sclera with vessels, iris with fibres, dark limbus and pupil; polar around the optical axis."""
    rng = np.random.default_rng(seed)
    lattice = noise_lattice(seed + 1)
    grid = (np.arange(size) + 0.5) / size - 0.5
    x, y = np.meshgrid(grid, -grid)
    r, angle = np.hypot(x, y), np.arctan2(y, x)
    iris = float(eye_texture_radius(np.array(np.arcsin(IRIS_RADIUS / EYE_RADIUS))))
    ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=-1).reshape(-1, 3)
    inside = r / iris
    fibres = value_noise(np.ascontiguousarray(ring * 12 + inside.reshape(-1, 1) * 0.8), 1.0, lattice)
    fibres += value_noise(np.ascontiguousarray(ring * 30 + inside.reshape(-1, 1) * 1.5), 1.0, lattice)
    fibres = fibres.reshape(size, size, 1)
    base = mix_tones(IRIS_TONES, tone) * (1 + rng.normal(size=3) * 0.04)
    glow = np.exp(-(((inside - 0.5) / 0.18) ** 2))[..., None]
    colour = base * (0.85 + 0.35 * fibres * 0.6 + 0.45 * glow)
    colour *= (1 - 0.75 * smooth_step(inside, 0.80, 1.0))[..., None]
    colour *= smooth_step(inside, 0.36, 0.42)[..., None] * 0.97 + 0.03
    white = np.array([0.90, 0.87, 0.85]) * (1 - 0.10 * smooth_step(inside, 1.2, 2.6))[..., None]
    vessels = np.abs(fractal_noise(np.ascontiguousarray(np.stack([x, y, 0 * x], -1).reshape(-1, 3)), 22.0, 4, lattice))
    vessel = (1 - smooth_step(vessels.reshape(size, size), 0.0, 0.12)) * smooth_step(inside, 1.3, 2.4)
    white = white * (1 - vessel[..., None] * np.array([0.05, 0.22, 0.22]))
    blend = smooth_step(inside, 0.96, 1.06)[..., None]
    return Material("eye", _bytes(colour * (1 - blend) + white * blend), 0.9, 220.0)


def paint_teeth(size: int = 64) -> Material:
    """Ivory, darker towards the gums at both ends of a tooth."""
    v = np.linspace(1, 0, size)[:, None, None]
    colour = np.array([0.86, 0.82, 0.74]) * (0.9 + 0.1 * np.sin(np.pi * v)) * np.ones((size, size, 1))
    return Material("teeth", _bytes(colour), 0.4, 60.0)


def paint_mouth(seed: int, size: int = 128) -> Material:
    """Gums, tongue and the dark cavity."""
    noise = fractal_noise(np.random.default_rng(seed).random((size * size, 3)), 8.0, 2, noise_lattice(seed + 2))
    colour = np.array([0.42, 0.16, 0.16]) * (1 + 0.05 * noise.reshape(size, size, 1))
    return Material("mouth", _bytes(colour), 0.3, 40.0)


def paint_cloth(tone: np.ndarray, seed: int, size: int) -> Material:
    """A knitted fabric: rows of small loops, lighter and darker threads."""
    v, u = np.meshgrid(np.arange(size) / size, np.arange(size) / size, indexing="ij")
    loops = np.sin(u * 2 * np.pi * 180) * np.cos(v * 2 * np.pi * 120 + np.abs(np.sin(u * 2 * np.pi * 90)) * 1.5)
    ribs = np.sign(np.sin(u * 2 * np.pi * 120)) * (v < 0.13)
    points = np.ascontiguousarray(np.stack([u, v, 0 * u], axis=-1).reshape(-1, 3))
    mottled = fractal_noise(points, 40.0, 3, noise_lattice(seed + 3)).reshape(size, size)
    colour = tone * (1 + 0.10 * loops + 0.10 * ribs + 0.06 * mottled)[..., None]
    return Material("cloth", _bytes(colour), 0.03, 8.0, _bytes(0.5 + 0.3 * loops + 0.2 * ribs), 0.01)
