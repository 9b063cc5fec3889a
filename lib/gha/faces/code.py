"""What drives a head: expression, pose and scale of one timestep."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from torch import Tensor

from gha.geometry.rotations import axis_angle_to_matrix
from gha.geometry.similarity import canonical_to_world, world_to_canonical


@dataclass(frozen=True)
class HeadCode:
    """Driving parameters of a head, or a batch of them.

    Attributes:
        expression: coefficients [..., E] of the face model that tracked the capture.
        pose: head to world, [..., 6]: axis-angle in radians, translation in world units.
        scale: world units per canonical decimetre, [..., 1].
        jaw, neck, eyes, eyelids, identity: extra parameters of FLAME-like methods, or None.
    """

    expression: Tensor
    pose: Tensor
    scale: Tensor
    jaw: Tensor | None = None
    neck: Tensor | None = None
    eyes: Tensor | None = None
    eyelids: Tensor | None = None
    identity: Tensor | None = None

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None, non_blocking: bool = False
    ) -> HeadCode:
        """The same code on another device or in another precision; ``non_blocking`` as of a tensor."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{n: v.to(device, dtype, non_blocking) for n, v in tensors.items() if v is not None})

    def __getitem__(self, index: int | slice | Tensor) -> HeadCode:
        """Select along the first leading dimension of every tensor."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{n: v[index] for n, v in tensors.items() if v is not None})

    def to_world(self, points: Tensor) -> Tensor:
        """Canonical points [..., N, 3] in decimetres to world space: ``scale * R x + t``."""
        return canonical_to_world(points, self.pose, self.scale, self._rotation())

    def to_canonical(self, points: Tensor) -> Tensor:
        """World points [..., N, 3] to canonical decimetres."""
        return world_to_canonical(points, self.pose, self.scale, self._rotation())

    def _rotation(self) -> Tensor:
        """Rotation matrices [..., 3, 3] of the pose; a pose that is learned needs them anew in every graph."""
        return axis_angle_to_matrix(self.pose[..., :3]) if self.pose.requires_grad else self._constant_rotation

    @cached_property
    def _constant_rotation(self) -> Tensor:
        return axis_angle_to_matrix(self.pose[..., :3])
