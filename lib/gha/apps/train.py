"""The two training commands: build the stage from its config, restore it, run the loop."""

from __future__ import annotations

import logging
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from gha.avatars.gaussian_head import GaussianHead
from gha.avatars.mesh_head import MeshHead, initialize_sphere
from gha.avatars.transfer import gaussian_head_from_mesh
from gha.capture import Capture
from gha.errors import InputError
from gha.training.avatar_io import Subject, build_gaussian_head, build_mesh_head, subject_of
from gha.training.checkpoint import load_checkpoint
from gha.training.gaussian_config import GaussianTrainingConfig
from gha.training.gaussian_stage import GaussianStage
from gha.training.loop import Watch, restore, train
from gha.training.mesh_stage import MeshStage
from gha.training.perceptual import PerceptualDistance, load_perceptual
from gha.training.refinement import CameraGain, PoseRefinement
from gha.training.regions import facial_features
from gha.training.stage import Stage

from .continuation import check_same_face_model
from .training_config import GaussianRunConfig, MeshRunConfig
from .training_run import TrainingRun, open_training_run

logger = logging.getLogger(__name__)

_SWITCH_INTERVAL = 1e-4
"""Seconds after which a thread hands over the interpreter: less than a tenth of a step of training on a GPU."""


def train_mesh(config: MeshRunConfig) -> Path:
    """Train stage 1, or continue it; returns the run's folder."""
    with open_training_run(config, "mesh", MeshStage.method) as run:
        with run.processes.together():
            stage = _mesh_stage(config, run)
        _run(stage, run)
    return run.folder.path


def train_gaussian(config: GaussianRunConfig, watch: Watch | None = None) -> Path:
    """Train stage 2, or continue it; returns the run's folder. ``watch`` looks on after every step."""
    with open_training_run(config, "gaussian", GaussianStage.method) as run:
        with run.processes.together():
            stage = _gaussian_stage(config, run)
        _run(stage, run, watch)
    return run.folder.path


def _mesh_stage(config: MeshRunConfig, run: TrainingRun) -> MeshStage:
    head, gain = _mesh_head(config, run), run.camera_gain()
    description = {"head": asdict(head.config), "subject": asdict(run.subject), **_gain_rows(gain)}
    return MeshStage(head, config.training, gain, description)


def _gaussian_stage(config: GaussianRunConfig, run: TrainingRun) -> GaussianStage:
    head, gain = _gaussian_head(config, run), run.camera_gain()
    description = {
        "head": asdict(head.config),
        "fields": asdict(head.fields.config),
        "subject": asdict(run.subject),
        **_gain_rows(gain),
    }
    poses = None
    if config.training.pose_learning_rate:
        poses = PoseRefinement(run.capture.split.train_frames).to(run.device)
        description["pose_frames"] = list(poses.rows)
    perceptual = _perceptual(config.training, run.device)
    return GaussianStage(head, config.training, poses, gain, perceptual, description, config.loop.seed)


def _gain_rows(gain: CameraGain | None) -> dict[str, list[str]]:
    """What a checkpoint says about colour gains: the camera of each."""
    return {"gain_cameras": list(gain.rows)} if gain else {}


def _mesh_head(config: MeshRunConfig, run: TrainingRun) -> MeshHead:
    """The head the run has trained so far, or a sphere."""
    if run.checkpoint:
        return build_mesh_head(run.checkpoint).to(run.device)
    landmarks = _neutral_landmarks(run.capture)
    head = MeshHead(config.head, run.subject.expression_size, landmarks).to(run.device)
    if head.fields.neck:
        head.fields.neck.place(landmarks, torch.tensor(run.subject.reference_pose))
    error = initialize_sphere(head, config.training.sphere_steps, seed=config.loop.seed)
    logger.info("initial sphere: root mean square error %.4f dm", error)
    return head


def _gaussian_head(config: GaussianRunConfig, run: TrainingRun) -> GaussianHead:
    """The head the run has trained so far, or Gaussians on the surface of a trained mesh head."""
    if run.checkpoint:
        return build_gaussian_head(run.checkpoint).to(run.device)
    mesh_head = _trained_mesh_head(config, run.subject, run.device)
    lips = list(range(*facial_features(run.subject.facial_landmarks)["mouth"].landmarks))
    head = gaussian_head_from_mesh(mesh_head, lips, config.head, run.subject.expression_size, config.loop.seed)
    logger.info("%d Gaussians from the mesh head", len(head.means))
    return head


def _neutral_landmarks(capture: Capture) -> torch.Tensor:
    """Canonical landmarks [L, 3] of the training frame whose expression is nearest to zero."""
    frames = capture.split.train_frames
    nearest = int(capture.codes(frames).expression.norm(dim=-1).argmin())
    return capture.codes(frames)[nearest].to_canonical(capture.landmarks(frames[nearest]))


def _trained_mesh_head(config: GaussianRunConfig, subject: Subject, device: torch.device) -> MeshHead:
    path = Path(config.mesh_run) if config.mesh_run else Path(config.runs) / config.name / "mesh"
    checkpoint = load_checkpoint(path, MeshStage.method, device)
    trained_on = subject_of(checkpoint)
    if trained_on.expression_names != subject.expression_names:
        raise InputError(
            f"{checkpoint.path} was trained on {trained_on.capture} with {trained_on.expression_size} expressions; "
            f"{subject.capture} has {subject.expression_size}, or other names"
        )
    check_same_face_model(subject.capture, subject.face_model, trained_on, checkpoint.path)
    return build_mesh_head(checkpoint).to(device).eval()


def _perceptual(config: GaussianTrainingConfig, device: torch.device) -> PerceptualDistance | None:
    if not config.loss.perceptual:
        return None
    network = load_perceptual("vgg", device)
    if network is None and config.require_perceptual:
        raise InputError(
            "training.require_perceptual is set, but LPIPS is not available: pip install lpips torchvision"
        )
    return network


def _run(stage: Stage, run: TrainingRun, watch: Watch | None = None) -> None:
    """Restore the stage and train it to the configured number of steps."""
    loop = run.config.loop
    if run.device.type == "cuda":
        # Networks run their products in TF32 and choose their convolutions by trial; geometry is elementwise.
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
        # The loop must not wait for threads that read ahead; by default they hand over the interpreter after 5 ms only.
        sys.setswitchinterval(_SWITCH_INTERVAL)
    with run.processes.together():
        restore(stage, run.folder, run.device)
    if stage.finished_steps >= loop.steps:
        logger.info("%s has its %d steps already", run.folder.path, loop.steps)
        return
    with run.frames(stage.finished_steps) as frames:
        finished = train(stage, frames, loop, run.folder, run.device, run.processes, watch)
    if finished < loop.steps:
        # Saved, but not done: whoever called must not go on to what builds on a trained stage.
        raise KeyboardInterrupt
