"""From identity and expression to vertices: warps, straight displacements, then lids, eyes and jaw that rotate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from gha.geometry.rotations import axis_angle_to_matrix

from ._procedural_expressions import (
    EXPRESSION_NAMES,
    GAZE_DEGREES,
    JAW_FORWARD,
    JAW_OPEN_DEGREES,
    JAW_SIDE_DEGREES,
    JAW_SLIDE,
)
from ._procedural_identity import identity_basis
from ._procedural_rig import JAW_HINGE, lid_axis
from ._procedural_sculpture import EYE_CENTRE
from ._procedural_template import Template
from .face_points import FacePoints

SIDES = ("Left", "Right")
# What HeadMotion.turn depends on, but for the gaze, which turns nothing of the skin by itself.
TURNING = (
    *("jawOpen", "jawLeft", "jawRight", "jawForward", "mouthClose"),
    *(name + side for side in SIDES for name in ("eyeBlink", "eyeSquint", "eyeWide", "eyeLookUp", "eyeLookDown")),
)


def skin_points(template: Template, ids: np.ndarray) -> FacePoints:
    """Some vertices ``ids`` [P] of the skin, the mouth or the teeth, for fitting."""
    skin = replace(
        template,
        vertices=template.vertices[ids],
        identity=template.identity[:, ids],
        moves=template.moves[:, ids],
        jaw=template.jaw[ids],
        jaw_lips_closed=template.jaw_lips_closed[ids],
        lid_angle=template.lid_angle[:, :, ids],
        slices={**template.slices, "left_eye": slice(0, 0), "right_eye": slice(0, 0)},
    )
    motion = HeadMotion(skin, torch.zeros((), dtype=torch.float64))
    return FacePoints(
        *(torch.from_numpy(np.ascontiguousarray(a)).double() for a in (skin.vertices, skin.identity, skin.moves)),
        joints=motion._joints,
        joint_identity=motion._joint_identity,
        joint_expression=torch.zeros(len(EXPRESSION_NAMES), 3, 3, dtype=torch.float64),
        turning=tuple(map(EXPRESSION_NAMES.index, TURNING)),
        turn=motion.turn,
    )


def _turn(points: Tensor, centre: Tensor, rotation: Tensor) -> Tensor:
    """Points [..., N, 3] turned about ``centre`` [..., 3] by one rotation for all or one for each point."""
    local = points - centre[..., None, :]
    if rotation.ndim == points.ndim:  # one matrix [..., 3, 3]
        return local @ rotation.transpose(-1, -2) + centre[..., None, :]
    return (rotation @ local[..., None])[..., 0] + centre[..., None, :]


class HeadMotion:
    """Moves the vertices of a template; tensors live on one device in one precision.

    Args:
        template: the head at rest.
        like: a tensor whose device and dtype are used.
    """

    def __init__(self, template: Template, like: Tensor) -> None:
        def tensor(array: np.ndarray) -> Tensor:
            return torch.as_tensor(np.ascontiguousarray(array), dtype=like.dtype, device=like.device)

        def ids(mask: np.ndarray) -> Tensor:
            return torch.as_tensor(np.flatnonzero(mask), device=like.device)

        self._rest = tensor(template.vertices)
        self._identity = tensor(template.identity)
        components = np.flatnonzero(np.abs(template.moves).max((1, 2)) > 0)
        moved = np.abs(template.moves).max((0, 2)) > 0
        self._components = torch.as_tensor(components, device=like.device)
        self._moved = ids(moved)
        self._moves = tensor(template.moves[components][:, moved])
        jaw = (template.jaw > 1e-4) | (template.jaw_lips_closed > 1e-4)
        self._jaw_ids = ids(jaw)
        self._jaw = tensor(template.jaw[jaw])
        self._jaw_closed = tensor(template.jaw_lips_closed[jaw])
        self._lid_ids = [ids(np.abs(angle).max(0) > 0) for angle in template.lid_angle]
        self._lid_angles = [tensor(a[:, np.abs(a).max(0) > 0]) for a in template.lid_angle]
        self._lid_axes = [tensor(lid_axis(side)) for side in (1, -1)]
        eyes = [template.slices[name] for name in ("left_eye", "right_eye")]
        self._eye_ids = [torch.arange(s.start, s.stop, device=like.device) for s in eyes]
        joints = np.stack([EYE_CENTRE, EYE_CENTRE * [-1, 1, 1], JAW_HINGE])
        self._joints = tensor(joints - template.origin)
        self._joint_identity = tensor(identity_basis(joints))
        self._jaw_slide, self._jaw_forward = tensor(JAW_SLIDE), tensor(JAW_FORWARD)

    def __call__(self, identity: Tensor, expression: Tensor) -> Tensor:
        """Vertices [..., V, 3] for identity [..., I] and expression [..., E]."""
        joints = self._joints + torch.einsum("...i,ijk->...jk", identity, self._joint_identity)
        points = self._rest + torch.einsum("...i,ivk->...vk", identity, self._identity)
        points = points.expand(*expression.shape[:-1], -1, -1)
        moves = torch.einsum("...e,evk->...vk", expression[..., self._components], self._moves)
        return self.turn(points.index_add(-2, self._moved, moves), joints, expression)

    def turn(self, points: Tensor, joints: Tensor, expression: Tensor) -> Tensor:
        """Lids, eyes and jaw turned: points [..., V, 3] about joints [..., 3, 3] (left eye, right eye, hinge)."""
        part = dict(zip(EXPRESSION_NAMES, expression.unbind(-1), strict=True))
        for eye, side in enumerate(SIDES):
            points = self._turn_lids(points, joints[..., eye, :], part, eye, side)
            points = self._turn_eye(points, joints[..., eye, :], part, eye, side)
        return self._turn_jaw(points, joints[..., 2, :], part)

    def _turn_lids(self, points: Tensor, centre: Tensor, part: dict[str, Tensor], eye: int, side: str) -> Tensor:
        blink, squint, wide = part["eyeBlink" + side], part["eyeSquint" + side], part["eyeWide" + side]
        up, down = part["eyeLookUp" + side], part["eyeLookDown" + side]
        # Whatever the rest asks for, a full blink closes exactly.
        upper = blink + (1 - blink) * (0.45 * down + 0.20 * squint - 0.35 * wide - 0.20 * up)
        lower = blink + (1 - blink) * (0.60 * squint - 0.45 * down - 0.15 * wide)
        angle = upper[..., None] * self._lid_angles[eye][0] + lower[..., None] * self._lid_angles[eye][1]
        rotation = axis_angle_to_matrix(angle[..., None] * self._lid_axes[eye])
        ids = self._lid_ids[eye]
        return points.index_copy(-2, ids, _turn(points[..., ids, :], centre, rotation))

    def _turn_eye(self, points: Tensor, centre: Tensor, part: dict[str, Tensor], eye: int, side: str) -> Tensor:
        if not len(self._eye_ids[eye]):
            return points
        degree = torch.pi / 180
        gaze = {name: GAZE_DEGREES[name] * degree * part[f"eyeLook{name}{side}"] for name in GAZE_DEGREES}
        outwards = 1 if side == "Left" else -1
        pitch, yaw = gaze["Down"] - gaze["Up"], outwards * (gaze["Out"] - gaze["In"])
        rotation = axis_angle_to_matrix(torch.stack([pitch, yaw, torch.zeros_like(yaw)], dim=-1))
        ids = self._eye_ids[eye]
        return points.index_copy(-2, ids, _turn(points[..., ids, :], centre, rotation))

    def _turn_jaw(self, points: Tensor, hinge: Tensor, part: dict[str, Tensor]) -> Tensor:
        degree = torch.pi / 180
        opening = part["jawOpen"]
        sideways = part["jawLeft"] - part["jawRight"]
        turn = torch.stack([opening * JAW_OPEN_DEGREES, sideways * JAW_SIDE_DEGREES, torch.zeros_like(opening)], dim=-1)
        slide = opening[..., None] * self._jaw_slide + part["jawForward"][..., None] * self._jaw_forward
        weight = self._jaw + part["mouthClose"][..., None] * (self._jaw_closed - self._jaw)
        rotation = axis_angle_to_matrix(weight[..., None] * (turn * degree)[..., None, :])
        ids = self._jaw_ids
        turned = _turn(points[..., ids, :], hinge, rotation) + weight[..., None] * slide[..., None, :]
        return points.index_copy(-2, ids, turned)
