"""Hair, brows and lashes of the built-in head: ribbons rooted on its skin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._procedural_grid import EYE_LAYERS
from ._procedural_rig import smooth_step
from ._procedural_template import Template
from ._procedural_textures import above_hairline, brow_density
from .hair import HAIR_STYLES, grow_hair, ribbon_triangles, scatter_on_surface, strand_uvs

BROW_STRANDS, BROW_POINTS = 900, 3
LASHES = ((1, 90, 0.068), (-1, 44, 0.030))  # upper and lower lid: side, number per eye, length in dm
LASH_POINTS = 4


@dataclass(frozen=True)
class Rooted:
    """N ribbons rooted on triangles of the skin, in S alternative shapes.

    Attributes:
        material: name of their material.
        root_triangles: vertex ids of the triangle under each root [N, 3].
        root_weights: barycentric weights [N, 3].
        offsets: ribbon vertices relative to their root [S, N, K, 3].
        turning: offsets are along the edge, across it in the plane, and along the normal of the root's triangle, so
            that ribbons turn with the skin; otherwise they are along the axes of space.
        triangles: [F, 3] into the N * K ribbon vertices.
        uvs: [N * K, 2].
    """

    material: str
    root_triangles: np.ndarray
    root_weights: np.ndarray
    offsets: np.ndarray
    turning: bool
    triangles: np.ndarray
    uvs: np.ndarray


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals [V, 3]."""
    corners = vertices[triangles]
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.stack(
        [sum(np.bincount(triangles[:, k], face[:, d], len(vertices)) for k in range(3)) for d in range(3)], axis=1
    )
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


def _skin_of(template: Template) -> tuple[np.ndarray, np.ndarray]:
    """Vertices in sculpting space and triangles of the skin alone."""
    skin = template.slices["skin"]
    return template.vertices[skin] + template.origin, template.triangles[template.triangles.max(1) < skin.stop]


def scalp_hair(template: Template, strands: int) -> Rooted:
    """Hair of every style on the template's scalp."""
    points, triangles = _skin_of(template)
    above = above_hairline(points)
    beside_ear = (np.abs(points[:, 2] + 0.86) < 0.17) & (points[:, 1] < 0.10) & (points[:, 1] > -0.47)
    density = smooth_step(above, -0.02, 0.05) * ~beside_ear * (points[:, 1] > -0.7)
    chosen, weights = scatter_on_surface(points, triangles, density, strands, seed=11)
    corner_ids = triangles[chosen]
    roots = (points[corner_ids] * weights[..., None]).sum(1)
    normals = (vertex_normals(points, triangles)[corner_ids] * weights[..., None]).sum(1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    low_side = smooth_step(-roots[:, 1], -0.35, 0.1)
    over_ear = np.exp(-(((roots[:, 2] + 0.86) / 0.20) ** 2)) * (1 - smooth_step(roots[:, 1], 0.15, 0.45))
    growth = (
        (1 - 0.75 * over_ear) * (1 - 0.55 * low_side) * (0.35 + 0.65 * smooth_step(above_hairline(roots), 0.0, 0.15))
    )
    thickness = min((6000 / strands) ** 0.7, 3.0)
    grown = [grow_hair(roots, normals, style, 12, growth, thickness) for style in HAIR_STYLES.values()]
    offsets = np.stack([g.offsets.reshape(strands, -1, 3) for g in grown])
    return Rooted("hair", corner_ids, weights, offsets, False, grown[0].triangles, grown[0].uvs)


def _frames(corners: np.ndarray) -> np.ndarray:
    """Rows edge, across, normal [N, 3, 3] of triangles [N, 3, 3]."""
    edge = corners[:, 1] - corners[:, 0]
    normal = np.cross(edge, corners[:, 2] - corners[:, 0])
    edge, normal = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (edge, normal))
    return np.stack([edge, np.cross(normal, edge), normal], axis=1)


def _rooted_paths(
    material: str,
    points: np.ndarray,
    corner_ids: np.ndarray,
    weights: np.ndarray,
    path: np.ndarray,
    width: float,
    rng: np.random.Generator,
) -> Rooted:
    """Ribbons along paths [N, P, 3] relative to their roots, turning with the skin."""
    count, length = path.shape[:2]
    along = path[:, -1] - path[:, 0]
    across = np.cross(along, rng.normal(size=along.shape))
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    taper = width * (1 - 0.85 * np.linspace(0, 1, length))[None, :, None] / 2
    ribbons = np.stack([path - across[:, None] * taper, path + across[:, None] * taper], axis=2).reshape(count, -1, 3)
    local = ribbons @ _frames(points[corner_ids]).transpose(0, 2, 1)
    triangles, uvs = ribbon_triangles(count, length), strand_uvs(count, length, rng)
    return Rooted(material, corner_ids, weights, local[None].astype(np.float32), True, triangles, uvs)


def brows(template: Template) -> Rooted:
    """Short hairs that lie along the brows, rising at the inner ends."""
    points, triangles = _skin_of(template)
    rng = np.random.default_rng(21)
    chosen, weights = scatter_on_surface(points, triangles, brow_density(points), BROW_STRANDS, seed=22)
    corner_ids = triangles[chosen]
    root = (points[corner_ids] * weights[..., None]).sum(1)
    normal = _frames(points[corner_ids])[:, 2]
    side = np.sign(root[:, :1])
    outer = smooth_step(np.abs(root[:, :1]), 0.10, 0.45)
    direction = np.concatenate([side * (0.45 + 0.55 * outer), 0.75 - 1.05 * outer, -0.3 * outer], axis=1)
    direction += rng.normal(size=direction.shape) * 0.18
    direction -= 0.85 * (direction * normal).sum(1, keepdims=True) * normal
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    length = (0.05 + 0.035 * rng.random(BROW_STRANDS))[:, None, None]
    t = np.linspace(0, 1, BROW_POINTS)[None, :, None]
    path = (direction[:, None] * t + normal[:, None] * (0.16 * np.sin(np.pi * t * 0.8) + 0.03)) * length
    return _rooted_paths("brows", points, corner_ids, weights, path, 0.0048, rng)


def lashes(template: Template) -> Rooted:
    """Curved lashes along the edges of the lids."""
    points, _ = _skin_of(template)
    rng = np.random.default_rng(31)
    corner_ids, paths = [], []
    for eye in (template.head.left_eye, template.head.right_eye):
        edge, margin = eye.vertices[EYE_LAYERS - 1], eye.vertices[EYE_LAYERS]
        n = len(edge)
        for side, count, length in LASHES:
            at = np.linspace(0.07, 0.43, count) + rng.normal(size=count) * 0.004
            index = (np.round(at * n).astype(int) if side > 0 else np.round((1 - at) * n).astype(int)) % n
            corner_ids.append(np.stack([edge[index], edge[(index + 1) % n], margin[index]], axis=1))
            paths.append(_lash_paths(points, edge[index], eye.vertices[EYE_LAYERS - 1], side, length, rng))
    ids = np.concatenate(corner_ids)
    weights = np.broadcast_to([0.4, 0.35, 0.25], ids.shape).copy()
    return _rooted_paths("lashes", points, ids, weights, np.concatenate(paths), 0.0055, rng)


def _lash_paths(
    points: np.ndarray, roots: np.ndarray, ring: np.ndarray, side: int, length: float, rng: np.random.Generator
) -> np.ndarray:
    """Paths [N, P, 3] that leave a lid forwards and bend away from the eye."""
    middle = points[ring].mean(0)
    away = (points[roots] - middle) / np.abs(points[ring] - middle).max(0)
    fan = np.stack([0.55 * away[:, 0], 0 * away[:, 1], 0 * away[:, 2]], axis=1)
    forward = np.array([0, -0.25 * side, 1.0]) + fan + rng.normal(size=(len(roots), 3)) * 0.10
    bend = np.array([0, 1.0 * side, 0.15]) + 0.5 * fan
    t = np.linspace(0, 1, LASH_POINTS)[None, :, None]
    size = (length * (0.75 + 0.35 * rng.random(len(roots))) * (1 - 0.35 * np.abs(away[:, 0])))[:, None, None]
    return (forward[:, None] * t * (1 - 0.35 * t) + bend[:, None] * 0.55 * t**2) * size
