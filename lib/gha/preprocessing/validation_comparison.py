"""What only shows when views are compared: repeated pictures, blur, cameras that coincide."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median

import torch

from gha.capture import Split
from gha.capture.problems import Problem
from gha.geometry import Camera

from .validation_views import View

BLURRED = 0.3
STANDING = 1e-3  # by which numbers of an extrinsic may differ, relative to 1 + their size


def duplicate_problems(views: Iterable[View], split: Split) -> list[Problem]:
    """Pictures that are the same, pixel by pixel, as an earlier one."""
    first: dict[str, View] = {}
    held_out = set(split.test_frames)
    problems = []
    for view in views:
        if not view.fingerprint:
            continue
        same = first.setdefault(view.fingerprint, view)
        if same is view:
            continue
        where, other = view.picture, same.picture
        if same.frame == view.frame:
            kind, text = (
                "same picture in two cameras",
                f"found the picture of {other}, expected what another camera sees",
            )
        elif (same.frame in held_out) != (view.frame in held_out):
            kind, text = "held out and trained on", f"found the picture of {other}; one of the two is held out"
        else:
            kind, text = "duplicate frame", f"found the picture of {other}, expected another moment"
        fatal = kind == "same picture in two cameras"
        problems.append(Problem(kind, where, text, fatal, view.frame, view.camera))
    return problems


def blur_problems(views: Iterable[View]) -> list[Problem]:
    """Pictures far less sharp than is usual for their camera, and cameras far less sharp than is usual for cameras."""
    by_camera: dict[str, list[View]] = defaultdict(list)
    for view in views:
        if view.sharpness is not None and view.mask_area:
            by_camera[view.camera].append(view)
    usual = {camera: median(view.sharpness for view in group) for camera, group in by_camera.items()}
    overall = median(usual.values()) if usual else 0.0
    problems = []
    for camera, group in by_camera.items():
        if usual[camera] < BLURRED * overall:
            text = f"found sharpness {usual[camera]:.2g}, expected about {overall:.2g} as in the other cameras"
            problems.append(Problem("blurred camera", f"images/*/image_{camera}", text, False, camera=camera))
        for view in group:
            if view.sharpness < BLURRED * usual[camera]:
                text = f"found sharpness {view.sharpness:.2g}, expected about {usual[camera]:.2g} as in other frames"
                problems.append(Problem("blurred picture", view.picture, text, False, view.frame, camera))
    return problems


def moved_cameras(views: Iterable[View]) -> list[Problem]:
    """Cameras that are calibrated alike in more than half of their frames, in the frames in which they are not."""
    by_camera: dict[str, list[View]] = defaultdict(list)
    for view in views:
        if view.lens is not None:
            by_camera[view.camera].append(view)
    problems = []
    for camera, group in by_camera.items():
        places = torch.stack([view.lens.w2c for view in group])
        usual = places.median(0).values
        moved = ((places - usual).abs() > STANDING * (1 + usual.abs())).flatten(1).any(1)
        standing = len(group) - int(moved.sum())
        if 2 * standing <= len(group):
            continue
        like = group[int(moved.int().argmin())]
        for view in (group[index] for index in moved.nonzero()[:, 0].tolist()):
            degrees, distance = _motion(like.lens, view.lens)
            text = (
                f"found the camera turned by {degrees:.3g} degrees and moved by {distance:.3g} world units against "
                f"frame {like.frame} and {standing} frames in all, expected it to stand still"
            )
            where = f"cameras/{view.frame}/camera_{camera}.npz"
            problems.append(Problem("camera moved", where, text, True, view.frame, camera))
    return problems


def _motion(first: Camera, second: Camera) -> tuple[float, float]:
    """Degrees and world units between two cameras."""
    relative = first.w2c[:3, :3].double() @ second.w2c[:3, :3].double().T
    degrees = torch.rad2deg(((relative.trace() - 1) / 2).clamp(-1, 1).acos())
    return degrees.item(), (first.center - second.center).norm().item()


def coinciding_cameras(views: Sequence[View]) -> list[Problem]:
    """Cameras whose calibration in a frame is that of another camera."""
    seen: dict[tuple, View] = {}
    problems = []
    for view in views:
        if view.lens is None:
            continue
        same = seen.setdefault((view.frame, view.lens.w2c.numpy().tobytes()), view)
        if same is not view:
            where = f"cameras/{view.frame}/camera_{view.camera}.npz"
            text = f"found the pose of camera {same.camera}, expected cameras in different places"
            problems.append(Problem("cameras in the same place", where, text, False, view.frame, view.camera))
    return problems
