"""What one training step compares the avatar with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from gha.capture.frame import Frame


@dataclass(frozen=True)
class Sample:
    """A frame as one step sees it, with everything that was drawn at random for the step, on the device.

    Nothing in it has to be looked at by the host: a step that is recorded once can be replayed with another sample
    of the same sizes.

    Attributes:
        frame: views [B, V], pictures in [0, 1].
        background: RGB [B, V, 3, 1, 1] that truth and prediction are composited over, or None.
        perceptual_corner: int64 [2], first row and column of the part the perceptual term sees, or None.
        pose_rows: int64 [B], rows of the pose correction, -1 for none; or None where poses are not corrected.
        gain_rows: int64 [B, V], rows of the colour gains, -1 for none; or None where colours are not corrected.
    """

    frame: Frame
    background: Tensor | None = None
    perceptual_corner: Tensor | None = None
    pose_rows: Tensor | None = None
    gain_rows: Tensor | None = None


def tensors_of(value: Any) -> Iterator[Tensor]:
    """The tensors of a sample, or of anything made of dataclasses, in the order of its fields."""
    if isinstance(value, Tensor):
        yield value
    elif is_dataclass(value):
        for field in fields(value):
            yield from tensors_of(getattr(value, field.name))


def sent(value: Tensor, device: torch.device) -> Tensor:
    """A small tensor of the host on its way to the device, without a wait for what that still has to do."""
    return value.to(device, non_blocking=device.type != "cpu")
