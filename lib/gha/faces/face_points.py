"""A face model at a few chosen vertices, with derivatives: what fitting needs, at a fraction of the whole mesh."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Turn = Callable[[Tensor, Tensor, Tensor], Tensor]

# Step of the differences that replace derivatives of rotations; in float64 the error is about as small.
STEP = 1e-6


@dataclass(frozen=True)
class FacePoints:
    """P vertices of a face model in canonical decimetres: linear bases, then rotations about J joints.

    ``points = turn(rest + identity + expression, joints + ..., expression)``, where ``turn`` is affine in points and
    joints. A model that is linear has no ``turn``. Everything is float64 on the CPU.

    Attributes:
        rest: [P, 3].
        identity: basis [I, P, 3].
        expression: basis [E, P, 3].
        joints: [J, 3]; J may be 0.
        joint_identity: basis [I, J, 3].
        joint_expression: basis [E, J, 3].
        turning: indices of the expression coefficients that ``turn`` depends on.
        turn: takes points [..., P, 3], joints [..., J, 3] and expression [..., E]; returns points.
    """

    rest: Tensor
    identity: Tensor
    expression: Tensor
    joints: Tensor
    joint_identity: Tensor
    joint_expression: Tensor
    turning: tuple[int, ...] = ()
    turn: Turn | None = None

    @classmethod
    def linear(cls, rest: Tensor, identity: Tensor, expression: Tensor) -> FacePoints:
        """Points [P, 3] that move along bases [I, P, 3] and [E, P, 3] only."""
        none = [rest.new_zeros(*shape, 0, 3).double() for shape in ((), identity.shape[:1], expression.shape[:1])]
        return cls(rest.double(), identity.double(), expression.double(), *none)

    def with_offsets(self, first: int, last: int, size: float) -> FacePoints:
        """The same with three more identity coefficients for each point from ``first`` to before ``last``.

        They move it alone, by ``size`` decimetres along each axis per unit.
        """
        count = 3 * (last - first)
        offsets = self.rest.new_zeros(count, *self.rest.shape)
        offsets[:, first:last] = size * torch.eye(count, dtype=torch.float64).unflatten(1, (-1, 3))
        still = self.rest.new_zeros(count, len(self.joints), 3)
        return replace(
            self,
            identity=torch.cat([self.identity, offsets]),
            joint_identity=torch.cat([self.joint_identity, still]),
        )

    def __call__(self, identity: Tensor, expression: Tensor) -> Tensor:
        """Points [..., P, 3] for identity [..., I] and expression [..., E]."""
        expression = expression.double()
        points, joints = self._at_rest(identity.double(), expression)
        return points if self.turn is None else self.turn(points, joints, expression)

    def derivatives(self, identity: Tensor, expression: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Points of one person in T frames, and how they move with every coefficient.

        Args:
            identity: [I].
            expression: [T, E].

        Returns:
            Points [T, P, 3], and their derivatives by identity [T or 1, P, 3, I] and by expression [T or 1, P, 3, E];
            1 where they are the same in all frames.
        """
        identity, expression = identity.double(), expression.double()
        points, joints = self._at_rest(identity, expression)
        by_identity, by_expression = (basis.permute(1, 2, 0)[None] for basis in (self.identity, self.expression))
        if self.turn is None:
            return points, by_identity, by_expression
        turned = self.turn(points, joints, expression)
        # Affine in points and joints, so differences of any step are exact.
        by_point = torch.stack([self.turn(points + e, joints, expression) - turned for e in torch.eye(3).double()], -1)
        by_identity, by_expression = by_point @ by_identity, by_point @ by_expression
        for index in range(len(self.joints)):
            by_joint = self._by_joint(index, points, joints, expression, turned)
            by_identity = by_identity + by_joint @ self.joint_identity[:, index].T
            if self.joint_expression[:, index].any():
                by_expression = by_expression + by_joint @ self.joint_expression[:, index].T
        for index in self.turning:
            moved = expression.clone()
            moved[:, index] += STEP
            by_expression[..., index] += (self.turn(points, joints, moved) - turned) / STEP
        return turned, by_identity, by_expression

    def _by_joint(self, index: int, points: Tensor, joints: Tensor, expression: Tensor, turned: Tensor) -> Tensor:
        """Derivative [T, P, 3, 3] of the turned points by the position of one joint."""
        columns = []
        for axis in range(3):
            moved = joints.clone()
            moved[..., index, axis] += 1
            columns.append(self.turn(points, moved, expression) - turned)
        return torch.stack(columns, dim=-1)

    def _at_rest(self, identity: Tensor, expression: Tensor) -> tuple[Tensor, Tensor]:
        """Points [..., P, 3] and joints [..., J, 3] before anything turns."""
        points = self.rest + _blend(identity, self.identity) + _blend(expression, self.expression)
        if not len(self.joints):
            return points, self.joints
        shift = _blend(identity, self.joint_identity) + _blend(expression, self.joint_expression)
        return points, self.joints + shift


@dataclass(frozen=True)
class CoefficientRange:
    """What expression coefficients may be and usually are.

    Attributes:
        low: smallest values [E]; -inf where there is none.
        high: largest values [E].
        spread: standard deviation about 0 [E].
    """

    low: Tensor
    high: Tensor
    spread: Tensor

    @classmethod
    def shares(cls, count: int) -> CoefficientRange:
        """Of blend shapes that are shares in [0, 1]; in a face that speaks or shows something most are near 0."""
        ones = torch.ones(count, dtype=torch.float64)
        return cls(0 * ones, ones, 0.25 * ones)

    @classmethod
    def normal(cls, spread: Sequence[float] | Tensor) -> CoefficientRange:
        """Of components that are normally distributed about 0 with standard deviations ``spread`` [E]."""
        spread = torch.as_tensor(spread, dtype=torch.float64)
        unbounded = torch.full_like(spread, float("inf"))
        return cls(-unbounded, unbounded, spread)


def _blend(coefficients: Tensor, basis: Tensor) -> Tensor:
    """Offsets [..., P, 3] of coefficients [..., K] with a basis [K, P, 3]."""
    return (coefficients @ basis.flatten(1)).unflatten(-1, basis.shape[1:])
