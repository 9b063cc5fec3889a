"""Configuration of the two training commands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from gha.avatars.gaussian_head import GaussianHeadConfig
from gha.avatars.mesh_head import MeshHeadConfig
from gha.limits import at_least, limited, zero_or_at_least
from gha.training.gaussian_config import GaussianTrainingConfig
from gha.training.mesh_stage import MeshTrainingConfig
from gha.training.stage import LoopConfig


@limited(
    resolution=zero_or_at_least(16),
    frames_per_step=at_least(1),
    views_per_frame=at_least(1),
    workers=at_least(0),
    cache_gib=at_least(0),
)
@dataclass
class DataConfig:
    """Which recording is trained on, and how much of it at once."""

    capture: str
    """Folder of the capture."""
    resolution: int = 256
    """Longer side in pixels of the pictures trained on; 0: as recorded."""
    cameras: list[str] = field(default_factory=list)
    """Cameras to train on; empty: all training cameras of the capture's split."""
    frames_per_step: int = 1
    """Timesteps per optimiser step."""
    views_per_frame: int = 1
    """Cameras per timestep."""
    workers: int = 2
    """Threads that read ahead."""
    cache_gib: float = 1.0
    """Memory for decoded pictures, GiB; one whose file changes is decoded anew."""
    camera_color: Literal["off", "gain"] = "off"
    """"gain" learns one RGB gain per camera (exposure differences, a flash on the camera); "off" does not."""


@dataclass
class MeshRunConfig:
    """Stage 1, the mesh head."""

    name: str
    """Name of the run; results go to {runs}/{name}/mesh."""
    data: DataConfig
    runs: str = "runs"
    """Folder of all runs."""
    device: str = "auto"
    """"cpu", "cuda", "cuda:1" and so on, or "auto": CUDA where there is a device."""
    head: MeshHeadConfig = field(default_factory=MeshHeadConfig)
    training: MeshTrainingConfig = field(default_factory=MeshTrainingConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)


@dataclass
class GaussianRunConfig:
    """Stage 2, the Gaussian head."""

    name: str
    """Name of the run; results go to {runs}/{name}/gaussian."""
    data: DataConfig
    mesh_run: str = ""
    """Run folder or checkpoint of stage 1 to start from; empty: {runs}/{name}/mesh."""
    runs: str = "runs"
    """Folder of all runs."""
    device: str = "auto"
    """"cpu", "cuda", "cuda:1" and so on, or "auto": CUDA where there is a device."""
    head: GaussianHeadConfig = field(default_factory=GaussianHeadConfig)
    training: GaussianTrainingConfig = field(default_factory=GaussianTrainingConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
