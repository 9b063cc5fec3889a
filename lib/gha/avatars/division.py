"""Points in an order in which expression and pose each see one run of them.

Each network is evaluated only where its share is not zero. Found anew at every step, such points would make the host
wait for the device twice per network; in this order they are a leading and a trailing part, known in advance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class Division:
    """Numbers of points, in their order.

    Attributes:
        near: those that only expression moves.
        mixed: those that both move.
        far: those that only pose moves.
        skipped: before all others, those of no concern.
    """

    near: int
    mixed: int
    far: int
    skipped: int = 0

    def with_leading(self, count: int) -> Division:
        """The same points after ``count`` more that only expression moves."""
        return replace(self, near=count + self.near)

    def skipping(self, count: int) -> Division:
        """The same points after ``count`` more that are of no concern."""
        return replace(self, skipped=count)

    def mixed_part(self, values: Tensor) -> Tensor:
        """Rows [..., mixed, C] of points that both move, of values [..., skipped + near + mixed + far, C]."""
        return values.narrow(-2, self.skipped + self.near, self.mixed)

    def parts(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """What expression sees [..., near + mixed, C] and what pose sees [..., mixed + far, C] of values [..., C]."""
        return _Parts.apply(values, self.skipped, self.near, self.mixed)

    def blend(self, weights: Tensor, by_expression: Tensor, by_pose: Tensor) -> Tensor:
        """``w * expression + (1 - w) * pose`` at all points but the skipped, [..., near + mixed + far, C].

        Args:
            weights: share of expression [mixed] where both matter; differentiable.
            by_expression: [..., near + mixed, C].
            by_pose: [..., mixed + far, C].
        """
        return _Blend.apply(weights, by_expression, by_pose, self.near)


class _Parts(Function):
    """Two overlapping runs of rows."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, skipped: int, near: int, mixed: int) -> tuple[Tensor, Tensor]:
        ctx.skipped, ctx.near, ctx.mixed = skipped, near, mixed
        trailing = values.shape[-2] - skipped - near
        return values.narrow(-2, skipped, near + mixed), values.narrow(-2, skipped + near, trailing)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_leading: Tensor, of_trailing: Tensor) -> tuple[Tensor, None, None, None]:
        near, mixed_of_leading = of_leading.tensor_split([ctx.near], dim=-2)
        mixed, far = of_trailing.tensor_split([ctx.mixed], dim=-2)
        parts = [near, mixed_of_leading + mixed, far]
        if ctx.skipped:
            parts.insert(0, near.new_zeros(*near.shape[:-2], ctx.skipped, near.shape[-1]))
        return torch.cat(parts, dim=-2), None, None, None


class _Blend(Function):
    """Its gradient without a padded copy of each part, as autograd would make."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, by_expression: Tensor, by_pose: Tensor, near: int) -> Tensor:
        alone, leading = by_expression.tensor_split([near], dim=-2)
        trailing, far = by_pose.tensor_split([len(weights)], dim=-2)
        ctx.save_for_backward(weights, leading, trailing)
        ctx.near = near
        return torch.cat([alone, torch.lerp(trailing, leading, weights[:, None]), far], dim=-2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        weights, leading, trailing = ctx.saved_tensors
        near, mixed = ctx.near, len(weights)
        of_expression = gradient.narrow(-2, 0, near + mixed).clone()
        of_expression.narrow(-2, near, mixed).mul_(weights[:, None])
        of_pose = gradient.narrow(-2, near, gradient.shape[-2] - near).clone()
        of_pose.narrow(-2, 0, mixed).mul_((1 - weights)[:, None])
        products = (leading - trailing).mul_(gradient.narrow(-2, near, mixed))
        of_weights = products.sum([dim for dim in range(products.dim()) if dim != products.dim() - 2])
        return of_weights, of_expression, of_pose, None
