"""Expression sequences as files: npz, or csv with named columns."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import torch

from gha.errors import InputError
from gha.files import open_atomically, write_atomically

from .arrays import checked, read_npz
from .sequence import ExpressionSequence

TIME_COLUMN = "time"
SCALE_COLUMN = "scale"
POSE_COLUMNS = ("rotation_x", "rotation_y", "rotation_z", "translation_x", "translation_y", "translation_z")


def write_sequence(path: str | Path, sequence: ExpressionSequence) -> None:
    """Write a sequence as ``.npz`` or ``.csv``, by the suffix of ``path``.

    The npz holds ``expression`` [T, E], ``pose`` [T, 6], ``fps``, ``names`` [E] and, if known, ``scale`` [T, 1]. The
    csv has a header line, the columns ``time`` (seconds), ``rotation_x`` to ``translation_z``, perhaps ``scale``, and
    one column per expression.
    """
    path = Path(path)
    writer = {".npz": _write_npz, ".csv": _write_csv}.get(path.suffix.lower())
    if writer is None:
        raise InputError(f"{path}: found suffix {path.suffix!r}, expected .npz or .csv")
    writer(path, sequence)


def read_sequence(path: str | Path) -> ExpressionSequence:
    """Read a sequence written by :func:`write_sequence`, or made elsewhere in the same form.

    In a csv the pose columns may all be absent: the head then stays where it is. Uneven times are resampled evenly.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: file not found")
    reader = {".npz": _read_npz, ".csv": _read_csv}.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: found suffix {path.suffix!r}, expected .npz or .csv")
    try:
        return reader(path)
    except InputError as error:
        raise error if str(path) in str(error) else InputError(f"{path}: {error}") from error


def _write_npz(path: Path, sequence: ExpressionSequence) -> None:
    arrays = {
        "expression": sequence.expression.numpy(),
        "pose": sequence.pose.numpy(),
        "fps": np.float64(sequence.fps),
        "names": np.array(sequence.names, dtype=np.str_),
    }
    if sequence.scale is not None:
        arrays["scale"] = sequence.scale.numpy()
    with open_atomically(path) as file:
        np.savez(file, **arrays)


def _read_npz(path: Path) -> ExpressionSequence:
    shapes = {
        "expression": ((None, None),),
        "pose": ((None, 6),),
        "fps": ((), (1,)),
        "scale": ((None, 1), (None,), ()),
    }
    arrays = read_npz(path, shapes, optional=("scale",))
    names = _read_names(path)
    scale = arrays.get("scale")
    frames = len(arrays["expression"])
    if scale is not None and scale.size not in (1, frames):
        raise InputError(f"{path}: found {scale.size} values of scale, expected 1 or one for each of {frames} frames")
    return ExpressionSequence(
        expression=torch.from_numpy(arrays["expression"]).float(),
        pose=torch.from_numpy(arrays["pose"]).float(),
        fps=float(arrays["fps"].reshape(())),
        names=names,
        scale=None if scale is None else torch.from_numpy(scale).float().reshape(-1, 1).expand(frames, 1),
    )


def _read_names(path: Path) -> tuple[str, ...]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = archive.get("names")
    except ValueError as error:
        raise InputError(f"{path}: names are not plain text ({error})") from error
    if names is None or names.ndim != 1 or names.dtype.kind != "U":
        raise InputError(f"{path}: found no list of names, expected names [E] as text")
    return tuple(str(name) for name in names)


def _write_csv(path: Path, sequence: ExpressionSequence) -> None:
    columns = [torch.arange(len(sequence), dtype=torch.float64)[:, None] / sequence.fps, sequence.pose]
    names = [TIME_COLUMN, *POSE_COLUMNS]
    if sequence.scale is not None:
        columns.append(sequence.scale)
        names.append(SCALE_COLUMN)
    clashing = set(names) & set(sequence.names)
    if clashing:
        raise InputError(f"{path}: expressions named {sorted(clashing)} clash with columns of the csv; write an npz")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*names, *sequence.names])
    # Nine digits carry a float32 exactly.
    rows = torch.cat([c.double() for c in [*columns, sequence.expression]], dim=1).tolist()
    writer.writerows([f"{row[0]:.9f}", *(f"{value:.9g}" for value in row[1:])] for row in rows)
    write_atomically(path, text.getvalue())


def _read_csv(path: Path) -> ExpressionSequence:
    names, table = _read_table(path)
    if TIME_COLUMN not in names:
        raise InputError(f"{path}: found columns {', '.join(names[:8])}, expected {TIME_COLUMN!r} (seconds) among them")
    present = [name for name in POSE_COLUMNS if name in names]
    if present and len(present) < len(POSE_COLUMNS):
        absent = [name for name in POSE_COLUMNS if name not in names]
        raise InputError(f"{path}: found pose columns {present} without {absent}, expected all six or none")
    expressions = [name for name in names if name not in (TIME_COLUMN, SCALE_COLUMN, *POSE_COLUMNS)]

    def columns(wanted: list[str]) -> torch.Tensor:
        return torch.from_numpy(table[:, [names.index(name) for name in wanted]]).float()

    times = table[:, names.index(TIME_COLUMN)]
    sequence = ExpressionSequence(
        expression=columns(expressions),
        pose=columns(present) if present else torch.zeros(len(table), 6),
        fps=_frame_rate(path, times),
        names=tuple(expressions),
        scale=columns([SCALE_COLUMN]) if SCALE_COLUMN in names else None,
    )
    return _made_even(sequence, times)


def _read_table(path: Path) -> tuple[list[str], np.ndarray]:
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable csv ({error})") from error
    if len(rows) < 2:
        raise InputError(f"{path}: found {len(rows)} lines, expected a header and at least one row")
    names = [name.strip() for name in rows[0]]
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(names):
            raise InputError(f"{path}: line {number}: found {len(row)} values, expected {len(names)} as in the header")
    try:
        table = np.array(rows[1:], dtype=np.float64)
    except ValueError as error:
        raise InputError(f"{path}: found text where a number was expected ({error})") from error
    return names, checked(table, ((None, None),), str(path))


def _frame_rate(path: Path, times: np.ndarray) -> float:
    if len(times) == 1:
        return 25.0
    if (np.diff(times) <= 0).any():
        raise InputError(f"{path}: found times that do not increase, expected seconds in order")
    # Times are written with nine decimals; round what that loses.
    return round(float((len(times) - 1) / (times[-1] - times[0])), 5)


def _made_even(sequence: ExpressionSequence, times: np.ndarray) -> ExpressionSequence:
    """Resample a sequence whose frames lie at ``times`` (seconds) to its mean frame rate."""
    frames = np.arange(len(times))
    even = times[0] + frames / sequence.fps
    if np.abs(times - even).max() * sequence.fps < 1e-3:
        return sequence
    position = np.interp(even, times, frames)
    return sequence.at_times(torch.from_numpy(position) / sequence.fps)
