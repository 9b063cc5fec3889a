"""Drawing a triangle mesh: hard visibility, smooth everything else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from gha.geometry import Camera

from .mesh_interpolation import (
    CoveredPixels,
    face_normals,
    find_covered,
    perspective_weights,
    scatter_pixels,
)
from .mesh_projection import ScreenMesh, project_mesh, unflatten_images
from .mesh_silhouette import SOFT_REACH
from .mesh_visibility import NEAR, find_visible, load_shading


@dataclass(frozen=True)
class MeshRendering:
    """Images of a mesh; everything is zero where nothing is covered, except ``soft_mask`` near the outline.

    What is not looked at is not computed: ``mask``, ``depth`` and ``normals`` are drawn when they are first asked for.

    Attributes:
        attributes: [..., (V,) C, H, W], differentiable in attributes and vertices.
        soft_mask: [..., (V,) 1, H, W], 1 where covered, else falling to 0 with the distance to the outline in pixels.
        covered: what the pixels show.
        vertices: [B, Nv, 3] in world space.
    """

    attributes: Tensor
    soft_mask: Tensor
    covered: Covered
    vertices: Tensor

    @cached_property
    def mask(self) -> Tensor:
        """[..., (V,) 1, H, W], 1 where a front face covers the pixel centre, else 0; no gradient."""
        return self.covered.images((self.covered.face_ids >= 0).to(self.soft_mask.dtype)[:, None])

    @cached_property
    def depth(self) -> Tensor:
        """[..., (V,) 1, H, W] z-depth in camera space, differentiable in the vertices."""
        return self.covered.scatter(perspective_weights(self.covered.mesh, self.covered.pixels)[1])

    @cached_property
    def normals(self) -> Tensor:
        """[..., (V,) 3, H, W] unit normals of the flat faces in world space; they face the camera."""
        return self.covered.scatter(face_normals(self.covered.mesh, self.covered.pixels, self.vertices))


@dataclass(frozen=True)
class Covered:
    """The pixels that show a face, found when they are first needed.

    Attributes:
        mesh: the projected mesh.
        face_ids: [I, H, W], -1 on uncovered pixels.
    """

    mesh: ScreenMesh
    face_ids: Tensor

    @cached_property
    def pixels(self) -> CoveredPixels:
        """Which they are."""
        return find_covered(self.mesh, self.face_ids)

    def scatter(self, values: Tensor) -> Tensor:
        """Images [..., (V,) C, H, W] of values [P, C], zero elsewhere."""
        return self.images(scatter_pixels(self.mesh, self.pixels.index, values))

    def images(self, images: Tensor) -> Tensor:
        """Images [I, C, H, W] with the leading dimensions of the request."""
        return unflatten_images(self.mesh, images)


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
    draw_attributes, draw_silhouette = load_shading(backend, vertices.device)
    soft_mask = unflatten_images(mesh, draw_silhouette(mesh, face_ids, edge_ids))
    drawn = unflatten_images(mesh, draw_attributes(mesh, face_ids, attributes))
    return MeshRendering(drawn, soft_mask, Covered(mesh, face_ids), vertices.reshape(-1, *vertices.shape[-2:]))


def _per_geometry(attributes: Tensor, vertices: Tensor) -> Tensor:
    """Attributes as [B, Nv, C], repeated where their leading dimensions were left out."""
    if attributes.dim() < 2 or attributes.shape[-2] != vertices.shape[-2]:
        raise ValueError(
            f"attributes have shape {list(attributes.shape)}, expected one row for each of "
            f"{vertices.shape[-2]} vertices"
        )
    shape = (*vertices.shape[:-1], attributes.shape[-1])
    return attributes.expand(shape).reshape(-1, *shape[-2:])
