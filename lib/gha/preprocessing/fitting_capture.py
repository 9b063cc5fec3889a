"""Fitting a face model to a whole capture: from landmark files to tracking that training reads."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gha.capture import Capture, CaptureInfo, CaptureWriter, layout
from gha.capture.face_model import declare_face_model
from gha.errors import InputError
from gha.faces import FaceModel
from gha.geometry import Camera

from .fitting import Fit, fit_face
from .fitting_config import FittingConfig
from .fitting_views import Views

STAGING = Path(".tracking")  # in the capture, while a fit is being written


@dataclass(frozen=True)
class Tracking:
    """A fit and what it is of.

    Attributes:
        frames: ids of the T frames.
        cameras: ids of the V cameras.
        detections: x, y, confidence [T, V, 68, 3].
        fit: the result.
        model: the face model.
        config: how it was fitted.
    """

    frames: tuple[str, ...]
    cameras: tuple[str, ...]
    detections: np.ndarray
    fit: Fit
    model: FaceModel
    config: FittingConfig


def fit_capture(
    capture: Capture,
    model: FaceModel,
    detections: np.ndarray,
    frames: Sequence[str],
    cameras: Sequence[str],
    config: FittingConfig,
    watch: Callable[[str], None] | None = None,
) -> Tracking:
    """Fit a face model to detections [T, V, 68, 3] of some frames and cameras of a capture."""
    views = Views.of(torch.from_numpy(detections), read_cameras(capture, frames, cameras))
    fit = fit_face(model, views, config, seconds_between(capture, frames), watch)
    return Tracking(tuple(frames), tuple(cameras), detections, fit, model, config)


def read_cameras(capture: Capture, frames: Sequence[str], cameras: Sequence[str]) -> list[Camera]:
    """Cameras [V] of each frame, in pixels of the full-size pictures; width and height are those of the first."""
    result = []
    for frame in frames:
        found = [capture.camera(camera, frame) for camera in cameras]
        stacked = (torch.stack([getattr(camera, name) for camera in found]) for name in ("w2c", "K"))
        result.append(Camera(*stacked, found[0].width, found[0].height))
    return result


def seconds_between(capture: Capture, frames: Sequence[str]) -> Tensor:
    """From each frame's predecessor to it [T]; inf for the first frame of a sequence."""
    sequence_of = {frame: name for name, members in capture.info.sequences.items() for frame in members}
    place = {frame: index for index, frame in enumerate(capture.frame_ids)}
    seconds = torch.full((len(frames),), torch.inf)
    for index in range(1, len(frames)):
        before, frame = frames[index - 1], frames[index]
        if sequence_of.get(before) == sequence_of.get(frame):
            seconds[index] = (place[frame] - place[before]) / capture.fps
    return seconds


def refuse_other_tracking(root: Path, frames: Sequence[str]) -> None:
    """Raise where a capture has tracking already: it may be the truth, or hours of work."""
    for frame in frames:
        path = layout.params_file(root, frame)
        if path.exists():
            raise InputError(f"{path}: found tracking already; --overwrite replaces it, --output writes elsewhere")


def write_tracking(root: Path, tracking: Tracking) -> None:
    """Write ``params.npz``, ``lmk_3d.npy`` and ``vertices.npy`` of every frame, and the names of the expressions.

    All frames appear at once: they are written beside ``params/``, which they then replace. Tracking of frames that
    were not fitted stays.
    """
    folder, fresh, former = (root / name for name in ("params", STAGING / "params", STAGING / "former"))
    shutil.rmtree(root / STAGING, ignore_errors=True)  # of a run that was killed
    try:
        # The original's form: capture.json stays as it is.
        writer, fit = CaptureWriter(root / STAGING, CaptureInfo((1, 1)), original=True), tracking.fit
        for index, frame in enumerate(tracking.frames):
            writer.write_frame_params(frame, fit.code[index], fit.landmarks[index], fit.vertices[index])
        for other in (path for path in folder.glob("*") if not (fresh / path.name).exists()):
            (shutil.copytree if other.is_dir() else shutil.copy2)(other, fresh / other.name)
        # Names first: killed in between, a capture has no tracking rather than tracking under other names.
        declare_face_model(root, tracking.model.expression_names, tracking.model.name, tracking.model.version)
        if folder.exists():
            folder.rename(former)
        try:
            fresh.rename(folder)
        except OSError:
            if former.exists():
                former.rename(folder)
            raise
    finally:
        shutil.rmtree(root / STAGING, ignore_errors=True)
