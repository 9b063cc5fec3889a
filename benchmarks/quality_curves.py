"""Curves of held-out quality against seconds of training: what is on them, when they reach a value, tables, a file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from gha.errors import InputError
from gha.files import write_atomically

FIGURES = {
    "head_psnr": "head PSNR, dB",
    "mouth_driven_over_frozen": "mouth over frozen, dB",
    "head_ssim": "head SSIM",
}
SIDES = ("baseline", "library")


@dataclass(frozen=True)
class Point:
    """What an avatar is worth at one moment of its training.

    Attributes:
        seconds: of training so far, without those of evaluation.
        step: optimiser steps so far.
        figures: means over the held-out views, by name.
    """

    seconds: float
    step: int
    figures: Mapping[str, float]


Curve = Sequence[Point]


def seconds_to_reach(curve: Curve, figure: str, value: float) -> float | None:
    """When a curve first has at least ``value``, linear between its points; None if never.

    A curve that begins above it reached it at some time before its first point: that point's seconds are an upper
    bound then.
    """
    if curve and curve[0].figures[figure] >= value:
        return curve[0].seconds
    for before, after in pairwise(curve):
        low, high = before.figures[figure], after.figures[figure]
        if low < value <= high:
            return before.seconds + (after.seconds - before.seconds) * (value - low) / (high - low)
    return None


def value_at(curve: Curve, figure: str, seconds: float) -> float:
    """A figure at one moment, linear between points; that of the nearest end outside the curve."""
    if seconds <= curve[0].seconds:
        return curve[0].figures[figure]
    for before, after in pairwise(curve):
        if seconds <= after.seconds:
            share = (seconds - before.seconds) / (after.seconds - before.seconds)
            return before.figures[figure] + share * (after.figures[figure] - before.figures[figure])
    return curve[-1].figures[figure]


def compare_curves(library: Curve, baseline: Curve) -> dict[str, dict[str, float | None]]:
    """For every figure how long each side needs to what the baseline has in the end.

    Returns:
        By figure: ``baseline_final``; ``baseline_seconds`` and ``library_seconds`` to it (None: never); their ratio
        ``times_faster``; ``library_then``, what the library has when the baseline ends; ``library_final``.
    """
    compared: dict[str, dict[str, float | None]] = {}
    for figure in FIGURES:
        value = baseline[-1].figures[figure]
        theirs, ours = (seconds_to_reach(curve, figure, value) for curve in (baseline, library))
        compared[figure] = {
            "baseline_final": value,
            "baseline_seconds": theirs,
            "library_seconds": ours,
            "times_faster": theirs / ours if theirs and ours else None,
            "library_then": value_at(library, figure, baseline[-1].seconds),
            "library_final": library[-1].figures[figure],
        }
    return compared


def curve_table(curves: Mapping[str, Curve]) -> str:
    """Every point of every side, as a Markdown table."""
    lines = [f"| side | seconds | step | {' | '.join(FIGURES.values())} |", "|" + " --- |" * (3 + len(FIGURES))]
    for side, curve in curves.items():
        for point in curve:
            figures = " | ".join(f"{point.figures[name]:.{_digits(name)}f}" for name in FIGURES)
            lines.append(f"| {side} | {point.seconds:.1f} | {point.step} | {figures} |")
    return "\n".join(lines)


def comparison_table(library: Curve, baseline: Curve) -> str:
    """Seconds to what the baseline has in the end, as a Markdown table; "<=" where a curve begins above it."""
    headings = (
        "figure",
        "baseline's final",
        "baseline s",
        "library s",
        "times faster",
        "library then",
        "library final",
    )
    lines = [f"| {' | '.join(headings)} |", "|" + " --- |" * len(headings)]
    for name, row in compare_curves(library, baseline).items():
        digits = _digits(name)
        first = library[0].figures[name] >= row["baseline_final"]
        cells = [
            FIGURES[name],
            f"{row['baseline_final']:.{digits}f}",
            _seconds(row["baseline_seconds"]),
            ("<= " if first else "") + _seconds(row["library_seconds"]),
            "-" if row["times_faster"] is None else (">= " if first else "") + f"{row['times_faster']:.1f}",
            f"{row['library_then']:.{digits}f}",
            f"{row['library_final']:.{digits}f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f}"


def _digits(figure: str) -> int:
    return 4 if figure.endswith("ssim") else 2


class Report:
    """The file of a comparison. Sides may be measured by one command or by several, also at a time on two GPUs.

    Args:
        path: JSON file; written anew after every point, so that a command that is cut short keeps what it has.
        comparison: what both sides have in common, JSON types only.

    Raises:
        InputError: the file has another comparison in it.
    """

    def __init__(self, path: Path, comparison: Mapping[str, Any]) -> None:
        self.path = path
        self._content: dict[str, Any] = {"comparison": dict(comparison), "sides": {}}
        self._look()

    def _look(self) -> None:
        """Take the sides as they are in the file now."""
        if self.path.exists():
            self._content["sides"] = _read(self.path, self._content["comparison"])

    def refuse_complete(self, side: str) -> None:
        """Refuse to measure a side again that was measured to its end.

        Raises:
            InputError: its curve is complete.
        """
        if self._content["sides"].get(side, {}).get("complete"):
            raise InputError(f"{self.path}: found the whole curve of the {side}, expected none; give another --output")

    def write(self, side: str, record: Mapping[str, Any], curve: Curve) -> None:
        """Save one side: what is to be known of it, and its points so far; the other stays as it is in the file."""
        self._look()
        points = [{**asdict(point), "figures": dict(point.figures)} for point in curve]
        self._content["sides"][side] = {**record, "curve": points}
        curves = self.curves()
        self._content.pop("reached", None)
        if len(curves) == len(SIDES):
            self._content["reached"] = compare_curves(curves["library"], curves["baseline"])
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, json.dumps(self._content, indent=1) + "\n")

    def curves(self) -> dict[str, list[Point]]:
        """Points of every side that has any."""
        sides = self._content["sides"]
        return {name: [Point(**point) for point in sides[name]["curve"]] for name in SIDES if name in sides}

    def cut_short(self) -> list[str]:
        """Sides whose training did not come to its end: their last points are not what they have in the end."""
        return [name for name in SIDES if not self._content["sides"].get(name, {}).get("complete", True)]


def _read(path: Path, comparison: Mapping[str, Any]) -> dict[str, Any]:
    """The sides in a file whose comparison is the same."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found, sides = content["comparison"], content["sides"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: found no comparison ({error}), expected a file that this command wrote") from error
    wanted = json.loads(json.dumps(comparison))
    different = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
    if different:
        told = "; ".join(f"{key}: found {found.get(key)!r}, expected {wanted.get(key)!r}" for key in different)
        raise InputError(f"{path} holds another comparison ({told}); give another --output")
    return sides


def require_figures(figures: Mapping[str, float], whose: str) -> dict[str, float]:
    """The figures, all of those that are compared among them and finite."""
    bad = [name for name in FIGURES if not math.isfinite(figures.get(name, math.nan))]
    if bad:
        raise InputError(f"{whose}: found no number for {', '.join(bad)}, expected views of a face, and no divergence")
    return dict(figures)
