"""The head as a signed distance: smooth unions and hollows of ellipsoids and cones, a table of numbers.

Sculpting space: decimetres, x to the subject's left, y up, z forward, origin midway between the eyeball centres.
Everything is mirror symmetric in x.
"""

from __future__ import annotations

import numpy as np

from ._procedural_distance import Solid, compile_solids

EYE_CENTRE = np.array([0.315, 0.0, 0.02])  # the subject's left eye
EYE_RADIUS = 0.122
LID_RADIUS = 0.137  # outer surface of the lids, about the eyeball centre

SOLIDS: tuple[Solid, ...] = (
    ("ball", (0, 0.31, -0.72, 0.780, 0.80, 0.93, 0, 0, 0), 0.0),  # cranium
    ("ball", (0, -0.06, -0.95, 0.67, 0.62, 0.63, 0, 0, 0), 0.10),  # occiput
    ("ball", (0, 0.38, -0.26, 0.62, 0.38, 0.46, 0, 0, 0), 0.20),  # forehead
    ("ball", (0, -0.26, -0.37, 0.72, 0.70, 0.55, 0, 0, 0), 0.28),  # middle face
    ("ball", (0, -0.66, -0.22, 0.46, 0.44, 0.48, 0, 0, 0), 0.20),  # lower face
    ("ball", (0.48, -0.25, -0.85, 0.20, 0.40, 0.26, 0, 0, 0), 0.20),  # behind the jaw
    ("cone", (0.56, -0.15, -0.55, 0.465, -0.62, -0.52, 0.11, 0.10), 0.24),  # ramus of the jaw
    ("cone", (0.42, -0.68, -0.50, 0.11, -0.96, 0.06, 0.10, 0.12), 0.28),  # body of the jaw
    ("ball", (0, -0.985, 0.12, 0.19, 0.145, 0.185, 0, 0, 0), 0.20),  # chin
    ("ball", (0.43, -0.20, -0.09, 0.165, 0.11, 0.195, 0, 30, 0), 0.26),  # cheekbone
    ("ball", (0.25, -0.56, -0.08, 0.245, 0.33, 0.26, 0, 0, 0), 0.20),  # cheek
    ("ball", (0, -0.64, 0.08, 0.27, 0.26, 0.26, 0, 0, 0), 0.20),  # dental arch
    ("cone", (0.10, 0.20, 0.185, 0.48, 0.16, 0.03, 0.06, 0.07), 0.22),  # brow ridge
    ("ball", (0, 0.19, 0.17, 0.15, 0.10, 0.09, 0, 0, 0), 0.16),  # glabella
    ("cone", (0, -0.95, -0.84, 0, -1.9, -0.95, 0.49, 0.54), 0.20),  # neck
    ("cone", (0.45, -0.55, -0.90, 0.13, -1.70, -0.45, 0.09, 0.08), 0.16),  # sternomastoid
    ("cone", (0.10, -0.60, -1.10, 0.36, -1.9, -1.18, 0.20, 0.32), 0.20),  # trapezius
    ("ball", (0, -1.38, -0.40, 0.07, 0.14, 0.06, 0, 0, 0), 0.14),  # larynx
)
HOLLOWS: tuple[Solid, ...] = (
    ("ball", (0.325, 0.005, 0.245, 0.15, 0.10, 0.09, 0, 25, 0), 0.20),  # orbit
    ("ball", (0.165, 0.0, 0.245, 0.05, 0.09, 0.07, 0, 0, 0), 0.12),  # inner corner of the orbit
    ("cone", (0, -0.865, 0.44, 0.12, -0.875, 0.40, 0.05, 0.04), 0.12),  # groove above the chin
    ("ball", (0.82, 0.27, 0.0, 0.12, 0.22, 0.20, 0, 0, 0), 0.20),  # temple
)
NOSE: tuple[Solid, ...] = (
    ("cone", (0, 0.13, 0.225, 0, -0.30, 0.440, 0.040, 0.050), 0.11),  # bridge
    ("cone", (0.030, -0.06, 0.20, 0.055, -0.33, 0.310, 0.052, 0.070), 0.14),  # flanks
    ("ball", (0, -0.350, 0.428, 0.076, 0.073, 0.083, 0, 0, 0), 0.10),  # tip
    ("ball", (0, -0.405, 0.350, 0.112, 0.058, 0.10, 0, 0, 0), 0.08),  # base
    ("ball", (0.096, -0.405, 0.330, 0.056, 0.060, 0.083, 0, 20, 12), 0.06),  # wing
    ("cone", (0, -0.425, 0.42, 0, -0.470, 0.340, 0.026, 0.035), 0.05),  # columella
)
NOSE_HOLLOWS: tuple[Solid, ...] = (
    ("cone", (0.066, -0.466, 0.340, 0.040, -0.458, 0.402, 0.021, 0.015), 0.02),  # nostril
    ("cone", (0.175, -0.36, 0.33, 0.160, -0.46, 0.31, 0.02, 0.012), 0.06),  # groove behind the wing
    ("cone", (0, -0.52, 0.42, 0, -0.58, 0.43, 0.02, 0.022), 0.06),  # groove below the nose
)
LIDS: Solid = (
    "ball",
    (*EYE_CENTRE, LID_RADIUS, LID_RADIUS, LID_RADIUS, 0, 0, 0),
    0.05,
)


HEAD = compile_solids((SOLIDS, False), (HOLLOWS, True), (NOSE, False), (NOSE_HOLLOWS, True), ((LIDS,), False))
WITHOUT_NOSTRILS = compile_solids((SOLIDS, False), (HOLLOWS, True), (NOSE, False))
