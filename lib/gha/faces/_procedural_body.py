"""The shirt: shoulders and chest as a sculpture, with a collar around the neck."""

from __future__ import annotations

import numpy as np

from ._procedural_parts import Part, sheet
from ._procedural_distance import compile_solids, march

COLUMNS, ROWS = 96, 36
TORSO: tuple[tuple[str, tuple[float, ...], float], ...] = (
    ("ball", (0, -2.75, -0.92, 1.35, 0.95, 0.72, 0, 0, 0), 0.0),  # chest
    ("cone", (0, -1.98, -1.02, 1.45, -2.42, -1.05, 0.42, 0.36), 0.3),  # shoulder
    ("cone", (1.50, -2.45, -1.05, 1.75, -3.3, -1.0, 0.36, 0.30), 0.2),  # upper arm
    ("cone", (0, -1.30, -0.98, 0.25, -2.3, -1.08, 0.52, 0.55), 0.25),  # base of the neck
)
TORSO_ROWS = compile_solids((TORSO, False))
BOTTOM = -2.95


def _collar_ring(angle: np.ndarray) -> np.ndarray:
    front = (1 + np.cos(angle)) / 2
    return np.stack([0.62 * np.sin(angle), -1.56 - 0.20 * front**1.5, -0.96 + 0.60 * np.cos(angle) + 0 * angle], axis=1)


def shirt() -> list[Part]:
    """Shirt and collar; the bottom stays open below the picture."""
    angle = np.linspace(0, 2 * np.pi, COLUMNS, endpoint=False)
    collar = _collar_ring(angle)
    bottom = np.stack([1.75 * np.sin(angle), np.full(COLUMNS, BOTTOM), -0.95 + 0.75 * np.cos(angle)], axis=1)
    inside = np.array([0.0, -2.7, -0.98])
    rows = []
    for t in np.linspace(0, 1, ROWS):
        ring = collar * (1 - t) + bottom * t
        ring[:, :2] += np.sin(np.pi * t) * np.stack([0.55 * np.sin(angle), np.full(COLUMNS, 0.35)], axis=1)
        if t > 0:
            direction = (ring - inside) / np.linalg.norm(ring - inside, axis=1, keepdims=True)
            ring = march(ring, direction, TORSO_ROWS, 25)
        rows.append(ring)
    points = np.stack(rows)
    points[0] = points[1] + 0.4 * (points[1] - points[2])
    points[:2] = points[:2] - [0, 0.0, 0]
    cloth = sheet("shirt", "cloth", points[::-1], True, (0.0, 0.0, 1.0, 0.85))
    return [cloth, _collar(points[1], angle)]


def _collar(ring: np.ndarray, angle: np.ndarray) -> Part:
    """A ribbed band around the neck hole."""
    around = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    outward = np.stack([np.sin(angle), 0 * angle, np.cos(angle)], axis=1)
    points = (
        ring[None]
        + 0.030 * np.cos(around)[:, None, None] * outward[None]
        + 0.075 * np.sin(around)[:, None, None] * np.array([0, 1.0, 0])
    )
    closed = np.concatenate([points, points[:1]])
    return sheet("collar", "cloth", closed, True, (0.0, 0.87, 1.0, 1.0))
