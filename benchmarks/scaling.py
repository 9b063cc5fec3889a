"""Samples a second of training on 1, 2 and 4 GPUs, by the library's own loop, in one go.

    NCCL_NVLS_ENABLE=0 python benchmarks/scaling.py --json benchmarks/results/scaling.json
    NCCL_NVLS_ENABLE=0 python benchmarks/scaling.py --processes 1 4 --steps 20 --warmup 8      # shorter
    python benchmarks/scaling.py --device cpu --processes 1 2 --resolution 64 --gaussians 300 --steps 3 --warmup 1

For each number of processes they are started as torchrun does, build the same avatar of the released sizes, and train
stage 2 on a generated recording: loader, windows, losses, backward pass, averaged gradients, optimisers. Warm-up steps
do not count, nor does what training writes. "speed-up" is over the first row; "data" is how long the host of the first
process waits for the loader, in a step; "averaging" is the exchange of gradients alone, on an idle device; "scalars" is
how many numbers it moves; "GiB" the most memory of a device that was in use.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from baseline_networks import PerceptualNetwork
from library import PRESETS, build_head
from provenance import commit, processor
from scene import FRAMES, Scene, recording

from gha.capture import FrameLoader, SampleSchedule, open_capture
from gha.capture.frame import Frame
from gha.files import write_atomically
from gha.training.averaging import average_gradients
from gha.training.gaussian_config import GaussianLossWeights, GaussianTrainingConfig
from gha.training.gaussian_stage import GaussianStage
from gha.training.loop import train
from gha.training.perceptual import PerceptualDistance
from gha.training.processes import Processes
from gha.training.refinement import PoseRefinement
from gha.training.run_folder import RunFolder
from gha.training.stage import LoopConfig

HEADINGS = (
    "processes",
    "samples/s",
    "ms a step",
    "speed-up",
    "efficiency",
    "data ms",
    "averaging ms",
    "scalars",
    "GiB",
)
AVERAGINGS = 10


class EnoughError(Exception):
    """The measurement is over; carries the seconds it took, and those of waiting for data."""


def build_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4], help="numbers of them to compare")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--resolution", type=int, default=2048, help="side in pixels, a multiple of 4")
    parser.add_argument("--window", type=int, default=0, help="side of the squares trained on; 0: the whole picture")
    parser.add_argument("--gaussians", type=int, default=150_000, help="number of Gaussians")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="default", help="which avatar")
    parser.add_argument("--no-perceptual", action="store_true", help="train without the perceptual term")
    parser.add_argument("--steps", type=int, default=40, help="optimiser steps that are measured")
    parser.add_argument("--warmup", type=int, default=12, help="steps before them")
    parser.add_argument("--workers", type=int, default=0, help="threads of each loader; 0: cores by processes, up to 8")
    parser.add_argument("--cache-gib", type=float, default=1.0, help="of each loader; 0: every picture is decoded anew")
    parser.add_argument("--json", type=Path, help="file to write everything to")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Measure, print the table, write it on request; or be one of the processes that are measured."""
    arguments = build_parser().parse_args()
    if arguments.worker:
        measure(arguments)
        return
    started, rows = time.monotonic(), []
    with recording(arguments.resolution) as capture, TemporaryDirectory(prefix="gha_scaling_") as folder:
        for count in arguments.processes:
            rows.append(run_processes(count, capture, Path(folder) / str(count)))
            print(f"{count}: {rows[-1]['samples_per_s']:.2f} samples/s", file=sys.stderr, flush=True)
    on_gpu = arguments.device == "cuda"
    setting = {
        "device": torch.cuda.get_device_name(0) if on_gpu else processor(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "commit": commit(),
        "command": shlex.join(["python", *sys.argv]),
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(time.monotonic() - started, 1),
    }
    print(", ".join(f"{name} {value}" for name, value in setting.items()), "\n")
    print(table(rows))
    if arguments.json:
        write_atomically(arguments.json, json.dumps({**setting, "rows": rows}, indent=2) + "\n")


def run_processes(count: int, capture: Path, folder: Path) -> dict:
    """Start ``count`` processes of this script, wait for them, and return what the first one measured."""
    folder.mkdir()
    (folder / "capture").symlink_to(capture)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    environment = {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", **os.environ, **common}
    command = [sys.executable, __file__, *sys.argv[1:], "--worker", str(folder)]
    running = [
        subprocess.Popen(command, env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(count)
    ]
    try:
        # One that fails leaves the others waiting for it.
        while any(process.poll() is None for process in running) and not any(process.poll() for process in running):
            time.sleep(0.1)
    finally:
        for process in running:
            process.kill()
            process.wait()
    if any(process.returncode for process in running):
        raise SystemExit(f"a process of {count} failed; what it said is above")
    return json.loads((folder / "row.json").read_text())


def measure(arguments: argparse.Namespace) -> None:
    """Train as one of the processes; the first writes ``row.json``."""
    processes = Processes.from_environment()
    device = torch.device(arguments.device, processes.local_rank if arguments.device == "cuda" else None)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
    with processes.joined(device):
        stage = build_stage(arguments, device)
        seconds, waiting = train_for_a_while(stage, arguments, processes, device)
        seconds = max(processes.gather(seconds))
        averaging_ms, scalars = time_averaging(stage, processes, device)
        row = {
            "processes": processes.count,
            "samples_per_s": processes.count * arguments.steps / seconds,
            "ms_per_step": 1e3 * seconds / arguments.steps,
            "data_ms_per_step": 1e3 * waiting / arguments.steps,
            "averaging_ms": averaging_ms,
            "scalars": scalars,
            "peak_gib": torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None,
        }
        if processes.leads:
            (arguments.worker / "row.json").write_text(json.dumps(row))


def build_stage(arguments: argparse.Namespace, device: torch.device) -> GaussianStage:
    """Stage 2 of the released sizes, with random networks."""
    scene = Scene(arguments.gaussians, arguments.resolution, device)
    perceptual = None
    if not arguments.no_perceptual:
        perceptual = PerceptualDistance(PerceptualNetwork().to(device), "vgg")
    loss = GaussianLossWeights(perceptual=0.0 if arguments.no_perceptual else 0.1)
    config = GaussianTrainingConfig(window=arguments.window, loss=loss)
    poses = PoseRefinement(FRAMES).to(device)
    return GaussianStage(build_head(scene, arguments.preset), config, poses, None, perceptual, {}, seed=0)


def train_for_a_while(
    stage: GaussianStage, arguments: argparse.Namespace, processes: Processes, device: torch.device
) -> tuple[float, float]:
    """Seconds that the measured steps of the training loop took, and how many of them it waited for data."""
    capture = open_capture(arguments.worker / "capture")
    schedule = SampleSchedule(0, capture.frame_ids, capture.camera_ids, rank=processes.rank, world_size=processes.count)
    workers = arguments.workers or max(1, min(8, (os.cpu_count() or 1) // processes.count))
    config = LoopConfig(steps=10**9, preview_every=0, checkpoint_every=10**9)
    folder = RunFolder(arguments.worker / "run", writes=processes.leads)
    cache_bytes = int(arguments.cache_gib * 2**30)
    with folder, FrameLoader(capture, schedule, None, 0, workers, cache_bytes, device.type == "cuda") as frames:
        try:
            train(stage, timed(frames, arguments.warmup, arguments.steps, device), config, folder, device, processes)
        except EnoughError as enough:
            return enough.args
    raise RuntimeError("training ended before it was measured")


def timed(frames: Iterator[Frame], warmup: int, steps: int, device: torch.device) -> Iterator[Frame]:
    """Frames for the warm-up and the measured steps; then :class:`EnoughError` with what the latter took."""
    for _ in range(warmup):
        yield next(frames)
    synchronize(device)
    started, waiting = time.perf_counter(), 0.0
    for _ in range(steps):
        asked = time.perf_counter()
        frame = next(frames)
        waiting += time.perf_counter() - asked
        yield frame
    synchronize(device)
    raise EnoughError(time.perf_counter() - started, waiting)


def time_averaging(stage: GaussianStage, processes: Processes, device: torch.device) -> tuple[float, int]:
    """Milliseconds of one exchange of the last gradients, and how many numbers they are."""
    groups = [group for optimizer in stage.optimizers.values() for group in optimizer.param_groups]
    parameters = [parameter for group in groups for parameter in group["params"]]
    left_out = torch.zeros((), device=device)
    average_gradients(parameters, left_out, processes)
    synchronize(device)
    started = time.perf_counter()
    for _ in range(AVERAGINGS):
        average_gradients(parameters, left_out, processes)
    synchronize(device)
    return 1e3 * (time.perf_counter() - started) / AVERAGINGS, sum(parameter.numel() for parameter in parameters)


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def table(rows: list[dict]) -> str:
    """A Markdown table."""
    lines = [HEADINGS, ("---",) * len(HEADINGS)]
    for row in rows:
        speed_up = row["samples_per_s"] / rows[0]["samples_per_s"]
        efficiency = speed_up * rows[0]["processes"] / row["processes"]
        peak = "-" if row["peak_gib"] is None else f"{row['peak_gib']:.2f}"
        numbers = (f"{row['samples_per_s']:.2f}", f"{row['ms_per_step']:.1f}", f"{speed_up:.2f}", f"{efficiency:.0%}")
        times = (f"{row['data_ms_per_step']:.2f}", f"{row['averaging_ms']:.2f}")
        lines.append((str(row["processes"]), *numbers, *times, str(row["scalars"]), peak))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    main()
