"""The demo: film a small capture, train both stages on it, evaluate and reenact, and say where to look."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gha
from gha.capture import open_capture, write_sequence
from gha.capture.performance import free_sequence
from gha.capture.synthetic import CaptureRecipe, make_capture
from gha.errors import InputError
from gha.faces.registry import load_face_model
from gha.files import write_atomically
from gha.rendering.compile_ahead import splatting_compiled_meanwhile

from .config import load_config
from .evaluate import EvaluationConfig, evaluate
from .reenact import ReenactmentConfig, reenact
from .train import train_gaussian, train_mesh
from .training_config import GaussianRunConfig, MeshRunConfig
from .training_run import choose_device

logger = logging.getLogger(__name__)

ORBIT_SECONDS = 6.0
FREE_SEED = 1000  # far from those of captures


@dataclass
class DemoConfig:
    """A first look at everything, on a head that the library makes itself."""

    name: str = "demo"
    """Name of the run; results go to {runs}/{name}."""
    runs: str = "runs"
    """Folder of all runs."""
    capture: str = "captures/demo"
    """Folder of the capture; filmed there if it is not complete yet."""
    frames: int = 80
    """Timesteps to film."""
    cameras: int = 10
    """Cameras to film with."""
    resolution: int = 256
    """Side in pixels of the pictures filmed; what is trained at is data.resolution of the two presets."""
    identity: int = 0
    """Which person: 0 is the model's own, other numbers draw one."""
    seed: int = 0
    """Of performance and rig."""
    mesh: list[str] = field(default_factory=list)
    """Changes to config/train_meshhead_demo.yaml, as key=value."""
    gaussian: list[str] = field(default_factory=list)
    """Changes to config/train_gaussianhead_demo.yaml, as key=value."""
    device: str = "auto"
    """"cpu", "cuda", "cuda:1" and so on, or "auto": CUDA where there is a device."""


@dataclass(frozen=True)
class Part:
    """One part of the demo with the seconds it took in this call."""

    title: str
    result: Path
    seconds: float


def run_demo(config: DemoConfig) -> Path:
    """Run every part; what an earlier, interrupted call has finished is not done again. Returns the run's folder."""
    run = Path(config.runs) / config.name
    shared = [f"name={config.name}", f"runs={config.runs}", f"data.capture={config.capture}", f"device={config.device}"]
    mesh = load_config(MeshRunConfig, _preset("train_meshhead_demo.yaml"), shared + config.mesh)
    gaussian = load_config(GaussianRunConfig, _preset("train_gaussianhead_demo.yaml"), shared + config.gaussian)
    parts = [
        _timed("film a capture", lambda: _film(config)),
        _timed("train the mesh head", lambda: _train_mesh(mesh)),
        _timed("train the Gaussian head", lambda: train_gaussian(gaussian)),
        _timed("evaluate the mesh head", lambda: _evaluate(run / "mesh", config, "max_images=30", "contact_images=0")),
        _timed("evaluate the Gaussian head", lambda: _evaluate(run / "gaussian", config)),
        _timed("reenact beside the truth", lambda: _reenact_beside_truth(run, config)),
        _timed("reenact in orbit", lambda: _reenact_in_orbit(run, config)),
    ]
    _report(parts, run)
    return run


def _train_mesh(config: MeshRunConfig) -> Path:
    """Train stage 1; where that leaves a core idle, let it compile what stage 2 will need."""
    if choose_device(config.device).type != "cpu" or (os.cpu_count() or 1) < 2:
        return train_mesh(config)
    with splatting_compiled_meanwhile():
        return train_mesh(config)


def _film(config: DemoConfig) -> Path:
    recipe = CaptureRecipe(
        identity=config.identity,
        frames=config.frames,
        cameras=config.cameras,
        resolution=config.resolution,
        seed=config.seed,
    )
    texture_size = 2048 if config.resolution > 768 else 512
    return make_capture(load_face_model("procedural", texture_size=texture_size), config.capture, recipe)


def _evaluate(run: Path, config: DemoConfig, *changes: str) -> Path:
    keys = [f"run={run}", f"device={config.device}", *changes]
    return evaluate(load_config(EvaluationConfig, _preset("evaluate_demo.yaml"), keys))


def _reenact_beside_truth(run: Path, config: DemoConfig) -> Path:
    """The held-out performance from a held-out camera."""
    split = open_capture(config.capture).split
    camera = (split.test_cameras or split.train_cameras)[0]
    output = str(run / "reenactment")
    return reenact(ReenactmentConfig(run=str(run / "gaussian"), camera=camera, output=output, device=config.device))


def _reenact_in_orbit(run: Path, config: DemoConfig) -> Path:
    """A performance of its own, which no capture holds, at full frame rate and with a still head, from all sides."""
    performance = run / "performance.npz"
    names = open_capture(config.capture).expression_names
    write_sequence(performance, free_sequence(names, ORBIT_SECONDS, seed=FREE_SEED + config.seed))
    return reenact(
        ReenactmentConfig(
            run=str(run / "gaussian"),
            driver=str(performance),
            head_pose="frozen",
            side_by_side=False,
            output=str(run / "orbit"),
            device=config.device,
        )
    )


def _preset(name: str) -> Path:
    """A file of ``config/`` in the working folder, or in the checkout this library is imported from."""
    places = [Path("config"), Path(gha.__file__).resolve().parents[2] / "config"]
    for place in places:
        if (place / name).is_file():
            return place / name
    raise InputError(f"no {name} in {' or '.join(map(str, places))}: run the demo from a checkout of the project")


def _timed(title: str, work: Callable[[], Path]) -> Part:
    logger.info("\n== %s", title)
    started = time.monotonic()
    result = work()
    return Part(title, result, time.monotonic() - started)


def _report(parts: list[Part], run: Path) -> None:
    """Show and save what was done, how long it took, how good it is, and where to look."""
    total = sum(part.seconds for part in parts)
    peak = _peak_memory_gib()
    logger.info(
        "\n== done in %.0f s, peak memory %.1f GiB (earlier calls of an interrupted demo not counted)", total, peak
    )
    for part in parts:
        logger.info("%7.1f s  %-28s %s", part.seconds, part.title, part.result)
    summary: dict[str, Any] = {
        "seconds": {part.title: round(part.seconds, 1) for part in parts} | {"total": round(total, 1)},
        "peak_memory_gib": round(peak, 2),
        "figures": {stage: _figures(run / stage) for stage in ("mesh", "gaussian")},
    }
    write_atomically(run / "demo.json", json.dumps(summary, indent=1) + "\n")
    logger.info(
        "\nLook at:\n  %s   the avatar beside the truth it never saw\n  %s   the avatar from all sides\n"
        "  %s   truth, render and error\n  %s   every figure with its protocol",
        run / "reenactment" / "video.mp4",
        run / "orbit" / "video.mp4",
        run / "gaussian" / "evaluation" / "contact_sheet.png",
        run / "gaussian" / "evaluation" / "evaluation.json",
    )


def _figures(stage: Path) -> dict[str, dict[str, float]]:
    """Mean of every figure by split, from a stage's evaluation."""
    report = json.loads((stage / "evaluation" / "evaluation.json").read_text())
    return {
        name: {key: round(value["mean"], 4) for key, value in split["figures"].items()}
        for name, split in report["splits"].items()
    }


def _peak_memory_gib() -> float:
    """Largest resident size of this process so far; nan where the system does not tell."""
    try:
        import resource
    except ImportError:
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20
