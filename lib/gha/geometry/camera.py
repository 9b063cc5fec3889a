"""Pinhole cameras in OpenCV convention, with the principal point always honoured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .similarity import transform


@dataclass(frozen=True)
class Camera:
    """One pinhole camera, or a batch of cameras that share an image size.

    Attributes:
        w2c: world-to-camera matrices [..., 4, 4]; OpenCV axes (x right, y down, z forward).
        K: intrinsics [..., 3, 3] in pixels; pixel centres lie at +0.5.
        width: image width in pixels.
        height: image height in pixels.
    """

    w2c: Tensor
    K: Tensor
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.w2c.shape[-2:] != (4, 4) or self.K.shape[-2:] != (3, 3):
            raise ValueError(
                f"Camera expects w2c [..., 4, 4] and K [..., 3, 3], got {list(self.w2c.shape)} and {list(self.K.shape)}"
            )
        if self.w2c.shape[:-2] != self.K.shape[:-2]:
            raise ValueError(
                f"leading dimensions of w2c and K differ: {list(self.w2c.shape[:-2])} and {list(self.K.shape[:-2])}"
            )
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a camera needs at least one pixel, got {self.width} x {self.height}")

    @property
    def batch_shape(self) -> torch.Size:
        """Leading dimensions; empty for a single camera."""
        return self.w2c.shape[:-2]

    @property
    def center(self) -> Tensor:
        """Camera centres in world space [..., 3]."""
        rotation, translation = self.w2c[..., :3, :3], self.w2c[..., :3, 3]
        return -(rotation.transpose(-1, -2) @ translation[..., None])[..., 0]

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> Camera:
        """Select along the first leading dimension, as a tensor would."""
        return replace(self, w2c=self.w2c[index], K=self.K[index])

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None, non_blocking: bool = False
    ) -> Camera:
        """The same camera on another device or in another precision; ``non_blocking`` as of a tensor."""
        return replace(self, w2c=self.w2c.to(device, dtype, non_blocking), K=self.K.to(device, dtype, non_blocking))

    def to_camera_space(self, points: Tensor) -> Tensor:
        """World points [..., N, 3] in camera axes; leading dimensions broadcast with the camera's."""
        return transform(points, self.w2c[..., :3, :3]) + self.w2c[..., None, :3, 3]

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Project world points [..., N, 3] to pixels [..., N, 2] and z-depth [..., N].

        Points at or behind the camera plane get meaningless pixels; check ``depth > 0``.
        """
        local = self.to_camera_space(points)
        depth = local[..., 2]
        homogeneous = transform(local, self.K)
        return homogeneous[..., :2] / homogeneous[..., 2:3], depth

    def resize(self, width: int, height: int) -> Camera:
        """The camera of the same view, resampled to another image size (in pixels)."""
        across, down, last = self.K.unbind(-2)
        # Factors as numbers of the host: as a tensor they would have to travel to the device first.
        K = torch.stack([across * (width / self.width), down * (height / self.height), last], dim=-2)
        return replace(self, K=K, width=width, height=height)

    def crop(self, left: int, top: int, width: int, height: int) -> Camera:
        """The camera of an image window; the window may reach outside the image (padding)."""
        K = self.K.clone()
        K[..., 0, 2] -= left
        K[..., 1, 2] -= top
        return replace(self, K=K, width=width, height=height)

    @classmethod
    def look_at(
        cls,
        eye: Tensor,
        target: Tensor,
        focal: float,
        width: int,
        height: int,
        up: Sequence[float] = (0.0, 1.0, 0.0),
    ) -> Camera:
        """A camera at ``eye`` [..., 3] whose optical axis goes through ``target`` [..., 3], world ``up`` upwards.

        ``focal`` is in pixels; the principal point is the image centre. Looking straight along ``up`` is allowed.
        """
        eye, target = torch.broadcast_tensors(eye, target)
        forward = torch.nn.functional.normalize(target - eye, dim=-1)
        up_vector = torch.tensor(up, dtype=eye.dtype, device=eye.device)
        sideways = torch.linalg.cross(forward, up_vector.expand_as(eye), dim=-1)
        # Straight along ``up`` any roll would do: take a world axis as the image's right.
        across = torch.eye(3, dtype=eye.dtype, device=eye.device)[up_vector.abs().argmin()]
        vertical = sideways.norm(dim=-1, keepdim=True) < 1e-6 * up_vector.norm()
        sideways = torch.where(vertical, across - (across * forward).sum(-1, keepdim=True) * forward, sideways)
        right = torch.nn.functional.normalize(sideways, dim=-1)
        down = torch.linalg.cross(forward, right, dim=-1)
        rotation = torch.stack([right, down, forward], dim=-2)
        w2c = torch.zeros(*eye.shape[:-1], 4, 4, dtype=eye.dtype, device=eye.device)
        w2c[..., :3, :3] = rotation
        w2c[..., :3, 3] = -(rotation @ eye[..., None])[..., 0]
        w2c[..., 3, 3] = 1.0
        K = torch.tensor(
            [[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]], dtype=eye.dtype, device=eye.device
        )
        return cls(w2c, K.expand(*eye.shape[:-1], 3, 3), width, height)

    @classmethod
    def orbit(
        cls,
        distance: float,
        elevation: float,
        azimuth: float,
        focal: float,
        width: int,
        height: int,
        target: Sequence[float] = (0.0, 0.0, 0.0),
    ) -> Camera:
        """A camera on a sphere around ``target``, looking at it.

        Args:
            distance: world units from ``target``.
            elevation: degrees above the horizontal plane.
            azimuth: degrees from +z towards +x.
            focal: pixels.
            width: pixels.
            height: pixels.
            target: world point that lands on the image centre.
        """
        elevation, azimuth = math.radians(elevation), math.radians(azimuth)
        direction = [
            math.cos(elevation) * math.sin(azimuth),
            math.sin(elevation),
            math.cos(elevation) * math.cos(azimuth),
        ]
        center = torch.tensor(target, dtype=torch.float32)
        eye = center + distance * torch.tensor(direction, dtype=torch.float32)
        return cls.look_at(eye, center, focal, width, height)
