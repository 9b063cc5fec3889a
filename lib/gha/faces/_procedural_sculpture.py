"""The head as a signed distance: smooth unions and hollows of ellipsoids and cones, a table of numbers.

Sculpting space: decimetres, x to the subject's left, y up, z forward, origin midway between the eyeball centres.
Everything is mirror symmetric in x.
"""

from __future__ import annotations

import numpy as np

from ._procedural_distance import Solid, compile_solids

EYE_CENTRE = np.array([0.315, 0.0, 0.0])  # the subject's left eye
EYE_RADIUS = 0.122
LID_RADIUS = 0.137  # outer surface of the lids, about the eyeball centre

SOLIDS: tuple[Solid, ...] = (
    ("ball", (0, 0.32, -0.70, 0.755, 0.79, 0.945, 0, 0, 0), 0.0),  # cranium
    ("ball", (0, -0.06, -0.95, 0.60, 0.62, 0.62, 0, 0, 0), 0.10),  # occiput
    ("ball", (0, 0.42, -0.28, 0.60, 0.42, 0.49, 0, 0, 0), 0.20),  # forehead
    ("ball", (0, -0.28, -0.37, 0.71, 0.70, 0.56, 0, 0, 0), 0.15),  # middle face
    ("ball", (0, -0.66, -0.22, 0.56, 0.46, 0.50, 0, 0, 0), 0.15),  # lower face
    ("cone", (0.57, -0.18, -0.55, 0.51, -0.62, -0.50, 0.12, 0.13), 0.15),  # ramus of the jaw
    ("cone", (0.50, -0.64, -0.50, 0.15, -0.95, 0.12, 0.13, 0.12), 0.15),  # body of the jaw
    ("ball", (0, -0.99, 0.13, 0.20, 0.135, 0.185, 0, 0, 0), 0.12),  # chin
    ("ball", (0.44, -0.21, -0.07, 0.20, 0.14, 0.22, 0, 25, 0), 0.14),  # cheekbone
    ("ball", (0.30, -0.44, 0.02, 0.22, 0.24, 0.20, 0, 0, 0), 0.16),  # cheek
    ("ball", (0, -0.64, 0.09, 0.30, 0.27, 0.27, 0, 0, 0), 0.14),  # dental arch
    ("cone", (0.10, 0.215, 0.19, 0.50, 0.20, 0.00, 0.075, 0.085), 0.10),  # brow ridge
    ("ball", (0, 0.20, 0.19, 0.16, 0.10, 0.09, 0, 0, 0), 0.10),  # glabella
    ("cone", (0, -0.95, -0.80, 0, -2.0, -0.98, 0.52, 0.60), 0.16),  # neck
    ("cone", (0.44, -0.60, -0.95, 0.14, -1.85, -0.42, 0.10, 0.12), 0.12),  # sternomastoid
    ("cone", (0.24, -0.55, -1.15, 0.46, -2.0, -1.22, 0.26, 0.32), 0.20),  # trapezius
)
HOLLOWS: tuple[Solid, ...] = (
    ("ball", (0.325, -0.005, 0.21, 0.19, 0.135, 0.135, 0, 25, 0), 0.12),  # orbit
    ("ball", (0.165, 0.03, 0.22, 0.07, 0.09, 0.09, 0, 0, 0), 0.08),  # inner corner of the orbit
    ("ball", (0.47, -0.62, 0.13, 0.10, 0.22, 0.10, 0, 0, 0), 0.16),  # below the cheekbone
    ("cone", (0, -0.865, 0.44, 0.12, -0.875, 0.40, 0.05, 0.04), 0.08),  # groove above the chin
    ("ball", (0.72, 0.30, 0.05, 0.10, 0.24, 0.20, 0, 0, 0), 0.15),  # temple
)
NOSE: tuple[Solid, ...] = (
    ("cone", (0, 0.14, 0.205, 0, -0.29, 0.425, 0.060, 0.070), 0.10),  # bridge
    ("cone", (0.07, -0.10, 0.22, 0.06, -0.33, 0.33, 0.06, 0.07), 0.10),  # flanks
    ("ball", (0, -0.335, 0.425, 0.085, 0.080, 0.085, 0, 0, 0), 0.06),  # tip
    ("ball", (0.105, -0.405, 0.335, 0.058, 0.062, 0.085, 0, 15, 0), 0.045),  # wing
    ("cone", (0, -0.40, 0.43, 0, -0.47, 0.36, 0.035, 0.045), 0.04),  # columella
)
NOSE_HOLLOWS: tuple[Solid, ...] = (
    ("ball", (0.062, -0.475, 0.385, 0.030, 0.055, 0.045, 25, 20, 0), 0.03),  # nostril
    ("cone", (0.185, -0.36, 0.33, 0.17, -0.47, 0.29, 0.02, 0.02), 0.04),  # groove behind the wing
)
LIDS: Solid = (
    "ball",
    (*EYE_CENTRE, LID_RADIUS, LID_RADIUS, LID_RADIUS, 0, 0, 0),
    0.05,
)


HEAD = compile_solids((SOLIDS, False), (HOLLOWS, True), (NOSE, False), (NOSE_HOLLOWS, True), ((LIDS,), False))
