"""The whole head at rest: skin and parts in one list of vertices, with everything that moves them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ._procedural_body import shirt
from ._procedural_ear import ear
from ._procedural_expressions import EXPRESSION_NAMES, TONGUE_OUT
from ._procedural_grid import COLUMNS, EYE_LAYERS, MOUTH_SKIN_LAYERS, HeadGrid, build_grid, split_quads
from ._procedural_identity import identity_basis
from ._procedural_landmarks import find_landmarks
from ._procedural_parts import Part, eyeball, jaw_parts, mirrored
from ._procedural_rig import build_skin_rig, smooth_step
from ._procedural_skin import build_skin

MATERIALS = ("skin", "mouth", "eye", "teeth", "cloth", "hair", "brows", "lashes")
NECK_PIVOT = np.array([0.0, -0.98, -0.88])
ROW_TEXTURE = ((0, 0.12), (33, 0.22), (130, 0.90), (148, 0.995))  # row of the grid to v


@dataclass(frozen=True)
class Template:
    """The neutral mean head in canonical space and its motion.

    Attributes:
        vertices: [V, 3].
        triangles: [F, 3].
        uvs: [U, 2].
        triangle_uvs: [F, 3].
        triangle_materials: [F] into ``MATERIALS``.
        slices: vertices of each part by name; ``"skin"`` comes first.
        head: topology of the skin.
        origin: position [3] of the canonical origin in sculpting space.
        identity: basis [I, V, 3].
        jaw, jaw_lips_closed: weights [V].
        lid_angle: [2, 2, V], see ``SkinRig``.
        moves: displacement [E, V, 3] of each expression component.
        landmarks: [68].
        face_region: [R].
        head_weights: [V].
    """

    vertices: np.ndarray
    triangles: np.ndarray
    uvs: np.ndarray
    triangle_uvs: np.ndarray
    triangle_materials: np.ndarray
    slices: dict[str, slice]
    head: HeadGrid
    origin: np.ndarray
    identity: np.ndarray
    jaw: np.ndarray
    jaw_lips_closed: np.ndarray
    lid_angle: np.ndarray
    moves: np.ndarray
    landmarks: np.ndarray
    face_region: np.ndarray
    head_weights: np.ndarray


def _skin_part(head: HeadGrid, points: np.ndarray) -> Part:
    """Skin outside, cavity of the mouth inside, as one part; materials are told apart later by texture corner."""
    triangles, corners = split_quads(head.quads)
    layout = head.quad_uvs.reshape(-1, 2)
    v = np.interp(layout[:, 1], *np.array(ROW_TEXTURE).T)
    uvs = np.stack([layout[:, 0] / COLUMNS + 0.5, v], axis=1)
    unique, inverse = np.unique(np.round(uvs, 9), axis=0, return_inverse=True)
    return Part("skin", "skin", points, triangles, unique, inverse.reshape(-1)[corners])


def _cavity_mask(head: HeadGrid) -> np.ndarray:
    """Skin vertices [V] on or behind the line where the lips meet."""
    inside = np.zeros(head.count, dtype=bool)
    inside[head.mouth.vertices[MOUTH_SKIN_LAYERS + 8 :]] = True
    inside[head.mouth_pole] = True
    return inside


def face_mask(points: np.ndarray, head: HeadGrid) -> np.ndarray:
    """Skin vertices [V] on the front of the face."""
    x, y, z = points.T
    inside = np.zeros(head.count, dtype=bool)
    inside[head.mouth.vertices[MOUTH_SKIN_LAYERS + 5 :]] = True
    inside[head.mouth_pole] = True
    for eye in (head.left_eye, head.right_eye):
        inside[eye.vertices[EYE_LAYERS:]] = True
    oval = (x / 0.74) ** 2 + ((y + 0.28) / 0.90) ** 2 < 1
    return oval & (z > -0.35) & (y > -1.02 - 0.3 * (z + 0.1)) & ~inside


def _head_weights(parts: list[Part]) -> np.ndarray:
    weights = []
    for part in parts:
        y, z = part.vertices[:, 1], part.vertices[:, 2]
        top = np.interp(z, [-1.4, -0.45, 0.1], [-0.72, -1.08, -1.22])  # the throat bends lower than the nape
        moving = smooth_step(y, top - 0.65, top) if part.name == "skin" else np.ones(len(y))
        weights.append(0 * moving if part.material == "cloth" else moving)
    return np.concatenate(weights)


@lru_cache(maxsize=1)
def build_template() -> Template:
    """Sculpt the head (a few seconds the first time in a process)."""
    head = build_grid()
    points = build_skin(head)
    left_eye, left_ear = eyeball("left_eye", 1), ear("left_ear")
    fixed, moving = jaw_parts()
    parts = [_skin_part(head, points), left_eye, eyeball("right_eye", -1), left_ear, mirrored(left_ear, "right_ear")]
    parts += [*fixed, *moving, *shirt()]
    starts = np.cumsum([0] + [len(p.vertices) for p in parts])
    uv_starts = np.cumsum([0] + [len(p.uvs) for p in parts])
    slices = {p.name: slice(a, b) for p, a, b in zip(parts, starts[:-1], starts[1:], strict=True)}
    vertices = np.concatenate([p.vertices for p in parts])
    triangles = np.concatenate([p.triangles + s for p, s in zip(parts, starts[:-1], strict=True)])
    materials = np.concatenate([np.full(len(p.triangles), MATERIALS.index(p.material)) for p in parts])
    rig = build_skin_rig(head, points)
    count, skin = len(vertices), head.count
    jaw, closed = np.zeros(count), np.zeros(count)
    jaw[:skin], closed[:skin] = rig.jaw, rig.jaw_lips_closed
    for part in moving:
        jaw[slices[part.name]] = closed[slices[part.name]] = 1
    lid_angle = np.zeros((2, 2, count))
    lid_angle[:, :, :skin] = rig.lid_angle
    moves = np.zeros((len(EXPRESSION_NAMES), count, 3))
    for name, move in rig.moves.items():
        moves[EXPRESSION_NAMES.index(name), :skin] = move
    tip = vertices[slices["tongue"]][:, 2]
    moves[EXPRESSION_NAMES.index("tongueOut"), slices["tongue"]] = TONGUE_OUT * smooth_step(tip, -0.35, 0.15)[:, None]
    region = np.flatnonzero(face_mask(points, head))
    origin = points[region].mean(0)
    cavity = _cavity_mask(head)
    in_cavity = np.zeros(len(triangles), dtype=bool)
    first = len(parts[0].triangles)
    in_cavity[:first] = cavity[parts[0].triangles].all(1)
    materials[in_cavity] = MATERIALS.index("mouth")
    return Template(
        vertices - origin,
        triangles,
        np.concatenate([p.uvs for p in parts]),
        np.concatenate([p.triangle_uvs + s for p, s in zip(parts, uv_starts[:-1], strict=True)]),
        materials,
        slices,
        head,
        origin,
        identity_basis(vertices) * (vertices[:, 1] > -9)[None, :, None],
        jaw,
        closed,
        lid_angle,
        moves,
        find_landmarks(head, points),
        region,
        _head_weights(parts),
    )
