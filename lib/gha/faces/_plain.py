"""What face models without textures look like: one colour, and one weight for the whole head."""

from __future__ import annotations

import numpy as np

from .face_model import Appearance, Material

SKIN = (198, 150, 130)


def plain_appearance(triangles: np.ndarray) -> Appearance:
    """Skin of one colour on triangles [F, 3]."""
    count = len(triangles)
    texture = np.full((8, 8, 3), SKIN, dtype=np.uint8)
    return Appearance(
        uvs=np.full((1, 2), 0.5, dtype=np.float32),
        triangle_uvs=np.zeros((count, 3), dtype=np.int64),
        triangle_materials=np.zeros(count, dtype=np.int64),
        materials=(Material("skin", texture, two_sided=True),),
    )


def facing_outwards(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Triangles [F, 3] of a head or the front of one, all turned round if they are clockwise seen from outside."""
    corners = vertices[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outwards = corners.mean(1) - vertices.mean(0)
    return triangles if (normals * outwards).sum() > 0 else triangles[:, ::-1].copy()
