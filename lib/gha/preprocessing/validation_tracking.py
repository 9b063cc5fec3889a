"""Whether the head poses of a capture agree with its landmarks, and from frame to frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gha.capture import Capture
from gha.capture.problems import Problem
from gha.faces.code import HeadCode
from gha.geometry import fit_similarities

# A face moves about its median shape: extreme expressions were found to turn the fit by 6 degrees, to shift it by
# 0.09 decimetres and to scale it by 1.08. Beyond these limits pose or landmarks are doubtful, beyond twice them wrong.
MAX_TURN = 12.0  # degrees
MAX_SHIFT = 0.15  # decimetres
MAX_GROWTH = 0.14  # logarithm of the factor
# Root mean square distance of the face's points from their centre in decimetres; a face has about 0.7.
FACE_RADIUS = (0.25, 2.5)
SCALE_CHANGE = 1.05


@dataclass(frozen=True)
class Tracking:
    """What was tracked in the T frames in which all of it can be used.

    Attributes:
        frames: their ids.
        code: driving parameters [T, ...].
        landmarks: facial landmarks in world space [T, 66 or 68, 3].
        points: landmarks and sampled face points in world space [T, L, 3].
    """

    frames: tuple[str, ...]
    code: HeadCode
    landmarks: Tensor
    points: Tensor

    def landmarks_of(self, frame: str) -> Tensor | None:
        """Facial landmarks of a frame, or None where they cannot be used."""
        return self.landmarks[self.frames.index(frame)] if frame in self.frames else None


def read_tracking(capture: Capture, frames: Sequence[str]) -> Tracking | None:
    """The tracking of frames that are known to be fine; None if there are none."""
    if not frames:
        return None
    points = torch.stack([capture.landmarks(frame) for frame in frames])
    count = len(capture.facial_landmarks(frames[0]))
    return Tracking(tuple(frames), capture.codes(frames), points[:, :count], points)


def pose_problems(tracking: Tracking) -> list[Problem]:
    """Frames whose pose and scale do not take the landmarks to where they lie in the other frames.

    The landmarks of every frame are brought to canonical space by that frame's pose. They must have the size of a
    face there, and all frames' must lie on each other but for expression: the similarity that takes their median
    onto those of a frame is to be nearly none.
    """
    points = tracking.code.to(dtype=torch.float64).to_canonical(tracking.points.double())
    radius = (points - points.mean(1, keepdim=True)).norm(dim=-1).square().mean(1).sqrt()
    problems = [
        _problem(
            frame,
            f"found landmarks {size:.3g} decimetres about their centre after undoing pose and scale, expected the size "
            f"of a face, {FACE_RADIUS[0]} to {FACE_RADIUS[1]} (is scale in world units per decimetre?)",
        )
        for frame, size in zip(tracking.frames, radius.tolist(), strict=True)
        if not FACE_RADIUS[0] <= size <= FACE_RADIUS[1]
    ]
    alike = torch.tensor([FACE_RADIUS[0] <= size <= FACE_RADIUS[1] for size in radius.tolist()])
    return [*problems, *_misplaced(tracking, points, alike), *_scale_problems(tracking)]


def _misplaced(tracking: Tracking, points: Tensor, alike: Tensor) -> list[Problem]:
    """Those of the frames chosen by ``alike`` [T] whose canonical points [T, L, 3] lie elsewhere than in most."""
    if alike.sum() < 3:
        return []
    frames = [frame for frame, chosen in zip(tracking.frames, alike.tolist(), strict=True) if chosen]
    fits = fit_similarity(points[alike].median(0).values, points[alike])
    problems = []
    for frame, turn, growth, shift in zip(frames, *(values.tolist() for values in fits), strict=True):
        excess = max(turn / MAX_TURN, shift / MAX_SHIFT, abs(math.log(growth)) / MAX_GROWTH)
        if excess > 1:
            text = (
                f"pose disagrees with lmk_3d.npy and vertices.npy: against the other frames, in canonical space, "
                f"they are turned by {turn:.0f} degrees, moved by {shift:.2g} decimetres, scaled by {growth:.3g}; "
                "expected about 0, 0, 1"
            )
            problems.append(_problem(frame, text, fatal=excess > 2))
    return problems


def _problem(frame: str, text: str, fatal: bool = True) -> Problem:
    return Problem("pose", f"params/{frame}/params.npz", text, fatal, frame)


def _scale_problems(tracking: Tracking) -> list[Problem]:
    scales = tracking.code.scale[:, 0].double()
    usual = scales.median().item()
    return [
        _problem(frame, f"found scale {scale:.4g}, expected {usual:.4g} as in most frames; a head does not grow", False)
        for frame, scale in zip(tracking.frames, scales.tolist(), strict=True)
        if abs(math.log(scale / usual)) > math.log(SCALE_CHANGE)
    ]


def fit_similarity(source: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The similarities that take points [L, 3] best (least squares) onto each of [T, L, 3].

    Returns:
        Angle of rotation in degrees, factor of scale, and distance by which the centre of the points moves, each [T].
    """
    rotation, scale, (centre, centres) = fit_similarities(source, targets, targets.new_ones(targets.shape[:2]))
    cosine = (rotation.diagonal(dim1=1, dim2=2).sum(-1) - 1) / 2
    return torch.rad2deg(cosine.clamp(-1, 1).acos()), scale.clamp(min=1e-6), (centres - centre).norm(dim=-1)


def expression_problems(tracking: Tracking) -> list[Problem]:
    """A capture of several frames in which no expression coefficient moves."""
    spread = tracking.code.expression.amax(0) - tracking.code.expression.amin(0)
    if len(tracking.frames) < 2 or spread.max() > STILL:
        return []
    return [
        Problem(
            "expression",
            "params",
            f"none of {len(spread)} expression coefficients moves in {len(tracking.frames)} frames; expected some to",
            fatal=False,
        )
    ]


STILL = 1e-4
