"""Expression sequences: what drives an avatar through time, without any pictures."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gha.errors import InputError
from gha.faces.code import HeadCode
from gha.geometry.rotations import axis_angle_to_quaternion, quaternion_to_axis_angle, slerp

if TYPE_CHECKING:
    from .reader import Capture

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExpressionSequence:
    """A performance of T frames.

    Attributes:
        expression: coefficients [T, E].
        pose: head to world [T, 6]: axis-angle in radians, translation in world units.
        fps: frames per second.
        names: what each of the E coefficients is called.
        scale: world units per canonical decimetre of the head that performed [T, 1], or None. An avatar keeps its
            own scale unless told otherwise.
    """

    expression: Tensor
    pose: Tensor
    fps: float
    names: tuple[str, ...]
    scale: Tensor | None = None

    def __post_init__(self) -> None:
        frames, width = self.expression.shape if self.expression.ndim == 2 else (0, 0)
        if frames == 0 or width != len(self.names):
            raise InputError(
                f"found expression of shape {list(self.expression.shape)} for {len(self.names)} names, "
                "expected [frames, names] with at least one frame"
            )
        if tuple(self.pose.shape) != (frames, 6):
            raise InputError(f"found pose of shape {list(self.pose.shape)}, expected {[frames, 6]}")
        if self.scale is not None and tuple(self.scale.shape) != (frames, 1):
            raise InputError(f"found scale of shape {list(self.scale.shape)}, expected {[frames, 1]}")
        if self.scale is not None and not (self.scale > 0).all():
            raise InputError(f"found a scale of {self.scale.min():g}, expected world units per decimetre > 0")
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise InputError(f"found {self.fps} frames per second, expected a number > 0")
        repeated = sorted({name for name in self.names if self.names.count(name) > 1})
        if repeated:
            raise InputError(f"expression names {repeated} appear more than once; expected distinct names")

    def __len__(self) -> int:
        return len(self.expression)

    def __getitem__(self, frames: slice) -> ExpressionSequence:
        """A part of the performance; a step of 2 halves the frames and so also fps."""
        return replace(
            self,
            expression=self.expression[frames],
            pose=self.pose[frames],
            fps=self.fps / abs(frames.step or 1),
            scale=None if self.scale is None else self.scale[frames],
        )

    @classmethod
    def from_capture(cls, capture: Capture, frame_ids: Sequence[str] | None = None) -> ExpressionSequence:
        """The tracked parameters of a capture's frames (default: all) as a sequence."""
        codes = capture.codes(frame_ids)
        return cls(codes.expression, codes.pose, capture.fps, capture.expression_names, codes.scale)

    def codes(self, scale: Tensor | float) -> HeadCode:
        """Driving parameters [T] for a head of the given scale (world units per decimetre)."""
        scales = torch.as_tensor(scale, dtype=self.pose.dtype).reshape(-1, 1).expand(len(self), 1)
        return HeadCode(self.expression, self.pose, scales)

    def resampled(self, fps: float) -> ExpressionSequence:
        """The same performance at another frame rate, from the same first frame; rotations by slerp."""
        last = (len(self) - 1) / self.fps
        count = math.floor(last * fps + 1e-6) + 1
        return replace(self.at_times(torch.arange(count, dtype=torch.float64) / fps), fps=fps)

    def at_times(self, times: Tensor) -> ExpressionSequence:
        """Interpolate at ``times`` [N] in seconds from the first frame; outside, the nearest frame is held."""
        position = (times * self.fps).clamp(0, len(self) - 1)
        before = position.floor().long().clamp(max=max(len(self) - 2, 0))
        after = (before + 1).clamp(max=len(self) - 1)
        return _blend(self, before, after, (position - before)[:, None].to(self.pose.dtype))

    def with_names(self, names: Sequence[str], fill_missing: bool = False) -> ExpressionSequence:
        """The sequence in another set of expressions, matched by name and never by index.

        Names are compared exactly first, then without regard to case and to the spelling of sides (``eyeBlinkLeft``
        is ``eyeBlink_L``); a wanted side (``cheekPuff_L``) also takes an expression known for both (``cheekPuff``).

        Args:
            names: the expressions the driven avatar knows, in its order.
            fill_missing: set expressions that this sequence lacks to zero instead of refusing.
        """
        columns = [find_name(name, self.names) for name in names]
        missing = [name for name, column in zip(names, columns, strict=True) if column is None]
        if missing and not fill_missing:
            raise InputError(
                f"the sequence lacks {len(missing)} of {len(names)} expressions: {', '.join(missing)}. "
                f"It has: {', '.join(self.names)}. Fill the missing ones with zeros if that is meant."
            )
        unused = set(range(len(self.names))) - set(columns)
        if missing or unused:
            logger.info("%d expressions filled with zeros, %d of the sequence unused", len(missing), len(unused))
        expression = self.expression.new_zeros(len(self), len(names))
        for target, column in enumerate(columns):
            if column is not None:
                expression[:, target] = self.expression[:, column]
        return replace(self, expression=expression, names=tuple(names))


def find_name(name: str, known: Sequence[str]) -> int | None:
    """Index of the expression in ``known`` that ``name`` means, or None; see :meth:`ExpressionSequence.with_names`."""
    if name in known:
        return known.index(name)
    spelled = [_spelling(other) for other in known]
    wanted = _spelling(name)
    for candidate in (wanted, re.sub(r"_[lr]$", "", wanted)):
        if spelled.count(candidate) == 1:
            return spelled.index(candidate)
    return None


def _spelling(name: str) -> str:
    return re.sub(r"_?left$", "_l", re.sub(r"_?right$", "_r", name.lower()))


def _blend(sequence: ExpressionSequence, before: Tensor, after: Tensor, fraction: Tensor) -> ExpressionSequence:
    """Between the frames ``before`` [N] and ``after`` [N]; ``fraction`` [N, 1]."""
    rotations = sequence.pose[:, :3]
    quats = axis_angle_to_quaternion(rotations)
    rotation = nearest_turn(
        quaternion_to_axis_angle(slerp(quats[before], quats[after], fraction)),
        torch.lerp(rotations[before], rotations[after], fraction),
    )
    translation = torch.lerp(sequence.pose[before, 3:], sequence.pose[after, 3:], fraction)
    scale = sequence.scale
    return replace(
        sequence,
        expression=torch.lerp(sequence.expression[before], sequence.expression[after], fraction),
        pose=torch.cat([rotation, translation], dim=-1),
        scale=None if scale is None else torch.lerp(scale[before], scale[after], fraction),
    )


def nearest_turn(axis_angle: Tensor, reference: Tensor) -> Tensor:
    """Of the vectors [T, 3] that mean the same rotation, the one closest to ``reference`` [T, 3].

    A tracker may carry the angle beyond pi to stay continuous, and networks see the vector itself.
    """
    angle = axis_angle.norm(dim=-1, keepdim=True)
    axis = axis_angle / angle.clamp_min(1e-12)
    candidates = torch.stack([axis_angle + 2 * math.pi * turns * axis for turns in (0, -1, 1)])
    best = (candidates - reference).norm(dim=-1).argmin(dim=0)
    return candidates[best, torch.arange(len(axis_angle))]
