"""Identity: linear warps of the space around the head, one per trait, with rigid neighbourhoods of the eyes."""

from __future__ import annotations

import numpy as np

from ._procedural_sculpture import EYE_CENTRE

STRENGTH = 1.2  # of all traits
EYE_RIGID, EYE_FREE = 0.16, 0.42  # radii in dm: inside the first the eye moves as one, outside the second not at all


def _near(points: np.ndarray, centre: tuple, radius: tuple, side: int = 1) -> np.ndarray:
    """Gaussian weight [N, 1]."""
    away = (((points - np.array(centre) * [side, 1, 1]) / np.array(radius)) ** 2).sum(-1, keepdims=True)
    return np.exp(-away / 2)


def _both(points: np.ndarray, centre: tuple, radius: tuple, move: tuple) -> np.ndarray:
    """The same displacement on both sides, mirrored [N, 3]."""
    total = np.zeros_like(points)
    for side in (1, -1):
        total += _near(points, centre, radius, side) * (np.array(move) * [side, 1, 1])
    return total


def _scale(points: np.ndarray, centre: tuple, radius: tuple, factors: tuple) -> np.ndarray:
    """Local scaling about a place on the midline [N, 3]."""
    return _near(points, centre, radius) * (points - np.array(centre)) * np.array(factors)


def _ramp(value: np.ndarray, start: float, end: float) -> np.ndarray:
    t = np.clip((value - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)


def _above_neck(points: np.ndarray) -> np.ndarray:
    return _ramp(points[:, 1:2], -1.75, -1.0)


def _face_width(p: np.ndarray) -> np.ndarray:
    return _above_neck(p) * p * [0.035, 0, 0]


def _face_length(p: np.ndarray) -> np.ndarray:
    return _above_neck(p) * np.concatenate([0 * p[:, :1], 0.035 * np.minimum(p[:, 1:2], 0.2), 0 * p[:, :1]], axis=1)


def _jaw_width(p: np.ndarray) -> np.ndarray:
    return _near(p, (0, -0.75, -0.35), (0.9, 0.30, 0.45)) * p * [0.075, 0, 0]


def _chin(p: np.ndarray) -> np.ndarray:
    return _near(p, (0, -1.02, 0.25), (0.22, 0.18, 0.28)) * np.array([0, -0.03, 0.035])


def _nose_length(p: np.ndarray) -> np.ndarray:
    return _near(p, (0, -0.40, 0.42), (0.16, 0.15, 0.2)) * np.array([0, -0.03, 0.0])


def _nose_width(p: np.ndarray) -> np.ndarray:
    return _scale(p, (0, -0.37, 0.36), (0.2, 0.13, 0.2), (0.14, 0, 0))


def _nose_projection(p: np.ndarray) -> np.ndarray:
    return _near(p, (0, -0.32, 0.48), (0.12, 0.16, 0.2)) * np.array([0, 0, 0.04])


def _nose_bridge(p: np.ndarray) -> np.ndarray:
    return _near(p, (0, -0.08, 0.36), (0.10, 0.12, 0.2)) * np.array([0, 0, 0.028])


def _eye_size(p: np.ndarray) -> np.ndarray:
    total = np.zeros_like(p)
    for side in (1, -1):
        centre = EYE_CENTRE * [side, 1, 1]
        away = np.linalg.norm(p - centre, axis=1, keepdims=True)
        total += 0.035 * (1 - _ramp(away, EYE_RIGID, EYE_FREE)) * (p - centre)
    return total


def _eye_spacing(p: np.ndarray) -> np.ndarray:
    return _both(p, tuple(EYE_CENTRE), (0.2, 0.2, 0.3), (0.014, 0, 0))


def _lip_fullness(p: np.ndarray) -> np.ndarray:
    return _scale(p, (0, -0.677, 0.34), (0.2, 0.075, 0.2), (0, 0.16, 0)) + _near(
        p, (0, -0.68, 0.4), (0.15, 0.08, 0.1)
    ) * np.array([0, 0, 0.015])


def _mouth_width(p: np.ndarray) -> np.ndarray:
    return _scale(p, (0, -0.68, 0.3), (0.26, 0.15, 0.3), (0.085, 0, 0))


def _brow_ridge(p: np.ndarray) -> np.ndarray:
    return _both(p, (0.25, 0.21, 0.25), (0.2, 0.09, 0.2), (0, -0.008, 0.026))


def _cheekbones(p: np.ndarray) -> np.ndarray:
    return _both(p, (0.52, -0.22, 0.05), (0.14, 0.13, 0.2), (0.028, 0, 0.02))


def _forehead(p: np.ndarray) -> np.ndarray:
    return _near(p, (0, 0.75, 0.05), (0.6, 0.3, 0.45)) * np.array([0, 0.025, 0.035])


def _ear_size(p: np.ndarray) -> np.ndarray:
    total = np.zeros_like(p)
    for side in (1, -1):
        root = np.array([0.70 * side, -0.17, -0.80])
        weight = _ramp(np.abs(p[:, :1]) - 0.70, 0.0, 0.06) * _near(p, tuple(root), (0.4, 0.4, 0.3))
        total += 0.10 * weight * (p - root) * (p[:, :1] * side > 0)
    return total


def _cheek_fullness(p: np.ndarray) -> np.ndarray:
    return _both(p, (0.45, -0.58, 0.02), (0.17, 0.2, 0.25), (0.022, 0, 0.014))


def _neck_width(p: np.ndarray) -> np.ndarray:
    return _near(p, (0, -1.35, -0.85), (0.9, 0.25, 0.9)) * (p - [0, 0, -0.85]) * [0.05, 0, 0.04]


TRAITS = {
    "face_width": _face_width,
    "face_length": _face_length,
    "jaw_width": _jaw_width,
    "chin": _chin,
    "nose_length": _nose_length,
    "nose_width": _nose_width,
    "nose_projection": _nose_projection,
    "nose_bridge": _nose_bridge,
    "eye_size": _eye_size,
    "eye_spacing": _eye_spacing,
    "lip_fullness": _lip_fullness,
    "mouth_width": _mouth_width,
    "brow_ridge": _brow_ridge,
    "cheekbones": _cheekbones,
    "forehead": _forehead,
    "ear_size": _ear_size,
    "cheek_fullness": _cheek_fullness,
    "neck_width": _neck_width,
}
OTHER_TRAITS = ("hair_style", "skin_tone", "hair_tone")  # a choice of hair, and colours
IDENTITY_NAMES: tuple[str, ...] = (*TRAITS, *OTHER_TRAITS)


def identity_basis(points: np.ndarray) -> np.ndarray:
    """Displacement [I, N, 3] of points [N, 3] per unit of each identity coefficient; zero for colours."""
    basis = np.zeros((len(IDENTITY_NAMES), len(points), 3))
    centres = np.stack([EYE_CENTRE, EYE_CENTRE * [-1, 1, 1]])
    for index, (name, warp) in enumerate(TRAITS.items()):
        move = warp(points)
        if name != "eye_size":
            for centre, shift in zip(centres, warp(centres), strict=True):
                rigid = 1 - _ramp(np.linalg.norm(points - centre, axis=1, keepdims=True), EYE_RIGID, EYE_FREE)
                move = move * (1 - rigid) + shift * rigid
        basis[index] = STRENGTH * move
    return basis
