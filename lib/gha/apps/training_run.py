"""What both training commands open before they train: the device, the recording, the folder of the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from gha.capture import Capture, FrameLoader, SampleSchedule, check_capture, open_capture
from gha.errors import InputError
from gha.training.avatar_io import Subject, describe_subject, naming, subject_of
from gha.training.checkpoint import has_checkpoint, load_checkpoint
from gha.training.checkpoint_format import Checkpoint
from gha.training.processes import Processes
from gha.training.refinement import CameraGain
from gha.training.run_folder import RunFolder

from .config import save_config
from .continuation import check_continuation, check_same_corrections, check_same_subject
from .training_config import DataConfig, GaussianRunConfig, MeshRunConfig


@dataclass(frozen=True)
class TrainingRun:
    """One stage of one run while it trains.

    Attributes:
        config: of the command.
        device: where it trains.
        capture: the recording.
        cameras: those it trains on.
        schedule: what each step sees.
        subject: what the avatar will remember of the recording.
        folder: locked, and logged to.
        checkpoint: the newest, on the CPU, if the run has begun before.
        processes: that train it together.
    """

    config: MeshRunConfig | GaussianRunConfig
    device: torch.device
    capture: Capture
    cameras: list[str]
    schedule: SampleSchedule
    subject: Subject
    folder: RunFolder
    checkpoint: Checkpoint | None
    processes: Processes

    def frames(self, first_step: int) -> FrameLoader:
        """One batched frame per step of this process, from ``first_step`` on; close it after use."""
        data = self.config.data
        cache_bytes = int(data.cache_gib * 2**30)
        schedule = replace(self.schedule, first_step=first_step)
        return FrameLoader(self.capture, schedule, data.resolution or None, 0, data.workers, cache_bytes)

    def camera_gain(self) -> CameraGain | None:
        """What is learned per camera, on the device, if that was asked for."""
        return CameraGain(self.cameras).to(self.device) if self.config.data.camera_color == "gain" else None


@contextmanager
def open_training_run(config: MeshRunConfig | GaussianRunConfig, stage: str, method: str) -> Iterator[TrainingRun]:
    """Open what training needs, seed torch, and keep the run's folder ``{runs}/{name}/{stage}`` until the block ends.

    Raises:
        InputError: the device, the capture, a camera, the name or the folder cannot be used, or the run has begun with
            another head.
    """
    processes = Processes.from_environment()
    device = choose_own_device(config.device, processes)
    with ExitStack() as opened:
        opened.enter_context(processes.joined(device))
        with processes.together():
            run = _open(config, stage, method, device, processes, opened)
        yield run


def _open(
    config: MeshRunConfig | GaussianRunConfig,
    stage: str,
    method: str,
    device: torch.device,
    processes: Processes,
    opened: ExitStack,
) -> TrainingRun:
    """Open what training needs; the folder of the run goes to ``opened``."""
    _check_name(config.name)
    capture, cameras = _open_capture(config.data)
    schedule = SampleSchedule(
        config.loop.seed,
        capture.split.train_frames,
        cameras,
        config.data.frames_per_step,
        config.data.views_per_frame,
        processes.rank,
        processes.count,
    )
    subject = describe_subject(capture, capture.output_size(cameras, config.data.resolution or None))
    torch.manual_seed(config.loop.seed)
    folder = RunFolder(Path(config.runs) / config.name / stage, config.loop.tensorboard, processes.leads)
    opened.enter_context(folder)
    checkpoint = load_checkpoint(folder.checkpoints, method) if has_checkpoint(folder.checkpoints) else None
    if checkpoint:
        check_same_subject(subject, subject_of(checkpoint), folder.path)
        check_same_corrections(config, list(capture.split.train_frames), cameras, checkpoint)
    if processes.leads:
        if checkpoint:
            with naming(checkpoint):
                trained_head = checkpoint.metadata["head"]
            check_continuation(config, trained_head, folder.config_file)
        save_config(config, folder.config_file)
    return TrainingRun(config, device, capture, cameras, schedule, subject, folder, checkpoint, processes)


def choose_own_device(name: str, processes: Processes) -> torch.device:
    """The device of this process: as :func:`choose_device`, but each of several on a machine has a GPU of its own."""
    device = choose_device(name)
    if processes.count == 1 or device.type != "cuda":
        return device
    if device.index is not None:
        raise InputError(
            f"device={name}: found one GPU for {processes.count} processes, expected cuda or auto: each takes its own"
        )
    if processes.local_rank >= torch.cuda.device_count():
        raise InputError(
            f"found {torch.cuda.device_count()} CUDA devices for at least {processes.local_rank + 1} processes on this "
            "machine; expected --nproc-per-node up to that number, or device=cpu"
        )
    device = torch.device("cuda", processes.local_rank)
    torch.cuda.set_device(device)
    return device


def choose_device(name: str) -> torch.device:
    """The device named ``"cpu"``, ``"cuda"``, ``"cuda:1"`` ..., or the best there is for ``"auto"``."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"device: found {name!r}, expected cpu, cuda, cuda:1 and so on, or auto") from error
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device: found {name!r}, expected cpu, cuda, cuda:1 and so on, or auto")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device={name}: this PyTorch ({torch.__version__}) sees no CUDA device; use device=cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device={name}: found {torch.cuda.device_count()} CUDA devices, numbered from 0")
    return device


def _check_name(name: str) -> None:
    """Refuse a run name that would leave the folder of all runs, or be that folder."""
    parts = Path(name).parts
    if not parts or ".." in parts or Path(name).is_absolute():
        raise InputError(f"name: found {name!r}, expected the name of a folder inside the folder of all runs")


def _open_capture(data: DataConfig) -> tuple[Capture, list[str]]:
    """The checked capture and the cameras to train on."""
    capture = open_capture(data.capture)
    check_capture(capture)
    cameras = list(data.cameras or capture.split.train_cameras)
    unknown = [camera for camera in cameras if camera not in capture.camera_ids]
    if unknown:
        raise InputError(f"{data.capture}: data.cameras names {unknown}; the capture has {list(capture.camera_ids)}")
    if len(set(cameras)) < len(cameras):
        raise InputError(f"data.cameras: found {cameras}, expected every camera once")
    return capture, cameras
