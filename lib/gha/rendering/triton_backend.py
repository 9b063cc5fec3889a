"""Gaussian splatting on CUDA in Triton, which comes with torch and needs no CUDA toolkit: the default there.

The host waits for nothing (see ``triton_capacity`` for the one exception), so drawing and its gradients can be captured
in a CUDA graph. Sums are in a fixed order: the same inputs give the same bits.
"""

from __future__ import annotations

import logging
import subprocess
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from gha.geometry import Camera

from . import torch_backend
from .gaussian_rendering import Rendering
from .gaussians import Gaussians
from .options import RenderOptions
from .projection import project_gaussians as project_with_camera_gradients
from .triton_blending import Trace, blend
from .triton_gradients import unblend
from .triton_projection import project_gaussians
from .triton_tiles import TileLists, list_tiles
from .triton_tuning import TUNING

logger = logging.getLogger(__name__)


@cache
def is_usable() -> bool:
    """Whether Triton can compile here: it comes with torch, but needs a C compiler and the headers of Python."""
    from triton.errors import TritonError

    try:
        device = torch.device("cuda")
        means, quats, scales, features = (torch.ones(1, 1, width, device=device) for width in (3, 4, 3, 32))
        camera = Camera(torch.eye(4, device=device)[None, None], torch.eye(3, device=device)[None, None], 16, 16)
        rasterize(Gaussians(means, quats, scales, features[..., 0], features), camera, None, RenderOptions())
    except (ImportError, RuntimeError, OSError, TritonError, subprocess.SubprocessError) as error:
        logger.warning("Triton does not work here (%s)", error)
        return False
    return True


def rasterize(gaussians: Gaussians, camera: Camera, background: Tensor | None, options: RenderOptions) -> Rendering:
    """Draw sets [B, N, ...] with cameras [B, V]; ``depth`` is the sum of weight times depth."""
    if gaussians.count == 0:
        return torch_backend.rasterize(gaussians, camera, background, options)
    learns_camera = camera.w2c.requires_grad or camera.K.requires_grad
    project = project_with_camera_gradients if learns_camera else project_gaussians
    projection = project(gaussians, camera, options)
    features, alpha, depth = _Blend.apply(
        projection.means2d,
        projection.conics,
        projection.depth,
        gaussians.opacities,
        gaussians.features,
        background,
        projection.radii,
        (camera.width, camera.height),
        options,
    )
    return Rendering(features, alpha, depth, projection.radii, projection.means2d)


class _Blend(Function):
    """Blending of projected Gaussians."""

    @staticmethod
    def forward(
        ctx: Any,
        means2d: Tensor,  # [B, V, N, 2]
        conics: Tensor,  # [B, V, N, 3]
        depth: Tensor,  # [B, V, N]
        opacities: Tensor,  # [B, N]
        features: Tensor,  # [B, N, C]
        background: Tensor | None,  # [C]
        radii: Tensor,  # [B, V, N, 2]
        size: tuple[int, int],
        options: RenderOptions,
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.options, ctx.tuning = options, TUNING
        opacities, features = opacities.contiguous(), features.contiguous()
        footprints = (means2d, conics, radii, depth, opacities)
        saves = any(ctx.needs_input_grad)
        ctx.tiles, (*images, ctx.trace) = _draw(footprints, features, background, size, options, saves)
        leading, (width, height) = depth.shape[:2], size
        image, alpha, depth_sum = (value.view(*leading, -1, height, width) for value in images)
        ctx.save_for_backward(features, background, alpha)
        ctx.set_materialize_grads(False)
        return image, alpha, depth_sum

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_image: Tensor | None, grad_alpha: Tensor | None, grad_depth: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        features, background, alpha = ctx.saved_tensors
        if grad_image is None:
            sets, views, _, *size = alpha.shape
            grad_image = alpha.new_zeros(sets, views, features.shape[-1], *size)
        incoming = (gradient if gradient is None else gradient.contiguous() for gradient in (grad_alpha, grad_depth))
        incoming = (grad_image.contiguous(), *incoming)
        gradients = unblend(ctx.tiles, features, background, ctx.trace, incoming, ctx.options, ctx.tuning)
        of_background = (grad_image * (1 - alpha)).sum((0, 1, 3, 4)) if ctx.needs_input_grad[5] else None
        return (*gradients, of_background, None, None, None)


def _draw(
    footprints: tuple[Tensor, ...],
    features: Tensor,
    background: Tensor | None,
    size: tuple[int, int],
    options: RenderOptions,
    saves: bool,
) -> tuple[TileLists, tuple[Tensor | Trace, ...]]:
    """Draw once, and without gradients again while the buffers turn out to have been too small."""
    views = footprints[0].shape[1]
    while True:
        tiles = list_tiles(*footprints, size, TUNING)
        drawn = blend(tiles, features, background, views, size, options, saves, TUNING)
        if saves or tiles.budget.is_complete():
            return tiles, drawn
