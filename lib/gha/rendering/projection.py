"""From 3D Gaussians to their 2D footprints (EWA splatting), differentiable, in plain torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gha.geometry import Camera

from .gaussians import Gaussians
from .options import ALPHA_CUT, RenderOptions

LARGEST_DEVIATION = 1e8
"""Standard deviations beyond this many pixels overflow float32 when squared twice; such Gaussians are not drawn."""

SMALLEST_NORM = 1e-20
"""Quaternions whose squared length is at most this, or the inverse of it, are not drawn."""

CLAMP_MARGIN = 0.3
"""How far outside the image, in half image widths, the perspective Jacobian still follows the centre."""


@dataclass(frozen=True)
class Projection:
    """Gaussians as seen by cameras.

    Attributes:
        means2d: centres in pixels [..., N, 2].
        conics: inverse covariances in 1/px², as (xx, xy, yy) [..., N, 3].
        depth: z-depth of the centres [..., N].
        radii: half width and half height in pixels of the box where alpha >= 1/255 [..., N, 2];
            0 for a Gaussian that is not drawn. Not differentiable.
    """

    means2d: Tensor
    conics: Tensor
    depth: Tensor
    radii: Tensor

    @property
    def visible(self) -> Tensor:
        """Which Gaussians are drawn, boolean [..., N]."""
        return self.radii[..., 0] > 0


def project_gaussians(gaussians: Gaussians, camera: Camera, options: RenderOptions) -> Projection:
    """Project sets [..., N] with their cameras [..., V]; the result is [..., V, N].

    A Gaussian whose geometry is not finite (or whose quaternion is zero) is not drawn and receives no gradient.
    """
    x, y, depth = _to_camera(gaussians.means.unsqueeze(-3), camera.w2c)
    quats, scales = gaussians.quats.unsqueeze(-3), gaussians.scales.unsqueeze(-3)
    usable = has_finite_geometry(gaussians).unsqueeze(-2) & _is_projectable(x, y, depth, scales, camera, options)
    if not bool(usable.all()):
        # Replaced before any division, so that neither value nor gradient of the others can become NaN.
        x, y, depth = (torch.where(usable, value, fill) for value, fill in ((x, 0.0), (y, 0.0), (depth, 1.0)))
        quats, scales = (torch.where(usable[..., None], value, 1.0) for value in (quats, scales))
    focal_x, focal_y, center_x, center_y = intrinsics(camera)
    slope_x, slope_y = x / depth, y / depth
    means2d = torch.stack([focal_x * slope_x + center_x, focal_y * slope_y + center_y], dim=-1)
    limits = slope_limits(camera)
    variance_x, covariance, variance_y, determinant = footprint(
        quats.unbind(-1),
        scales.unbind(-1),
        [camera.w2c[..., k // 3, k % 3, None] for k in range(9)],
        (focal_x / depth, focal_y / depth),
        (_clamp(slope_x, *limits[:2]), _clamp(slope_y, *limits[2:])),
        options.low_pass,
        1.0,
    )
    conics = torch.stack([variance_y / determinant, -covariance / determinant, variance_x / determinant], dim=-1)
    radii = _radii(means2d, variance_x, variance_y, gaussians.opacities.unsqueeze(-2), usable, camera)
    return Projection(means2d, conics, depth, radii)


def footprint(quat: Any, scale: Any, pose: Any, magnification: Any, slope: Any, low_pass: Any, one: Any) -> tuple:
    """Covariance of a projected Gaussian: variance along x, covariance, variance along y, determinant, in pixels.

    Nothing but arithmetic, written out: it runs on tensors here and is compiled for single numbers in
    ``numba_projection``, with the same bits as a result. The perspective is linearised at ``slope``. The determinant
    is a sum of squares (Cauchy-Binet), so no cancellation can spoil needles and large Gaussians.

    Args:
        quat: w, x, y, z; of any length but 0.
        scale: standard deviations along the three axes.
        pose: the nine numbers of the world-to-camera rotation, row by row.
        magnification: focal lengths over depth.
        slope: x / z and y / z in camera space, clamped.
        low_pass: added to both variances.
        one: 1 in the number type of the caller.
    """
    w, x, y, z = quat
    p0, p1, p2, p3, p4, p5, p6, p7, p8 = pose
    two = (one + one) / (w * w + x * x + y * y + z * z)
    r00, r01, r02 = one - two * (y * y + z * z), two * (x * y - w * z), two * (x * z + w * y)
    r10, r11, r12 = two * (x * y + w * z), one - two * (x * x + z * z), two * (y * z - w * x)
    r20, r21, r22 = two * (x * z - w * y), two * (y * z + w * x), one - two * (x * x + y * y)
    # The three axes a, b, c in camera space.
    ax, ay, az = p0 * r00 + p1 * r10 + p2 * r20, p3 * r00 + p4 * r10 + p5 * r20, p6 * r00 + p7 * r10 + p8 * r20
    bx, by, bz = p0 * r01 + p1 * r11 + p2 * r21, p3 * r01 + p4 * r11 + p5 * r21, p6 * r01 + p7 * r11 + p8 * r21
    cx, cy, cz = p0 * r02 + p1 * r12 + p2 * r22, p3 * r02 + p4 * r12 + p5 * r22, p6 * r02 + p7 * r12 + p8 * r22
    # On the screen.
    ax, ay = magnification[0] * scale[0] * (ax - slope[0] * az), magnification[1] * scale[0] * (ay - slope[1] * az)
    bx, by = magnification[0] * scale[1] * (bx - slope[0] * bz), magnification[1] * scale[1] * (by - slope[1] * bz)
    cx, cy = magnification[0] * scale[2] * (cx - slope[0] * cz), magnification[1] * scale[2] * (cy - slope[1] * cz)
    variance_x = ax * ax + bx * bx + cx * cx + low_pass
    variance_y = ay * ay + by * by + cy * cy + low_pass
    covariance = ax * ay + bx * by + cx * cy
    u, v, t = bx * cy - cx * by, cx * ay - ax * cy, ax * by - bx * ay
    determinant = u * u + v * v + t * t + low_pass * (variance_x + variance_y - low_pass)
    return variance_x, covariance, variance_y, determinant


def has_finite_geometry(gaussians: Gaussians) -> Tensor:
    """Which Gaussians [..., N] have a finite centre, shape and opacity and a quaternion that can be normalised."""
    # A sum is finite only if all of it is; comparisons with NaN are false.
    values = gaussians.means.sum(-1) + gaussians.scales.sum(-1) + gaussians.opacities
    norm = gaussians.quats.square().sum(-1)
    return values.isfinite() & (norm > SMALLEST_NORM) & (norm < 1 / SMALLEST_NORM)


def intrinsics(camera: Camera) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Focal lengths and principal point in pixels, [..., 1] each."""
    places = ((0, 0), (1, 1), (0, 2), (1, 2))
    return tuple(camera.K[..., row, column, None] for row, column in places)


def slope_limits(camera: Camera) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Least and largest x/z, least and largest y/z [..., 1] at which the perspective is linearised.

    Farther out than a little outside the image the linearisation would smear Gaussians over the image.
    """
    focal_x, focal_y, center_x, center_y = intrinsics(camera)
    margin_x, margin_y = CLAMP_MARGIN * camera.width / 2, CLAMP_MARGIN * camera.height / 2
    return (
        (-center_x - margin_x) / focal_x,
        (camera.width - center_x + margin_x) / focal_x,
        (-center_y - margin_y) / focal_y,
        (camera.height - center_y + margin_y) / focal_y,
    )


def log_reach(opacities: Tensor) -> Tensor:
    """Squared Mahalanobis distance [..., N] up to which alpha is >= 1/255; 0 where it never is."""
    return 2 * torch.log((opacities.detach() / ALPHA_CUT).clamp_min(1.0))


def _to_camera(means: Tensor, w2c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """World points [..., 1, N, 3] in the axes of cameras w2c [..., V, 4, 4]: x, y and z, [..., V, N] each."""
    x, y, z = means.unbind(-1)
    rows = (w2c[..., row, :, None].unbind(-2) for row in range(3))
    return tuple(a * x + b * y + c * z + shift for a, b, c, shift in rows)


def _clamp(value: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(value, low), high)


def _is_projectable(
    x: Tensor, y: Tensor, depth: Tensor, scales: Tensor, camera: Camera, options: RenderOptions
) -> Tensor:
    """Which Gaussians [..., N], given in camera space, lie in front and have a footprint that float32 can hold."""
    focal = torch.maximum(camera.K[..., 0, 0], camera.K[..., 1, 1])[..., None]
    largest = LARGEST_DEVIATION * depth
    return (
        (depth > options.near) & (scales.abs().amax(-1) * focal < largest) & (torch.maximum(x.abs(), y.abs()) < largest)
    )


@torch.no_grad()
def _radii(
    means2d: Tensor, variance_x: Tensor, variance_y: Tensor, opacities: Tensor, usable: Tensor, camera: Camera
) -> Tensor:
    """Half extents [..., N, 2] of the box where alpha >= 1/255; 0 where nothing of it lies in the image."""
    radii = torch.sqrt(log_reach(opacities)[..., None] * torch.stack([variance_x, variance_y], dim=-1))
    size = means2d.new_tensor([camera.width, camera.height])
    inside = ((means2d + radii > 0) & (means2d - radii < size)).all(-1)
    drawn = usable & inside & (opacities >= ALPHA_CUT)
    return torch.where(drawn[..., None], radii, torch.zeros_like(radii))
