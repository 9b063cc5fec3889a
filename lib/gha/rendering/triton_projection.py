"""The projection of Gaussians on CUDA, one launch in each direction; the formulas are those of ``projection``."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from gha.geometry import Camera

from .footprint_gradient import footprint_gradient
from .gaussians import Gaussians
from .options import ALPHA_CUT, RenderOptions
from .projection import CLAMP_MARGIN, LARGEST_DEVIATION, SMALLEST_NORM, Projection, footprint

CUT: tl.constexpr = tl.constexpr(ALPHA_CUT)
LARGEST: tl.constexpr = tl.constexpr(LARGEST_DEVIATION)
LEAST_NORM: tl.constexpr = tl.constexpr(SMALLEST_NORM)
MARGIN: tl.constexpr = tl.constexpr(CLAMP_MARGIN)
_BLOCK = 128
"""Gaussians per program."""


def _compiled(function: FunctionType) -> Any:
    """A function of plain arithmetic for kernels: Triton knows no ``Any``, and its interpreter looks for ``tl``."""
    names = {"__name__": __name__, "tl": tl, "Any": tl.tensor}
    return triton.jit(FunctionType(function.__code__, names, function.__name__))


_footprint, _footprint_gradient = _compiled(footprint), _compiled(footprint_gradient)


def project_gaussians(gaussians: Gaussians, camera: Camera, options: RenderOptions) -> Projection:
    """As ``projection.project_gaussians`` for sets [B, N] and cameras [B, V] without gradients of their own."""
    size = (camera.width, camera.height)
    inputs = (gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, camera.w2c, camera.K)
    return Projection(*_Project.apply(*(value.contiguous() for value in inputs), size, options))


class _Project(Function):
    @staticmethod
    def forward(
        ctx: Any,
        means: Tensor,  # [B, N, 3]
        quats: Tensor,  # [B, N, 4]
        scales: Tensor,  # [B, N, 3]
        opacities: Tensor,  # [B, N]
        w2c: Tensor,  # [B, V, 4, 4]
        K: Tensor,  # [B, V, 3, 3]
        size: tuple[int, int],
        options: RenderOptions,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        leading = (*w2c.shape[:2], means.shape[1])
        means2d, conics, depth, radii = (means.new_empty(*leading, *width) for width in ((2,), (3,), (), (2,)))
        ctx.numbers = (means.shape[1], w2c.shape[1], *size, options.near, options.low_pass)
        inputs = (means, quats, scales, opacities, w2c, K)
        ctx.save_for_backward(*inputs)
        grid = (triton.cdiv(means.shape[1], _BLOCK), w2c.shape[0] * w2c.shape[1])
        with torch.cuda.device_of(means):
            # Not fused into multiply-adds: depths get the reference's bits, and so the reference's order.
            _project[grid](*inputs, means2d, conics, depth, radii, *ctx.numbers, BLOCK=_BLOCK, enable_fp_fusion=False)
        ctx.mark_non_differentiable(radii)
        return means2d, conics, depth, radii

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_means2d: Tensor, grad_conics: Tensor, grad_depth: Tensor, _: Tensor
    ) -> tuple[Tensor | None, ...]:
        incoming = (grad_means2d.contiguous(), grad_conics.contiguous(), grad_depth.contiguous())
        gradients = tuple(torch.empty_like(value) for value in ctx.saved_tensors[:3])
        sets, count = gradients[0].shape[:2]
        with torch.cuda.device_of(grad_depth):
            _unproject[(triton.cdiv(count, _BLOCK), sets)](
                *ctx.saved_tensors, *incoming, *gradients, *ctx.numbers, BLOCK=_BLOCK
            )
        return (*gradients, None, None, None, None, None)


@triton.jit(do_not_specialize=["gaussian_count", "views", "width", "height"])
def _project(
    means: tl.tensor,
    quats: tl.tensor,
    scales: tl.tensor,
    opacities: tl.tensor,
    w2c: tl.tensor,
    K: tl.tensor,
    means2d: tl.tensor,
    conics: tl.tensor,
    depths: tl.tensor,
    radii: tl.tensor,
    gaussian_count: tl.tensor,
    views: tl.tensor,
    width: tl.tensor,
    height: tl.tensor,
    near: tl.tensor,
    low_pass: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    image = tl.program_id(1)
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    live = index < gaussian_count
    source = image // views * gaussian_count + index
    out = image * gaussian_count + index
    pose, shift, lens = _load_camera(w2c, K, image)
    center, quat, scale, opacity = _load_gaussians(means, quats, scales, opacities, source, live)
    x, y, z = _to_camera(center, pose, shift)
    usable = live & _is_usable(center, quat, scale, opacity, (x, y, z), lens, near)
    x, y, z = tl.where(usable, x, 0.0), tl.where(usable, y, 0.0), tl.where(usable, z, 1.0)
    quat = _fill(quat[0], usable), _fill(quat[1], usable), _fill(quat[2], usable), _fill(quat[3], usable)
    scale = _fill(scale[0], usable), _fill(scale[1], usable), _fill(scale[2], usable)
    slope_x, slope_y = tl.div_rn(x, z), tl.div_rn(y, z)
    slope = _clamp_slopes(slope_x, slope_y, lens, width, height)
    variance_x, covariance, variance_y, determinant = _footprint(
        quat, scale, pose, (tl.div_rn(lens[0] + tl.zeros_like(z), z), tl.div_rn(lens[1] + tl.zeros_like(z), z)), slope,
        low_pass, 1.0,
    )  # fmt: skip
    x, y = lens[0] * slope_x + lens[2], lens[1] * slope_y + lens[3]
    reach = 2 * tl.log(tl.maximum(opacity / CUT, 1.0))
    radius_x, radius_y = tl.sqrt(reach * variance_x), tl.sqrt(reach * variance_y)
    inside = (x + radius_x > 0) & (x - radius_x < width) & (y + radius_y > 0) & (y - radius_y < height)
    drawn = usable & inside & (opacity >= CUT)
    tl.store(means2d + out * 2, x, mask=live)
    tl.store(means2d + out * 2 + 1, y, mask=live)
    tl.store(conics + out * 3, tl.div_rn(variance_y, determinant), mask=live)
    tl.store(conics + out * 3 + 1, tl.div_rn(-covariance, determinant), mask=live)
    tl.store(conics + out * 3 + 2, tl.div_rn(variance_x, determinant), mask=live)
    tl.store(depths + out, z, mask=live)
    tl.store(radii + out * 2, tl.where(drawn, radius_x, 0.0), mask=live)
    tl.store(radii + out * 2 + 1, tl.where(drawn, radius_y, 0.0), mask=live)


@triton.jit(do_not_specialize=["gaussian_count", "views", "width", "height"])
def _unproject(
    means: tl.tensor,
    quats: tl.tensor,
    scales: tl.tensor,
    opacities: tl.tensor,
    w2c: tl.tensor,
    K: tl.tensor,
    of_means2d: tl.tensor,
    of_conics: tl.tensor,
    of_depths: tl.tensor,
    of_means: tl.tensor,
    of_quats: tl.tensor,
    of_scales: tl.tensor,
    gaussian_count: tl.tensor,
    views: tl.tensor,
    width: tl.tensor,
    height: tl.tensor,
    near: tl.tensor,
    low_pass: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    live = index < gaussian_count
    source = tl.program_id(1) * gaussian_count + index
    center, quat, scale, opacity = _load_gaussians(means, quats, scales, opacities, source, live)
    zero = tl.zeros([BLOCK], tl.float32)
    mean_x, mean_y, mean_z = zero, zero, zero
    quat_w, quat_x, quat_y, quat_z = zero, zero, zero, zero
    scale_a, scale_b, scale_c = zero, zero, zero
    for view in range(views):
        image = tl.program_id(1) * views + view
        out = image * gaussian_count + index
        pose, shift, lens = _load_camera(w2c, K, image)
        x, y, z = _to_camera(center, pose, shift)
        usable = live & _is_usable(center, quat, scale, opacity, (x, y, z), lens, near)
        x, y, z = tl.where(usable, x, 0.0), tl.where(usable, y, 0.0), tl.where(usable, z, 1.0)
        sound = _fill(quat[0], usable), _fill(quat[1], usable), _fill(quat[2], usable), _fill(quat[3], usable)
        axes = _fill(scale[0], usable), _fill(scale[1], usable), _fill(scale[2], usable)
        slope_x, slope_y = x / z, y / z
        slope = _clamp_slopes(slope_x, slope_y, lens, width, height)
        center_x = tl.load(of_means2d + out * 2, mask=usable, other=0.0)
        center_y = tl.load(of_means2d + out * 2 + 1, mask=usable, other=0.0)
        of_depth = tl.load(of_depths + out, mask=usable, other=0.0)
        conic = (
            tl.load(of_conics + out * 3, mask=usable, other=0.0),
            tl.load(of_conics + out * 3 + 1, mask=usable, other=0.0),
            tl.load(of_conics + out * 3 + 2, mask=usable, other=0.0),
        )
        of_quat, of_scale, of_slope, of_log_depth = _footprint_gradient(
            sound, axes, pose, (lens[0] / z, lens[1] / z), slope, low_pass, conic, 1.0
        )
        # Beyond the clamp the footprint does not depend on the slope; the centre always does.
        of_x = (center_x * lens[0] + tl.where(slope[0] == slope_x, of_slope[0], 0.0)) / z
        of_y = (center_y * lens[1] + tl.where(slope[1] == slope_y, of_slope[1], 0.0)) / z
        of_z = of_depth + of_log_depth / z - of_x * slope_x - of_y * slope_y
        mean_x += tl.where(usable, pose[0] * of_x + pose[3] * of_y + pose[6] * of_z, 0.0)
        mean_y += tl.where(usable, pose[1] * of_x + pose[4] * of_y + pose[7] * of_z, 0.0)
        mean_z += tl.where(usable, pose[2] * of_x + pose[5] * of_y + pose[8] * of_z, 0.0)
        quat_w += tl.where(usable, of_quat[0], 0.0)
        quat_x += tl.where(usable, of_quat[1], 0.0)
        quat_y += tl.where(usable, of_quat[2], 0.0)
        quat_z += tl.where(usable, of_quat[3], 0.0)
        scale_a += tl.where(usable, of_scale[0], 0.0)
        scale_b += tl.where(usable, of_scale[1], 0.0)
        scale_c += tl.where(usable, of_scale[2], 0.0)
    _store_triple(of_means + source * 3, mean_x, mean_y, mean_z, live)
    _store_triple(of_scales + source * 3, scale_a, scale_b, scale_c, live)
    _store_triple(of_quats + source * 4, quat_w, quat_x, quat_y, live)
    tl.store(of_quats + source * 4 + 3, quat_z, mask=live)


@triton.jit
def _load_camera(w2c: tl.tensor, K: tl.tensor, image: tl.tensor) -> tuple:
    """Rotation row by row, translation, and focal lengths with principal point of one camera."""
    row = w2c + image * 16
    pose = (
        tl.load(row), tl.load(row + 1), tl.load(row + 2),
        tl.load(row + 4), tl.load(row + 5), tl.load(row + 6),
        tl.load(row + 8), tl.load(row + 9), tl.load(row + 10),
    )  # fmt: skip
    shift = (tl.load(row + 3), tl.load(row + 7), tl.load(row + 11))
    row = K + image * 9
    lens = (tl.load(row), tl.load(row + 4), tl.load(row + 2), tl.load(row + 5))
    return pose, shift, lens


@triton.jit
def _load_gaussians(
    means: tl.tensor, quats: tl.tensor, scales: tl.tensor, opacities: tl.tensor, source: tl.tensor, live: tl.tensor
) -> tuple:
    """Centre, quaternion, scales and opacity of each Gaussian."""
    center = _load_triple(means + source * 3, live)
    scale = _load_triple(scales + source * 3, live)
    w, x, y = _load_triple(quats + source * 4, live)
    z = tl.load(quats + source * 4 + 3, mask=live, other=0.0)
    return center, (w, x, y, z), scale, tl.load(opacities + source, mask=live, other=0.0)


@triton.jit
def _load_triple(place: tl.tensor, live: tl.tensor) -> tuple:
    return (
        tl.load(place, mask=live, other=0.0),
        tl.load(place + 1, mask=live, other=0.0),
        tl.load(place + 2, mask=live, other=0.0),
    )


@triton.jit
def _store_triple(place: tl.tensor, a: tl.tensor, b: tl.tensor, c: tl.tensor, live: tl.tensor) -> None:
    tl.store(place, a, mask=live)
    tl.store(place + 1, b, mask=live)
    tl.store(place + 2, c, mask=live)


@triton.jit
def _fill(value: tl.tensor, usable: tl.tensor) -> tl.tensor:
    """One where a Gaussian cannot be drawn, so that nothing computed from it is NaN."""
    return tl.where(usable, value, 1.0)


@triton.jit
def _to_camera(center: tl.tuple, pose: tl.tuple, shift: tl.tuple) -> tuple:
    """World points in the axes of a camera, in the reference's order of operations."""
    x, y, z = center
    return (
        pose[0] * x + pose[1] * y + pose[2] * z + shift[0],
        pose[3] * x + pose[4] * y + pose[5] * z + shift[1],
        pose[6] * x + pose[7] * y + pose[8] * z + shift[2],
    )


@triton.jit
def _is_usable(
    center: tl.tuple,
    quat: tl.tuple,
    scale: tl.tuple,
    opacity: tl.tensor,
    point: tl.tuple,
    lens: tl.tuple,
    near: tl.tensor,
) -> tl.tensor:
    """Whether geometry is finite, in front of the camera and not too large; comparisons with NaN are false."""
    values = (center[0] + center[1] + center[2]) + (scale[0] + scale[1] + scale[2]) + opacity
    norm = quat[0] * quat[0] + quat[1] * quat[1] + quat[2] * quat[2] + quat[3] * quat[3]
    finite = (tl.abs(values) < float("inf")) & (norm > LEAST_NORM) & (norm < 1 / LEAST_NORM)
    # A NaN anywhere is caught above, so it does not matter that maxima may ignore it.
    largest = tl.maximum(tl.maximum(tl.abs(scale[0]), tl.abs(scale[1])), tl.abs(scale[2]))
    bound = LARGEST * point[2]
    near_axis = (tl.abs(point[0]) < bound) & (tl.abs(point[1]) < bound)
    return finite & (point[2] > near) & (largest * tl.maximum(lens[0], lens[1]) < bound) & near_axis


@triton.jit
def _clamp_slopes(
    slope_x: tl.tensor, slope_y: tl.tensor, lens: tl.tuple, width: tl.tensor, height: tl.tensor
) -> tuple[tl.tensor, tl.tensor]:
    """Slopes at which the perspective is linearised: ``projection.slope_limits``."""
    margin_x, margin_y = MARGIN * width / 2, MARGIN * height / 2
    low_x, high_x = (-lens[2] - margin_x) / lens[0], (width - lens[2] + margin_x) / lens[0]
    low_y, high_y = (-lens[3] - margin_y) / lens[1], (height - lens[3] + margin_y) / lens[1]
    return tl.minimum(tl.maximum(slope_x, low_x), high_x), tl.minimum(tl.maximum(slope_y, low_y), high_y)
