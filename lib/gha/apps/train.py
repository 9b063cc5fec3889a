"""The two training commands: build the stage from its config, restore it, run the loop."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path

import torch

from gha.avatars.mesh_head import MeshHead, initialize_sphere
from gha.avatars.transfer import gaussian_head_from_mesh
from gha.capture import Capture, FrameLoader, SampleSchedule, check_capture, open_capture
from gha.errors import InputError
from gha.training.avatar_io import Subject, build_gaussian_head, build_mesh_head, describe_subject, subject_of
from gha.training.checkpoint import has_checkpoint, load_checkpoint
from gha.training.gaussian_stage import GaussianStage, GaussianTrainingConfig
from gha.training.loop import restore, train
from gha.training.mesh_stage import MeshStage
from gha.training.perceptual import PerceptualDistance, load_perceptual
from gha.training.refinement import CameraGain, PoseRefinement
from gha.training.regions import facial_features
from gha.training.run_folder import RunFolder
from gha.training.stage import LoopConfig, Stage

from .config import save_config
from .training_config import DataConfig, GaussianRunConfig, MeshRunConfig

logger = logging.getLogger(__name__)


def train_mesh(config: MeshRunConfig) -> Path:
    """Train stage 1, or continue it; returns the run's folder."""
    device = choose_device(config.device)
    capture, cameras = _open(config.data)
    subject = describe_subject(capture, capture.output_size(cameras, config.data.resolution or None))
    torch.manual_seed(config.loop.seed)
    with _run_folder(config, "mesh") as folder:
        save_config(config, folder.config_file)
        if has_checkpoint(folder.checkpoints):
            head = build_mesh_head(load_checkpoint(folder.checkpoints, MeshStage.method)).to(device)
        else:
            head = MeshHead(config.head, subject.expression_size, _neutral_landmarks(capture)).to(device)
            error = initialize_sphere(head, config.training.sphere_steps, seed=config.loop.seed)
            logger.info("initial sphere: root mean square error %.4f dm", error)
        gain = _camera_gain(config.data, cameras, device)
        description = {"head": asdict(head.config), "subject": asdict(subject)}
        stage = MeshStage(head, config.training, gain, description)
        _run(stage, capture, cameras, config.data, config.loop, folder, device)
    return folder.path


def train_gaussian(config: GaussianRunConfig) -> Path:
    """Train stage 2, or continue it; returns the run's folder."""
    device = choose_device(config.device)
    capture, cameras = _open(config.data)
    subject = describe_subject(capture, capture.output_size(cameras, config.data.resolution or None))
    torch.manual_seed(config.loop.seed)
    with _run_folder(config, "gaussian") as folder:
        save_config(config, folder.config_file)
        if has_checkpoint(folder.checkpoints):
            head = build_gaussian_head(load_checkpoint(folder.checkpoints, GaussianStage.method)).to(device)
        else:
            mesh_head = _trained_mesh_head(config, subject, device)
            lips = list(range(*facial_features(subject.facial_landmarks)["mouth"].landmarks))
            head = gaussian_head_from_mesh(mesh_head, lips, config.head, subject.expression_size, config.loop.seed)
            logger.info("%d Gaussians from the mesh head", len(head.means))
        description = {
            "head": asdict(head.config),
            "fields": asdict(head.fields.config),
            "subject": asdict(subject),
        }
        poses = None
        if config.training.pose_learning_rate:
            poses = PoseRefinement(capture.split.train_frames).to(device)
            description["pose_frames"] = list(poses.rows)
        gain = _camera_gain(config.data, cameras, device)
        perceptual = _perceptual(config.training, device)
        stage = GaussianStage(head, config.training, poses, gain, perceptual, description, config.loop.seed)
        _run(stage, capture, cameras, config.data, config.loop, folder, device)
    return folder.path


def choose_device(name: str) -> torch.device:
    """The device named ``"cpu"``, ``"cuda"``, ``"cuda:1"`` ..., or the best there is for ``"auto"``."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"device: found {name!r}, expected cpu, cuda, cuda:1 and so on, or auto") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device={name}: this PyTorch ({torch.__version__}) sees no CUDA device; use device=cpu")
    return device


def _run_folder(config: MeshRunConfig | GaussianRunConfig, stage: str) -> RunFolder:
    return RunFolder(Path(config.runs) / config.name / stage, config.loop.tensorboard)


def _open(data: DataConfig) -> tuple[Capture, list[str]]:
    capture = open_capture(data.capture)
    check_capture(capture)
    cameras = list(data.cameras or capture.split.train_cameras)
    unknown = [camera for camera in cameras if camera not in capture.camera_ids]
    if unknown:
        raise InputError(f"{data.capture}: data.cameras names {unknown}; the capture has {list(capture.camera_ids)}")
    return capture, cameras


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
    return build_mesh_head(checkpoint).to(device).eval()


def _camera_gain(data: DataConfig, cameras: list[str], device: torch.device) -> CameraGain | None:
    return CameraGain(cameras).to(device) if data.camera_color == "gain" else None


def _perceptual(config: GaussianTrainingConfig, device: torch.device) -> PerceptualDistance | None:
    if not config.loss.perceptual:
        return None
    network = load_perceptual("vgg", device)
    if network is None and config.require_perceptual:
        raise InputError(
            "training.require_perceptual is set, but LPIPS is not available: pip install lpips torchvision"
        )
    return network


def _prepare(device: torch.device) -> None:
    if device.type == "cuda":
        # Networks run their products in TF32 and choose their convolutions by trial; geometry is elementwise.
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True


def _run(
    stage: Stage,
    capture: Capture,
    cameras: list[str],
    data: DataConfig,
    loop: LoopConfig,
    folder: RunFolder,
    device: torch.device,
) -> None:
    _prepare(device)
    restore(stage, folder, device)
    if stage.finished_steps >= loop.steps:
        logger.info("%s has its %d steps already", folder.path, loop.steps)
        return
    schedule = SampleSchedule(
        loop.seed, capture.split.train_frames, cameras, data.frames_per_step, data.views_per_frame
    )
    cache_bytes = int(data.cache_gib * 2**30)
    size = data.resolution or None
    with FrameLoader(capture, schedule, size, stage.finished_steps, data.workers, cache_bytes) as frames:
        finished = train(stage, frames, loop, folder, device)
    if finished < loop.steps:
        # Saved, but not done: whoever called must not go on to what builds on a trained stage.
        raise KeyboardInterrupt
