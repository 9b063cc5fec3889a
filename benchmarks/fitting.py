"""Measure fitting on generated captures: noisy detections in, residuals, vertices, expressions and speed out.

    python benchmarks/fitting.py [--face procedural|PATH] [--frames 200] [--cameras 16] [--noise 1.5] [--output JSON]

The truth is an identity drawn from the model, acting the built-in performance before the synthetic rig. Detections are
its projected landmarks with normal noise in pixels at 1024 pixels, 5 % wild points (60 px) and 10 % of the views
without a face. "fixed" marks the model's own jaw line, "outline" the outermost part of the face that each camera sees;
the fit is told "fixed" or "sliding" to match, as a user who knows the detector would. One camera is a rig of one: depth
and size are then as good as unknown, so vertices are compared after rigid alignment with scale. Frames per processor
second leave out what other programs took.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "preprocessing"))
from face_detections import Scene, make_scene, outlines
from provenance import commit, processor

from gha.faces import FaceModel, load_face_model
from gha.geometry import Camera
from gha.preprocessing.fitting import Fit, fit_face
from gha.preprocessing.fitting_config import FittingConfig
from gha.preprocessing.fitting_start import align
from gha.preprocessing.fitting_views import Views

VARIED = 0.05  # standard deviation from which an expression counts as acted
OBSERVABLE = 0.9  # correlation from which it counts as recovered


def load(face: str) -> FaceModel:
    """A face model without anything that is only looked at."""
    if face == "procedural":
        return load_face_model(face, texture_size=64, hair_strands=50)
    return load_face_model(face, kind="ict", base="mean", hair_style=None)


def measure(scene: Scene, pixels: torch.Tensor, cameras: Camera, contour: str, noise: float) -> dict[str, Any]:
    """Fit once and compare with the truth."""
    # A rig of one camera is not to go without any view.
    detections = scene.detect(noise=noise, missing=0.1 if pixels.shape[1] > 1 else 0.0, pixels=pixels)
    seconds = torch.full((len(detections),), 1 / scene.stage.performance.fps)
    seconds[0] = torch.inf
    started, busy = time.perf_counter(), time.process_time()
    fit = fit_face(scene.model, Views.of(detections, cameras), FittingConfig(contour=contour), seconds)
    elapsed = time.perf_counter() - started
    busy = time.process_time() - busy
    return {
        "frames": len(detections),
        "cameras": detections.shape[1],
        "contour": contour,
        "noise_px": noise,
        "frames_per_second": round(len(detections) / elapsed, 1),
        "frames_per_processor_second": round(len(detections) / busy, 1),
        **_residuals(fit, pixels),
        **_vertices(scene, fit, aligned=detections.shape[1] == 1),
        **_expressions(scene, fit),
        "stages": [(stage.name, stage.iterations, stage.ended) for stage in fit.stages],
    }


def _residuals(fit: Fit, pixels: torch.Tensor) -> dict[str, float]:
    """Pixels between fit and detections (robust) and between fit and truth."""
    inlier = fit.decimetres < 4 * fit.noise
    off_jaw = (fit.chosen - pixels)[:, :, 17:].norm(dim=-1)
    return {
        "reprojection_rms_px": round(float(fit.residuals[inlier].square().mean().sqrt()), 3),
        "error_from_true_pixels_rms_px": round(float(off_jaw.square().mean().sqrt()), 3),
    }


def _vertices(scene: Scene, fit: Fit, aligned: bool) -> dict[str, float]:
    """Millimetres between true and fitted vertices of the face."""
    vertices = fit.vertices
    if aligned:
        weights = torch.ones(vertices.shape[:2]).double()
        moved = []
        for one, truth, weight in zip(vertices.double(), scene.vertices.double(), weights, strict=True):
            rotation, shift, scale = align(one, truth[None], weight[None])
            moved.append(scale * one @ rotation[0].T + shift)
        vertices = torch.stack(moved).float()
    error = scene.millimetres(vertices)
    return {
        "vertex_mean_mm": round(float(error.mean()), 3),
        "vertex_median_mm": round(float(error.median()), 3),
        "vertex_worst_frame_mm": round(float(error.mean(1).max()), 3),
    }


def _expressions(scene: Scene, fit: Fit) -> dict[str, Any]:
    """Mean error and correlation of what was acted, and what landmarks cannot tell."""
    truth, found = scene.expression, fit.code.expression
    acted = torch.nonzero(truth.std(0) > VARIED).flatten().tolist()
    names = scene.model.expression_names
    correlation = {}
    for index in acted:
        pair = torch.stack([truth[:, index], found[:, index]])
        value = float(torch.corrcoef(pair)[0, 1]) if found[:, index].std() > 1e-6 else 0.0
        correlation[names[index]] = round(value, 3)
    recovered = [name for name, value in correlation.items() if value >= OBSERVABLE]
    return {
        "expression_mean_error": round(float((truth - found)[:, acted].abs().mean()), 4),
        "expression_mean_error_if_0_were_guessed": round(float(truth[:, acted].abs().mean()), 4),
        "expressions_recovered": f"{len(recovered)} of {len(acted)} with correlation >= {OBSERVABLE}",
        "correlation": correlation,
    }


def _circumstances() -> dict[str, Any]:
    """Machine, versions, commit and command."""
    return {
        "device": f"one thread of {processor()}",
        "load_average": round(os.getloadavg()[0], 1),
        "torch": torch.__version__,
        "commit": commit(),
        "command": " ".join(["python", "benchmarks/fitting.py", *(Path(word).name for word in sys.argv[1:])]),
        "date": date.today().isoformat(),
    }


def main() -> None:
    """Measure the cases of the table in the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--face", default="procedural")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--cameras", type=int, default=16)
    parser.add_argument("--noise", type=float, default=1.5)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    scene = make_scene(arguments.frames, arguments.cameras, model=load(arguments.face))
    front = [len(scene.stage.rig.camera_ids) // 4]
    cases = [
        ("fixed", scene.pixels, scene.cameras, "fixed"),
        ("outline", outlines(scene), scene.cameras, "sliding"),
        ("outline, fit told fixed", outlines(scene), scene.cameras, "fixed"),
        ("one camera", scene.pixels[:, front], scene.cameras[front], "fixed"),
    ]
    results = {**_circumstances(), "face": scene.model.name}
    for name, pixels, cameras, contour in cases:
        results[name] = measure(scene, pixels, cameras, contour, arguments.noise)
        shown = {key: value for key, value in results[name].items() if key not in ("correlation", "stages")}
        print(name, json.dumps(shown), flush=True)
    if arguments.output:
        arguments.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
