"""Small corrections learned with an avatar: head pose per frame, colour gain per camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from gha.faces.code import HeadCode


class PoseRefinement(nn.Module):
    """A learned correction [6] of the tracked pose of every training frame, added before anything else sees it.

    Train it with ``RowAdam``, so that only the frames of the batch move.

    Args:
        frame_ids: names of the training frames; a frame that is not among them is not corrected.
    """

    def __init__(self, frame_ids: Sequence[str]) -> None:
        super().__init__()
        self.rows = {name: row for row, name in enumerate(frame_ids)}
        self.delta = nn.Embedding(len(frame_ids), 6)
        nn.init.zeros_(self.delta.weight)

    def rows_of(self, frame_ids: Sequence[str]) -> Tensor:
        """Rows [B] of frames, -1 for those that are not corrected; int64 on the host."""
        return torch.tensor([self.rows.get(name, -1) for name in frame_ids])

    def forward(self, code: HeadCode, rows: Tensor) -> HeadCode:
        """Correct the poses of codes with leading dimension B by the given rows [B] (see :meth:`rows_of`)."""
        correction = self.delta(rows.clamp_min(0)) * (rows >= 0)[:, None]
        return replace(code, pose=code.pose + correction)


class CameraGain(nn.Module):
    """One RGB gain per camera, for recordings whose cameras differ in exposure or carry their own flash.

    Gains are relative: their geometric mean over the cameras is 1 in every channel, so the avatar keeps the
    recording's average colour. A camera that is not known gets gain 1.

    Args:
        camera_ids: names of the training cameras.
    """

    def __init__(self, camera_ids: Sequence[str]) -> None:
        super().__init__()
        self.rows = {name: row for row, name in enumerate(camera_ids)}
        self.log_gain = nn.Parameter(torch.zeros(len(camera_ids), 3))

    def rows_of(self, camera_ids: Sequence[Sequence[str]]) -> Tensor:
        """Rows [B, V] of cameras, B lists of V names; -1 for those that are not known; int64 on the host."""
        return torch.tensor([[self.rows.get(name, -1) for name in names] for names in camera_ids])

    def forward(self, colors: Tensor, rows: Tensor) -> Tensor:
        """Multiply premultiplied colours [B, V, 3, H, W] by the gains of their cameras' rows [B, V]."""
        centered = self.log_gain - self.log_gain.mean(0)
        gains = torch.where(rows[..., None] >= 0, centered[rows.clamp_min(0)], 0.0).exp()
        return colors * gains[..., None, None]
