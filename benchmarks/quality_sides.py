"""The two sides of ``time_to_quality``: what they share, and how each trains while it is measured."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from baseline import PERCEPTUAL_WEIGHT, splat
from baseline_training import (
    PUBLISHED,
    BaselineHead,
    CaptureTrainer,
    Length,
    Settings,
    baseline_from_mesh,
    train_baseline,
)
from held_out_quality import CurveRecorder, HeldOutViews, TrainingClock
from provenance import commit, processor
from quality_curves import FIGURES, Point, Report
from scene import UPSCALE

from gha.apps.config import load_config
from gha.apps.train import train_gaussian
from gha.apps.training_config import GaussianRunConfig
from gha.apps.training_run import choose_device
from gha.avatars import MeshHead
from gha.avatars.rendering import coarse_camera
from gha.avatars.transfer import seed_gaussians
from gha.capture import Capture, FrameLoader, SampleSchedule, open_capture
from gha.errors import InputError
from gha.training.avatar_io import load_avatar
from gha.training.evaluation import Candidate, divisible_size
from gha.training.perceptual import PerceptualDistance, load_perceptual
from gha.training.regions import facial_features
from gha.training.stage import Stage


@dataclass(frozen=True)
class Choices:
    """What was asked for; the options of the command by name."""

    capture: str
    mesh_run: str
    config: Path
    output: Path
    baseline_mesh_run: str = ""
    seconds: float = 480.0
    steps: int = 0
    every: float = 30.0
    views: int = 24
    baseline_rates: str = "preset"
    perceptual: bool = False
    overrides: list[str] = field(default_factory=list)

    def preset(self) -> GaussianRunConfig:
        """The library's configuration, its results below the output, the perceptual term on or off as on both sides."""
        keys = [
            *("name=library", f"runs={self.output}", f"data.capture={self.capture}", f"mesh_run={self.mesh_run}"),
            f"training.loss.perceptual={PERCEPTUAL_WEIGHT if self.perceptual else 0.0}",
            f"training.require_perceptual={str(self.perceptual).lower()}",
        ]
        return load_config(GaussianRunConfig, self.config, [*keys, *self.overrides])


@dataclass(frozen=True)
class Comparison:
    """What both sides share.

    Attributes:
        choices: what was asked for.
        config: of the library's stage 2; its data, seeds and rates are the baseline's too.
        capture: the recording.
        device: that trains and measures.
        size: height and width of the pictures.
        held_out: what is measured.
    """

    choices: Choices
    config: GaussianRunConfig
    capture: Capture
    device: torch.device
    size: tuple[int, int]
    held_out: HeldOutViews

    @property
    def cameras(self) -> list[str]:
        """Those that are trained on."""
        return list(self.config.data.cameras or self.capture.split.train_cameras)

    @property
    def frozen_expression(self) -> torch.Tensor:
        """Mean expression [E] of the training frames, of which statues are made."""
        return self.capture.codes(self.capture.split.train_frames).expression.mean(0).to(self.device)

    def describe(self) -> dict[str, Any]:
        """What must be the same for all sides of a report, JSON types only."""
        return {
            "capture": str(self.capture.root),
            "mesh_run": str(self.choices.mesh_run),
            "cameras": self.cameras,
            "size": list(self.size),
            "views": [[view.frame_id, view.camera_id] for view in self.held_out.views],
            "perceptual": self.choices.perceptual,
            "device": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else processor(),
            "torch": torch.__version__,
        }


def prepare(choices: Choices) -> Comparison:
    """Read the preset and the held-out views.

    Raises:
        InputError: the capture has no held-out views of a face, or its pictures are not square.
    """
    config, capture = choices.preset(), open_capture(choices.capture)
    device, camera = choose_device(config.device), capture.split.train_cameras[0]
    size = divisible_size(capture, camera, config.data.resolution or max(capture.resolution(camera)), UPSCALE)
    if size[0] != size[1]:
        raise InputError(f"{capture.root}: found {size[1]} x {size[0]} pixels, expected squares, as the baseline does")
    held_out = HeldOutViews(capture, choices.views, size[0], UPSCALE, device)
    return Comparison(choices, config, capture, device, size, held_out)


def warm_up(comparison: Comparison) -> None:
    """Draw with gradients once, so that no side's clock counts the compilation of the rasteriser, which both use."""
    head = _baseline_head(comparison)
    with _baseline_frames(comparison) as frames:
        frame = next(frames).to(comparison.device)
    splat(head.generator(frame.code), coarse_camera(frame.camera, UPSCALE)[0], "auto").sum().backward()


def refuse_begun(comparison: Comparison) -> None:
    """Refuse a run of the library that has begun, before another side is trained for minutes.

    Raises:
        InputError: the library's folder is there.
    """
    folder = Path(comparison.config.runs) / comparison.config.name / "gaussian"
    if folder.exists():
        raise InputError(f"{folder}: found a run, expected none: the clock must see all of its training")


def train_library(comparison: Comparison, report: Report) -> None:
    """Train the library's head as its command does, and put its curve into the report."""
    config = comparison.config
    frozen = comparison.frozen_expression
    facts: dict[str, Any] = {"config": asdict(config)}
    recorder = _recorder(comparison, "library", report, facts)

    def watch(stage: Stage, finished: int) -> None:
        head = stage.modules["avatar"]
        facts["gaussians"] = len(head.means)
        poses = stage.modules.get("pose_refinement")
        recorder(finished, lambda: Candidate(head, frozen, poses), finished >= config.loop.steps)

    train_gaussian(config, watch)


def train_baseline_side(comparison: Comparison, report: Report) -> None:
    """Train the baseline, and put its curve into the report."""
    choices, config, device = comparison.choices, comparison.config, comparison.device
    frames = comparison.capture.split.train_frames
    torch.set_float32_matmul_precision("highest")  # as the original computes
    # Not chosen by trial: near and far from the landmarks there are other numbers of points at every step, and every
    # new number would be tried out.
    torch.backends.cudnn.benchmark = False
    frozen = comparison.frozen_expression
    facts: dict[str, Any] = {"rates": choices.baseline_rates, "mesh_run": _baseline_mesh_run(choices)}
    recorder = _recorder(comparison, "baseline", report, facts)
    torch.manual_seed(config.loop.seed)
    preset = Settings.of_preset(config.training, config.loop.final_learning_rate_factor)
    settings = preset if choices.baseline_rates == "preset" else PUBLISHED
    perceptual = _load_perceptual(device) if choices.perceptual else None
    trainer = CaptureTrainer(_baseline_head(comparison), frames, settings, perceptual)
    facts.update(trainer.describe())

    def watch(step: int, waited: float, last: bool) -> None:
        facts["seconds_waited_for_data"] = round(waited, 2)
        recorder(step, lambda: Candidate(trainer.head, frozen), last)

    with _baseline_frames(comparison) as loader:
        train_baseline(trainer, loader, Length(choices.seconds, choices.steps), recorder.clock, watch)


TRAIN: dict[str, Callable[[Comparison, Report], None]] = {"baseline": train_baseline_side, "library": train_library}


def _recorder(comparison: Comparison, side: str, report: Report, facts: dict[str, Any]) -> CurveRecorder:
    """Start the clock of a side, whose points go to the report together with what is known of it by then."""
    facts |= {"commit": commit(), "command": shlex.join(["python", *sys.argv])}

    def keep(curve: list[Point], last: bool) -> None:
        report.write(side, {**facts, "complete": last}, curve)
        point = curve[-1]
        told = ", ".join(f"{name} {point.figures[name]:.4g}" for name in FIGURES)
        print(f"{side}: {point.seconds:.1f} s, step {point.step}: {told}", flush=True)

    clock = TrainingClock(comparison.device)
    return CurveRecorder(clock, comparison.choices.every, comparison.held_out.measure, keep)


def _baseline_mesh_run(choices: Choices) -> str:
    return choices.baseline_mesh_run or choices.mesh_run


def _baseline_head(comparison: Comparison) -> BaselineHead:
    config = comparison.config
    mesh_head, info = load_avatar(_baseline_mesh_run(comparison.choices), comparison.device)
    if not isinstance(mesh_head, MeshHead):
        raise InputError(f"{info.path}: found a {info.method}, expected a mesh head")
    lips = list(range(*facial_features(info.subject.facial_landmarks)["mouth"].landmarks))
    seeds = seed_gaussians(mesh_head, lips, config.head, config.loop.seed)
    return baseline_from_mesh(mesh_head, seeds, config.head)


def _baseline_frames(comparison: Comparison) -> FrameLoader:
    """The library's draws, one view each, read as the original reads: by one thread, which keeps nothing."""
    capture, seed = comparison.capture, comparison.config.loop.seed
    schedule = SampleSchedule(seed, capture.split.train_frames, comparison.cameras)
    return FrameLoader(capture, schedule, comparison.size, workers=1, cache_bytes=0)


def _load_perceptual(device: torch.device) -> PerceptualDistance:
    perceptual = load_perceptual("vgg", device)
    if perceptual is None:
        raise InputError("--perceptual: LPIPS is not available: pip install lpips torchvision")
    return perceptual
