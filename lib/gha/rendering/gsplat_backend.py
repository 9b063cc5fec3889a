"""Gaussian splatting on CUDA by the gsplat package (1.5), through its functional interface.

Where gsplat differs from the reference: its alpha cap is 0.999 whatever the options say; a K with skew is read
without it; exponentials are the fast approximate ones of CUDA, and sums over pixels are in no fixed order, so
gradients are not the same bits twice. Its footprint is the box of the pixels where alpha >= 1/255, rounded up, and
alphas below 1/255 in it are skipped, so the extent is the same.
"""

from __future__ import annotations

import logging
from functools import cache
from types import ModuleType

import torch
from torch import Tensor

from gha.geometry import Camera

from . import torch_backend
from .gaussian_rendering import Rendering
from .gaussians import Gaussians
from .options import RenderOptions
from .projection import has_finite_geometry

logger = logging.getLogger(__name__)

ALPHA_CAP = 0.999
TILE = 16
CHUNK = 32
"""Channels that are blended at a time; the last chunk also carries the depth. More would need more shared memory."""


@cache
def is_usable() -> bool:
    """Whether gsplat is installed and its kernels are compiled, or can be now (that takes minutes, once)."""
    try:
        from gsplat.cuda._backend import _C
    except (ImportError, OSError, RuntimeError) as error:
        logger.info("gsplat cannot be used: %s", error)
        return False
    return _C is not None


def rasterize(gaussians: Gaussians, camera: Camera, background: Tensor | None, options: RenderOptions) -> Rendering:
    """Draw sets [B, N, ...] with cameras [B, V]; ``depth`` is the sum of weight times depth."""
    if gaussians.count == 0:
        return torch_backend.rasterize(gaussians, camera, background, options)
    import gsplat

    if options.alpha_cap != ALPHA_CAP:
        _mention_cap(options.alpha_cap)
    gaussians = _without_broken(gaussians)
    radii, means2d, depth, conics, _ = gsplat.fully_fused_projection(
        gaussians.means,
        None,
        gaussians.quats,
        gaussians.scales,
        camera.w2c,
        camera.K,
        camera.width,
        camera.height,
        eps2d=options.low_pass,
        near_plane=options.near,
        opacities=gaussians.opacities.detach(),
    )
    features, alpha, depth_sum = _blend(gsplat, gaussians, camera, background, (means2d, conics, depth, radii))
    return Rendering(features, alpha, depth_sum, radii.to(means2d.dtype), means2d)


def _blend(
    gsplat: ModuleType,
    gaussians: Gaussians,
    camera: Camera,
    background: Tensor | None,
    projection: tuple[Tensor, Tensor, Tensor, Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """Features [B, V, C, H, W], alpha and depth sum [B, V, 1, H, W]."""
    means2d, conics, depth, radii = projection
    images = depth.shape[:2]
    columns, rows = -(-camera.width // TILE), -(-camera.height // TILE)
    _, intersections, flat_ids = gsplat.isect_tiles(means2d, radii, depth, TILE, columns, rows)
    offsets = gsplat.isect_offset_encode(intersections, images.numel(), columns, rows).reshape(*images, rows, columns)
    opacities = gaussians.opacities[:, None].expand(depth.shape)
    chunks = []
    for payload, behind in _chunks(gaussians.features, depth, background):
        blended, alpha = gsplat.rasterize_to_pixels(
            means2d,
            conics,
            payload,
            opacities,
            camera.width,
            camera.height,
            TILE,
            offsets,
            flat_ids,
            backgrounds=behind.expand(*images, -1),
        )
        chunks.append(blended.movedim(-1, 2))
    canvas = chunks[0] if len(chunks) == 1 else torch.cat(chunks, dim=2)
    return canvas[:, :, :-1].contiguous(), alpha.movedim(-1, 2), canvas[:, :, -1:]


def _chunks(features: Tensor, depth: Tensor, background: Tensor | None) -> list[tuple[Tensor, Tensor]]:
    """Payloads [B, V, N, K] and what lies behind them [K]: the features, a few at a time, and the depth last."""
    channels = features.shape[-1]
    if background is None:
        background = features.new_zeros(channels)
    spread = features[:, None].expand(*depth.shape, channels)
    starts = range(0, max(channels, 1), CHUNK)
    parts = [(spread[..., start : start + CHUNK], background[start : start + CHUNK]) for start in starts]
    payload, behind = parts[-1]
    parts[-1] = torch.cat([payload, depth[..., None]], dim=-1), torch.cat([behind, behind.new_zeros(1)])
    return parts


def _without_broken(gaussians: Gaussians) -> Gaussians:
    """Gaussians that are not finite made transparent: the kernels do not check, and would read outside of memory."""
    sound = has_finite_geometry(gaussians)
    keep = sound[..., None]
    identity = gaussians.quats.new_tensor([1.0, 0.0, 0.0, 0.0])
    return Gaussians(
        means=torch.where(keep, gaussians.means, torch.zeros_like(gaussians.means)),
        quats=torch.where(keep, gaussians.quats, identity),
        scales=torch.where(keep, gaussians.scales, torch.ones_like(gaussians.scales)),
        opacities=torch.where(sound, gaussians.opacities, torch.zeros_like(gaussians.opacities)),
        features=gaussians.features,
    )


@cache
def _mention_cap(alpha_cap: float) -> None:
    logger.info("gsplat caps alpha at %s, not at %s: pixels of opaque Gaussians differ a little", ALPHA_CAP, alpha_cap)
