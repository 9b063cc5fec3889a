"""How much each vertex of the head follows jaw, lids, eyes and expression components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import identity as sparse_identity
from scipy.sparse.linalg import spsolve

from ._procedural_expressions import linear_displacements
from ._procedural_grid import EYE_LAYERS, MOUTH_SKIN_LAYERS, HeadGrid, Rings
from ._procedural_sculpture import EYE_CENTRE
from ._procedural_skin import neighbour_mean

JAW_HINGE = np.array([0.0, -0.22, -0.62])
MEETING_LINE = 0.22  # where the lids meet: 0 at the lower lid, 1 at the upper
LID_REACH = 0.15  # dm from the rim to where a lid no longer moves


@dataclass(frozen=True)
class SkinRig:
    """Motion of the V skin vertices.

    Attributes:
        jaw: weight of the jaw [V] in [0, 1].
        jaw_lips_closed: the same when the lips stay together [V].
        lid_angle: [2 eyes, 2 (upper, lower), V] radians by which a full blink turns a vertex about the lid axis.
        moves: displacement [V, 3] of each component that moves along straight lines.
    """

    jaw: np.ndarray
    jaw_lips_closed: np.ndarray
    lid_angle: np.ndarray
    moves: dict[str, np.ndarray]


def smooth_step(value: np.ndarray, start: float, end: float) -> np.ndarray:
    """0 before ``start``, 1 after ``end``, smooth between."""
    t = np.clip((value - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)


def build_skin_rig(head: HeadGrid, points: np.ndarray) -> SkinRig:
    """Weights of the skin whose neutral vertices are ``points`` [V, 3]."""
    jaw = _jaw_weights(head, points, closed=False)
    still = np.zeros(head.count)
    for eye in (head.left_eye, head.right_eye):
        near_rim = np.clip((np.arange(len(eye.vertices)) - EYE_LAYERS + 8) / 6, 0, 1)
        still[eye.vertices] = near_rim[:, None]
    cavity = head.mouth.vertices[MOUTH_SKIN_LAYERS + 9 :]
    still[cavity] = np.clip(np.arange(len(cavity)) / 6, 0, 1)[:, None]
    still[head.mouth_pole] = 1
    return SkinRig(
        jaw,
        _jaw_weights(head, points, closed=True),
        np.stack([_lid_angles(head.left_eye, points, 1), _lid_angles(head.right_eye, points, -1)]),
        linear_displacements(points, jaw, still),
    )


def _jaw_weights(head: HeadGrid, points: np.ndarray, closed: bool) -> np.ndarray:
    """Harmonic interpolation between skull (0), chin and jaw line (1) and the rings of the mouth."""
    x, y, z = points.T
    x = np.abs(x)
    line = -0.70 - 0.45 * (z + 0.55)  # height of the jaw line over depth
    skull = (y > -0.10) | (z < -0.85) | ((y > -0.50) & (x < 0.25)) | (y < -1.42) | ((y > -0.32) & (z > -0.3))
    chin = (y < np.minimum(line, -0.80)) & (y > -1.13) & (z > -0.45) & (y > line - 0.25)
    value = np.where(chin, 1.0, 0.0)
    fixed = skull | chin
    lips = head.mouth.vertices[MOUTH_SKIN_LAYERS - 1 :]
    n = lips.shape[1]
    along = np.abs((np.arange(n) % (n // 2)) / (n / 2) - 0.5) * 2  # 1 at the corners, 0 in the middle
    spread = 0.5 * (1 - along**2) ** 0.45  # an oval opening
    ring = np.where(np.arange(n) < n / 2, 0.5 - spread, 0.5 + spread)
    value[lips] = 0.5 if closed else ring
    fixed[lips] = True
    fixed[head.mouth_pole], value[head.mouth_pole] = True, 0.4
    mean = neighbour_mean(head)
    free = np.flatnonzero(~fixed)
    system = (sparse_identity(head.count) - mean).tocsr()[free]
    weight = value.copy()
    weight[free] = spsolve(system[:, free].tocsc(), -system[:, np.flatnonzero(fixed)] @ value[fixed])
    lip_ids = lips.ravel()
    for _ in range(12):
        smoothed = mean @ weight
        smoothed[lip_ids] = weight[lip_ids]
        weight = smoothed
    return np.clip((weight - 0.005) / 0.99, 0, 1)  # exactly still where smoothing leaves next to nothing


def lid_axis(side: int) -> np.ndarray:
    """Unit axis [3] the lids of an eye turn about, towards the subject's left; positive angles open downwards."""
    axis = np.array([1.0, 0.10 * side, -0.10 * side])
    return axis / np.linalg.norm(axis)


def _elevation(points: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Angle [N] above the lid axis' forward direction, and position [N] along the axis."""
    local = points - EYE_CENTRE * [side, 1, 1]
    axis = lid_axis(side)
    forward = np.array([0, 0, 1.0]) - axis[2] * axis
    forward /= np.linalg.norm(forward)
    up = np.cross(forward, axis)
    return np.arctan2(local @ up, local @ forward), local @ axis


def _lid_angles(eye: Rings, points: np.ndarray, side: int) -> np.ndarray:
    """Radians [2, V] by which a blink lowers the upper lid (positive) and raises the lower lid (negative)."""
    n = eye.vertices.shape[1]
    rim = points[eye.vertices[EYE_LAYERS - 1]]
    elevation, along = _elevation(rim, side)
    upper, lower = np.arange(n // 2 + 1), np.append(np.arange(n // 2, n), 0)
    profile = []
    for half in (upper, lower):
        order = half[np.argsort(along[half])]
        profile.append(np.interp(along, along[order], elevation[order]))
    meeting = profile[1] + MEETING_LINE * (profile[0] - profile[1])
    turn = elevation - meeting
    distance = np.linalg.norm(points[eye.vertices] - rim, axis=2)
    falloff = np.clip(1 - distance / LID_REACH, 0, 1) ** 1.3
    falloff[EYE_LAYERS - 1 :] = 1
    angles = np.zeros((2, len(points)))
    for k, half in enumerate((upper, lower)):
        angles[k, eye.vertices[:, half]] = (turn * falloff)[:, half]
    return angles
