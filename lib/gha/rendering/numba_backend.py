"""Gaussian splatting on the CPU with compiled kernels: the default there."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gha.geometry import Camera

from .gaussian_rendering import Rendering
from .gaussians import Gaussians
from .numba_gradients import FIRST_FEATURE, gather, undraw
from .numba_kernels import draw
from .numba_lock import KERNEL_LOCK
from .numba_projection import flat, project_gaussians, table
from .numba_tiles import list_tiles
from .numba_vectors import LANES
from .options import RenderOptions
from .projection import project_gaussians as project_with_camera_gradients


def rasterize(gaussians: Gaussians, camera: Camera, background: Tensor | None, options: RenderOptions) -> Rendering:
    """Draw sets [B, N, ...] with cameras [B, V]; ``depth`` is the sum of weight times depth."""
    learns_camera = camera.w2c.requires_grad or camera.K.requires_grad
    project = project_with_camera_gradients if learns_camera else project_gaussians
    projection = project(gaussians, camera, options)
    if background is None:
        background = gaussians.features.new_zeros(gaussians.features.shape[-1])
    features, alpha, depth = _Blend.apply(
        projection.means2d,
        projection.conics,
        projection.depth,
        gaussians.opacities,
        gaussians.features,
        background,
        projection.radii,
        (camera.width, camera.height),
        options.alpha_cap,
    )
    return Rendering(features, alpha, depth, projection.radii, projection.means2d)


class _Blend(torch.autograd.Function):
    """Blending of projected Gaussians."""

    @staticmethod
    def forward(
        ctx: Any,
        means2d: Tensor,  # [B, V, N, 2]
        conics: Tensor,  # [B, V, N, 3]
        depth: Tensor,  # [B, V, N]
        opacities: Tensor,  # [B, N]
        features: Tensor,  # [B, N, C]
        background: Tensor,  # [C]
        radii: Tensor,  # [B, V, N, 2]
        size: tuple[int, int],
        alpha_cap: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        sets, views, count = depth.shape
        width, height = size
        channels = features.shape[-1]
        image = features.new_empty(sets, views, channels, height, width)
        alpha, transmittance, depth_sum, last = (features.new_empty(sets, views, 1, height, width) for _ in range(4))
        inputs = _kernel_inputs((means2d, conics, radii, depth, opacities), features, background, alpha_cap, size)
        with KERNEL_LOCK:
            tiles = list_tiles(inputs[0], (sets * views, count), size)
            outputs = tuple(flat(value) for value in (image, alpha, transmittance, depth_sum, last))
            draw(tiles.starts, tiles.gaussians, tiles.grid, *inputs, outputs)
        ctx.save_for_backward(means2d, conics, radii, depth, opacities, features, background, transmittance, last)
        ctx.tiles, ctx.alpha_cap = tiles, alpha_cap
        ctx.set_materialize_grads(False)
        return image, alpha, depth_sum

    @staticmethod
    def backward(
        ctx: Any, grad_image: Tensor | None, grad_alpha: Tensor | None, grad_depth: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        *footprints, features, background, transmittance, last = ctx.saved_tensors
        height, width = last.shape[-2:]
        inputs = _kernel_inputs(footprints, features, background, ctx.alpha_cap, (width, height))
        if grad_image is None:
            grad_image = last.new_zeros(1).expand(*last.shape[:2], features.shape[-1], height, width)
        grad_alpha, grad_depth = (torch.zeros_like(last) if g is None else g for g in (grad_alpha, grad_depth))
        images = tuple(flat(value) for value in (transmittance, last, grad_image, grad_alpha, grad_depth))
        rows = np.empty((len(ctx.tiles.pairs), FIRST_FEATURE + inputs[1].shape[1]), np.float32)
        means2d, conics, _, depth, opacities = footprints
        gradients = [value.new_zeros(value.shape) for value in (means2d, conics, depth, opacities, features)]
        with KERNEL_LOCK:
            tiles = ctx.tiles
            undraw(tiles.starts, tiles.gaussians, tiles.pairs, tiles.grid, *inputs, images, rows.reshape(-1))
            gather(tiles.pair_starts, rows, *depth.shape[1:], tuple(flat(gradient) for gradient in gradients))
        grad_background = (grad_image * transmittance).sum((0, 1, 3, 4)) if ctx.needs_input_grad[5] else None
        return (*gradients, grad_background, None, None, None)


def _kernel_inputs(
    footprints: tuple[Tensor, ...], features: Tensor, background: Tensor, alpha_cap: float, size: tuple[int, int]
) -> tuple:
    """The inputs that both kernels share: footprints, features, background, cap, size; see ``draw``."""
    means2d, conics, radii, depth, opacities = footprints
    channels = features.shape[-1]
    sources = torch.arange(opacities.numel(), dtype=torch.int32).reshape(opacities.shape)[:, None].expand(depth.shape)
    arrays = (
        table(means2d),
        table(conics),
        table(radii),
        flat(depth),
        flat(opacities),
        flat(sources),
    )
    padded = torch.nn.functional.pad(features, (0, -channels % LANES))
    return (
        arrays,
        table(padded),
        flat(background),
        np.float32(alpha_cap),
        (channels, size[1], size[0]),
    )
