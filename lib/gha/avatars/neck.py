"""What follows the head and what stays with the body when the head turns; the neck bends between the two.

The original moves everything with the head and leaves it to the pose network to hold the shoulders back, which it
can do neither far enough (its displacement is bounded) nor without moving the hair by a millimetre or two. Here two
rigid motions are blended, as in linear blend skinning, and the pose network only adds what that leaves over.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from gha.faces.code import HeadCode
from gha.geometry.rotations import axis_angle_to_quaternion, quaternion_multiply
from gha.limits import above, at_least, limited
from gha.networks import MLP, LayerSizes, encoded_size, initialize_near_zero

CHIN = 8  # in iBUG order


@limited(below_chin=at_least(0), length=above(0))
@dataclass
class NeckConfig:
    """Where the neck is at first, and the network that learns where it is."""

    below_chin: float = 0.5
    """Decimetres from the chin down to the middle of the neck, where head and body have equal shares."""
    length: float = 0.8
    """Decimetres over which the share of the head falls from one to zero."""
    network: LayerSizes = field(default_factory=lambda: LayerSizes(64, 2))
    """Hidden layers of the network that shifts the middle of the neck from place to place."""


class Neck(nn.Module):
    """Two rigid motions, of the head and of the body, and how every canonical point shares in them.

    The body has one pose for the whole capture. The share of the head is exactly one above the neck and exactly zero
    below it, so that head and hair are rigid but for expression.

    Args:
        frequencies: octaves of the positional encoding that the network gets.
        config: where the neck is at first.
    """

    def __init__(self, frequencies: int, config: NeckConfig) -> None:
        super().__init__()
        self.config = config
        self.height = nn.Parameter(torch.zeros(()))
        # Not learned: canonical shoulders that start elsewhere and another pose of the body look the same.
        self.register_buffer("body_pose", torch.zeros(6))
        self.shift = MLP(encoded_size(3, frequencies), config.network.hidden(), 1)
        initialize_near_zero(self.shift)

    @torch.no_grad()
    def place(self, landmarks: Tensor, body_pose: Tensor) -> None:
        """Start from neutral landmarks [L, 3] in iBUG order, canonical decimetres, and a pose [6] of the body."""
        self.height.copy_(landmarks[CHIN, 1] - self.config.below_chin)
        self.body_pose.copy_(body_pose)

    def above(self, points: Tensor, encoded: Tensor) -> Tensor:
        """Decimetres [N] above the middle of the neck, of canonical points [N, 3] with their positional encoding."""
        return points[:, 1] - self.height + self.shift(encoded)[:, 0]

    def head_share(self, points: Tensor, encoded: Tensor) -> Tensor:
        """Share of the head [N] in [0, 1] at canonical points [N, 3] with their positional encoding."""
        share = (0.5 + self.above(points, encoded) / self.config.length).clamp(0, 1)
        return share.square() * (3 - 2 * share)

    def to_world(self, points: Tensor, share: Tensor, code: HeadCode) -> Tensor:
        """World positions [..., N, 3] of canonical points moved by the head for its share [N], else by the body."""
        body = self._body(code).to_world(points)
        return body + share[:, None] * (code.to_world(points) - body)

    def rotate(self, quats: Tensor, share: Tensor, code: HeadCode) -> Tensor:
        """Turn quaternions wxyz [..., N, 4] from canonical space to the world, in between along the neck."""
        head, body = (axis_angle_to_quaternion(pose[..., None, :3]) for pose in (code.pose, self._body(code).pose))
        turn = turn_between(body, head, share[:, None])
        return quaternion_multiply(turn, quats.expand_as(turn))

    def stretch(self, code: HeadCode) -> Tensor:
        """Decimetres [...] between the places that head and body would give to the middle of the neck."""
        middle = torch.stack([torch.zeros_like(self.height), self.height, torch.zeros_like(self.height)])[None]
        apart = code.to_world(middle) - self._body(code).to_world(middle)
        return apart[..., 0, :].norm(dim=-1) / code.scale[..., 0]

    def _body(self, code: HeadCode) -> HeadCode:
        return replace(code, pose=self.body_pose.expand_as(code.pose))


def turn_between(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    """Unit quaternions [..., N, 4] between two of them [..., 1, 4] for shares [N, 1] of the second."""
    start = torch.where((end * start).sum(-1, keepdim=True) < 0, -start, start)
    return normalize(start + share * (end - start), dim=-1)
