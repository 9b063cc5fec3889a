"""Planning an extraction: which picture of which video becomes which frame of a capture. Decodes nothing."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from gha.capture.layout import natural_sort
from gha.errors import InputError
from gha.geometry import Camera
from gha.limits import at_least, find_violations, limited, numbers

from .crop import CropWindow
from .raw_calibration import read_cameras, read_colours
from .raw_tree import RawIdentity, matches_any, read_identity, select_names
from .raw_video import VideoHeader, read_header

logger = logging.getLogger(__name__)

LEAST_SHARE = 0.5  # of the crop window that must show recorded pixels: less is a window for other pictures


@limited(frame_step=at_least(1), size=at_least(16), crop=numbers(4))
@dataclass(frozen=True)
class ExtractionSettings:
    """What is taken out of a raw recording; the defaults are those of the original system, but for FREE.

    Attributes:
        include: patterns of sequences to take, none: all; see :func:`.raw_tree.select_names`.
        exclude: patterns of sequences to leave out.
        cameras: camera ids to take, none: all.
        frame_step: every how many timesteps one is kept.
        crop: left, top, width and height of the window in recorded pixels; black where it reaches outside.
        size: longer side of the result in pixels.
        held_out: patterns of sequences that are kept for evaluation.
        held_out_cameras: camera ids that are kept for evaluation.
        colour_correction: apply the colour calibration where there is one.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ("tongue", "GLASSES")
    cameras: tuple[str, ...] = ()
    frame_step: int = 3
    crop: tuple[int, int, int, int] = (-200, 304, 2600, 2600)
    size: int = 2048
    held_out: tuple[str, ...] = ("FREE",)
    held_out_cameras: tuple[str, ...] = ()
    colour_correction: bool = True

    def __post_init__(self) -> None:
        for problem in find_violations(self):
            raise InputError(problem)


@dataclass(frozen=True)
class SequencePlan:
    """One sequence as all cameras saw it.

    Attributes:
        name: of the sequence.
        rate: timesteps per second.
        origin: time of timestep 0, in seconds of the videos' clocks.
        timesteps: how many there are in the longest video.
        frames: frame id of every timestep that is kept.
        videos: camera id to video; only those that can be opened.
    """

    name: str
    rate: Fraction
    origin: Fraction
    timesteps: int
    frames: Mapping[int, str]
    videos: Mapping[str, Path]


@dataclass(frozen=True)
class ExtractionPlan:
    """Everything that determines the capture of one person.

    Attributes:
        identity: the raw files.
        settings: what was asked for.
        sequences: in the order of their frames.
        cameras: camera id to camera of the extracted pictures, in natural order.
        colours: camera id to colour calibration [3, T]; empty where none is applied.
        crop: window and size.
        recorded_size: height and width of the recorded pictures.
        held_out: names of the held-out sequences.
    """

    identity: RawIdentity
    settings: ExtractionSettings
    sequences: tuple[SequencePlan, ...]
    cameras: Mapping[str, Camera]
    colours: Mapping[str, np.ndarray]
    crop: CropWindow
    recorded_size: tuple[int, int]
    held_out: tuple[str, ...]

    def recipe(self) -> dict[str, Any]:
        """What decides about the pictures, as plain JSON values for ``capture.json``."""
        return {
            "source": "NeRSemble",
            "identity": self.identity.name,
            "timesteps": {sequence.name: sequence.timesteps for sequence in self.sequences},
            "cameras": list(self.cameras),
            "frame_step": self.settings.frame_step,
            "crop": list(self.settings.crop),
            "colour_correction": bool(self.colours),
            "held_out": list(self.held_out),
            "held_out_cameras": list(self.settings.held_out_cameras),
        }


def plan_identity(root: Path, name: str, settings: ExtractionSettings) -> ExtractionPlan:
    """Decide what is extracted of one person, from names and headers alone.

    Frames are counted through all chosen sequences in natural order, each as long as its longest video: what one
    camera lacks moves nothing in any other.

    Raises:
        InputError: something that was asked for is not there, or cannot be used.
    """
    identity = read_identity(root, name)
    chosen = select_names(list(identity.sequences), settings.include, settings.exclude, f"{root}: sequences of {name}")
    held_out = tuple(sequence for sequence in chosen if matches_any(sequence, settings.held_out))
    if len(held_out) == len(chosen):
        raise InputError(
            f"{root}: all sequences of {name} ({', '.join(chosen)}) are held out; expected some to train on"
        )
    if not held_out and settings.held_out:
        logger.warning("%s: no sequence matches %s: none is held out", name, ", ".join(settings.held_out))
    camera_ids = _camera_ids(identity, chosen, settings)
    headers = {sequence: _headers(identity, sequence, camera_ids) for sequence in chosen}
    size = _common_size(identity, headers)
    crop = CropWindow(*settings.crop, settings.size)
    if crop.share_of(size) < LEAST_SHARE:
        raise InputError(
            f"{identity.calibration.parent}: pictures are {size[1]} x {size[0]}, and the crop {list(settings.crop)} "
            f"(left, top, width, height) shows {100 * crop.share_of(size):.0f} % picture, expected at least "
            f"{100 * LEAST_SHARE:.0f} %"
        )
    calibrated = read_cameras(identity.calibration, size)
    for camera in camera_ids:
        if camera not in calibrated:
            raise InputError(f"{identity.calibration}: no camera {camera}, which has videos; found {list(calibrated)}")
    return ExtractionPlan(
        identity=identity,
        settings=settings,
        sequences=_number_frames(identity, headers, settings.frame_step),
        cameras={camera: crop.camera(calibrated[camera]) for camera in camera_ids},
        colours=_colours(identity, camera_ids, settings),
        crop=crop,
        recorded_size=size,
        held_out=held_out,
    )


def _camera_ids(identity: RawIdentity, sequences: tuple[str, ...], settings: ExtractionSettings) -> tuple[str, ...]:
    """The cameras that were asked for, of those with a video of any chosen sequence."""
    filmed = natural_sort({camera for sequence in sequences for camera in identity.sequences[sequence]})
    chosen = tuple(camera for camera in filmed if not settings.cameras or camera in settings.cameras)
    for what, asked, known in (
        ("cameras", settings.cameras, filmed),
        ("held-out cameras", settings.held_out_cameras, chosen),
    ):
        unknown = [camera for camera in asked if camera not in known]
        if unknown:
            raise InputError(f"{what}: identity {identity.name} has no {', '.join(unknown)}; found {', '.join(known)}")
    if not set(chosen) - set(settings.held_out_cameras):
        raise InputError(f"held-out cameras: all of {', '.join(chosen)} are held out; expected some to train on")
    return chosen


def _headers(identity: RawIdentity, sequence: str, camera_ids: tuple[str, ...]) -> dict[str, VideoHeader]:
    """Headers of the videos that can be opened, by camera; at least one."""
    headers, problems = {}, []
    for camera in camera_ids:
        path = identity.sequences[sequence].get(camera)
        try:
            if path is None:
                raise InputError(f"sequence {sequence} has no video of camera {camera}")
            headers[camera] = read_header(path)
        except InputError as error:
            problems.append(str(error))
            logger.warning("%s; its views will be missing", error)
    if not headers:
        raise InputError(f"{problems[0]}; sequence {sequence} has no usable video at all: leave it out with --exclude")
    return headers


def _common_size(identity: RawIdentity, headers: Mapping[str, Mapping[str, VideoHeader]]) -> tuple[int, int]:
    """Height and width of all pictures: there is one K for all of them."""
    first: tuple[tuple[int, int], Path] | None = None
    for sequence, videos in headers.items():
        for camera, header in videos.items():
            path = identity.sequences[sequence][camera]
            first = first or (header.size, path)
            if header.size != first[0]:
                (height, width), (expected_height, expected_width) = header.size, first[0]
                raise InputError(
                    f"{path}: found {width} x {height} pixels, expected {expected_width} x {expected_height} "
                    f"as in {first[1]}"
                )
    assert first is not None  # every sequence has a header
    return first[0]


def _number_frames(
    identity: RawIdentity, headers: Mapping[str, Mapping[str, VideoHeader]], step: int
) -> tuple[SequencePlan, ...]:
    plans, count = [], 0
    for name, videos in headers.items():
        # Videos that lack pictures in the middle report a lower rate: most are right.
        rate = Counter(header.rate for header in videos.values()).most_common(1)[0][0]
        origin = min(header.start for header in videos.values())
        timesteps = max(round((header.end - origin) * rate) for header in videos.values())
        kept = range(0, timesteps, step)
        frames = {timestep: f"{count + index:04d}" for index, timestep in enumerate(kept)}
        paths = {camera: identity.sequences[name][camera] for camera in videos}
        plans.append(SequencePlan(name, rate, origin, timesteps, frames, paths))
        count += len(frames)
    return tuple(plans)


def _colours(identity: RawIdentity, camera_ids: tuple[str, ...], settings: ExtractionSettings) -> dict[str, np.ndarray]:
    if not settings.colour_correction:
        return {}
    if identity.colours is None:
        logger.info("%s: no color_calibration.json; colours stay as each camera recorded them", identity.name)
        return {}
    colours = read_colours(identity.colours)
    absent = [camera for camera in camera_ids if camera not in colours]
    if absent:
        raise InputError(
            f"{identity.colours}: no matrix for camera {', '.join(absent)}; expected one for every camera "
            "(or extract without colour correction)"
        )
    return {camera: colours[camera] for camera in camera_ids}
