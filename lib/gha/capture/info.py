"""What a capture says about itself: ``capture.json``, and the split into training and held-out parts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from gha.errors import InputError

SCHEMA_VERSION = 1
SURFACE_POINTS = "surface points"
"""The face model of a capture that shows no face: its landmarks are any points of the surface."""


@dataclass(frozen=True)
class Split:
    """Which frames and cameras are trained on and which are held out for evaluation.

    Attributes:
        train_frames: frame ids in time order.
        test_frames: held-out frame ids; empty for a capture of one frame, where only cameras are held out.
        train_cameras: camera ids.
        test_cameras: held-out camera ids.
    """

    train_frames: tuple[str, ...]
    test_frames: tuple[str, ...]
    train_cameras: tuple[str, ...]
    test_cameras: tuple[str, ...]

    @classmethod
    def holding_out(
        cls,
        frame_ids: Sequence[str],
        camera_ids: Sequence[str],
        held_out_frames: Sequence[str] = (),
        held_out_cameras: Sequence[str] = (),
    ) -> Split:
        """The split that trains on everything but the ids named, which must exist."""
        for what, held_out, known in (
            ("frames", held_out_frames, frame_ids),
            ("cameras", held_out_cameras, camera_ids),
        ):
            unknown = [name for name in held_out if name not in set(known)]
            if unknown:
                raise InputError(f"held-out {what} {unknown} are not in the capture; it has {list(known)}")
            if not set(known) - set(held_out):
                raise InputError(f"all {len(known)} {what} are held out; expected at least one to train on")
        frames, cameras = set(held_out_frames), set(held_out_cameras)
        return cls(
            train_frames=tuple(f for f in frame_ids if f not in frames),
            test_frames=tuple(f for f in frame_ids if f in frames),
            train_cameras=tuple(c for c in camera_ids if c not in cameras),
            test_cameras=tuple(c for c in camera_ids if c in cameras),
        )


@dataclass(frozen=True)
class CaptureInfo:
    """The contents of ``capture.json``.

    Attributes:
        resolution: height and width of the full-size images in pixels.
        fps: frames per second.
        split: training and held-out parts, or None: train on everything.
        sequences: name of each performance to its frame ids in time order.
        expression_names: names of the expression coefficients, empty if unknown.
        unit: world unit, for example ``"metre"``.
        face_model: name of the model that ``params`` belong to.
        face_model_version: its version.
        generator_version: version of the program that made the capture.
        recipe: whatever else determines the capture (identity, seed, options) or documents it; plain JSON values.
    """

    resolution: tuple[int, int]
    fps: float = 25.0
    split: Split | None = None
    sequences: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    expression_names: tuple[str, ...] = ()
    unit: str = "metre"
    face_model: str = ""
    face_model_version: str = ""
    generator_version: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)


def info_to_json(info: CaptureInfo, complete: bool) -> str:
    """The text of ``capture.json``; ``complete`` tells a finished capture from one still being written."""
    return json.dumps({"schema": SCHEMA_VERSION, "complete": complete, **asdict(info)}, indent=1) + "\n"


def read_info(path: Path) -> tuple[CaptureInfo, bool]:
    """Parse ``capture.json`` to its contents and whether the capture is complete."""
    values = read_json(path, dict)
    schema = values.pop("schema", None)
    if schema != SCHEMA_VERSION:
        raise InputError(f"{path}: found schema {schema!r}, expected {SCHEMA_VERSION}")
    complete = values.pop("complete", True)
    unknown = set(values) - {f.name for f in fields(CaptureInfo)}
    if unknown:
        raise InputError(f"{path}: unknown keys {sorted(unknown)}")
    if "resolution" not in values:
        raise InputError(f"{path}: no resolution found, expected [height, width]")
    for key, (fits, expected) in _EXPECTED.items():
        if key in values and not fits(values[key]):
            raise InputError(f"{path}: {key} is {str(values[key])[:80]}, expected {expected}")
    if values.get("split") is not None:
        values["split"] = Split(**{f.name: string_list(values["split"], f.name, path) for f in fields(Split)})
    values["sequences"] = {n: string_list(values["sequences"], n, path) for n in values.get("sequences", {})}
    values["resolution"] = tuple(values["resolution"])
    values["expression_names"] = string_list({"expression_names": [], **values}, "expression_names", path)
    return CaptureInfo(**values), bool(complete)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


# What JSON values of some keys must be, and how to say so.
_EXPECTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "resolution": (
        lambda v: isinstance(v, list) and len(v) == 2 and all(isinstance(side, int) and side > 0 for side in v),
        "[height, width] in pixels",
    ),
    "fps": (lambda v: _is_number(v) and v > 0, "frames per second > 0"),
    "split": (lambda v: v is None or isinstance(v, dict), "null or an object of four lists"),
    "sequences": (lambda v: isinstance(v, dict), "an object of lists of frames"),
}


def read_json(path: Path, expected: type) -> Any:
    """Parse a JSON file whose top level must be ``expected``."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(values, expected):
        raise InputError(f"{path}: found a JSON {type(values).__name__}, expected {expected.__name__}")
    return values


def string_list(values: Mapping[str, Any], key: str, path: Path) -> tuple[str, ...]:
    """The list of distinct names under ``key``."""
    found = values.get(key)
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise InputError(f"{path}: {key} is {found!r}, expected a list of names")
    if len(set(found)) != len(found):
        repeated = sorted({name for name in found if found.count(name) > 1})
        raise InputError(f"{path}: {key} names {repeated} more than once; expected every id once")
    return tuple(found)
