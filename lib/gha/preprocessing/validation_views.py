"""Examining one view: its calibration, its pictures, and whether they agree with the tracked landmarks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from gha.capture import layout
from gha.capture.images import check_picture, decode, picture_size
from gha.capture.layout import ImageKind
from gha.capture.problems import Problem, problem_from
from gha.capture.tracking import read_camera
from gha.errors import InputError
from gha.geometry import Camera

from .validation_measures import (
    difference,
    fingerprint,
    inside_picture,
    mask_share,
    points_on_mask,
    sharpness,
)

FULL_MASK = 0.999
ON_MASK = 0.8
CERTAINLY_ON_MASK = 0.5
SMALL_COPY_DIFFERENCE = 12.0  # grey levels


@dataclass(eq=False)
class View:
    """What was found in one view; None for what could not be measured.

    Attributes:
        frame: frame id.
        camera: camera id.
        lens: its calibration.
        picture: file of its picture, relative to the capture; empty if there is none.
        mask_area: share of the picture that the mask covers.
        sharpness: standard deviation of the Laplacian inside the mask, in grey levels.
        in_picture: share of the facial landmarks that are projected into the picture.
        on_mask: share of those that lie on the mask.
        fingerprint: of the decoded picture.
        problems: what is wrong with the view.
    """

    frame: str
    camera: str
    lens: Camera | None = None
    picture: str = ""
    mask_area: float | None = None
    sharpness: float | None = None
    in_picture: float | None = None
    on_mask: float | None = None
    fingerprint: str = ""
    problems: list[Problem] = field(default_factory=list)

    def add(self, kind: str, where: str, text: str, fatal: bool = True) -> None:
        """Note a problem of this view."""
        self.problems.append(Problem(kind, where, text, fatal, self.frame, self.camera))

    def attempt(self, kind: str, root: Path, read: Callable[[], object]) -> object | None:
        """What ``read`` returns; None and a problem if it refuses."""
        try:
            return read()
        except InputError as error:
            self.problems.append(problem_from(error, kind, root, self.frame, self.camera))
            return None


def examine_view(
    root: Path, frame: str, camera: str, size: tuple[int, int] | None, landmarks: Tensor | None, pictures: bool
) -> View:
    """Look at everything that belongs to one view.

    Args:
        root: folder of the capture.
        frame: frame id.
        camera: camera id.
        size: height and width that its full-size pictures must have; None: no picture of the camera can be read.
        landmarks: facial landmarks in world space [L, 3], or None where they cannot be used.
        pictures: decode the pictures; otherwise their headers are read only.
    """
    view = View(frame, camera)
    pixels = _project_landmarks(view, root, size, landmarks)
    if size is not None:
        files = {kind: _examine_pictures(view, root, kind, size, pictures) for kind in ("image", "mask", "visible")}
        view.picture = files["image"].where
        _measure_image(view, files["image"], files["mask"])
        _measure_mask(view, files["mask"], pixels)
    return view


class _Decoded(NamedTuple):
    """A file relative to the capture, and what it shows [H, W] if it could be and was to be decoded."""

    where: str
    array: np.ndarray | None


def _project_landmarks(
    view: View, root: Path, size: tuple[int, int] | None, landmarks: Tensor | None
) -> np.ndarray | None:
    """Pixels of the landmarks [L, 2], if the camera has them before it."""
    path = layout.camera_file(root, view.frame, view.camera)
    if not path.is_file():
        return None
    height, width = size or (1, 1)
    view.lens = view.attempt("camera unusable", root, lambda: read_camera(path, width, height))
    if view.lens is None or landmarks is None or size is None:
        return None
    where = str(path.relative_to(root))
    projected, depth = (values.numpy() for values in view.lens.project(landmarks))
    behind = int((depth <= 0).sum())
    if behind:
        text = (
            f"found {behind} of {len(depth)} landmarks behind the camera, expected none (is extrinsic world-to-camera, "
        )
        view.add("head behind the camera", where, text + "with x right, y down, z forward?)")
        return None
    view.in_picture = float(inside_picture(projected, width, height).mean())
    if view.in_picture < CERTAINLY_ON_MASK:
        text = (
            f"found {view.in_picture:.0%} of the landmarks in the picture of {width} x {height} pixels, expected most"
        )
        view.add("head out of the picture", where, text, fatal=view.in_picture == 0)
    return projected


def _examine_pictures(view: View, root: Path, kind: ImageKind, size: tuple[int, int], pictures: bool) -> _Decoded:
    """The full-size picture of a kind; it and its small copy are checked on the way."""
    full, small = (_examine_picture(view, root, kind, size, lowres, pictures) for lowres in (False, True))
    if kind == "mask" and full.array is not None and small.array is not None:
        found = difference(full.array, small.array)
        if found > SMALL_COPY_DIFFERENCE:
            text = f"found {found:.0f} grey levels of difference to the full-size mask, expected a small copy of it"
            view.add("small copy of another mask", small.where, text)
    return full


def _examine_picture(
    view: View, root: Path, kind: ImageKind, size: tuple[int, int], lowres: bool, pictures: bool
) -> _Decoded:
    path = layout.with_known_suffix(layout.image_stem(root, kind, view.frame, view.camera, lowres))
    if path is None:
        return _Decoded("", None)
    read = _reader(path, size, lowres, pictures)
    array = view.attempt(f"{kind}{' (small copy)' if lowres else ''} unusable", root, read)
    return _Decoded(str(path.relative_to(root)), array)


def _reader(path: Path, size: tuple[int, int], lowres: bool, pictures: bool) -> Callable[[], np.ndarray | None]:
    if not pictures:
        return lambda: check_picture(path, size, lowres)
    return lambda: decode(path, picture_size(path) if lowres else size, size, gray=True, lowres=lowres)[0]


def _measure_image(view: View, image: _Decoded, mask: _Decoded) -> None:
    if image.array is None:
        return
    darkest = image.array.min()
    if darkest == image.array.max():
        text = f"found grey level {darkest} everywhere, expected a photograph"
        view.add("picture of one colour", image.where, text)
        return
    view.fingerprint = fingerprint(image.array)
    if mask.array is not None:
        view.sharpness = sharpness(image.array, mask.array)


def _measure_mask(view: View, decoded: _Decoded, pixels: np.ndarray | None) -> None:
    where, mask = decoded
    if mask is None:
        return
    view.mask_area = mask_share(mask)
    if not mask.any():
        view.add("mask empty", where, "found an empty mask, expected the subject in it")
        return
    if view.mask_area > FULL_MASK:
        view.add(
            "mask full", where, "found a mask that covers the whole picture, expected background around the subject"
        )
        return
    height, width = mask.shape
    if pixels is None or not view.in_picture:
        return
    seen = pixels[inside_picture(pixels, width, height)]
    view.on_mask = float(points_on_mask(seen, mask, tolerance=max(1, max(mask.shape) // 100)).mean())
    if view.on_mask < ON_MASK:
        text = (
            f"found {view.on_mask:.0%} of {len(seen)} projected landmarks on the mask, expected nearly all "
            "(is camera, mask or tracking of another frame?)"
        )
        view.add("landmarks off the mask", where, text, fatal=view.on_mask < CERTAINLY_ON_MASK)


def examine_visible_map(root: Path, camera: str, size: tuple[int, int], pictures: bool) -> list[Problem]:
    """Problems of the visible map that holds for every frame of a camera, if there is one."""
    path = layout.with_known_suffix(layout.camera_visible_stem(root, camera))
    if path is None:
        return []
    view = View("", camera)
    found = view.attempt("visible map unusable", root, _reader(path, size, False, pictures))
    if found is not None and not found.any():
        text = "found 0 everywhere, which hides every pixel; expected 255 where the sensor recorded"
        view.add("visible map empty", str(path.relative_to(root)), text)
    return view.problems


def examine_plate(root: Path, camera: str, size: tuple[int, int], pictures: bool) -> list[Problem]:
    """Problems of a camera's picture of the empty stage, if there is one; one of another size is not used."""
    path = layout.with_known_suffix(layout.background_file(root, camera).with_suffix(""))
    if path is None:
        return []
    view, kind = View("", camera), "picture of the empty stage unusable"
    found = view.attempt(kind, root, lambda: picture_size(path))
    if found is not None and found != size:
        text = f"found {found[1]} x {found[0]} pixels, expected {size[1]} x {size[0]}; outlines keep the studio"
        view.add("picture of the empty stage of another size", str(path.relative_to(root)), text, fatal=False)
    elif found is not None:
        view.attempt(kind, root, _reader(path, size, False, pictures))
    return view.problems
