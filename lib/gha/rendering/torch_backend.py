"""The reference: Gaussian splatting in readable torch, on any device, in any precision.

Every other back end is tested against this one. Images are drawn in blocks of pixels whose intermediate values are
recomputed in the backward pass, so memory stays bounded by one block.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from gha.geometry import Camera

from .gaussian_rendering import Rendering
from .gaussians import Gaussians
from .options import ALPHA_CUT, MIN_TRANSMITTANCE, RenderOptions
from .projection import Projection, project_gaussians

BLOCK = 32
"""Width and height of a block in pixels."""

PAIR_BUDGET = 2**23
"""Pixel-Gaussian pairs that are held at a time."""


def rasterize(gaussians: Gaussians, camera: Camera, background: Tensor | None, options: RenderOptions) -> Rendering:
    """Draw sets [B, N, ...] with cameras [B, V]; ``depth`` is the sum of weight times depth."""
    opacities, features = gaussians.opacities, gaussians.features
    projection = project_gaussians(gaussians, camera, options)
    sets, views = camera.batch_shape
    canvases = [
        _draw_image(_select(projection, b, v), opacities[b], features[b], camera, options)
        for b in range(sets)
        for v in range(views)
    ]
    channels = features.shape[-1]
    canvas = torch.stack(canvases).reshape(sets, views, channels + 2, camera.height, camera.width)
    image, depth, alpha = canvas.split([channels, 1, 1], dim=2)
    if background is not None:
        image = image + (1 - alpha) * background[:, None, None]
    return Rendering(image, alpha, depth, projection.radii, projection.means2d)


def _select(projection: Projection, index: int, view: int) -> Projection:
    """The projection of one set in one view [N, ...]."""
    return Projection(
        projection.means2d[index, view],
        projection.conics[index, view],
        projection.depth[index, view],
        projection.radii[index, view],
    )


def _draw_image(
    projection: Projection, opacities: Tensor, features: Tensor, camera: Camera, options: RenderOptions
) -> Tensor:
    """One image [C + 2, H, W]: features, weighted depth, alpha."""
    visible = projection.visible.nonzero()[:, 0]
    order = visible[torch.sort(projection.depth[visible], stable=True).indices]
    means2d, radii = projection.means2d[order], projection.radii[order]
    conics, opacities = projection.conics[order], opacities[order]
    depth = projection.depth[order, None]
    payload = torch.cat([features[order], depth, torch.ones_like(depth)], dim=-1)

    rows = []
    for top in range(0, camera.height, BLOCK):
        row = []
        for left in range(0, camera.width, BLOCK):
            width, height = min(BLOCK, camera.width - left), min(BLOCK, camera.height - top)
            near = _touching(means2d, radii, left, top, width, height)
            block = _draw_block(
                _pixel_centers(left, top, width, height, means2d),
                (means2d[near], conics[near], opacities[near], payload[near]),
                options,
            )
            row.append(block.mT.reshape(-1, height, width))
        rows.append(torch.cat(row, dim=-1))
    return torch.cat(rows, dim=-2)


@torch.no_grad()
def _touching(means2d: Tensor, radii: Tensor, left: int, top: int, width: int, height: int) -> Tensor:
    """Indices, in order, of the Gaussians whose boxes meet a block of pixels."""
    low = means2d.new_tensor([left, top])
    high = means2d.new_tensor([left + width, top + height])
    return ((means2d + radii > low) & (means2d - radii < high)).all(-1).nonzero()[:, 0]


def _pixel_centers(left: int, top: int, width: int, height: int, like: Tensor) -> Tensor:
    """Centres of a block's pixels [height * width, 2], row by row."""
    x = torch.arange(left, left + width, dtype=like.dtype, device=like.device) + 0.5
    y = torch.arange(top, top + height, dtype=like.dtype, device=like.device) + 0.5
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(-1, 2)


def _draw_block(pixels: Tensor, footprints: tuple[Tensor, ...], options: RenderOptions) -> Tensor:
    """Payloads composited at pixels [P, 2], a few at a time: [P, C + 2]."""
    count = max(1, PAIR_BUDGET // max(1, footprints[0].shape[0]))
    return torch.cat(list(_blend_groups(pixels.split(count), footprints, options)))


def _blend_groups(
    groups: tuple[Tensor, ...], footprints: tuple[Tensor, ...], options: RenderOptions
) -> Iterator[Tensor]:
    for group in groups:
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in footprints):
            yield checkpoint(blend, group, *footprints, options, use_reentrant=False, preserve_rng_state=False)
        else:
            yield blend(group, *footprints, options)


def blend(
    pixels: Tensor, means2d: Tensor, conics: Tensor, opacities: Tensor, payload: Tensor, options: RenderOptions
) -> Tensor:
    """Composite M Gaussians, nearest first, at P pixels.

    Args:
        pixels: pixel centres [P, 2].
        means2d: centres in pixels [M, 2].
        conics: inverse covariances (xx, xy, yy) [M, 3].
        opacities: [M].
        payload: what is blended [M, K].
        options: the alpha cap is used here.

    Returns:
        Sums of weight times payload [P, K].
    """
    dx, dy = (pixels[:, None] - means2d).unbind(-1)  # [P, M]
    xx, xy, yy = conics.unbind(-1)
    power = -0.5 * (xx * dx * dx + yy * dy * dy) - xy * dx * dy
    alpha = (opacities * torch.exp(power)).clamp(max=options.alpha_cap)
    alpha = torch.where((alpha >= ALPHA_CUT) & (power <= 0), alpha, torch.zeros_like(alpha))
    behind = torch.cumprod(1 - alpha, dim=-1)
    before = torch.cat([torch.ones_like(behind[:, :1]), behind[:, :-1]], dim=-1)
    # `behind` never grows, so it is below the bound for the Gaussian that ends a pixel and for all after it.
    weights = torch.where(behind >= MIN_TRANSMITTANCE, alpha * before, torch.zeros_like(alpha))
    return weights @ payload
