"""What an avatar returns: Gaussians or a mesh in world space, and what its method's losses need besides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from gha.faces.code import HeadCode
from gha.geometry import Camera
from gha.rendering import Gaussians


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh in world space, the same triangles for a whole batch.

    Attributes:
        vertices: [..., N, 3].
        triangles: int64 [F, 3], counter-clockwise from outside.
        colors: [..., N, C]; the first three channels are RGB.
    """

    vertices: Tensor
    triangles: Tensor
    colors: Tensor


@dataclass(frozen=True)
class Posed:
    """An avatar in one expression and pose: exactly one of ``gaussians`` and ``mesh``, plus auxiliaries.

    Attributes:
        gaussians: posed Gaussians in world space, or None.
        mesh: posed mesh in world space, or None.
        auxiliaries: a frozen dataclass of the method, read by its own losses only.
    """

    gaussians: Gaussians | None = None
    mesh: Mesh | None = None
    auxiliaries: object | None = None


class Avatar(Protocol):
    """What rendering, evaluation, reenactment, viewer and export ask of any avatar."""

    upscale: int

    def __call__(self, code: HeadCode, camera: Camera | None = None) -> Posed:
        """Pose the avatar; ``camera`` only matters to methods that depend on the view."""

    def decode(self, features: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """Rendered features [B, C, h, w] over black and alpha [B, 1, h, w] to colour and alpha, ``upscale`` larger.

        Colour comes out premultiplied with alpha; add ``(1 - alpha) * background``.
        """
