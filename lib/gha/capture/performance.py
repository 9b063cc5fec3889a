"""Performances to film: what a face does in each sequence, written in ARKit names so that any face model can act it.

A procedural performance has the kinds of sequences of NeRSemble: extreme expressions (EXP), sentences (SEN), emotions
(EMO), eyes (EYES), head movement (HEAD), and a free one (FREE) that is held out for evaluation.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gha.errors import InputError
from gha.geometry.rotations import axis_angle_to_matrix

from . import performance_motion as motion
from .performance_tables import ARKIT_NAMES, EXTREMES
from .sequence import ExpressionSequence
from .sequence_io import read_sequence

LIVE_LINK_HEAD = ("HeadYaw", "HeadPitch", "HeadRoll")
LIVE_LINK_FPS = 30.0
FREE = "FREE"
# Share of the training frames and amount of head motion of each sequence.
SEQUENCES = {"EXP": (0.40, 0.45), "SEN": (0.28, 0.7), "EMO": (0.14, 0.6), "EYES": (0.10, 0.4), "HEAD": (0.08, 1.0)}
SECONDS_PER_FACE = 1.2
MAX_FPS = 24.0
MIN_SECONDS = 45.0  # a performance of few frames is sampled sparsely, so that they still show everything


@dataclass(frozen=True)
class Performance:
    """T frames of acting.

    Attributes:
        expression: float32 [T, E].
        names: names of the E coefficients.
        turn: head rotation about the neck as axis-angle, float32 [T, 3] radians.
        shift: head movement besides, float32 [T, 3] decimetres.
        sequences: (name, number of frames) in order; their numbers add up to T.
        fps: frames per second.
    """

    expression: np.ndarray
    names: tuple[str, ...]
    turn: np.ndarray
    shift: np.ndarray
    sequences: tuple[tuple[str, int], ...]
    fps: float

    def for_model(self, expression_names: Sequence[str]) -> np.ndarray:
        """Coefficients float32 [T, E'] under the names of a face model, matched by name; absent ones are 0."""
        frames = torch.zeros(len(self.expression), 6)
        sequence = ExpressionSequence(torch.from_numpy(self.expression), frames, self.fps, self.names)
        return sequence.with_names(expression_names, fill_missing=True).expression.numpy()


def procedural_performance(frames: int, seed: int = 0, held_out: float = 0.2) -> Performance:
    """A performance of ``frames`` frames whose first is neutral; the last share ``held_out`` is the FREE sequence.

    The same seed gives the same performance; few frames sample it sparsely, many make it longer.
    """
    if frames < 3:
        raise InputError(f"a performance needs at least 3 frames, found {frames}")
    free = max(1, round(frames * held_out)) if held_out > 0 else 0
    counts = _share_out(frames - free)
    fps = min(MAX_FPS, frames / MIN_SECONDS)
    parts, turns, shifts = [], [], []
    for index, (name, count) in enumerate([*counts.items(), (FREE, free)]):
        times = (np.arange(count) + 0.37) / fps
        amount = SEQUENCES[name][1] if name in SEQUENCES else 0.75
        parts.append(_act(name, times, count, seed * 16 + index))
        turn, shift = motion.head_motion(times, amount, seed * 16 + index)
        turns.append(turn)
        shifts.append(shift)
    expression, turn, shift = (np.concatenate(p).astype(np.float32) for p in (parts, turns, shifts))
    for neutral in (expression, turn, shift):
        neutral[0] = 0.0
    sequences = tuple((name, count) for name, count in [*counts.items(), (FREE, free)] if count)
    return Performance(expression, ARKIT_NAMES, turn, shift, sequences, fps)


def _share_out(frames: int) -> dict[str, int]:
    """Frames of each training sequence, in order."""
    ends = np.rint(np.cumsum([share for share, _ in SEQUENCES.values()]) * frames).astype(int)
    return dict(zip(SEQUENCES, np.diff([0, *ends]).tolist(), strict=True))


def _act(name: str, times: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Faces [T, 52] of one sequence."""
    if name == "EXP":
        # However few the frames, they go through as many different faces as they can.
        per_face = max(1, round(count / len(EXTREMES)))
        seconds = (times[1] - times[0]) * per_face if count > 1 else SECONDS_PER_FACE
        return motion.together(motion.extremes(times + 0.4 * seconds, seconds, seed), motion.eyes(times, 0.5, seed))
    if name == "SEN":
        return motion.together(
            motion.speech(times, seed), motion.eyes(times, 0.7, seed), 0.25 * motion.emotions(times, seed)
        )
    if name == "EMO":
        return motion.together(motion.emotions(times, seed), motion.eyes(times, 0.7, seed))
    if name == "EYES":
        return motion.together(motion.eyes(times, 1.0, seed))
    if name == "HEAD":
        return motion.together(motion.eyes(times, 0.8, seed), 0.4 * motion.emotions(times, seed))
    return motion.together(
        0.9 * motion.speech(times, seed), 0.5 * motion.emotions(times, seed), motion.eyes(times, 0.85, seed)
    )


def head_poses(turn: np.ndarray, shift: np.ndarray, neck_pivot: Sequence[float], scale: float) -> torch.Tensor:
    """Poses [T, 6] of a head that turns by axis-angle [T, 3] about its neck and moves by ``shift`` [T, 3].

    Args:
        turn: radians.
        shift: decimetres.
        neck_pivot: canonical point [3] in decimetres that stays where it is when the head turns.
        scale: world units per decimetre.
    """
    turn, shift = torch.as_tensor(turn, dtype=torch.float32), torch.as_tensor(shift, dtype=torch.float32)
    pivot = torch.as_tensor(neck_pivot, dtype=torch.float32)
    return torch.cat([turn, scale * (pivot - axis_angle_to_matrix(turn) @ pivot + shift)], dim=-1)


def free_sequence(
    names: Sequence[str],
    seconds: float,
    fps: float = 24.0,
    seed: int = 1000,
    neck_pivot: Sequence[float] = (0.0, -0.85, -1.0),
    scale: float = 0.1,
) -> ExpressionSequence:
    """A free performance at full frame rate for driving an avatar; no frame of it is in any synthetic capture.

    Args:
        names: expressions of the avatar.
        seconds: length.
        fps: frames per second.
        seed: which performance.
        neck_pivot: as in :func:`head_poses`; a face model knows its own.
        scale: world units per decimetre.
    """
    times = np.arange(max(1, round(seconds * fps))) / fps
    pose = head_poses(*motion.head_motion(times, 0.6, seed), neck_pivot, scale)
    faces = torch.from_numpy(_act(FREE, times, len(times), seed)).float()
    return ExpressionSequence(faces, pose, fps, ARKIT_NAMES).with_names(names, fill_missing=True)


def recorded_performance(path: str | Path, frames: int, seed: int = 0, held_out: float = 0.2) -> Performance:
    """``frames`` evenly spaced frames of a recording; its last share ``held_out`` is the FREE sequence.

    Args:
        path: a Live Link Face csv (perhaps gzipped), or an expression sequence of this library.
        frames: how many frames to take; the first is neutral.
        seed: of the head motion, where the recording has none.
        held_out: share of the recording that is kept for evaluation.
    """
    sequence = read_performance(path)
    if not 3 <= frames <= len(sequence):
        raise InputError(f"{path}: found {len(sequence)} frames, expected at least the {frames} that were asked for")
    free = max(1, round(frames * held_out)) if held_out > 0 else 0
    boundary = round(len(sequence) * (frames - free) / frames)
    # Nothing close to the border: neighbouring frames of a recording look alike.
    gap = min(30, (len(sequence) - boundary) // 4)
    train = np.linspace(0, boundary - 1, frames - free)
    chosen = np.concatenate([train, np.linspace(boundary + gap, len(sequence) - 1, free)])
    chosen = np.rint(chosen).astype(int)
    expression = _from_rest(sequence.expression.numpy())[chosen]
    times = chosen / sequence.fps
    turn, shift = motion.head_motion(times, 0.75, seed)
    recorded = sequence.pose.numpy()[chosen, :3]
    turn = recorded if np.abs(recorded).max() > 0 else turn
    for neutral in (expression, turn, shift):
        neutral[0] = 0.0
    sequences = tuple((name, count) for name, count in (("ROM", frames - free), (FREE, free)) if count)
    fps = sequence.fps * frames / len(sequence)
    return Performance(expression, sequence.names, turn.astype(np.float32), shift.astype(np.float32), sequences, fps)


def _from_rest(expression: np.ndarray) -> np.ndarray:
    """Coefficients [T, E] in [0, 1] counted from the recorded person's rest, which trackers rarely report as 0.

    Rest is what a coefficient stays above for nine tenths of the time; 1 stays 1.
    """
    rest = np.quantile(expression, 0.1, axis=0).clip(0, 0.5)
    return ((expression - rest) / (1 - rest)).clip(0, 1).astype(np.float32)


def read_performance(path: str | Path) -> ExpressionSequence:
    """A recording with named coefficients: a Live Link Face csv, perhaps gzipped, or a sequence of this library."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a Live Link Face csv or an expression sequence")
    if path.suffixes[-2:] == [".csv", ".gz"] or (path.suffix == ".csv" and "BlendShapeCount" in path.open().readline()):
        return _read_live_link(path)
    return read_sequence(path)


def _read_live_link(path: Path) -> ExpressionSequence:
    """Coefficients and head rotation; the eye columns repeat what the coefficients say."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else open(path, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or "BlendShapeCount" not in rows[0]:
        raise InputError(f"{path}: no column BlendShapeCount; expected a csv of Live Link Face")
    lower = {name.lower(): name for name in ARKIT_NAMES}
    columns = [name for name in rows[0] if name and name.lower() in lower]
    values = np.array([[float(row[name]) for name in columns] for row in rows], dtype=np.float32)
    yaw, pitch, roll = (np.array([float(row.get(name) or 0) for row in rows]) for name in LIVE_LINK_HEAD)
    pose = np.stack([-pitch, yaw, roll, 0 * yaw, 0 * yaw, 0 * yaw], axis=1).astype(np.float32)
    names = tuple(lower[name.lower()] for name in columns)
    return ExpressionSequence(torch.from_numpy(values), torch.from_numpy(pose), LIVE_LINK_FPS, names)
