"""Hair, brows and lashes of the built-in head: ribbons rooted on its skin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._procedural_rig import smooth_step
from ._procedural_template import Template
from ._procedural_textures import hairline
from .hair import HAIR_STYLES, grow_hair, scatter_on_surface


@dataclass(frozen=True)
class ScalpHair:
    """Hair in each of the S styles, on the same roots.

    Attributes:
        root_triangles: vertex ids of the triangle under each root [N, 3].
        root_weights: barycentric weights [N, 3].
        offsets: ribbon vertices relative to their root [S, N, K, 3].
        triangles: [F, 3] into the N * K ribbon vertices.
        uvs: [N * K, 2].
    """

    root_triangles: np.ndarray
    root_weights: np.ndarray
    offsets: np.ndarray
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


def scalp_hair(template: Template, strands: int) -> ScalpHair:
    """Hair of every style on the template's scalp."""
    skin = template.slices["skin"]
    points = template.vertices[skin] + template.origin
    triangles = template.triangles[template.triangles.max(1) < skin.stop]
    density = smooth_step(hairline(points), 0.0, 0.05)
    chosen, weights = scatter_on_surface(points, triangles, density, strands, seed=11)
    normals = vertex_normals(points, triangles)
    corner_ids = triangles[chosen]
    roots = (points[corner_ids] * weights[..., None]).sum(1)
    root_normals = (normals[corner_ids] * weights[..., None]).sum(1)
    root_normals /= np.linalg.norm(root_normals, axis=1, keepdims=True)
    grown = [grow_hair(roots, root_normals, style, seed=12) for style in HAIR_STYLES.values()]
    offsets = np.stack([g.offsets.reshape(strands, -1, 3) for g in grown])
    return ScalpHair(corner_ids, weights, offsets, grown[0].triangles, grown[0].uvs)
