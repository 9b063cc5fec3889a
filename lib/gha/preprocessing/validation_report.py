"""Telling people and programs what a validation found."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gha.capture import Capture
from gha.capture.problems import Problem
from gha.files import write_atomically

from .validation_statistics import CameraStatistics, Range, Statistics
from .validation_tracking import Tracking
from .validation_views import View

EXAMPLES = 3
LISTED_NAMES = 12


@dataclass(frozen=True)
class Validation:
    """All that was found.

    Attributes:
        root: folder of the capture.
        capture: what could be opened of it.
        problems: everything that is wrong.
        statistics: what it consists of.
        views: every view with its measures.
        tracking: of the frames where it can be used, or None.
        decoded: whether pictures were decoded.
    """

    root: Path
    capture: Capture
    problems: Sequence[Problem]
    statistics: Statistics
    views: Sequence[View]
    tracking: Tracking | None
    decoded: bool

    @property
    def usable(self) -> bool:
        """Whether training can use the capture as it is."""
        return not any(problem.fatal for problem in self.problems)

    def problems_of(self, view: View) -> list[Problem]:
        """Problems of one view, errors first."""
        found = [problem for problem in self.problems if (problem.frame, problem.camera) == (view.frame, view.camera)]
        return sorted(found, key=lambda problem: not problem.fatal)

    def groups(self) -> list[list[Problem]]:
        """Problems that are the same but for place and numbers, fatal ones first, the most frequent first."""
        groups: dict[tuple, list[Problem]] = {}
        for problem in self.problems:
            groups.setdefault((not problem.fatal, problem.kind, _without_numbers(problem.text)), []).append(problem)
        return [groups[key] for key in sorted(groups, key=lambda key: (key[0], -len(groups[key]), key))]


def _without_numbers(text: str) -> str:
    """What is left of a message when names of files and numbers are taken out."""
    return re.sub(r"[-+]?\d[\w.+-]*", "#", re.sub(r"\S*/\S*", "/", text))


def describe(validation: Validation) -> str:
    """The report for people: what the capture is, its cameras, its problems, the verdict."""
    sections = [_describe_capture(validation), _describe_cameras(validation.statistics.cameras)]
    return "\n\n".join([*sections, describe_problems(validation)])


def describe_problems(validation: Validation) -> str:
    """Every kind of problem on one line with its number and examples, then the verdict."""
    lines = [_describe_group(group) for group in validation.groups()]
    fatal = [problem for problem in validation.problems if problem.fatal]
    if fatal:
        kinds = {problem.kind for problem in fatal}
        lines.append(f"not usable: {plural(len(fatal), 'error')} ({', '.join(sorted(kinds))})")
    else:
        unseen = "" if validation.decoded else "; pictures were not decoded"
        warned = f", with {plural(len(validation.problems), 'warning')}" if validation.problems else ""
        lines.append(f"usable{warned}{unseen}")
    return "\n".join(lines)


def plural(count: int, noun: str) -> str:
    """A number of things in words: "1 error", "3,000 errors"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _describe_group(group: Sequence[Problem]) -> str:
    first = group[0]
    level = "error" if first.fatal else "warning"
    line = f"{level}: {first.kind}: {first.message()}"
    if len(group) == 1:
        return line
    others = [problem.where for problem in group[1:] if problem.where != first.where][:EXAMPLES]
    named = f" ({', '.join(others)}{' ...' if len(group) > 1 + len(others) else ''})" if others else ""
    return f"{line}\n{' ' * len(level)}  and {len(group) - 1:,} more of this kind{named}"


def _describe_capture(validation: Validation) -> str:
    found = validation.statistics
    sizes = sorted({(camera.width, camera.height) for camera in found.cameras if camera.width})
    resolution = ", ".join(f"{width} x {height}" for width, height in sizes) or "no readable picture"
    rows = [
        ("frames", f"{found.frames}, {found.frames / found.fps:.1f} s at {found.fps:g} per second"),
        ("sequences", ", ".join(f"{name} {count}" for name, count in found.sequences.items()) or "not named"),
        ("held out", _describe_split(found)),
        ("cameras", f"{len(found.cameras)}, {resolution}"),
        ("seen from", _describe_coverage(found)),
        ("head", _describe_head(found)),
        ("expression", _describe_expression(found)),
        (
            "masks",
            "not decoded" if found.mask_area is None else f"cover {_span(found.mask_area, 100, '%')} of a picture",
        ),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join([str(validation.root), *(f"  {name.ljust(width)}  {text}" for name, text in rows)])


def _span(values: Range, factor: float = 1.0, unit: str = "", digits: int = 0) -> str:
    low, high = (f"{factor * value:.{digits}f}" for value in values)
    unit = f" {unit}" if unit else ""
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def _describe_split(found: Statistics) -> str:
    if not found.held_out_frames and not found.held_out_cameras:
        return "nothing; evaluation will have nothing to measure"
    frames = f"{plural(len(found.held_out_frames), 'frame')} beside {found.trained_frames} to train on"
    return f"{frames}; cameras {', '.join(found.held_out_cameras)}" if found.held_out_cameras else frames


def _describe_coverage(found: Statistics) -> str:
    if found.yaw is None:
        return "unknown: no frame has cameras and tracking"
    gap = "" if found.widest_gap is None else f"; {found.widest_gap:.0f} degrees between neighbours at most"
    return f"yaw {_span(found.yaw)}, pitch {_span(found.pitch)} degrees (+ is the subject's left, up){gap}"


def _describe_head(found: Statistics) -> str:
    if found.scale is None:
        return "unknown: no frame has usable tracking"
    pixels = [camera.mm_per_pixel for camera in found.cameras if camera.mm_per_pixel]
    size = f"; a pixel is {_span((min(pixels), max(pixels)), 1, 'mm', 2)} wide" if pixels else ""
    scale = f"{found.scale[0]:.4g}" + (f" to {found.scale[1]:.4g}" if found.scale[1] > found.scale[0] else "")
    return f"scale {scale}; turns {_span(found.turn)}, nods {_span(found.nod)} degrees{size}"


def _describe_expression(found: Statistics) -> str:
    if not found.expression:
        return "unknown: no frame has usable parameters"
    text = f"{plural(len(found.expression), 'coefficient')} in {_span(_hull(found), 1, '', 2)}"
    for names, what in ((found.still, "never moving"), (found.beyond_training, "moved further in held-out frames")):
        if names:
            listed = ", ".join(names[:LISTED_NAMES]) + (" ..." if len(names) > LISTED_NAMES else "")
            text += f"; {what} ({len(names)}): {listed}"
    return text


def _hull(found: Statistics) -> Range:
    return min(one.range[0] for one in found.expression), max(one.range[1] for one in found.expression)


_COLUMNS = (
    ("yaw", "yaw", "{:.0f}"),
    ("pitch", "pitch", "{:.0f}"),
    ("distance", "distance dm", "{:.1f}"),
    ("mm_per_pixel", "mm per pixel", "{:.2f}"),
    ("mask_area", "mask", "{:.0%}"),
    ("on_mask", "landmarks on mask", "{:.0%}"),
    ("sharpness", "sharpness", "{:.1f}"),
)


def _describe_cameras(cameras: Sequence[CameraStatistics]) -> str:
    """A table of the cameras, from the subject's right to the left."""
    rows = [["camera", *(title for _, title, _ in _COLUMNS)]]
    for camera in sorted(cameras, key=lambda camera: (camera.yaw is None, camera.yaw or 0.0)):
        values = [(getattr(camera, name), form) for name, _, form in _COLUMNS]
        cells = ["-" if value is None else form.format(value) for value, form in values]
        rows.append([camera.camera + (" (held out)" if camera.held_out else ""), *cells])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  " + "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )


def to_json(validation: Validation) -> dict[str, Any]:
    """The report for programs: every problem with its file, all statistics, the measures of every view."""
    groups = [
        {"kind": g[0].kind, "fatal": g[0].fatal, "count": len(g), "example": g[0].message()}
        for g in validation.groups()
    ]
    found = validation.statistics
    measured = ("frame", "camera", "mask_area", "sharpness", "in_picture", "on_mask")
    report = {
        "capture": str(validation.root),
        "usable": validation.usable,
        "decoded": validation.decoded,
        "summary": groups,
        "problems": [asdict(problem) for problem in validation.problems],
        "statistics": {**asdict(found), "still": found.still, "beyond_training": found.beyond_training},
        "views": [{name: getattr(view, name) for name in measured} for view in validation.views],
    }
    return _without_infinities(report)


def _without_infinities(value: Any) -> Any:
    """A JSON value in which numbers that JSON does not know are null."""
    if isinstance(value, dict):
        return {key: _without_infinities(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_infinities(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_report(path: Path, validation: Validation) -> None:
    """Write :func:`to_json` to a file."""
    write_atomically(path, json.dumps(to_json(validation), indent=1, allow_nan=False) + "\n")
