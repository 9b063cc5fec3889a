"""Rows of the table of measurements, and how it is printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from timing import Measurement

ORIGINAL = "original's data flow"
HEADINGS = ("part", "what", "precision", "resolution", "Gaussians", "ms", "floor ms", "peak GiB", "per s", "x original")


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        part: what was done: "generate", "splat forward", ..., the same for all that are compared.
        what: which back end, preset or variant did it; :data:`ORIGINAL` for the baseline.
        precision: of the arithmetic that was timed.
        resolution: side in pixels of the picture (of splats alone: of the splats).
        gaussians: how many; None where there are none.
        median_ms: median of all repeats.
        least_ms: least of all repeats; None for a phase of a longer measurement.
        floor_ms: least possible time, where known.
        peak_gib: peak of the memory PyTorch allocated on the GPU, with everything that was there before.
        per_second: samples or frames a second, where that is what one asks.
    """

    part: str
    what: str
    precision: str
    resolution: int
    gaussians: int | None
    median_ms: float
    least_ms: float | None = None
    floor_ms: float | None = None
    peak_gib: float | None = None
    per_second: float | None = None

    @classmethod
    def of(
        cls,
        part: str,
        what: str,
        precision: str,
        resolution: int,
        gaussians: int | None,
        measured: Measurement,
        floor_ms: float | None = None,
        per_second: bool = False,
    ) -> Row:
        """The row of a measurement of one piece of work."""
        rate = 1e3 / measured.total_ms if per_second else None
        times = (measured.total_ms, measured.least_ms, floor_ms, measured.peak_gib, rate)
        return cls(part, what, precision, resolution, gaussians, *times)


def table(rows: Sequence[Row]) -> str:
    """A Markdown table; the last column is how much faster a row is than the original's data flow at the same part."""
    originals = {row.part: row.median_ms for row in rows if row.what == ORIGINAL}
    lines = [HEADINGS, ("---",) * len(HEADINGS)]
    for row in rows:
        original = originals.get(row.part)
        ratio = None if original is None or row.what == ORIGINAL else original / row.median_ms
        counts = (f"{row.resolution}²", "-" if row.gaussians is None else str(row.gaussians))
        numbers = (row.median_ms, row.floor_ms, row.peak_gib, row.per_second, ratio)
        lines.append((row.part, row.what, row.precision, *counts, *(_number(x) for x in numbers)))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _number(value: float | None) -> str:
    """Three significant digits, or a dash."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
