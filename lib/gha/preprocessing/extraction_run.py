"""Carrying out extractions: videos to frames of a capture, many at a time, each picture once."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from tqdm import tqdm

import gha
from gha.capture import CaptureInfo, Split, layout
from gha.capture.images import decode
from gha.capture.info import info_to_json, read_info
from gha.capture.picture_files import PictureFiles, is_written, write_cameras
from gha.errors import InputError
from gha.files import write_atomically
from gha.geometry import Camera

from .colour_correction import correct_colours
from .crop import CropWindow
from .extraction import ExtractionPlan, ExtractionSettings, plan_identity
from .parallel import check_parallel, run_tasks
from .raw_video import read_pictures

logger = logging.getLogger(__name__)

MISSING_VIEWS = "missing_views"


@dataclass(frozen=True)
class Extraction:
    """What became of one person.

    Attributes:
        identity: name of the person.
        folder: the capture.
        written: pictures that this run wrote.
        frames: frame ids of which there is at least one picture.
        missing: frame id to the cameras that have no picture of it; such frames are in no part of the split.
    """

    identity: str
    folder: Path
    written: int
    frames: tuple[str, ...]
    missing: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class _VideoTask:
    """One video of one camera: which of its timesteps become which frames, and how."""

    identity: str
    video: Path
    camera_id: str
    frames: Mapping[int, str]
    rate: Fraction
    origin: Fraction
    target: PictureFiles
    crop: CropWindow
    colours: np.ndarray | None
    recorded_size: tuple[int, int]


def extract_identities(
    root: str | Path,
    output: str | Path,
    names: Sequence[str],
    settings: ExtractionSettings,
    parallel: str = "1",
    progress: bool = True,
) -> list[Extraction]:
    """Extract people from a NeRSemble download of either version, each into a capture ``{output}/{name}``.

    Such a capture has pictures, cameras, visible maps and pictures of the empty stage; masks and parameters come from
    the next steps. Run again, it continues where it stopped; pictures that are there are not made again.

    Args:
        root: folder of the download.
        output: where the captures go.
        names: of the people.
        settings: what to take.
        parallel: see :func:`.parallel.run_tasks`.
        progress: show a progress bar.

    Raises:
        InputError: before anything is written, if something that was asked for cannot be used.
    """
    check_parallel(parallel)
    plans = [plan_identity(Path(root), name, settings) for name in names]
    targets = {plan.identity.name: PictureFiles(Path(output) / plan.identity.name, plan.crop.size) for plan in plans}
    tasks: list[_VideoTask] = []
    for plan in plans:
        target = targets[plan.identity.name]
        _claim(target.root, plan)
        _write_fixed_files(target, plan)
        tasks += _tasks(target, plan)
    total = sum(len(plan.cameras) * len(sequence.frames) for plan in plans for sequence in plan.sequences)
    written = dict.fromkeys(names, 0)
    with tqdm(total=total, unit="picture", desc="extracting", disable=not progress) as bar:
        bar.update(total - sum(len(task.frames) for task in tasks))
        bar.unpause()
        for name, handled, count in run_tasks(_extract_video, tasks, parallel):
            written[name] += count
            bar.update(handled)
    return [_finish(targets[plan.identity.name].root, plan, written[plan.identity.name]) for plan in plans]


def _claim(target: Path, plan: ExtractionPlan) -> None:
    """Mark the folder as the unfinished capture of this plan, or see that it is one already."""
    path = target / layout.CAPTURE_FILE
    if not path.exists():
        recipe = plan.recipe()
        write_atomically(path, info_to_json(CaptureInfo(plan.crop.size, recipe=recipe), complete=False))
        return
    found, _ = read_info(path)
    expected = {**plan.recipe(), "size": list(plan.crop.size)}
    there = {**found.recipe, "size": list(found.resolution)}
    for key, value in expected.items():
        if there.get(key) != value:
            raise InputError(
                f"{path}: holds another extraction: found {key} = {str(there.get(key))[:120]}, expected "
                f"{str(value)[:120]}; choose another folder or delete it"
            )


def _write_fixed_files(target: PictureFiles, plan: ExtractionPlan) -> None:
    """Cameras of every frame, and once per camera the visible map and the picture of the empty stage."""
    visible = plan.crop.visible(plan.recorded_size)
    for camera_id, camera in plan.cameras.items():
        stem = layout.camera_visible_stem(target.root, camera_id)
        if not is_written(stem.parent / (stem.name + ".png")):
            target.write_visible(camera_id, visible)
        _write_background(target, plan, camera_id)
        one = Camera(camera.w2c[None], camera.K[None], camera.width, camera.height)
        for sequence in plan.sequences:
            for frame_id in sequence.frames.values():
                if not is_written(layout.camera_file(target.root, frame_id, camera_id)):
                    write_cameras(target.root, frame_id, [camera_id], one)


def _write_background(target: PictureFiles, plan: ExtractionPlan, camera_id: str) -> None:
    if is_written(layout.background_file(target.root, camera_id)):
        return
    path = plan.identity.backgrounds.get(camera_id)
    if path is None:
        logger.warning("%s: no picture of the empty stage for camera %s", plan.identity.name, camera_id)
        return
    plate = decode(path, plan.recorded_size, plan.recorded_size, gray=False).transpose(1, 2, 0)
    visible = plan.crop.visible(plan.recorded_size)
    target.write_background(camera_id, _developed(plate, plan.crop, plan.colours.get(camera_id), visible))


def _developed(picture: np.ndarray, crop: CropWindow, colours: np.ndarray | None, visible: np.ndarray) -> np.ndarray:
    """A recorded picture [H, W, 3] at its window and size, in calibrated colours, black in the padding."""
    developed = crop.apply(np.ascontiguousarray(picture))
    if colours is None:
        return developed
    return correct_colours(developed, colours) * (visible[..., None] // 255)


def _tasks(target: PictureFiles, plan: ExtractionPlan) -> list[_VideoTask]:
    """The videos that hold pictures which are not written yet."""
    tasks = []
    for sequence in plan.sequences:
        for camera_id, video in sequence.videos.items():
            frames = {t: frame for t, frame in sequence.frames.items() if not target.has("image", frame, camera_id)}
            if frames:
                colours = plan.colours.get(camera_id)
                tasks.append(
                    _VideoTask(
                        plan.identity.name, video, camera_id, frames, sequence.rate, sequence.origin, target, plan.crop,
                        colours, plan.recorded_size,
                    )
                )  # fmt: skip
    return tasks


def _extract_video(task: _VideoTask) -> tuple[str, int, int]:
    """Write the frames of one video; returns the person, how many were asked for and how many were written."""
    written = 0
    visible = task.crop.visible(task.recorded_size)
    for timestep, picture in read_pictures(task.video, task.frames, task.rate, task.origin):
        developed = _developed(picture, task.crop, task.colours, visible)
        task.target.write_picture(task.frames[timestep], task.camera_id, developed)
        written += 1
    return task.identity, len(task.frames), written


def _finish(target: Path, plan: ExtractionPlan, written: int) -> Extraction:
    """Find out what is there, say what is not, and complete ``capture.json``."""
    pictures = PictureFiles(target, plan.crop.size)
    missing: dict[str, tuple[str, ...]] = {}
    sequences: dict[str, tuple[str, ...]] = {}
    for sequence in plan.sequences:
        found = []
        for frame in sequence.frames.values():
            absent = tuple(camera for camera in plan.cameras if not pictures.has("image", frame, camera))
            if len(absent) < len(plan.cameras):
                found.append(frame)
            if 0 < len(absent) < len(plan.cameras):
                missing[frame] = absent
        sequences[sequence.name] = tuple(found)
        _report_missing(plan.identity.name, sequence.name, len(sequence.frames), found, missing)
    frames = tuple(frame for found in sequences.values() for frame in found)
    _complete(target, plan, sequences, missing)
    return Extraction(plan.identity.name, target, written, frames, missing)


def _report_missing(
    identity: str, sequence: str, expected: int, found: Sequence[str], missing: Mapping[str, tuple[str, ...]]
) -> None:
    lacking: dict[str, int] = {}
    for frame in found:
        for camera in missing.get(frame, ()):
            lacking[camera] = lacking.get(camera, 0) + 1
    for camera, count in lacking.items():
        logger.warning("%s, %s: camera %s lacks %d of %d frames", identity, sequence, camera, count, expected)
    if len(found) < expected:
        logger.warning("%s, %s: no camera has %d of %d frames", identity, sequence, expected - len(found), expected)


def _complete(
    target: Path,
    plan: ExtractionPlan,
    sequences: Mapping[str, tuple[str, ...]],
    missing: Mapping[str, tuple[str, ...]],
) -> None:
    """Write the final ``capture.json``, keeping what later steps have put there."""
    path = target / layout.CAPTURE_FILE
    whole = {name: [frame for frame in frames if frame not in missing] for name, frames in sequences.items()}
    everything = [frame for frames in whole.values() for frame in frames]
    held_out = [frame for name in plan.held_out for frame in whole[name]]
    if not set(everything) - set(held_out):
        raise InputError(
            f"{target}: not one frame to train on was seen by all of {', '.join(plan.cameras)}; "
            "leave out the cameras that were reported"
        )
    found, _ = read_info(path)
    rate = plan.sequences[0].rate / plan.settings.frame_step
    info = replace(
        found,
        fps=float(rate),
        split=Split.holding_out(everything, list(plan.cameras), held_out, plan.settings.held_out_cameras),
        sequences={name: frames for name, frames in sequences.items() if frames},
        generator_version=gha.__version__,
        recipe={**plan.recipe(), MISSING_VIEWS: {frame: list(cameras) for frame, cameras in missing.items()}},
    )
    text = info_to_json(info, complete=True)
    if path.read_text(encoding="utf-8") != text:
        write_atomically(path, text)
