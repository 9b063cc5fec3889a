"""What a face model is fitted to: detected landmarks of T frames in V calibrated views, and points projected there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gha.geometry import Camera

JAW_LINE = slice(0, 17)
LANDMARKS = 68
NEAREST = 1e-3  # depths are bounded below by this share of the distance to the camera: nothing is divided by zero


@dataclass(frozen=True)
class Views:
    """Detections and cameras, float64.

    Attributes:
        points: detected landmarks in pixels, corners of pictures at 0 [T, V, 68, 2]; anything where not detected.
        confidence: of each, 0 where not detected [T, V, 68].
        w2c: rotation and translation world to camera [T or 1, V, 3, 4].
        focal: in pixels, of x and y [T or 1, V, 2].
        centre: principal point in pixels [T or 1, V, 2].
    """

    points: Tensor
    confidence: Tensor
    w2c: Tensor
    focal: Tensor
    centre: Tensor

    @classmethod
    def of(cls, detections: Tensor, cameras: Sequence[Camera] | Camera) -> Views:
        """From detections [T, V, 68, 3] (x, y, confidence) and cameras [V], the same in all frames or one per frame."""
        batch = [cameras] if isinstance(cameras, Camera) else list(cameras)
        w2c = torch.stack([camera.w2c for camera in batch]).double()[..., :3, :]
        K = torch.stack([camera.K for camera in batch]).double()
        points = detections.double()
        seen = torch.isfinite(points).all(-1)
        confidence = torch.where(seen, points[..., 2], torch.zeros_like(points[..., 2])).clamp(0, 1)
        return cls(
            torch.where(seen[..., None], points[..., :2], torch.zeros_like(points[..., :2])),
            confidence,
            w2c,
            torch.stack([K[..., 0, 0], K[..., 1, 1]], -1),
            K[..., :2, 2],
        )

    @property
    def frames(self) -> int:
        """T."""
        return len(self.points)

    def of_frames(self, index: Tensor | slice) -> Views:
        """Some of the frames."""
        fixed = len(self.w2c) == 1
        cameras = {} if fixed else {name: getattr(self, name)[index] for name in ("w2c", "focal", "centre")}
        return replace(self, points=self.points[index], confidence=self.confidence[index], **cameras)

    def rays(self) -> Tensor:
        """Unit directions [T, V, 68, 3] in world space towards the detections."""
        local = (self.points - self.centre[:, :, None]) / self.focal[:, :, None]
        local = torch.nn.functional.normalize(torch.cat([local, torch.ones_like(local[..., :1])], -1), dim=-1)
        return local @ self.w2c[..., :3]

    def eyes(self) -> Tensor:
        """Camera centres [T or 1, V, 3] in world space."""
        return -(self.w2c[..., :3].mT @ self.w2c[..., 3:])[..., 0]


@dataclass(frozen=True)
class Pose:
    """Head to world in T frames: ``scale * rotation @ x + translation``, float64.

    Attributes:
        rotation: [T, 3, 3].
        translation: [T, 3].
        scale: [].
    """

    rotation: Tensor
    translation: Tensor
    scale: Tensor

    def of_frames(self, index: Tensor | slice) -> Pose:
        """Some of the frames."""
        return replace(self, rotation=self.rotation[index], translation=self.translation[index])

    def to_world(self, points: Tensor) -> Tensor:
        """Canonical points [T, N, 3] in world space."""
        return self.scale * points @ self.rotation.mT + self.translation[:, None]


@dataclass(frozen=True)
class HeadInViews:
    """From canonical decimetres straight to the axes of each camera: ``matrix @ x + offset``.

    Attributes:
        matrix: [T, V, 3, 3].
        offset: [T, V, 3].
        focal: [T or 1, V, 2].
        centre: [T or 1, V, 2].
        scale: world units per decimetre [].
    """

    matrix: Tensor
    offset: Tensor
    focal: Tensor
    centre: Tensor
    scale: Tensor

    @classmethod
    def of(cls, views: Views, pose: Pose) -> HeadInViews:
        """The composition of pose and cameras."""
        turn, shift = views.w2c[..., :3], views.w2c[..., 3]
        matrix = turn @ (pose.scale * pose.rotation)[:, None]
        offset = (turn @ pose.translation[:, None, :, None])[..., 0] + shift
        return cls(matrix, offset, views.focal, views.centre, pose.scale)

    def decimetres_per_pixel(self) -> Tensor:
        """How long a pixel of each view is at the middle of the face [T, V]."""
        depth = torch.maximum(self.offset[..., 2], NEAREST * self.offset.norm(dim=-1))
        return depth / (self.focal.mean(-1) * self.scale)

    def see(self, points: Tensor) -> Seen:
        """Project points [T, N, 3], or [T, V, N, 3] that differ between views."""
        points = points[:, None] if points.ndim == 3 else points
        local = points @ self.matrix.mT + self.offset[:, :, None]
        bound = NEAREST * local.norm(dim=-1)
        depth = local[..., 2]
        in_front = depth > bound
        depth = torch.maximum(depth, bound)
        ratio = local[..., :2] / depth[..., None]
        return Seen(self, ratio * self.focal[:, :, None] + self.centre[:, :, None], ratio, depth, in_front)


@dataclass(frozen=True)
class Seen:
    """Points as V cameras see them.

    Attributes:
        head: what projected them.
        pixels: [T, V, N, 2].
        ratio: x / z and y / z in the camera [T, V, N, 2].
        depth: z in the camera in world units [T, V, N].
        in_front: of the camera [T, V, N].
    """

    head: HeadInViews
    pixels: Tensor
    ratio: Tensor
    depth: Tensor
    in_front: Tensor

    def derivatives(self) -> Tensor:
        """Of pixels by canonical points [T, V, N, 2, 3]."""
        x, y = self.head.matrix[:, :, None, 0], self.head.matrix[:, :, None, 1]
        z = self.head.matrix[:, :, None, 2]
        rows = torch.stack([x - self.ratio[..., :1] * z, y - self.ratio[..., 1:] * z], dim=-2)
        return rows * (self.head.focal[:, :, None] / self.depth[..., None])[..., None]
