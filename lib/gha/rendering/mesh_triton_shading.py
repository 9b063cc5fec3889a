"""Attributes and soft silhouettes on CUDA with their gradients: one launch each, where tensor operations take hundreds.

The formulas are those of ``mesh_interpolation`` and ``mesh_silhouette``; every pixel is looked at, so that no size
depends on what is covered and the host waits for nothing.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .mesh_interpolation import MIN_WEIGHT
from .mesh_projection import ScreenMesh
from .mesh_silhouette import LOWEST, SOFT_SCALE

MIN_AREA: tl.constexpr = tl.constexpr(MIN_WEIGHT)
_PIXELS = 128
"""Pixels per program."""


def draw_attributes(mesh: ScreenMesh, face_ids: Tensor, attributes: Tensor) -> Tensor:
    """Images [I, C, H, W] of attributes [B, Nv, C], zero where ``face_ids`` [I, H, W] is negative; differentiable."""
    return _Attributes.apply(mesh.points, attributes.to(mesh.points.dtype), mesh, face_ids)


def draw_silhouette(mesh: ScreenMesh, face_ids: Tensor, edge_ids: Tensor) -> Tensor:
    """Soft masks [I, 1, H, W], differentiable in the points.

    Args:
        mesh: the projected mesh.
        face_ids: [I, H, W], -1 on uncovered pixels.
        edge_ids: [I, H, W], 3 * face + k for the nearest edge (corner k to the next), -1 where none is in reach.
    """
    return _Silhouette.apply(mesh.points, mesh, face_ids, edge_ids)


class _Attributes(Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, attributes: Tensor, mesh: ScreenMesh, face_ids: Tensor) -> Tensor:
        points, attributes = points.contiguous(), attributes.contiguous()
        ctx.mesh = mesh
        ctx.save_for_backward(points, attributes, face_ids)
        images = attributes.new_empty(*face_ids.shape, attributes.shape[-1])
        _launch(_attributes_forward, mesh, points, face_ids, attributes, images, mesh.views, attributes.shape[-1])
        return images.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        points, attributes, face_ids = ctx.saved_tensors
        gradient = gradient.permute(0, 2, 3, 1).contiguous()
        of_points, of_attributes = torch.zeros_like(points), torch.zeros_like(attributes)
        arrays = attributes, gradient, of_points, of_attributes
        _launch(_attributes_backward, ctx.mesh, points, face_ids, *arrays, ctx.mesh.views, attributes.shape[-1])
        return of_points, of_attributes, None, None


class _Silhouette(Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, mesh: ScreenMesh, face_ids: Tensor, edge_ids: Tensor) -> Tensor:
        points = points.contiguous()
        ctx.mesh = mesh
        ctx.save_for_backward(points, edge_ids)
        masks = points.new_empty(mesh.image_count, 1, mesh.height, mesh.width)
        _launch(_silhouette_forward, mesh, points, edge_ids, face_ids, masks, SOFT_SCALE**2, LOWEST)
        return masks

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        points, edge_ids = ctx.saved_tensors
        of_points = torch.zeros_like(points)
        arrays = gradient.contiguous(), of_points
        _launch(_silhouette_backward, ctx.mesh, points, edge_ids, *arrays, SOFT_SCALE**2, LOWEST)
        return of_points, None, None, None


def _launch(kernel: Any, mesh: ScreenMesh, points: Tensor, ids: Tensor, *arguments: Tensor | float) -> None:
    """Run a kernel over all pixels of the images."""
    count, triangles = mesh.image_count * mesh.height * mesh.width, mesh.triangles.contiguous()
    sizes = count, mesh.width, mesh.height, mesh.vertex_count
    with torch.cuda.device_of(points):
        kernel[(triton.cdiv(count, _PIXELS),)](points, triangles, ids.contiguous(), *sizes, *arguments, PIXELS=_PIXELS)


@triton.jit
def _attributes_forward(
    points: tl.tensor,
    triangles: tl.tensor,
    face_ids: tl.tensor,
    count: tl.tensor,
    width: tl.tensor,
    height: tl.tensor,
    vertex_count: tl.tensor,
    attributes: tl.tensor,
    images: tl.tensor,
    views: tl.tensor,
    channels: tl.tensor,
    PIXELS: tl.constexpr,
) -> None:
    pixel, image, px, py, live = _my_pixels(count, width, height, PIXELS)
    face = tl.load(face_ids + pixel, mask=live, other=-1)
    covered = face >= 0
    va, ax, ay, az = _load_vertex(points, triangles, face * 3, image, px, py, vertex_count, covered)
    vb, bx, by, bz = _load_vertex(points, triangles, face * 3 + 1, image, px, py, vertex_count, covered)
    vc, cx, cy, cz = _load_vertex(points, triangles, face * 3 + 2, image, px, py, vertex_count, covered)
    a = _clamped(by * cx - cy * bx) / az
    b = _clamped(cy * ax - ay * cx) / bz
    c = _clamped(ay * bx - by * ax) / cz
    total = a + b + c
    first = image // views * vertex_count
    for channel in range(channels):
        value = a * tl.load(attributes + (first + va) * channels + channel, mask=covered, other=0.0)
        value += b * tl.load(attributes + (first + vb) * channels + channel, mask=covered, other=0.0)
        value += c * tl.load(attributes + (first + vc) * channels + channel, mask=covered, other=0.0)
        tl.store(images + pixel * channels + channel, tl.where(covered, value / total, 0.0), mask=live)


@triton.jit
def _attributes_backward(
    points: tl.tensor,
    triangles: tl.tensor,
    face_ids: tl.tensor,
    count: tl.tensor,
    width: tl.tensor,
    height: tl.tensor,
    vertex_count: tl.tensor,
    attributes: tl.tensor,
    gradient: tl.tensor,
    of_points: tl.tensor,
    of_attributes: tl.tensor,
    views: tl.tensor,
    channels: tl.tensor,
    PIXELS: tl.constexpr,
) -> None:
    pixel, image, px, py, live = _my_pixels(count, width, height, PIXELS)
    face = tl.load(face_ids + pixel, mask=live, other=-1)
    covered = face >= 0
    va, ax, ay, az = _load_vertex(points, triangles, face * 3, image, px, py, vertex_count, covered)
    vb, bx, by, bz = _load_vertex(points, triangles, face * 3 + 1, image, px, py, vertex_count, covered)
    vc, cx, cy, cz = _load_vertex(points, triangles, face * 3 + 2, image, px, py, vertex_count, covered)
    area_a, area_b, area_c = by * cx - cy * bx, cy * ax - ay * cx, ay * bx - by * ax
    a, b, c = _clamped(area_a) / az, _clamped(area_b) / bz, _clamped(area_c) / cz
    total = a + b + c
    a, b, c = a / total, b / total, c / total
    first = image // views * vertex_count
    of_a, of_b, of_c = tl.zeros_like(ax), tl.zeros_like(ax), tl.zeros_like(ax)
    for channel in range(channels):
        slope = tl.load(gradient + pixel * channels + channel, mask=covered, other=0.0)
        place_a = (first + va) * channels + channel
        place_b = (first + vb) * channels + channel
        place_c = (first + vc) * channels + channel
        of_a += slope * tl.load(attributes + place_a, mask=covered, other=0.0)
        of_b += slope * tl.load(attributes + place_b, mask=covered, other=0.0)
        of_c += slope * tl.load(attributes + place_c, mask=covered, other=0.0)
        tl.atomic_add(of_attributes + place_a, slope * a, mask=covered)
        tl.atomic_add(of_attributes + place_b, slope * b, mask=covered)
        tl.atomic_add(of_attributes + place_c, slope * c, mask=covered)
    # Through the normalisation, then through the quotients area / depth, then through the areas.
    mean = of_a * a + of_b * b + of_c * c
    of_a, of_b, of_c = (of_a - mean) / total, (of_b - mean) / total, (of_c - mean) / total
    za, zb, zc = -of_a * a * total / az, -of_b * b * total / bz, -of_c * c * total / cz
    of_a, of_b, of_c = _unclamped(of_a / az, area_a), _unclamped(of_b / bz, area_b), _unclamped(of_c / cz, area_c)
    row = image * vertex_count
    _add_to_vertex(of_points, row + va, of_b * cy - of_c * by, of_c * bx - of_b * cx, za, covered)
    _add_to_vertex(of_points, row + vb, of_c * ay - of_a * cy, of_a * cx - of_c * ax, zb, covered)
    _add_to_vertex(of_points, row + vc, of_a * by - of_b * ay, of_b * ax - of_a * bx, zc, covered)


@triton.jit
def _silhouette_forward(
    points: tl.tensor,
    triangles: tl.tensor,
    edge_ids: tl.tensor,
    count: tl.tensor,
    width: tl.tensor,
    height: tl.tensor,
    vertex_count: tl.tensor,
    face_ids: tl.tensor,
    masks: tl.tensor,
    scale_squared: tl.tensor,
    lowest: tl.tensor,
    PIXELS: tl.constexpr,
) -> None:
    pixel, image, px, py, live = _my_pixels(count, width, height, PIXELS)
    edge = tl.load(edge_ids + pixel, mask=live, other=-1)
    near = edge >= 0
    _, sx, sy, _ = _load_vertex(points, triangles, edge, image, px, py, vertex_count, near)
    _, ex, ey, _ = _load_vertex(points, triangles, _next_corner(edge), image, px, py, vertex_count, near)
    along = _along(sx, sy, ex, ey)
    ox, oy = sx + along * (ex - sx), sy + along * (ey - sy)
    soft = tl.maximum((tl.exp(-(ox * ox + oy * oy) / scale_squared) - lowest) / (1 - lowest), 0.0)
    covered = tl.load(face_ids + pixel, mask=live, other=-1) >= 0
    tl.store(masks + pixel, tl.where(near, soft, tl.where(covered, 1.0, 0.0)), mask=live)


@triton.jit
def _silhouette_backward(
    points: tl.tensor,
    triangles: tl.tensor,
    edge_ids: tl.tensor,
    count: tl.tensor,
    width: tl.tensor,
    height: tl.tensor,
    vertex_count: tl.tensor,
    gradient: tl.tensor,
    of_points: tl.tensor,
    scale_squared: tl.tensor,
    lowest: tl.tensor,
    PIXELS: tl.constexpr,
) -> None:
    pixel, image, px, py, live = _my_pixels(count, width, height, PIXELS)
    edge = tl.load(edge_ids + pixel, mask=live, other=-1)
    near = edge >= 0
    start, sx, sy, _ = _load_vertex(points, triangles, edge, image, px, py, vertex_count, near)
    end, ex, ey, _ = _load_vertex(points, triangles, _next_corner(edge), image, px, py, vertex_count, near)
    along = _along(sx, sy, ex, ey)
    ox, oy = sx + along * (ex - sx), sy + along * (ey - sy)
    bell = tl.exp(-(ox * ox + oy * oy) / scale_squared)
    slope = tl.load(gradient + pixel, mask=near, other=0.0)
    # The nearest point is the minimum along the edge, or its end: where it lies on the edge has no slope.
    slope = tl.where(bell >= lowest, -2 * slope * bell / (scale_squared * (1 - lowest)), 0.0)
    row, zero = image * vertex_count, tl.zeros_like(slope)
    _add_to_vertex(of_points, row + start, slope * ox * (1 - along), slope * oy * (1 - along), zero, near)
    _add_to_vertex(of_points, row + end, slope * ox * along, slope * oy * along, zero, near)


@triton.jit
def _my_pixels(
    count: tl.tensor, width: tl.tensor, height: tl.tensor, PIXELS: tl.constexpr
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """Flat positions, images and centres of this program's pixels, and which of them there are."""
    pixel = tl.program_id(0).to(tl.int64) * PIXELS + tl.arange(0, PIXELS)
    px = (pixel % width).to(tl.float32) + 0.5
    py = (pixel // width % height).to(tl.float32) + 0.5
    return pixel, pixel // width // height, px, py, pixel < count


@triton.jit
def _load_vertex(
    points: tl.tensor,
    triangles: tl.tensor,
    corner: tl.tensor,
    image: tl.tensor,
    px: tl.tensor,
    py: tl.tensor,
    vertex_count: tl.tensor,
    live: tl.tensor,
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """Id, position relative to the pixel and depth of the vertex at a corner (3 * face + k)."""
    vertex = tl.load(triangles + corner, mask=live, other=0)
    place = points + (image * vertex_count + vertex) * 3
    x = tl.load(place, mask=live, other=0.0) - px
    y = tl.load(place + 1, mask=live, other=0.0) - py
    return vertex, x, y, tl.load(place + 2, mask=live, other=1.0)


@triton.jit
def _add_to_vertex(
    of_points: tl.tensor, row: tl.tensor, x: tl.tensor, y: tl.tensor, z: tl.tensor, live: tl.tensor
) -> None:
    tl.atomic_add(of_points + row * 3, x, mask=live)
    tl.atomic_add(of_points + row * 3 + 1, y, mask=live)
    tl.atomic_add(of_points + row * 3 + 2, z, mask=live)


@triton.jit
def _clamped(area: tl.tensor) -> tl.tensor:
    return tl.maximum(area, MIN_AREA)


@triton.jit
def _unclamped(slope: tl.tensor, area: tl.tensor) -> tl.tensor:
    """The slope where the area is not clamped."""
    return tl.where(area >= MIN_AREA, slope, 0.0)


@triton.jit
def _next_corner(corner: tl.tensor) -> tl.tensor:
    """The next corner of the same face."""
    return tl.where(corner % 3 == 2, corner - 2, corner + 1)


@triton.jit
def _along(sx: tl.tensor, sy: tl.tensor, ex: tl.tensor, ey: tl.tensor) -> tl.tensor:
    """Where on a segment, from 0 to 1, the point nearest to the origin lies."""
    dx, dy = ex - sx, ey - sy
    along = -(sx * dx + sy * dy) / tl.maximum(dx * dx + dy * dy, 1e-12)
    return tl.minimum(tl.maximum(along, 0.0), 1.0)
