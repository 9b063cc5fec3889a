"""What actors do, as tables: sounds, extreme faces and emotions in ARKit coefficients.

A name without ``Left`` or ``Right`` that exists only for both sides stands for both.
"""

from __future__ import annotations

PAIRED = (
    "eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide", "mouthSmile",
    "mouthFrown", "mouthDimple", "mouthStretch", "mouthPress", "mouthLowerDown", "mouthUpperUp", "browDown",
    "browOuterUp", "cheekSquint", "noseSneer",
)  # fmt: skip
SINGLE = (
    "jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft",
    "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "browInnerUp",
    "cheekPuff", "tongueOut",
)  # fmt: skip
ARKIT_NAMES: tuple[str, ...] = (*(name + side for name in PAIRED for side in ("Left", "Right")), *SINGLE)

Face = dict[str, float]

VISEMES: dict[str, Face] = {
    "silence": {},
    "aa": {"jawOpen": 0.55, "mouthLowerDown": 0.25, "mouthUpperUp": 0.12, "mouthStretch": 0.08},
    "ee": {"jawOpen": 0.16, "mouthSmile": 0.35, "mouthStretch": 0.25, "mouthLowerDown": 0.35, "mouthUpperUp": 0.18},
    "eh": {"jawOpen": 0.32, "mouthSmile": 0.18, "mouthLowerDown": 0.30, "mouthUpperUp": 0.12},
    "oh": {"jawOpen": 0.34, "mouthFunnel": 0.60, "mouthPucker": 0.20},
    "oo": {"jawOpen": 0.10, "mouthPucker": 0.75, "mouthFunnel": 0.25},
    "m": {"mouthPress": 0.45, "mouthRollLower": 0.30, "mouthRollUpper": 0.25},
    "f": {"jawOpen": 0.07, "mouthRollLower": 0.55, "mouthUpperUp": 0.25},
    "l": {"jawOpen": 0.24, "mouthLowerDown": 0.22, "mouthUpperUp": 0.08},
    "s": {"jawOpen": 0.06, "mouthStretch": 0.22, "mouthLowerDown": 0.40, "mouthUpperUp": 0.20, "jawForward": 0.10},
    "sh": {"jawOpen": 0.08, "mouthFunnel": 0.55, "mouthShrugUpper": 0.20, "mouthLowerDown": 0.30},
    "w": {"jawOpen": 0.12, "mouthPucker": 0.50, "mouthFunnel": 0.30},
}

EXTREMES: tuple[Face, ...] = (
    {"jawOpen": 1.0},
    {"mouthSmile": 1.0, "cheekSquint": 0.7, "eyeSquint": 0.3},
    {"browInnerUp": 1.0, "browOuterUp": 1.0, "eyeWide": 1.0, "jawOpen": 0.45},
    {"browDown": 1.0, "noseSneer": 0.8, "eyeSquint": 0.6, "mouthPress": 0.6},
    {"mouthPucker": 1.0},
    {"mouthLowerDown": 1.0, "mouthUpperUp": 1.0, "mouthStretch": 0.5},
    {"eyeBlink": 1.0},
    {"mouthFrown": 1.0, "mouthShrugLower": 0.9, "browInnerUp": 0.8},
    {"cheekPuff": 1.0},
    {"mouthFunnel": 1.0, "jawOpen": 0.35},
    {"mouthLeft": 1.0, "jawLeft": 0.7},
    {"mouthSmile": 0.9, "jawOpen": 0.55, "mouthUpperUp": 0.4},
    {"mouthRight": 1.0, "jawRight": 0.7},
    {"eyeBlinkLeft": 1.0, "cheekSquintLeft": 0.8, "mouthSmileLeft": 0.6, "browDownLeft": 0.5},
    {"eyeBlinkRight": 1.0, "cheekSquintRight": 0.8, "mouthSmileRight": 0.6, "browDownRight": 0.5},
    {"mouthRollLower": 1.0, "mouthRollUpper": 1.0, "mouthDimple": 0.5},
    {"noseSneer": 1.0, "mouthUpperUp": 0.6},
    {"jawForward": 1.0, "mouthShrugLower": 0.5},
    {"mouthStretch": 1.0, "browInnerUp": 0.7, "eyeWide": 0.7, "jawOpen": 0.2},
    {"browOuterUpLeft": 1.0, "browDownRight": 0.7, "mouthDimpleLeft": 0.8},
    {"browOuterUpRight": 1.0, "browDownLeft": 0.7, "mouthDimpleRight": 0.8},
    {"jawOpen": 0.45, "tongueOut": 0.9, "mouthLowerDown": 0.3},
    {"mouthShrugUpper": 0.9, "mouthShrugLower": 0.9, "mouthFrown": 0.3},
    {"jawOpen": 0.75, "eyeBlink": 0.9, "mouthFunnel": 0.3, "browInnerUp": 0.3},
    {"jawOpen": 0.5, "mouthClose": 0.45},
)

EMOTIONS: tuple[Face, ...] = (
    {"mouthSmile": 0.8, "cheekSquint": 0.6, "jawOpen": 0.12, "mouthUpperUp": 0.2},
    {"browInnerUp": 0.8, "mouthFrown": 0.7, "eyeSquint": 0.2, "mouthShrugLower": 0.3, "eyeLookDown": 0.2},
    {"browDown": 0.9, "noseSneer": 0.4, "mouthPress": 0.5, "jawForward": 0.2},
    {"browInnerUp": 0.7, "browOuterUp": 0.8, "eyeWide": 0.7, "jawOpen": 0.35, "mouthFunnel": 0.1},
    {"noseSneer": 0.8, "mouthUpperUp": 0.5, "browDown": 0.5, "eyeSquint": 0.5},
    {"browInnerUp": 0.9, "eyeWide": 0.8, "mouthStretch": 0.7, "jawOpen": 0.15},
    {"mouthSmileLeft": 0.6, "mouthDimpleLeft": 0.5, "browOuterUpRight": 0.5, "cheekSquintLeft": 0.3},
    {"mouthPress": 0.4, "mouthDimple": 0.5, "browInnerUp": 0.3, "eyeSquint": 0.2},
)


def face_vector(face: Face) -> list[float]:
    """Coefficients [52] of a face, in the order of :data:`ARKIT_NAMES`."""
    values = dict.fromkeys(ARKIT_NAMES, 0.0)
    for name, value in face.items():
        for target in (name,) if name in values else (name + "Left", name + "Right"):
            values[target] = value
    return list(values.values())
