"""Gaussian splatting on the CPU with compiled kernels: the default there."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gha.geometry import Camera

from . import numba_kernels as kernels
from .gaussian_rendering import Rendering
from .gaussians import Gaussians
from .numba_lock import KERNEL_LOCK
from .numba_tiles import list_tiles
from .options import RenderOptions
from .projection import project_gaussians


def rasterize(gaussians: Gaussians, camera: Camera, background: Tensor | None, options: RenderOptions) -> Rendering:
    """Draw sets [B, N, ...] with cameras [B, V]; ``depth`` is the sum of weight times depth."""
    projection = project_gaussians(gaussians, camera, options)
    if background is None:
        background = gaussians.features.new_zeros(gaussians.features.shape[-1])
    features, alpha, depth = _Draw.apply(
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


def _array(tensor: Tensor, *shape: int) -> np.ndarray:
    """A contiguous view of a tensor as numpy, reshaped."""
    return tensor.detach().contiguous().numpy().reshape(shape)


class _Draw(torch.autograd.Function):
    """Blending of projected Gaussians; the projection itself is differentiated by torch."""

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
        images, channels, (width, height) = sets * views, features.shape[-1], size
        flat_features = _array(features, sets * count, channels)
        footprints = _footprints(means2d, conics, radii, depth, opacities)
        blank = features.new_empty
        drawn = blank(images, channels, height, width)
        alpha, transmittance, weighted_depth = (blank(images, height, width) for _ in range(3))
        last = blank((images, height, width), dtype=torch.int32)
        outputs = tuple(image.numpy() for image in (drawn, alpha, transmittance, weighted_depth, last))
        with KERNEL_LOCK:
            tiles = list_tiles(
                *(value.reshape(images, count, *value.shape[1:]) for value in footprints[:4]),
                _array(opacities, sets, count),
                size,
            )
            kernels.draw(
                tiles.tile_starts,
                tiles.gaussians,
                (tiles.columns, tiles.rows),
                footprints,
                flat_features,
                _array(background, channels),
                np.float32(alpha_cap),
                outputs,
            )
        ctx.save_for_backward(means2d, conics, depth, opacities, features, background, radii, transmittance, last)
        ctx.tiles, ctx.alpha_cap = tiles, alpha_cap
        ctx.set_materialize_grads(False)
        leading = (sets, views)
        return (
            drawn.unflatten(0, leading),
            alpha[:, None].unflatten(0, leading),
            weighted_depth[:, None].unflatten(0, leading),
        )

    @staticmethod
    def backward(
        ctx: Any, grad_features: Tensor | None, grad_alpha: Tensor | None, grad_depth: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        means2d, conics, depth, opacities, features, background, radii, transmittance, last = ctx.saved_tensors
        images, height, width = last.shape
        sets, views, count = depth.shape
        channels = features.shape[-1]

        def incoming(gradient: Tensor | None, *shape: int) -> np.ndarray:
            return np.zeros(shape, np.float32) if gradient is None else _array(gradient, *shape)

        gradients = (
            incoming(grad_features, images, channels, height, width),
            -incoming(grad_alpha, images, height, width),
            incoming(grad_depth, images, height, width),
        )
        outputs = [torch.zeros_like(value) for value in (means2d, conics, depth, opacities, features)]
        pair_gradients = np.empty((len(ctx.tiles.pairs), kernels.FIRST_FEATURE + channels), np.float32)
        footprints = _footprints(means2d, conics, radii, depth, opacities)
        with KERNEL_LOCK:
            kernels.undraw(
                ctx.tiles.tile_starts,
                ctx.tiles.gaussians,
                ctx.tiles.pairs,
                (ctx.tiles.columns, ctx.tiles.rows),
                footprints,
                _array(features, sets * count, channels),
                _array(background, channels),
                np.float32(ctx.alpha_cap),
                (transmittance.numpy(), last.numpy(), *gradients),
                pair_gradients,
            )
            kernels.gather(
                ctx.tiles.pair_starts,
                pair_gradients,
                views,
                count,
                (
                    outputs[0].numpy().reshape(-1, 2),
                    outputs[1].numpy().reshape(-1, 3),
                    outputs[2].numpy().reshape(-1),
                    outputs[3].numpy().reshape(-1),
                    outputs[4].numpy().reshape(-1, channels),
                ),
            )
        grad_background = None
        if ctx.needs_input_grad[5] and grad_features is not None:
            grad_background = torch.einsum("bvchw,bvhw->c", grad_features, transmittance.unflatten(0, (sets, views)))
        return (*outputs, grad_background, None, None, None)


def _footprints(
    means2d: Tensor, conics: Tensor, radii: Tensor, depth: Tensor, opacities: Tensor
) -> tuple[np.ndarray, ...]:
    """The arrays that the kernels read for each Gaussian in each image, [B * V * N, ...]."""
    sets, views, count = depth.shape
    rows = np.arange(sets * count, dtype=np.int32).reshape(sets, 1, count)
    return (
        _array(means2d, -1, 2),
        _array(conics, -1, 3),
        _array(radii, -1, 2),
        _array(depth, -1),
        _array(opacities, -1),
        np.ascontiguousarray(np.broadcast_to(rows, (sets, views, count))).reshape(-1),
    )
