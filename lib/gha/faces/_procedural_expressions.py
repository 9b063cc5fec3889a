"""What each expression component does: a table of soft displacements of the skin, and three kinds of rotation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PAIRED = (
    "eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide",
    "mouthSmile", "mouthFrown", "mouthDimple", "mouthStretch", "mouthPress", "mouthLowerDown", "mouthUpperUp",
    "browDown", "browOuterUp", "cheekSquint", "noseSneer",
)  # fmt: skip
SINGLE = (
    "jawOpen", "jawForward", "jawLeft", "jawRight", "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft",
    "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "browInnerUp",
    "cheekPuff", "tongueOut",
)  # fmt: skip
EXPRESSION_NAMES: tuple[str, ...] = (*SINGLE, *(name + side for name in PAIRED for side in ("Left", "Right")))

JAW_OPEN_DEGREES = 21.0
JAW_SIDE_DEGREES = 6.0
JAW_SLIDE = np.array([0.0, -0.02, 0.05])  # of the hinge when the jaw is fully open
JAW_FORWARD = np.array([0.0, 0.0, 0.07])
GAZE_DEGREES = {"Up": 24.0, "Down": 27.0, "In": 30.0, "Out": 32.0}
TONGUE_OUT = np.array([0.0, 0.06, 0.36])


@dataclass(frozen=True)
class Push:
    """A displacement that fades with a Gaussian around a place.

    Attributes:
        centre: (x, y, z) in sculpting space.
        radius: standard deviations (x, y, z) in dm.
        move: displacement (x, y, z) at the centre in dm.
        lips: ``"upper"`` or ``"lower"`` keeps the other lip still; ``"both"`` moves both.
    """

    centre: tuple[float, float, float]
    radius: tuple[float, float, float]
    move: tuple[float, float, float]
    lips: str = "both"


_CORNER, _CORNER_SIZE = (0.25, -0.69, 0.24), (0.13, 0.12, 0.2)
_UPPER, _LOWER = (0.10, -0.625, 0.38), (0.10, -0.745, 0.36)
# Of the subject's left side; mirrored for the right.
PAIRED_PUSHES: dict[str, tuple[Push, ...]] = {
    "mouthSmile": (
        Push(_CORNER, _CORNER_SIZE, (0.085, 0.075, -0.055)),
        Push((0.40, -0.45, 0.15), (0.15, 0.13, 0.2), (0.015, 0.055, 0.035)),
        Push((0.27, -0.52, 0.24), (0.045, 0.11, 0.2), (0.0, 0.0, -0.022)),
    ),
    "mouthFrown": (Push(_CORNER, (0.13, 0.12, 0.2), (0.01, -0.085, -0.015)),),
    "mouthDimple": (Push(_CORNER, (0.10, 0.10, 0.2), (0.055, 0.005, -0.055)),),
    "mouthStretch": (
        Push(_CORNER, (0.15, 0.14, 0.2), (0.085, -0.03, -0.05)),
        Push((0.28, -0.88, 0.1), (0.15, 0.13, 0.2), (0.03, -0.03, 0.0)),
    ),
    "mouthPress": (
        Push((0.13, -0.62, 0.38), (0.11, 0.07, 0.2), (0.0, -0.018, -0.02), "upper"),
        Push((0.13, -0.74, 0.36), (0.11, 0.07, 0.2), (0.0, 0.022, -0.02), "lower"),
    ),
    "mouthLowerDown": (Push(_LOWER, (0.11, 0.10, 0.2), (0.01, -0.085, 0.01), "lower"),),
    "mouthUpperUp": (
        Push(_UPPER, (0.11, 0.09, 0.2), (0.005, 0.075, 0.01), "upper"),
        Push((0.20, -0.47, 0.27), (0.10, 0.10, 0.2), (0.01, 0.03, 0.01), "upper"),
    ),
    "eyeSquint": (Push((0.33, -0.17, 0.16), (0.16, 0.08, 0.2), (0.0, 0.03, 0.008)),),
    "browDown": (Push((0.24, 0.24, 0.24), (0.16, 0.10, 0.2), (-0.025, -0.065, 0.015)),),
    "browOuterUp": (Push((0.45, 0.27, 0.12), (0.16, 0.14, 0.25), (0.0, 0.085, -0.015)),),
    "cheekSquint": (Push((0.38, -0.26, 0.15), (0.16, 0.12, 0.2), (0.0, 0.065, 0.02)),),
    "noseSneer": (
        Push((0.12, -0.38, 0.34), (0.08, 0.10, 0.15), (0.01, 0.05, 0.01), "upper"),
        Push((0.14, -0.55, 0.34), (0.11, 0.08, 0.2), (0.0, 0.035, 0.01), "upper"),
    ),
}
# Of both sides; given for the left and mirrored onto the right unless on the midline.
SINGLE_PUSHES: dict[str, tuple[Push, ...]] = {
    "jawOpen": (Push(_CORNER, (0.12, 0.12, 0.2), (-0.03, 0.0, 0.0)),),
    "mouthRollUpper": (Push((0, -0.625, 0.38), (0.17, 0.045, 0.2), (0.0, -0.035, -0.055), "upper"),),
    "mouthRollLower": (Push((0, -0.735, 0.36), (0.17, 0.05, 0.2), (0.0, 0.045, -0.055), "lower"),),
    "mouthShrugUpper": (Push((0, -0.60, 0.38), (0.19, 0.10, 0.2), (0.0, 0.045, 0.025)),),
    "mouthShrugLower": (
        Push((0, -0.75, 0.36), (0.19, 0.09, 0.2), (0.0, 0.05, 0.045), "lower"),
        Push((0, -0.95, 0.3), (0.15, 0.12, 0.2), (0.0, 0.045, 0.0)),
    ),
    "browInnerUp": (Push((0.11, 0.27, 0.28), (0.13, 0.14, 0.2), (0.005, 0.085, 0.0)),),
    "cheekPuff": (
        Push((0.43, -0.62, 0.10), (0.15, 0.17, 0.22), (0.085, 0.0, 0.065)),
        Push((0.14, -0.68, 0.36), (0.14, 0.10, 0.2), (0.0, 0.0, 0.035)),
    ),
}
# Mouth components that scale the surroundings of the mouth: factor in x, factor in y, forwards in dm.
GATHERINGS: dict[str, tuple[float, float, float]] = {
    "mouthPucker": (-0.46, -0.05, 0.085),
    "mouthFunnel": (-0.30, 0.45, 0.085),
}
MOUTH_CENTRE, MOUTH_SIZE = np.array([0.0, -0.68, 0.33]), np.array([0.24, 0.18, 0.25])
MOUTH_SHIFT = 0.10  # of mouthLeft


def push_weight(points: np.ndarray, centre: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Gaussian weight [N] of points [N, 3]; exactly 0 beyond three standard deviations."""
    away = (((points - centre) / radius) ** 2).sum(-1)
    return np.clip((np.exp(-away / 2) - np.exp(-4.5)) / (1 - np.exp(-4.5)), 0, 1)


def _pushes(points: np.ndarray, pushes: tuple[Push, ...], side: int, lower_lip: np.ndarray) -> np.ndarray:
    """Displacement [N, 3] of points by pushes mirrored to a side (+1: left)."""
    total = np.zeros_like(points)
    mirror = np.array([side, 1, 1])
    for push in pushes:
        weight = push_weight(points, np.array(push.centre) * mirror, np.array(push.radius))
        if push.lips != "both":
            weight = weight * (lower_lip if push.lips == "lower" else 1 - lower_lip)
        total += weight[:, None] * (np.array(push.move) * mirror)
    return total


def linear_displacements(points: np.ndarray, lower_lip: np.ndarray, still: np.ndarray) -> dict[str, np.ndarray]:
    """Displacements [N, 3] of all components that move the skin along straight lines.

    Args:
        points: neutral skin [N, 3] in sculpting space.
        lower_lip: weight of the jaw [N]; separates the lips.
        still: points [N] in [0, 1] that only rotations move (lid rims, mouth cavity).
    """
    moves: dict[str, np.ndarray] = {}
    for name, pushes in PAIRED_PUSHES.items():
        for side, suffix in ((1, "Left"), (-1, "Right")):
            moves[name + suffix] = _pushes(points, pushes, side, lower_lip)
    for name, pushes in SINGLE_PUSHES.items():
        midline = tuple(p for p in pushes if p.centre[0] == 0)
        paired = tuple(p for p in pushes if p.centre[0] != 0)
        moves[name] = sum(_pushes(points, paired, side, lower_lip) for side in (1, -1)) + _pushes(
            points, midline, 1, lower_lip
        )
    weight = push_weight(points, MOUTH_CENTRE, MOUTH_SIZE)[:, None]
    local = points - MOUTH_CENTRE
    for name, (wide, tall, forward) in GATHERINGS.items():
        moves[name] = weight * np.stack([wide * local[:, 0], tall * local[:, 1], 0 * local[:, 2] + forward], axis=1)
    moves["mouthLeft"] = weight * np.array([MOUTH_SHIFT, 0, -0.01])
    moves["mouthRight"] = weight * np.array([-MOUTH_SHIFT, 0, -0.01])
    return {name: move * (1 - still)[:, None] for name, move in moves.items()}
