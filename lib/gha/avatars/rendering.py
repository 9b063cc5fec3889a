"""From any avatar to pictures: pose, render at the coarse size, decode, composite."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gha.faces.code import HeadCode
from gha.geometry import Camera
from gha.rendering import render_gaussians, render_mesh

from .posed import Avatar, Posed


@dataclass(frozen=True)
class AvatarImage:
    """Pictures of one posed avatar in V views; colour is composited over the background, unclamped.

    Attributes:
        rgb: decoded colour [V, 3, H, W].
        alpha: decoded alpha [V, 1, H, W].
        coarse_rgb: colour before decoding [V, 3, h, w].
        coarse_alpha: alpha before decoding [V, 1, h, w].
    """

    rgb: Tensor
    alpha: Tensor
    coarse_rgb: Tensor
    coarse_alpha: Tensor


def render_posed(posed: Posed, camera: Camera) -> tuple[Tensor, Tensor]:
    """Features [..., V, C, h, w] over black and alpha [..., V, 1, h, w] of a posed avatar at the camera's size."""
    if posed.gaussians is not None:
        rendering = render_gaussians(posed.gaussians, camera)
        return rendering.features, rendering.alpha
    mesh = posed.mesh
    rendering = render_mesh(mesh.vertices, mesh.triangles, mesh.colors, camera)
    return rendering.attributes, rendering.mask


def composite(premultiplied: Tensor, alpha: Tensor, background: Tensor) -> Tensor:
    """Put premultiplied colour [..., 3, H, W] with alpha [..., 1, H, W] over a background broadcast against it."""
    return premultiplied + (1 - alpha) * background


def coarse_camera(camera: Camera, upscale: int) -> Camera:
    """The camera at the size the avatar is rendered before decoding; sizes must divide."""
    if camera.width % upscale or camera.height % upscale:
        raise ValueError(f"image size {camera.width}x{camera.height} is no multiple of the decoder's factor {upscale}")
    return camera.resize(camera.width // upscale, camera.height // upscale)


@torch.no_grad()
def render_avatar(avatar: Avatar, code: HeadCode, camera: Camera, background: Tensor) -> AvatarImage:
    """Pictures of an avatar in one code (no leading dimensions) from V cameras [V] at the output size.

    Args:
        avatar: any avatar.
        code: one head code without leading dimensions.
        camera: V cameras, at the size of the decoded picture.
        background: RGB [3] in [0, 1].
    """
    batched = HeadCode(code.expression[None], code.pose[None], code.scale[None])
    view = coarse_camera(camera, avatar.upscale)
    features, alpha = render_posed(avatar(batched, view), view[None])
    features, alpha = features[0], alpha[0]
    color = background[:, None, None]
    rgb, fine_alpha = avatar.decode(features, alpha)
    return AvatarImage(composite(rgb, fine_alpha, color), fine_alpha, composite(features[:, :3], alpha, color), alpha)
