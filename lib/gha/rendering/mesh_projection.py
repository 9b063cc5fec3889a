"""A mesh as a batch of cameras sees it: the one input of every visibility back end."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gha.geometry import Camera

SUBPIXELS = 4096
"""Visibility is decided on a grid of 1/4096 pixel, where edge functions are exact in float64: no gaps, no overlaps."""


@dataclass(frozen=True)
class ScreenFaces:
    """Faces in every image, gathered by corner, ready to be tested against pixels.

    Attributes:
        corners: [I, F, 3, 2] float64 positions in units of 1/4096 pixel, whole numbers.
        inverse_depth: [I, F, 3] float64.
        low: [I, F, 2] float64 left and upper end of the face, in pixels.
        high: [I, F, 2] float64 right and lower end of the face, in pixels.
        front: [I, F] whether the face turns its outside to the camera, beyond the near plane.
    """

    corners: Tensor
    inverse_depth: Tensor
    low: Tensor
    high: Tensor
    front: Tensor


@dataclass(frozen=True)
class ScreenMesh:
    """A triangle mesh projected into I images, the leading dimensions of the request flattened.

    Attributes:
        points: [I, Nv, 3] pixel x, pixel y (centres at +0.5) and z-depth; x and y mean nothing where z <= near.
        triangles: [F, 3] int64 vertex ids, counter-clockwise as seen from outside.
        batch_shape: leading dimensions of the images, whose product is I.
        views: images per geometry; image i shows geometry i // views.
        width: pixels.
        height: pixels.
        near: triangles with a vertex at z <= near are not drawn.
    """

    points: Tensor
    triangles: Tensor
    batch_shape: torch.Size
    views: int
    width: int
    height: int
    near: float

    @property
    def image_count(self) -> int:
        """I, the number of images."""
        return self.points.shape[0]

    @property
    def vertex_count(self) -> int:
        """Nv, the number of vertices of each geometry."""
        return self.points.shape[1]

    @cached_property
    def faces(self) -> ScreenFaces:
        """Corners of all faces in all images, and which of them can be seen at all; without gradients."""
        corners = snap_to_grid(self.points)[:, self.triangles]
        depth = self.points[..., 2].detach().double()[:, self.triangles]
        ab, ac = (corners[:, :, 1:] - corners[:, :, :1]).unbind(2)
        area = ab[..., 1] * ac[..., 0] - ab[..., 0] * ac[..., 1]
        front = (area > 0) & (area < torch.inf) & (depth > self.near).all(-1)
        return ScreenFaces(corners, 1 / depth, corners.amin(2) / SUBPIXELS, corners.amax(2) / SUBPIXELS, front)


def project_mesh(vertices: Tensor, triangles: Tensor, camera: Camera, near: float) -> ScreenMesh:
    """Project world vertices [..., Nv, 3] into every camera, differentiably.

    One matrix product in float64, which neither autocast nor TF32 can coarsen.
    """
    _check_mesh(vertices, triangles)
    batch_shape, views = _match_leading(vertices.shape[:-2], camera.batch_shape)
    world = vertices.reshape(-1, *vertices.shape[-2:]).double()
    matrix = (camera.K.double() @ camera.w2c.double()[..., :3, :]).expand(*batch_shape, 3, 4)
    matrix = matrix.reshape(len(world), 3 * views, 4).transpose(1, 2)
    homogeneous = (world @ matrix[:, :3] + matrix[:, 3:]).unflatten(-1, (views, 3)).transpose(1, 2)
    depth = homogeneous[..., 2:]
    pixels = homogeneous[..., :2] / torch.where(depth > near, depth, 1.0)
    points = torch.cat([pixels, depth], dim=-1).to(vertices.dtype).flatten(0, 1)
    return ScreenMesh(points, triangles.long(), batch_shape, views, camera.width, camera.height, near)


def snap_to_grid(points: Tensor) -> Tensor:
    """Pixel positions [..., 2+] as whole numbers of 1/4096 pixel, in float64 [..., 2]; not differentiable."""
    return (points[..., :2].detach().double() * SUBPIXELS + 0.5).floor()


def _match_leading(geometry: torch.Size, cameras: torch.Size) -> tuple[torch.Size, int]:
    """Leading dimensions of the images, and how many images show each geometry."""
    if cameras == geometry or not cameras:
        return geometry, 1
    if cameras[:-1] == geometry:
        return cameras, cameras[-1]
    raise ValueError(
        f"leading dimensions of the camera are {list(cameras)}, expected those of the vertices, {list(geometry)}, "
        "or those plus one dimension of views"
    )


def _check_mesh(vertices: Tensor, triangles: Tensor) -> None:
    if vertices.dim() < 2 or vertices.shape[-1] != 3:
        raise ValueError(f"vertices have shape {list(vertices.shape)}, expected [..., Nv, 3]")
    if vertices.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"vertices are {vertices.dtype}, expected float32 or float64")
    if triangles.dim() != 2 or triangles.shape[1] != 3:
        raise ValueError(f"triangles have shape {list(triangles.shape)}, expected [F, 3]")
    if triangles.is_floating_point():
        raise ValueError(f"triangles are {triangles.dtype}, expected integer vertex ids")
    if not triangles.is_cuda and triangles.numel() and not 0 <= triangles.min() <= triangles.max() < vertices.shape[-2]:
        found = f"{int(triangles.min())} to {int(triangles.max())}"
        raise ValueError(f"triangles name vertices {found}, expected 0 to {vertices.shape[-2] - 1}")


def unflatten_images(mesh: ScreenMesh, images: Tensor) -> Tensor:
    """Images [I, ...] with the leading dimensions of the request restored."""
    return images.reshape(*mesh.batch_shape, *images.shape[1:])
