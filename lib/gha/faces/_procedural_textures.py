"""The skin of one person, painted in space: tone, blush, lips, brows, scalp, stubble, freckles and relief."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from ._procedural_distance import distances
from ._procedural_grid import EYE_LAYERS, LIP_LAYERS, MOUTH_SKIN_LAYERS
from ._procedural_noise import fractal_noise, noise_lattice, spread_over_texture, value_noise
from ._procedural_rig import smooth_step
from ._procedural_sculpture import WITHOUT_NOSTRILS
from ._procedural_template import MATERIALS, Template
from .face_model import Material

SKIN_TONES = np.array(
    [[0.91, 0.75, 0.67], [0.86, 0.67, 0.56], [0.75, 0.55, 0.43], [0.55, 0.38, 0.28], [0.38, 0.26, 0.19]]
)
# Height of the hairline by direction around the head in degrees: 0 front, 90 the subject's side, 180 back.
HAIRLINE = (
    (0, 0.640), (18, 0.655), (34, 0.645), (46, 0.57), (56, 0.40), (63, 0.25), (72, 0.14), (80, 0.02), (84, -0.10),
    (88, -0.20), (93, -0.20), (97, 0.02), (105, 0.08), (115, 0.0), (121, -0.25), (128, -0.47), (145, -0.58),
    (180, -0.62),
)  # fmt: skip
BAND = 1 << 16  # texels painted at a time
HAIRLINE_CENTRE = -0.60  # depth of the axis those directions are seen from


@dataclass(frozen=True)
class Complexion:
    """What the skin of one person looks like.

    Attributes:
        tone: place in ``SKIN_TONES``, 0 light to 4 dark.
        hair: colour of hair and brows, sRGB in [0, 1].
        stubble: 0 shaven to 1 a shadow of beard.
        freckles: 0 none to 1 many.
        redness: strength of blush on cheeks, nose and ears.
    """

    tone: float
    hair: np.ndarray
    stubble: float
    freckles: float
    redness: float


def mix_tones(table: np.ndarray, at: float) -> np.ndarray:
    """Colour between the rows of a table [K, 3]."""
    at = float(np.clip(at, 0, len(table) - 1))
    low = min(int(at), len(table) - 2)
    return table[low] + (at - low) * (table[low + 1] - table[low])


def to_bytes(colour: np.ndarray) -> np.ndarray:
    """Values in [0, 1] to uint8."""
    return (np.clip(colour, 0, 1) * 255 + 0.5).astype(np.uint8)


def above_hairline(points: np.ndarray) -> np.ndarray:
    """Height in dm [N] of points [N, 3] (sculpting space) above the hairline; positive where hair grows."""
    around = np.degrees(np.arctan2(np.abs(points[:, 0]), points[:, 2] - HAIRLINE_CENTRE))
    return points[:, 1] - PchipInterpolator(*np.array(HAIRLINE).T)(around)


def brow_density(points: np.ndarray) -> np.ndarray:
    """How densely brow hair grows [N] in [0, 1]."""
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    along = np.clip((x - 0.09) / 0.49, 0, 1)
    centre = PchipInterpolator([0, 0.3, 0.62, 0.8, 1], [0.170, 0.200, 0.230, 0.222, 0.185])(along)
    thickness = PchipInterpolator([0, 0.12, 0.5, 0.8, 1], [0.022, 0.030, 0.026, 0.016, 0.006])(along)
    away = np.abs(y - centre) / thickness
    ends = smooth_step(x, 0.085, 0.14) * (1 - smooth_step(x, 0.53, 0.58))
    return (1 - smooth_step(away, 0.45, 1.15)) * ends * (z > -0.2)


def vertex_masks(template: Template) -> np.ndarray:
    """What the paint needs at each vertex [V, 7].

    Position in sculpting space (3), red of the lips, line between the lips, wet rim of the lids, nostril.
    """
    head, points = template.head, template.vertices + template.origin
    masks = np.zeros((len(points), 4))
    lips = head.mouth.vertices
    masks[lips[MOUTH_SKIN_LAYERS:], 0] = 1.0
    masks[lips[MOUTH_SKIN_LAYERS - 1], 0] = 0.5
    masks[lips[MOUTH_SKIN_LAYERS + LIP_LAYERS - 1 :], 1] = 1.0
    for eye in (head.left_eye, head.right_eye):
        masks[eye.vertices[EYE_LAYERS:], 2] = 1.0
        masks[eye.vertices[EYE_LAYERS - 1], 2] = 0.25
    skin = template.slices["skin"]
    masks[skin, 3] = -distances(points[skin], WITHOUT_NOSTRILS) * (
        np.hypot(points[skin, 0], points[skin, 1] + 0.46) < 0.13
    )
    return np.concatenate([points, masks], axis=1)


def _blob(points: np.ndarray, x: float, y: float, width: float, height: float) -> np.ndarray:
    """Soft spot [N] on both sides of the face."""
    away = ((np.abs(points[:, 0]) - x) / width) ** 2 + ((points[:, 1] - y) / height) ** 2
    return np.exp(-away / 2) * smooth_step(points[:, 2], -0.6, -0.3)


def _blend(colour: np.ndarray, other: np.ndarray, weight: np.ndarray) -> np.ndarray:
    weight = weight[:, None]
    return colour * (1 - weight) + other * weight


def paint_skin(template: Template, person: Complexion, seed: int, size: int) -> Material:
    """The skin of head, neck and ears."""
    is_skin = template.triangle_materials == MATERIALS.index("skin")
    masks = vertex_masks(template)
    values = spread_over_texture(
        template.uvs, template.triangle_uvs[is_skin], template.triangles[is_skin], masks, size
    ).reshape(-1, masks.shape[1])
    lattice = noise_lattice(seed)
    # Every texel is painted by itself, so bands of any size give the same picture; threads make it quick.
    bands = np.array_split(values, max(len(values) // BAND, 1))
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        painted = list(threads.map(lambda band: _paint_texels(band, person, lattice), bands))
    colour = np.concatenate([c for c, _ in painted]).reshape(size, size, 3)
    relief = np.concatenate([r for _, r in painted]).reshape(size, size)
    return Material("skin", colour, 0.14, 14.0, relief, 0.0028)


def _paint_texels(values: np.ndarray, person: Complexion, lattice: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colour uint8 [N, 3] and relief uint8 [N] of texels described by ``vertex_masks`` [N, 7]."""
    points, masks = np.ascontiguousarray(values[:, :3]), values[:, 3:]
    coarse, fine = fractal_noise(points, 9.0, 4, lattice), value_noise(points, 140.0, lattice)
    colour = _skin_tone(points, person, coarse, fine, lattice)
    colour = _paint_lips(colour, points, masks, person, lattice)
    colour = _blend(colour, mix_tones(SKIN_TONES, person.tone) * [1.0, 0.82, 0.78], 0.5 * masks[:, 2])
    nostril = smooth_step(masks[:, 3], 0.002, 0.022) * 0.9
    colour = _blend(colour, np.array([0.10, 0.035, 0.03]), nostril)
    strands = value_noise(points * np.array([1.0, 0.35, 1.0], np.float32), 150.0, lattice)
    brows = np.clip(brow_density(points) * 1.2 + 0.6 * strands - 0.45, 0, 1) * 0.6
    colour = _blend(colour, person.hair * 0.8, brows)
    colour = _blend(colour, person.hair * 0.55, 0.92 * _scalp(points, coarse, fine))
    return to_bytes(colour), _relief(points, masks, lattice)


def _scalp(points: np.ndarray, coarse: np.ndarray, fine: np.ndarray) -> np.ndarray:
    """Where the scalp is as dark as the hair above it [N], with an irregular edge; bare behind the ears."""
    scalp = smooth_step(above_hairline(points) + 0.05 * coarse + 0.02 * fine, -0.03, 0.07) * (points[:, 1] > -0.7)
    x, y, z = points.T
    behind_ear = (np.abs(x) > 0.70) & (np.abs(z + 0.86) < 0.2) & (np.abs(y + 0.16) < 0.32)
    return scalp * ~behind_ear


def _skin_tone(
    points: np.ndarray, person: Complexion, coarse: np.ndarray, fine: np.ndarray, lattice: np.ndarray
) -> np.ndarray:
    """Base colour [N, 3] with blush, shadows around the eyes, mottling, stubble and freckles."""
    colour = np.broadcast_to(mix_tones(SKIN_TONES, person.tone), points.shape).copy()
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    red = 0.8 * _blob(points, 0.40, -0.33, 0.16, 0.14) + 0.9 * _blob(points, 0, -0.37, 0.12, 0.09)
    red += 0.35 * _blob(points, 0, -0.98, 0.15, 0.10) + 0.4 * smooth_step(x, 0.74, 0.80) * (y > -0.6)
    red += 0.5 * _blob(points, 0.30, 0.02, 0.13, 0.07) + 0.22 * fractal_noise(points, 3.5, 3, lattice)
    colour *= 1 + person.redness * red[:, None] * np.array([0.01, -0.11, -0.10])
    sockets = 0.10 * _blob(points, 0.20, -0.04, 0.06, 0.07) + 0.07 * _blob(points, 0.32, -0.13, 0.11, 0.035)
    colour *= 1 - sockets[:, None] * np.array([0.9, 1.1, 0.9])
    colour *= 1 + (0.035 * coarse + 0.03 * fine)[:, None] * np.array([0.8, 1.0, 1.1])
    jaw = smooth_step(-y - 0.1 * z, 0.42, 0.58) * smooth_step(z, -0.75, -0.45) * (1 - smooth_step(-y, 1.12, 1.30))
    jaw *= 1 - 0.8 * _blob(points, 0.40, -0.50, 0.12, 0.10)
    dots = smooth_step(value_noise(points, 115.0, lattice) + 0.4 * fine, 0.1, 0.6)
    colour = _blend(colour, person.hair * 0.8, person.stubble * jaw * (0.14 + 0.30 * dots))
    spots = value_noise(points + 3.7, 55.0, lattice) + 0.35 * coarse
    freckles = smooth_step(spots, 0.55, 0.75) * (_blob(points, 0.30, -0.28, 0.26, 0.15) + 0.15)
    return colour * (1 - person.freckles * freckles[:, None] * np.array([0.16, 0.26, 0.30]))


def _paint_lips(
    colour: np.ndarray, points: np.ndarray, masks: np.ndarray, person: Complexion, lattice: np.ndarray
) -> np.ndarray:
    """Red of the lips with a soft, slightly irregular border, fine vertical lines and a dark line between them."""
    edge = smooth_step(masks[:, 0] + 0.10 * fractal_noise(points, 25.0, 2, lattice), 0.30, 0.80)
    lines = value_noise(points * np.array([1.0, 0.15, 0.15], np.float32), 110.0, lattice)
    edge = edge * (1 - 0.8 * smooth_step(np.abs(points[:, 0]), 0.17, 0.26))
    tone = mix_tones(SKIN_TONES, person.tone) * [0.84, 0.62, 0.64]
    red = tone * (1 + 0.03 * lines[:, None]) * np.where(points[:, 1:2] > -0.675, 0.93, 1.03)
    colour = _blend(colour, red, 0.75 * edge)
    return _blend(colour, tone * 0.42, 0.85 * smooth_step(masks[:, 1], 0.1, 1.0))


def _relief(points: np.ndarray, masks: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """Pores, fine wrinkles of the forehead and around the eyes, and vertical lines of the lips: uint8 [N]."""
    pores = 0.5 * value_noise(points, 95.0, lattice) + 0.5 * value_noise(points, 190.0, lattice)
    forehead = smooth_step(points[:, 1], 0.28, 0.40) * (1 - smooth_step(points[:, 1], 0.55, 0.66))
    wave = points[:, 1] + 0.035 * fractal_noise(points, 2.5, 2, lattice)
    wrinkles = forehead * np.sin(wave * 2 * np.pi / 0.085) ** 8 * smooth_step(points[:, 2], -0.1, 0.1)
    lips = value_noise(points * np.array([1.0, 0.15, 0.15], np.float32), 90.0, lattice) * (masks[:, 0] > 0.5)
    return to_bytes(0.55 + 0.30 * pores - 0.25 * wrinkles + 0.4 * lips)
