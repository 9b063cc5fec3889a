"""How well a face model fits: residuals by camera and frame, the worst of them by name, and convergence."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from gha.files import write_atomically

from .fitting_capture import Tracking

WORST = 10
MILLIMETRES = 100.0  # per decimetre


def summarise(tracking: Tracking, seconds: float) -> dict[str, Any]:
    """Everything about a fit as plain values for JSON."""
    fit = tracking.fit
    pixels, decimetres = fit.residuals.numpy(), fit.decimetres.numpy()
    outlier = decimetres > tracking.config.outlier_scale * fit.noise
    by_frame = [_residuals(pixels[t], outlier[t]) for t in range(len(tracking.frames))]
    ranked = sorted(zip(tracking.frames, by_frame, strict=True), key=lambda item: -(item[1]["rms_px"] or 0.0))
    alone = [f for f, placed in zip(tracking.frames, fit.start.placed.tolist(), strict=True) if not placed]
    capped = [stage.name for stage in fit.stages if stage.ended == "iteration cap"]
    return {
        "schema": 1,
        "face_model": {"name": tracking.model.name, "version": tracking.model.version},
        "frames": len(tracking.frames),
        "cameras": list(tracking.cameras),
        "seconds": round(seconds, 3),
        "frames_per_second": round(len(tracking.frames) / max(seconds, 1e-9), 2),
        "residual": _residuals(pixels, outlier),
        "detection_noise_mm": round(fit.noise * MILLIMETRES, 4),
        "scale_world_units_per_decimetre": float(fit.code.scale[0]),
        "scale_found": fit.start.known_scale and tracking.config.scale == 0,
        "identity": [round(value, 5) for value in fit.code.identity[0].tolist()],
        "converged": not capped,
        "stages_at_the_iteration_cap": capped,
        "stages": [asdict(stage) for stage in fit.stages],
        "frames_without_detection": alone,
        "frames_placed_by_one_view": int((fit.start.placed & ~fit.start.triangulated).sum()),
        "worst_frames": [{"frame": frame, **values} for frame, values in ranked[:WORST]],
        "by_camera": {c: _residuals(pixels[:, v], outlier[:, v]) for v, c in enumerate(tracking.cameras)},
        "by_frame": dict(zip(tracking.frames, by_frame, strict=True)),
        "config": asdict(tracking.config),
    }


def _residuals(pixels: np.ndarray, outlier: np.ndarray) -> dict[str, Any]:
    """Root mean square and median of distances in pixels, outliers apart; None where nothing was detected."""
    seen = np.isfinite(pixels)
    kept = pixels[seen & ~outlier]
    count = int(seen.sum())
    return {
        "rms_px": round(float(np.sqrt(np.mean(kept.astype(np.float64) ** 2))), 4) if len(kept) else None,
        "median_px": round(float(np.median(pixels[seen])), 4) if count else None,
        "detections": count,
        "outliers": round(float((seen & outlier).sum() / count), 4) if count else None,
    }


def write_report(path: Path, summary: dict[str, Any]) -> None:
    """Write the report as JSON."""
    write_atomically(path, json.dumps(summary, indent=1) + "\n")


def describe(summary: dict[str, Any]) -> str:
    """The report in a few lines."""
    residual = summary["residual"]
    lines = [
        f"{summary['frames']} frames x {len(summary['cameras'])} cameras in {summary['seconds']:.1f} s "
        f"({summary['frames_per_second']:.1f} frames/s)",
        f"residual {residual['rms_px']:.2f} px rms, {residual['median_px']:.2f} px median, "
        f"{residual['outliers']:.1%} outliers; detections are good to {summary['detection_noise_mm']:.2f} mm",
        "worst frames: " + ", ".join(f"{one['frame']} ({one['rms_px']:.2f} px)" for one in _measured(summary)[:5]),
    ]
    poor = {c: values for c, values in summary["by_camera"].items() if values["outliers"] and values["outliers"] > 0.3}
    if poor:
        lines.append("many outliers in " + ", ".join(f"{c} ({v['outliers']:.0%})" for c, v in poor.items()))
    if summary["frames_without_detection"]:
        names = summary["frames_without_detection"]
        lines.append(f"no detection in {len(names)} frames, which follow their neighbours: {', '.join(names[:8])}")
    if not summary["converged"]:
        lines.append("not converged (max_iterations): " + ", ".join(summary["stages_at_the_iteration_cap"]))
    return "\n".join(lines)


def _measured(summary: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in summary["worst_frames"] if one["rms_px"] is not None]
