"""The evaluation command: measures a trained run on what it has not seen; writes figures and a contact sheet."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from tqdm import tqdm

from gha.avatars import GaussianHead, PlaybackHead, prepare_for_playback
from gha.capture import Capture, open_capture
from gha.capture.info import SURFACE_POINTS
from gha.errors import InputError
from gha.files import write_atomically
from gha.limits import at_least, limited, numbers, zero_or_at_least
from gha.training.avatar_io import RunInfo, load_avatar
from gha.training.evaluation import (
    Candidate,
    Measurement,
    View,
    average,
    divisible_size,
    evaluate_views,
    held_out_splits,
    spread_views,
)
from gha.training.evaluation_protocol import describe_protocol
from gha.training.perceptual import load_perceptual
from gha.training.surface_evaluation import surface_distances

from .contact_sheet import contact_row
from .continuation import check_same_face_model
from .output import output_folder
from .own_recording import own_recording
from .previews import make_grid, save_png
from .training_run import choose_device

logger = logging.getLogger(__name__)

HEADLINES = (
    "head_psnr", "foreground_psnr", "foreground_gain_aligned_psnr", "alpha_iou", "mouth_driven_over_frozen",
    "eyes_driven_over_frozen", "decoded_over_bicubic", "surface_median_mm",
)  # fmt: skip


@limited(
    resolution=zero_or_at_least(16),
    max_images=at_least(0),
    background=numbers(3, 0, 1),
    contact_images=at_least(0),
)
@dataclass
class EvaluationConfig:
    """Measuring a trained run on held-out frames and cameras."""

    run: str
    """Folder of a run's stage (runs/{name}/mesh or runs/{name}/gaussian), or of one of its checkpoints."""
    capture: str = ""
    """Folder of the capture to measure on; empty: the one the run was trained on."""
    output: str = ""
    """Folder for evaluation.json and contact_sheet.png; empty: evaluation/ beside the run's checkpoints."""
    splits: list[str] = field(default_factory=lambda: ["held_out_frames", "held_out_cameras", "held_out_both"])
    """Which ways of holding out to measure, where the capture offers them (both: test frames seen by test cameras)."""
    resolution: int = 0
    """Longer side in pixels of the pictures compared; 0: what the run was trained at."""
    max_images: int = 120
    """Views measured per split, spread evenly over frames and cameras; 0: all."""
    background: list[float] = field(default_factory=lambda: [1.0, 1.0, 1.0])
    """RGB in [0, 1] behind truth and prediction."""
    perceptual: Literal["alex", "vgg", "none"] = "alex"
    """Backbone of LPIPS; without the package lpips and its weights it is off."""
    face: bool = True
    """Measure head, mouth and eyes where the landmarks of the capture are those of a face."""
    contact_images: int = 8
    """Rows of the contact sheet; 0: none."""
    playback: bool = False
    """Measure a Gaussian head in the form in which reenactment shows it, which is faster and rounds more on a GPU."""
    device: str = "auto"
    """"cpu", "cuda", "cuda:1" and so on, or "auto": CUDA where there is a device."""


def evaluate(config: EvaluationConfig) -> Path:
    """Measure a run; returns the folder with ``evaluation.json`` and ``contact_sheet.png``."""
    device = choose_device(config.device)
    avatar, info = load_avatar(config.run, device)
    capture = open_capture(own_recording(config.capture, info.subject, "capture"))
    _require_same_expressions(capture, info)
    if config.playback and isinstance(avatar, GaussianHead):
        avatar = prepare_for_playback(avatar)
    measurement = _measurement(config, capture, info, device)
    candidate = Candidate(avatar, torch.tensor(info.subject.mean_expression, device=device), info.poses)
    chosen = choose_views(capture, config.splits, config.max_images)
    output = Path(config.output) if config.output else output_folder(config.run, "evaluation")

    splits, rows = measure_splits(candidate, capture, chosen, measurement, config.contact_images)
    if info.method == "mesh_head":
        splits["surface"] = measure_surface(candidate, capture, config.max_images)
    report = {
        "run": str(config.run),
        "method": info.method,
        "step": info.step,
        "playback": isinstance(avatar, PlaybackHead),
        "capture": str(capture.root),
        "protocol": describe_protocol(
            measurement, divisible_size(capture, capture.camera_ids[0], measurement.size, avatar.upscale)
        ),
        "splits": splits,
    }
    output.mkdir(parents=True, exist_ok=True)
    write_atomically(output / "evaluation.json", json.dumps(report, indent=1) + "\n")
    if rows:
        save_png(output / "contact_sheet.png", make_grid(rows))
    for line in summary_lines(report):
        logger.info(line)
    logger.info("figures and pictures are in %s", output)
    return output


def choose_views(capture: Capture, names: Sequence[str], limit: int) -> dict[str, list[View]]:
    """The views to measure of each split by name; at most ``limit`` (0: all) of each."""
    known = ("held_out_frames", "held_out_cameras", "held_out_both")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"splits: found {unknown}, expected names among {list(known)}")
    offered = held_out_splits(capture.split)
    chosen = {name: spread_views(*offered[name], limit) for name in names if name in offered}
    if not chosen:
        raise InputError(
            f"{capture.root}: found nothing held out for {list(names)}, "
            "expected test frames or test cameras in its split"
        )
    return chosen


def measure_splits(
    candidate: Candidate,
    capture: Capture,
    chosen: dict[str, list[View]],
    measurement: Measurement,
    contact_images: int,
) -> tuple[dict[str, dict], list[np.ndarray]]:
    """Measure the chosen views of every split.

    Returns:
        The report of every split, and ``contact_images`` rows of the contact sheet, spread evenly over all views.
    """
    total = sum(map(len, chosen.values()))
    shown = {i * total // contact_images for i in range(contact_images)} if contact_images else set()
    reports, rows, done = {}, [], 0
    with tqdm(total=total, desc="evaluation", unit="image") as bar:
        for name, views in chosen.items():
            measured = []
            for result in evaluate_views(candidate, capture, views, measurement):
                measured.append({"frame": result.view.frame_id, "camera": result.view.camera_id, **result.measures})
                if done in shown:
                    rows.append(contact_row(name, result))
                done += 1
                bar.update()
            reports[name] = _split_report(measured, held_out_splits(capture.split)[name])
    return reports, rows


def measure_surface(candidate: Candidate, capture: Capture, limit: int) -> dict:
    """Surface distances on test frames (training frames where none is held out), as the report of a split."""
    frames = capture.split.test_frames or capture.split.train_frames
    views = spread_views(frames, capture.split.train_cameras[:1], limit)
    chosen = [view.frame_id for view in views]
    distances = surface_distances(candidate, capture, chosen)
    measured = [
        {"frame": frame, **entry}
        for frame, entry in zip(chosen, tqdm(distances, total=len(chosen), desc="surface", unit="frame"), strict=True)
    ]
    report = _split_report(measured, (frames,))
    report["held_out"] = bool(capture.split.test_frames)
    return report


def summary_lines(report: dict) -> list[str]:
    """The headline figures of a report, one line per split."""
    lines = []
    for name, split in report["splits"].items():
        figures = [f"{key} {split['figures'][key]['mean']:.3f}" for key in HEADLINES if key in split["figures"]]
        lines.append(f"{name} ({split['measured']} of {split['available']}): {', '.join(figures)}")
    return lines


def _split_report(measured: list[dict], ids: Sequence[Sequence[str]]) -> dict:
    labels = ("frame", "camera")
    figures = average([{k: v for k, v in entry.items() if k not in labels} for entry in measured])
    return {
        "measured": len(measured),
        "available": math.prod(map(len, ids)),
        "frames": len({entry["frame"] for entry in measured}),
        "cameras": len({entry.get("camera") for entry in measured}),
        "figures": figures,
        "images": measured,
    }


def _measurement(config: EvaluationConfig, capture: Capture, info: RunInfo, device: torch.device) -> Measurement:
    if len(config.background) != 3:
        raise InputError(f"background: found {config.background}, expected three numbers in [0, 1]")
    has_face = config.face and capture.info.face_model != SURFACE_POINTS
    landmarks = len(capture.facial_landmarks(capture.frame_ids[0])) if has_face else 0
    return Measurement(
        size=config.resolution or max(info.subject.resolution),
        background=torch.tensor(config.background, device=device),
        facial_landmarks=landmarks,
        perceptual=None if config.perceptual == "none" else load_perceptual(config.perceptual, device),
    )


def _require_same_expressions(capture: Capture, info: RunInfo) -> None:
    found, expected = list(capture.expression_names), list(info.subject.expression_names)
    if found != expected:
        raise InputError(
            f"{capture.root}: found {len(found)} expressions ({', '.join(found[:3])} ...), "
            f"expected the {len(expected)} ({', '.join(expected[:3])} ...) that {info.path} was trained with"
        )
    face_model = capture.info.face_model, capture.info.face_model_version
    check_same_face_model(capture.root, face_model, info.subject, info.path)
