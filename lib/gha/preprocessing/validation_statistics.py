"""Figures worth seeing about a capture: where its cameras are, what the head does, how good the pictures are."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from gha.capture import Capture
from gha.faces.code import HeadCode
from gha.geometry import axis_angle_to_matrix

from .validation_tracking import STILL, Tracking
from .validation_views import View

Range = tuple[float, float]


@dataclass(frozen=True)
class CameraStatistics:
    """One camera; medians over its frames, None for what could not be measured.

    Attributes:
        camera: its id.
        held_out: whether it is held out.
        width, height: of its pictures in pixels.
        yaw: degrees from straight ahead to the subject's left, seen from the head.
        pitch: degrees upwards, seen from the head.
        distance: decimetres of canonical space to the head's origin.
        mm_per_pixel: what a pixel covers at the head.
        mask_area: share of the picture that is subject.
        sharpness: standard deviation of the Laplacian inside the mask, in grey levels.
        on_mask: share of the projected landmarks on the mask.
    """

    camera: str
    held_out: bool
    width: int | None = None
    height: int | None = None
    yaw: float | None = None
    pitch: float | None = None
    distance: float | None = None
    mm_per_pixel: float | None = None
    mask_area: float | None = None
    sharpness: float | None = None
    on_mask: float | None = None


@dataclass(frozen=True)
class CoefficientStatistics:
    """Range of one expression coefficient over all frames, and over those that are trained on."""

    name: str
    range: Range
    trained: Range | None


@dataclass(frozen=True)
class Statistics:
    """What a capture consists of.

    Attributes:
        frames: number of frames.
        fps: frames per second.
        sequences: number of frames of every sequence.
        trained_frames: number of frames that are trained on.
        held_out_frames: ids.
        held_out_cameras: ids.
        cameras: one entry for each.
        yaw, pitch: from where the head is seen, over all views, in degrees.
        widest_gap: largest step in yaw from one camera to the next, in degrees.
        turn, nod: how far the head turns to its left and lifts its face, about its median pose, in degrees.
        scale: world units per decimetre.
        expression: one entry for each coefficient.
        mask_area: share of the pictures that is subject.
    """

    frames: int
    fps: float
    sequences: Mapping[str, int]
    trained_frames: int
    held_out_frames: tuple[str, ...]
    held_out_cameras: tuple[str, ...]
    cameras: tuple[CameraStatistics, ...]
    yaw: Range | None
    pitch: Range | None
    widest_gap: float | None
    turn: Range | None
    nod: Range | None
    scale: Range | None
    expression: tuple[CoefficientStatistics, ...]
    mask_area: Range | None

    @property
    def still(self) -> tuple[str, ...]:
        """Names of the expression coefficients that never move; none where there is only one frame."""
        if self.frames < 2:
            return ()
        return tuple(one.name for one in self.expression if one.range[1] - one.range[0] <= STILL)

    @property
    def beyond_training(self) -> tuple[str, ...]:
        """Names of those that held-out frames move further than training frames do, by a tenth of the range or more."""
        return tuple(
            one.name
            for one in self.expression
            if one.trained is not None
            and max(one.trained[0] - one.range[0], one.range[1] - one.trained[1])
            > max(STILL, 0.1 * (one.range[1] - one.range[0]))
        )


def measure_capture(
    capture: Capture, sizes: Mapping[str, tuple[int, int]], tracking: Tracking | None, views: Sequence[View]
) -> Statistics:
    """Statistics of a capture from its views and its tracking."""
    by_camera: dict[str, list[View]] = {camera: [] for camera in capture.camera_ids}
    for view in views:
        by_camera[view.camera].append(view)
    directions = {camera: seen_from_head(group, tracking) for camera, group in by_camera.items()}
    cameras = tuple(
        _measure_camera(camera, capture, sizes.get(camera), by_camera[camera], directions[camera])
        for camera in by_camera
    )
    seen = torch.cat([torch.zeros(0, 3), *directions.values()])
    yaws = sorted(camera.yaw for camera in cameras if camera.yaw is not None)
    split = capture.split
    turn, nod = _head_turns(tracking)
    return Statistics(
        frames=len(capture.frame_ids),
        fps=capture.fps,
        sequences={name: len(frames) for name, frames in capture.info.sequences.items()},
        trained_frames=len(split.train_frames),
        held_out_frames=split.test_frames,
        held_out_cameras=split.test_cameras,
        cameras=cameras,
        yaw=_range(seen[:, 0]),
        pitch=_range(seen[:, 1]),
        widest_gap=max((b - a for a, b in itertools.pairwise(yaws)), default=None),
        turn=turn,
        nod=nod,
        scale=_range(tracking.code.scale[:, 0]) if tracking else None,
        expression=_measure_expression(capture, tracking),
        mask_area=_range(torch.tensor([view.mask_area for view in views if view.mask_area is not None])),
    )


def seen_from_head(views: Sequence[View], tracking: Tracking | None) -> Tensor:
    """Yaw and pitch in degrees and distance in decimetres of the views' cameras, seen from the head of their frames.

    Yaw is 0 in front of the face and positive to the subject's left. Views without calibration or tracking are left
    out: [at most the number of views, 3].
    """
    index = {frame: i for i, frame in enumerate(tracking.frames)} if tracking else {}
    usable = [view for view in views if view.lens is not None and view.frame in index]
    if not usable:
        return torch.zeros(0, 3)
    code = tracking.code[torch.tensor([index[view.frame] for view in usable])]
    centers = torch.stack([view.lens.center for view in usable])
    x, y, z = code.to_canonical(centers[:, None])[:, 0].unbind(-1)
    yaw, pitch = torch.atan2(x, z), torch.atan2(y, torch.hypot(x, z))
    return torch.stack([torch.rad2deg(yaw), torch.rad2deg(pitch), (x * x + y * y + z * z).sqrt()], -1)


def _measure_camera(
    camera: str, capture: Capture, size: tuple[int, int] | None, views: Sequence[View], directions: Tensor
) -> CameraStatistics:
    held_out = camera in capture.split.test_cameras
    height, width = size or (None, None)
    yaw, pitch, distance = directions.median(0).values.tolist() if len(directions) else (None, None, None)
    focal = next((view.lens.K[0, 0].item() for view in views if view.lens is not None), None)
    values: dict[str, list[float]] = defaultdict(list)
    for view in views:
        for name in ("mask_area", "sharpness", "on_mask"):
            if getattr(view, name) is not None:
                values[name].append(getattr(view, name))
    return CameraStatistics(
        camera, held_out, width, height, yaw, pitch, distance,
        mm_per_pixel=100 * distance / focal if distance is not None and focal else None,
        **{name: median(found) for name, found in values.items()},
    )  # fmt: skip


def _measure_expression(capture: Capture, tracking: Tracking | None) -> tuple[CoefficientStatistics, ...]:
    if tracking is None:
        return ()
    names = capture.info.expression_names
    width = tracking.code.expression.shape[-1]
    names = names if len(names) == width else tuple(f"expression_{i:03d}" for i in range(width))
    trained = [i for i, frame in enumerate(tracking.frames) if frame in set(capture.split.train_frames)]
    return tuple(
        CoefficientStatistics(name, _range(values), _range(values[trained]))
        for name, values in zip(names, tracking.code.expression.T, strict=True)
    )


def _head_turns(tracking: Tracking | None) -> tuple[Range | None, Range | None]:
    """Ranges of the directions in which the face looks, against the frame that is nearest to all, in degrees."""
    if tracking is None:
        return None, None
    rotations = axis_angle_to_matrix(tracking.code.pose[:, :3])
    rest = rotations[_medoid(tracking.code)]
    x, y, z = (rest.T @ rotations[:, :, 2, None])[..., 0].unbind(-1)
    return _range(torch.rad2deg(torch.atan2(x, z))), _range(torch.rad2deg(torch.atan2(y, torch.hypot(x, z))))


def _medoid(code: HeadCode) -> int:
    forward = axis_angle_to_matrix(code.pose[:, :3])[:, :, 2]
    return int((forward - forward.median(0).values).norm(dim=-1).argmin())


def _range(values: Tensor) -> Range | None:
    return (values.min().item(), values.max().item()) if values.numel() else None
