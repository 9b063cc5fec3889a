"""Who drives an avatar: a capture, with or without its pictures, or a plain file of expressions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gha.capture import Capture, ExpressionSequence, open_capture, read_sequence
from gha.errors import InputError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Driver:
    """A performance and where it comes from.

    Attributes:
        name: short name for files.
        sequence: the performance, in the driver's own expressions.
        neutral: the driver's face at rest [E]: the expression nearest to zero.
        capture: the recording, or None for a plain file.
        frame_ids: frames of the recording, one per frame of the sequence.
    """

    name: str
    sequence: ExpressionSequence
    neutral: Tensor
    capture: Capture | None = None
    frame_ids: tuple[str, ...] = ()

    @property
    def has_head_motion(self) -> bool:
        """Whether the performance says where the head is: a file without pose columns holds zeros."""
        return bool(self.sequence.pose.any())


def open_driver(path: str | Path, frames: str = "") -> Driver:
    """Open a capture folder, an npz or a csv.

    Args:
        path: of the capture or file.
        frames: ``"test"`` or ``"train"`` frames of a capture, ``"all"``, or a slice such as ``"0:100:2"``; empty: the
            test frames of a capture that has some, else all.

    Raises:
        InputError: nothing can be read there, or ``frames`` selects nothing.
    """
    path = Path(path)
    if path.is_dir():
        return _open_capture_driver(path, frames)
    sequence = read_sequence(path)
    if frames in ("test", "train"):
        raise InputError(f'{path}: found frames={frames}, which a file does not tell apart; expected "all" or a slice')
    if frames not in ("", "all"):
        sequence = sequence[_parse_slice(frames, len(sequence), path)]
    return Driver(path.stem, sequence, _nearest_to_zero(sequence.expression))


def _open_capture_driver(path: Path, frames: str) -> Driver:
    capture = open_capture(path)
    split = capture.split
    named = {
        "": split.test_frames or capture.frame_ids,
        "all": capture.frame_ids,
        "test": split.test_frames,
        "train": split.train_frames,
    }
    frame_ids = named[frames] if frames in named else _sliced(capture.frame_ids, frames, path)
    if not frame_ids:
        raise InputError(f"{path}: frames={frames} selects nothing; the capture holds out no frames")
    sequence = ExpressionSequence.from_capture(capture, frame_ids)
    # The same frames as an avatar of this capture takes its own rest from: driving oneself changes nothing then.
    neutral = _nearest_to_zero(capture.codes(split.train_frames).expression)
    return Driver(capture.root.resolve().name, sequence, neutral, capture, frame_ids)


def _nearest_to_zero(expressions: Tensor) -> Tensor:
    return expressions[expressions.norm(dim=-1).argmin()]


def _sliced(frame_ids: Sequence[str], text: str, path: Path) -> tuple[str, ...]:
    return tuple(frame_ids[_parse_slice(text, len(frame_ids), path)])


def _parse_slice(text: str, length: int, path: Path) -> slice:
    """``"0:100:2"`` as a slice that selects at least one of ``length`` frames, forwards."""
    try:
        chosen = slice(*(int(part) if part else None for part in text.split(":")))
    except (ValueError, TypeError):
        chosen = None
    if chosen is None or ":" not in text or (chosen.step is not None and chosen.step < 1):
        raise InputError(f'{path}: found frames={text!r}, expected "test", "train", "all" or a slice such as 0:100:2')
    if not range(length)[chosen]:
        raise InputError(f"{path}: frames={text} selects none of its {length} frames")
    return chosen


def frontal_camera(capture: Capture) -> str:
    """The camera that looks most straight at the face in the first frame."""
    code = capture.codes(capture.frame_ids[:1])[0]

    def straightness(camera_id: str) -> float:
        towards = code.to_canonical(capture.camera(camera_id).center[None])[0]
        return (towards[2] / towards.norm()).item()

    return max(capture.camera_ids, key=straightness)


def picture_camera(driver: Driver, wanted: str) -> str | None:
    """The camera whose pictures of the driver are shown: ``wanted`` where the driver has it, else the frontal one.

    None, said in the log, where the driver has no pictures.
    """
    if driver.capture is None:
        return None
    first = driver.capture.camera_ids[0]
    try:
        driver.capture.resolution(first)
    except InputError as error:
        logger.info("the avatar is shown alone: %s", error)
        return None
    return wanted if wanted in driver.capture.camera_ids else frontal_camera(driver.capture)


def driver_picture(driver: Driver, index: int, camera_id: str, height: int, background: Tensor) -> Tensor:
    """The recorded picture of a driver's frame, foreground over ``background`` [3], as [3, height, W]."""
    frame_id = driver.frame_ids[index]
    full_height, full_width = driver.capture.resolution(camera_id)
    size = (height, max(1, round(full_width * height / full_height)))
    frame = driver.capture.read(frame_id, [camera_id], size).to("cpu")
    return (frame.image * frame.mask + (1 - frame.mask) * background[:, None, None])[0]


def nearest_frames(driver: Driver, sequence: ExpressionSequence) -> list[int]:
    """For every frame of a resampled sequence, the driver's frame nearest in time."""
    position = torch.arange(len(sequence), dtype=torch.float64) * driver.sequence.fps / sequence.fps
    return position.round().long().clamp(max=len(driver.sequence) - 1).tolist()
