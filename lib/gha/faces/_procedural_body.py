"""The shirt: shoulders and chest as a sculpture, with a collar around the neck."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ._procedural_distance import Solid, compile_solids, march
from ._procedural_parts import Part, sheet
from ._procedural_sculpture import HEAD

COLUMNS, ROWS = 96, 40
TORSO: tuple[Solid, ...] = (
    ("ball", (0, -2.55, -0.95, 1.35, 0.85, 0.70, 0, 0, 0), 0.0),  # chest
    ("cone", (0.15, -1.92, -1.02, 1.48, -2.20, -1.02, 0.34, 0.33), 0.40),  # shoulder
    ("cone", (1.50, -2.22, -1.02, 1.72, -3.20, -1.00, 0.33, 0.28), 0.15),  # upper arm
    ("cone", (0, -1.35, -0.92, 0.10, -2.20, -1.05, 0.54, 0.60), 0.25),  # base of the neck
    ("cone", (0.30, -1.55, -1.12, 1.05, -1.97, -1.05, 0.24, 0.22), 0.30),  # trapezius
)
TORSO_SOLIDS = compile_solids((TORSO, False))
BOTTOM = -2.80
MIDDLE = np.array([0.0, -2.5, -0.98])
COLLAR_HEIGHTS = (-1.42, -1.60)  # at the nape and at the throat


def collar_ring(angle: np.ndarray) -> np.ndarray:
    """Neck opening [N, 3] just outside the neck, lower at the front; ``angle`` 0 is the front."""
    front = ((1 + np.cos(angle)) / 2) ** 1.5
    height = COLLAR_HEIGHTS[0] + (COLLAR_HEIGHTS[1] - COLLAR_HEIGHTS[0]) * front
    outward = np.stack([np.sin(angle), 0 * angle, np.cos(angle)], axis=1)
    start = np.stack([0 * angle, height, np.full_like(angle, -0.88)], axis=1) + 0.9 * outward
    return march(start, outward, HEAD, 30) + 0.03 * outward


def shirt() -> list[Part]:
    """Shirt and collar; the bottom stays open below the picture."""
    angle = np.linspace(0, 2 * np.pi, COLUMNS, endpoint=False)
    collar = collar_ring(angle)
    bottom = np.stack([1.80 * np.sin(angle), np.full(COLUMNS, BOTTOM), -0.95 + 0.75 * np.cos(angle)], axis=1)
    rows = [collar]
    for t in np.linspace(0, 1, ROWS)[1:]:
        bend = np.sin(np.pi * t)
        ring = collar * (1 - t) + bottom * t + bend * np.stack([0.6 * np.sin(angle), 0 * angle + 0.30, 0 * angle], 1)
        direction = (ring - MIDDLE) / np.linalg.norm(ring - MIDDLE, axis=1, keepdims=True)
        on_torso = march(ring, direction, TORSO_SOLIDS, 40)
        near_collar = np.clip(1 - t / 0.10, 0, 1)
        rows.append(on_torso * (1 - near_collar) + (collar * (1 - t) + on_torso * t) * near_collar)
    points = np.stack(rows)[::-1]
    cloth = sheet("shirt", "cloth", points, True, (0.0, 0.0, 1.0, 1.0))
    return [replace(cloth, uvs=_stitch_layout(points)), _collar(collar, angle)]


def _stitch_layout(points: np.ndarray) -> np.ndarray:
    """Texture coordinates [rows * (columns + 1), 2]: v falls with the length of the cloth from the collar down."""
    step = np.linalg.norm(np.diff(points, axis=0), axis=2)
    below = np.concatenate([np.cumsum(step[::-1], axis=0)[::-1], np.zeros((1, COLUMNS))])
    v = 0.85 * (1 - below / below.max())
    u = np.broadcast_to(np.linspace(0, 1, COLUMNS + 1), (len(points), COLUMNS + 1))
    return np.stack([u, np.concatenate([v, v[:, :1]], axis=1)], axis=-1).reshape(-1, 2)


def _collar(ring: np.ndarray, angle: np.ndarray) -> Part:
    """A ribbed band around the neck hole."""
    around = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    outward = np.stack([np.sin(angle), 0 * angle, np.cos(angle)], axis=1)
    lean = np.array([0, 1.0, 0]) - 0.35 * outward
    points = ring[None] + 0.022 * np.cos(around)[:, None, None] * outward[None]
    points = points + 0.085 * np.sin(around)[:, None, None] * lean[None]
    closed = np.concatenate([points, points[:1]])
    return sheet("collar", "cloth", closed, True, (0.0, 0.87, 1.0, 1.0))
