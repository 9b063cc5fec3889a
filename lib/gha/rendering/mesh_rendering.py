"""Drawing a triangle mesh: hard visibility, smooth everything else."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gha.geometry import Camera

from .mesh_interpolation import face_normals, find_covered, interpolate, perspective_weights, scatter_pixels
from .mesh_projection import ScreenMesh, project_mesh, unflatten_images
from .mesh_silhouette import SOFT_REACH, soft_silhouette
from .mesh_visibility import NEAR, find_visible


@dataclass(frozen=True)
class MeshRendering:
    """Images of a mesh; everything is zero where nothing is covered, except ``soft_mask`` near the outline.

    Attributes:
        attributes: [..., (V,) C, H, W], differentiable in attributes and vertices.
        mask: [..., (V,) 1, H, W], 1 where a front face covers the pixel centre, else 0; no gradient.
        soft_mask: [..., (V,) 1, H, W], 1 where covered, else falling to 0 with the distance to the outline in pixels.
        depth: [..., (V,) 1, H, W] z-depth in camera space.
        normals: [..., (V,) 3, H, W] unit normals of the flat faces in world space; they face the camera.
    """

    attributes: Tensor
    mask: Tensor
    soft_mask: Tensor
    depth: Tensor
    normals: Tensor


def render_mesh(
    vertices: Tensor,
    triangles: Tensor,
    attributes: Tensor,
    camera: Camera,
    backend: str = "auto",
    near: float = NEAR,
) -> MeshRendering:
    """Draw a triangle mesh into every camera, back faces culled.

    Gradients reach the vertices through the interpolated values and, across the outline, through ``soft_mask``.

    Args:
        vertices: [..., Nv, 3] in world space.
        triangles: [F, 3] vertex ids, counter-clockwise as seen from outside; shared by all geometries.
        attributes: [..., Nv, C] one row per vertex; leading dimensions may be left out to share them. Time and memory
            go with C: pass only the channels that are looked at.
        camera: leading dimensions as the vertices', or those plus [V], or none.
        backend: "numba" (CPU), "triton" (CUDA), "torch", "reference" (slow), or "auto".
        near: world units; triangles with a vertex at z <= near are not drawn.
    """
    mesh = project_mesh(vertices, triangles, camera, near)
    attributes = _per_geometry(attributes, vertices)
    face_ids, edge_ids = find_visible(mesh, backend, SOFT_REACH)
    soft_mask = soft_silhouette(mesh, face_ids, edge_ids)
    images = _draw_covered(mesh, face_ids, vertices.reshape(-1, *vertices.shape[-2:]), attributes)
    mask = (face_ids >= 0).to(soft_mask.dtype)[:, None]
    colour, depth, normals = (unflatten_images(mesh, image) for image in images)
    return MeshRendering(colour, unflatten_images(mesh, mask), unflatten_images(mesh, soft_mask), depth, normals)


def _draw_covered(
    mesh: ScreenMesh, face_ids: Tensor, vertices: Tensor, attributes: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Attributes, depth and normals [I, C | 1 | 3, H, W]."""
    pixels = find_covered(mesh, face_ids)
    weights, depth = perspective_weights(mesh, pixels)
    values = interpolate(mesh, pixels, weights, attributes), depth, face_normals(mesh, pixels, vertices)
    colour, depth, normals = (scatter_pixels(mesh, pixels.index, value) for value in values)
    return colour, depth, normals


def _per_geometry(attributes: Tensor, vertices: Tensor) -> Tensor:
    """Attributes as [B, Nv, C], repeated where their leading dimensions were left out."""
    if attributes.dim() < 2 or attributes.shape[-2] != vertices.shape[-2]:
        raise ValueError(
            f"attributes have shape {list(attributes.shape)}, expected one row for each of "
            f"{vertices.shape[-2]} vertices"
        )
    shape = (*vertices.shape[:-1], attributes.shape[-1])
    return attributes.expand(shape).reshape(-1, *shape[-2:])
