"""The projection of Gaussians compiled for the CPU; the formulas are those of ``projection``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numba import prange
from torch import Tensor

from gha.geometry import Camera

from .footprint_gradient import footprint_gradient
from .gaussians import Gaussians
from .numba_compile import njit
from .numba_lock import KERNEL_LOCK
from .options import ALPHA_CUT, RenderOptions
from .projection import (
    LARGEST_DEVIATION,
    SMALLEST_NORM,
    Projection,
    footprint,
    intrinsics,
    log_reach,
    slope_limits,
)

_ZERO, _ONE = np.float32(0), np.float32(1)
_CUT, _LARGEST = np.float32(ALPHA_CUT), np.float32(LARGEST_DEVIATION)
_LEAST_NORM, _MOST_NORM = np.float32(SMALLEST_NORM), np.float32(1 / SMALLEST_NORM)
_INFINITY = np.float32(np.inf)

_footprint, _footprint_gradient = njit(footprint), njit(footprint_gradient)


def project_gaussians(gaussians: Gaussians, camera: Camera, options: RenderOptions) -> Projection:
    """As ``projection.project_gaussians`` for sets [B, N] and cameras [B, V] without gradients of their own."""
    numbers = [camera.w2c[..., :3, :].flatten(-2), *intrinsics(camera), *slope_limits(camera)]
    cameras = torch.cat(numbers, dim=-1)  # [B, V, 20]
    size = (camera.width, camera.height)
    return Projection(
        *_Project.apply(gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, cameras, size, options)
    )


def table(tensor: Tensor) -> np.ndarray:
    """A tensor [..., K] as an array [M, K], without copying if it is contiguous."""
    return flat(tensor).reshape(-1, tensor.shape[-1])


def flat(tensor: Tensor) -> np.ndarray:
    """A tensor as an array of one dimension, without copying if it is contiguous."""
    return tensor.detach().contiguous().numpy().reshape(-1)


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        means: Tensor,  # [B, N, 3]
        quats: Tensor,  # [B, N, 4]
        scales: Tensor,  # [B, N, 3]
        opacities: Tensor,  # [B, N]
        cameras: Tensor,  # [B, V, 20]
        size: tuple[int, int],
        options: RenderOptions,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        leading = (*cameras.shape[:2], means.shape[1])
        means2d, conics, depth, radii = (means.new_empty(*leading, *width) for width in ((2,), (3,), (), (2,)))
        ctx.numbers = tuple(np.float32(number) for number in (options.near, options.low_pass, *size))
        inputs = (means, quats, scales, opacities, cameras)
        ctx.save_for_backward(*inputs)
        outputs = (table(means2d), table(conics), flat(depth), table(radii))
        with KERNEL_LOCK:
            _project(_inputs(*inputs), flat(log_reach(opacities)), leading[1:], ctx.numbers, outputs)
        ctx.mark_non_differentiable(radii)
        return means2d, conics, depth, radii

    @staticmethod
    def backward(
        ctx: Any, grad_means2d: Tensor, grad_conics: Tensor, grad_depth: Tensor, _: Tensor
    ) -> tuple[Tensor | None, ...]:
        incoming = (table(grad_means2d), table(grad_conics), flat(grad_depth))
        gradients = tuple(value.new_zeros(value.shape) for value in ctx.saved_tensors[:3])
        outputs = tuple(table(gradient) for gradient in gradients)
        with KERNEL_LOCK:
            _unproject(_inputs(*ctx.saved_tensors), tuple(grad_depth.shape[1:]), ctx.numbers, incoming, outputs)
        return (*gradients, None, None, None, None)


def _inputs(means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, cameras: Tensor) -> tuple:
    return table(means), table(quats), table(scales), flat(opacities), table(cameras)


@njit(parallel=True)
def _project(inputs: tuple, reach: np.ndarray, shape: tuple, numbers: tuple, outputs: tuple) -> None:
    """Project sets with cameras.

    Args:
        inputs: means [B * N, 3], quats [B * N, 4], scales [B * N, 3], opacities [B * N], cameras [B * V, 20].
        reach: log_reach of the opacities [B * N].
        shape: V and N.
        numbers: near, low pass, width and height.
        outputs: means2d, conics, depth, radii [B * V * N, ...].
    """
    views, count = shape
    for source in prange(len(reach)):
        for view in range(views):
            camera = source // count * views + view
            out = camera * count + source % count
            _project_one(source, camera, out, inputs, reach, numbers, outputs)


@njit
def _to_camera(means: np.ndarray, source: int, cameras: np.ndarray, camera: int) -> tuple[float, float, float]:
    """A world point in the axes of a camera, in the reference's order of operations."""
    x, y, z = means[source, 0], means[source, 1], means[source, 2]
    return (
        cameras[camera, 0] * x + cameras[camera, 1] * y + cameras[camera, 2] * z + cameras[camera, 3],
        cameras[camera, 4] * x + cameras[camera, 5] * y + cameras[camera, 6] * z + cameras[camera, 7],
        cameras[camera, 8] * x + cameras[camera, 9] * y + cameras[camera, 10] * z + cameras[camera, 11],
    )


@njit
def _load_camera(cameras: np.ndarray, camera: int) -> tuple:
    """Rotation row by row; focal lengths and principal point; limits of the slopes."""
    pose = (
        cameras[camera, 0], cameras[camera, 1], cameras[camera, 2],
        cameras[camera, 4], cameras[camera, 5], cameras[camera, 6],
        cameras[camera, 8], cameras[camera, 9], cameras[camera, 10],
    )  # fmt: skip
    lens = (cameras[camera, 12], cameras[camera, 13], cameras[camera, 14], cameras[camera, 15])
    limits = (cameras[camera, 16], cameras[camera, 17], cameras[camera, 18], cameras[camera, 19])
    return pose, lens, limits


@njit
def _is_usable(source: int, inputs: tuple, point: tuple, lens: tuple, near: float) -> bool:
    """Whether geometry is finite, in front of the camera and not too large; comparisons with NaN are false."""
    means, quats, scales, opacities, _ = inputs
    values, norm, largest = opacities[source], _ZERO, _ZERO
    for k in range(3):
        values += means[source, k] + scales[source, k]
        largest = max(largest, abs(scales[source, k]))
    for k in range(4):
        norm += quats[source, k] * quats[source, k]
    finite = abs(values) < _INFINITY and norm > _LEAST_NORM and norm < _MOST_NORM
    bound = _LARGEST * point[2]
    in_reach = largest * max(lens[0], lens[1]) < bound and abs(point[0]) < bound and abs(point[1]) < bound
    return finite and point[2] > near and in_reach


@njit
def _project_one(
    source: int, camera: int, out: int, inputs: tuple, reach: np.ndarray, numbers: tuple, outputs: tuple
) -> None:
    """Project one Gaussian with one camera."""
    means, quats, scales, opacities, cameras = inputs
    means2d, conics, depth, radii = outputs
    near, low_pass, width, height = numbers
    pose, lens, limits = _load_camera(cameras, camera)
    point = _to_camera(means, source, cameras, camera)
    for k in range(2):
        means2d[out, k], radii[out, k], conics[out, k], conics[out, k + 1] = _ZERO, _ZERO, _ZERO, _ZERO
    depth[out] = _ONE
    if not _is_usable(source, inputs, point, lens, near):
        return
    slope_x, slope_y = point[0] / point[2], point[1] / point[2]
    x, y = lens[0] * slope_x + lens[2], lens[1] * slope_y + lens[3]
    variance_x, covariance, variance_y, determinant = _footprint(
        (quats[source, 0], quats[source, 1], quats[source, 2], quats[source, 3]),
        (scales[source, 0], scales[source, 1], scales[source, 2]),
        pose,
        (lens[0] / point[2], lens[1] / point[2]),
        (min(max(slope_x, limits[0]), limits[1]), min(max(slope_y, limits[2]), limits[3])),
        low_pass,
        _ONE,
    )
    means2d[out, 0], means2d[out, 1], depth[out] = x, y, point[2]
    conics[out, 0] = variance_y / determinant
    conics[out, 1] = -covariance / determinant
    conics[out, 2] = variance_x / determinant
    radius_x = np.float32(math.sqrt(reach[source] * variance_x))
    radius_y = np.float32(math.sqrt(reach[source] * variance_y))
    inside = x + radius_x > _ZERO and x - radius_x < width and y + radius_y > _ZERO and y - radius_y < height
    if inside and opacities[source] >= _CUT:
        radii[out, 0], radii[out, 1] = radius_x, radius_y


@njit(parallel=True)
def _unproject(inputs: tuple, shape: tuple, numbers: tuple, incoming: tuple, gradients: tuple) -> None:
    """Gradients of means, quats and scales, summed over the views in order; arguments as for ``_project``."""
    views, count = shape
    for source in prange(len(inputs[3])):
        for view in range(views):
            camera = source // count * views + view
            out = camera * count + source % count
            _unproject_one(source, camera, out, inputs, numbers, incoming, gradients)


@njit
def _unproject_one(
    source: int, camera: int, out: int, inputs: tuple, numbers: tuple, incoming: tuple, gradients: tuple
) -> None:
    """Add the gradients that one Gaussian gets through one camera."""
    means, quats, scales, _, cameras = inputs
    center = (incoming[0][out, 0], incoming[0][out, 1], incoming[2][out])
    conic = (incoming[1][out, 0], incoming[1][out, 1], incoming[1][out, 2])
    silent = center[0] == _ZERO and center[1] == _ZERO and center[2] == _ZERO
    if silent and conic[0] == _ZERO and conic[1] == _ZERO and conic[2] == _ZERO:
        return
    pose, lens, limits = _load_camera(cameras, camera)
    point = _to_camera(means, source, cameras, camera)
    if not _is_usable(source, inputs, point, lens, numbers[0]):
        return
    depth = point[2]
    slope_x, slope_y = point[0] / depth, point[1] / depth
    clamped = (min(max(slope_x, limits[0]), limits[1]), min(max(slope_y, limits[2]), limits[3]))
    quat = (quats[source, 0], quats[source, 1], quats[source, 2], quats[source, 3])
    scale = (scales[source, 0], scales[source, 1], scales[source, 2])
    magnification = (lens[0] / depth, lens[1] / depth)
    of_quat, of_scale, of_slope, of_log_depth = _footprint_gradient(
        quat, scale, pose, magnification, clamped, numbers[1], conic, _ONE
    )
    # Beyond the clamp the footprint does not depend on the slope; the centre always does.
    of_slope_x = center[0] * lens[0] + (of_slope[0] if limits[0] < slope_x < limits[1] else _ZERO)
    of_slope_y = center[1] * lens[1] + (of_slope[1] if limits[2] < slope_y < limits[3] else _ZERO)
    x, y = of_slope_x / depth, of_slope_y / depth
    z = center[2] + of_log_depth / depth - x * slope_x - y * slope_y
    for k in range(3):
        gradients[0][source, k] += pose[k] * x + pose[3 + k] * y + pose[6 + k] * z
        gradients[2][source, k] += of_scale[k]
    for k in range(4):
        gradients[1][source, k] += of_quat[k]
