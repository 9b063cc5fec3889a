"""Pictures of one avatar, frame after frame, from cameras of one size."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from gha.faces.code import HeadCode
from gha.geometry import Camera
from gha.rendering import Gaussians, missed_gaussians, never_waits, render_gaussians

from .acceleration import Compiled, Replayed, TensorFunction
from .playback import PlaybackHead
from .rendering import AvatarImage, coarse_camera, composite


class FramePlayer:
    """What :func:`gha.avatars.render_avatar` does, with as few launches and as little memory traffic as possible.

    Everything from the code to the picture is one CUDA graph if the splatting back end lets it be; otherwise there is
    one before and one after splatting. On the CPU, the steps are simply done.

    Args:
        head: the avatar in its form for playback.
        width: of the decoded pictures in pixels, a multiple of the decoder's factor.
        height: the same.
    """

    def __init__(self, head: PlaybackHead, width: int, height: int) -> None:
        if width % head.upscale or height % head.upscale:
            raise ValueError(f"image size {width}x{height} is no multiple of the decoder's factor {head.upscale}")
        self._head, self._width, self._height = head, width, height
        options = head.options
        pose, finish = (Compiled(function, options.compile) for function in (head.pose, self._picture))
        self._whole: Replayed | None = None
        if never_waits(head.means.device):
            self._whole = Replayed(partial(self._draw, pose, finish), options.graph)
        else:
            self._parts = Replayed(pose, options.graph), Replayed(finish, options.graph)

    @torch.no_grad()
    def __call__(self, code: HeadCode, camera: Camera, background: Tensor) -> AvatarImage:
        """Pictures of the avatar in one code (no leading dimensions) from V cameras [V] over a background RGB [3]."""
        if (camera.width, camera.height) != (self._width, self._height):
            raise ValueError(
                f"found a camera of {camera.width}x{camera.height}, expected {self._width}x{self._height} pixels"
            )
        lens = camera.w2c[None], coarse_camera(camera, self._head.upscale).K[None]
        inputs = (code.expression[None], code.pose[None], code.scale[None], *lens, background)
        if self._whole is None:
            return AvatarImage(*self._draw(*self._parts, *inputs))
        picture = self._whole(*inputs)
        if missed_gaussians(background.device):
            self._whole.forget()
            picture = self._whole(*inputs)
        return AvatarImage(*picture)

    def _draw(self, pose: TensorFunction, finish: TensorFunction, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The tensors of an :class:`AvatarImage` from those of a code, of a coarse camera, and a background."""
        *code, w2c, intrinsics, background = inputs
        factor = self._head.upscale
        camera = Camera(w2c, intrinsics, self._width // factor, self._height // factor)
        drawn = render_gaussians(Gaussians(*pose(*code)), camera)
        return finish(drawn.features[0], drawn.alpha[0], background)

    def _picture(self, features: Tensor, alpha: Tensor, background: Tensor) -> tuple[Tensor, ...]:
        rgb, fine_alpha = self._head.decoder(features, alpha, background)
        return rgb, fine_alpha, composite(features[:, :3], alpha, background[:, None, None]), alpha
