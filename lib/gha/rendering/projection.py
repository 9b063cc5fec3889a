"""From 3D Gaussians to their 2D footprints (EWA splatting), differentiable, in plain torch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gha.geometry import Camera
from gha.geometry.rotations import quaternion_to_matrix

from .gaussians import Gaussians
from .options import ALPHA_CUT, RenderOptions

LARGEST_DEVIATION = 1e8
"""Standard deviations beyond this many pixels overflow float32 when squared twice; such Gaussians are not drawn."""

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
    means = camera.to_camera_space(gaussians.means.unsqueeze(-3))
    quats, scales = gaussians.quats.unsqueeze(-3), gaussians.scales.unsqueeze(-3)
    opacities = gaussians.opacities.unsqueeze(-2)
    usable = has_finite_geometry(gaussians).unsqueeze(-2) & _is_projectable(means, scales, camera, options)
    if not bool(usable.all()):
        # Replaced before any division, so that neither value nor gradient of the others can become NaN.
        keep = usable[..., None]
        means = torch.where(keep, means, means.new_tensor([0.0, 0.0, 1.0]))
        quats = torch.where(keep, quats, quats.new_tensor([1.0, 0.0, 0.0, 0.0]))
        scales = torch.where(keep, scales, torch.ones_like(scales))
    axes_x, axes_y = _projected_axes(means, quats, scales, camera)
    variance_x, variance_y, conics = _footprint(axes_x, axes_y, options.low_pass)
    means2d = _pixels(means, camera)
    radii = _radii(means2d, variance_x, variance_y, opacities, usable, camera)
    return Projection(means2d, conics, means[..., 2], radii)


def has_finite_geometry(gaussians: Gaussians) -> Tensor:
    """Which Gaussians [..., N] have a finite centre, shape and opacity and a quaternion that can be normalised."""
    # A sum is finite only if all of it is; comparisons with NaN are false.
    values = gaussians.means.sum(-1) + gaussians.scales.sum(-1) + gaussians.opacities
    norm = gaussians.quats.square().sum(-1)
    return values.isfinite() & (norm > 0) & (norm < torch.inf)


def _is_projectable(means: Tensor, scales: Tensor, camera: Camera, options: RenderOptions) -> Tensor:
    """Which Gaussians [..., N], given in camera space, lie in front and have a footprint that float32 can hold."""
    depth = means[..., 2]
    focal = torch.maximum(camera.K[..., 0, 0], camera.K[..., 1, 1])[..., None]
    small = scales.abs().amax(-1) * focal < LARGEST_DEVIATION * depth
    near_axis = means[..., :2].abs().amax(-1) < LARGEST_DEVIATION * depth
    return (depth > options.near) & small & near_axis


def _pixels(means: Tensor, camera: Camera) -> Tensor:
    """Perspective projection of camera-space points [..., N, 3] to pixels [..., N, 2]."""
    focal = torch.stack([camera.K[..., 0, 0], camera.K[..., 1, 1]], dim=-1)[..., None, :]
    center = camera.K[..., None, :2, 2]
    return means[..., :2] / means[..., 2:] * focal + center


def _projected_axes(means: Tensor, quats: Tensor, scales: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    """The x and y pixel components [..., N, 3] of the three scaled axes of each Gaussian.

    The Jacobian of the perspective projection is taken at the centre, clamped to a little outside the image: farther
    out the linearisation would smear Gaussians over the image.
    """
    depth = means[..., 2]
    slopes = means[..., :2] / depth[..., None]
    low, high = _slope_limits(camera)
    slopes = torch.minimum(torch.maximum(slopes, low), high)
    axes = (quaternion_to_matrix(quats) * scales[..., None, :]).transpose(-1, -2)  # [..., N, axis, xyz]
    axes = (axes.flatten(-3, -2) @ camera.w2c[..., :3, :3].transpose(-1, -2)).unflatten(-2, (-1, 3))
    magnification_x = camera.K[..., 0, 0, None] / depth
    magnification_y = camera.K[..., 1, 1, None] / depth
    axes_x = magnification_x[..., None] * (axes[..., 0] - slopes[..., 0:1] * axes[..., 2])
    axes_y = magnification_y[..., None] * (axes[..., 1] - slopes[..., 1:2] * axes[..., 2])
    return axes_x, axes_y


def _slope_limits(camera: Camera) -> tuple[Tensor, Tensor]:
    """Smallest and largest x/z and y/z [..., 1, 2] at which the Jacobian is evaluated."""
    focal = torch.stack([camera.K[..., 0, 0], camera.K[..., 1, 1]], dim=-1)
    center = camera.K[..., :2, 2]
    size = center.new_tensor([camera.width, camera.height])
    margin = CLAMP_MARGIN * size / 2
    return ((-center - margin) / focal)[..., None, :], ((size - center + margin) / focal)[..., None, :]


def _footprint(axes_x: Tensor, axes_y: Tensor, low_pass: float) -> tuple[Tensor, Tensor, Tensor]:
    """Variances along x and y [..., N] and the inverse 2D covariance [..., N, 3] of the projected axes.

    The determinant is a sum of squares (Cauchy-Binet), so no cancellation can spoil needles and large Gaussians.
    """
    variance_x = axes_x.square().sum(-1) + low_pass
    variance_y = axes_y.square().sum(-1) + low_pass
    covariance = (axes_x * axes_y).sum(-1)
    area = torch.linalg.cross(axes_x, axes_y, dim=-1).square().sum(-1)
    determinant = area + low_pass * (variance_x + variance_y - low_pass)
    conics = torch.stack([variance_y, -covariance, variance_x], dim=-1) / determinant[..., None]
    return variance_x, variance_y, conics


@torch.no_grad()
def _radii(
    means2d: Tensor, variance_x: Tensor, variance_y: Tensor, opacities: Tensor, usable: Tensor, camera: Camera
) -> Tensor:
    """Half extents [..., N, 2] of the box where alpha >= 1/255; 0 where nothing of it lies in the image."""
    reach = 2 * torch.log((opacities / ALPHA_CUT).clamp_min(1.0))
    radii = torch.sqrt(reach[..., None] * torch.stack([variance_x, variance_y], dim=-1))
    size = means2d.new_tensor([camera.width, camera.height])
    inside = ((means2d + radii > 0) & (means2d - radii < size)).all(-1)
    drawn = usable & inside & (opacities >= ALPHA_CUT)
    return torch.where(drawn[..., None], radii, torch.zeros_like(radii))
