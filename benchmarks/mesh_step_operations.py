"""Count what a training step of stage 1 asks of the device: operators that launch work, and those that wait for it.

    python benchmarks/mesh_step_operations.py [--device cuda] [--steps 24] [--config ...] [--list] [key=value ...]

Where a GPU is fast, a step takes as long as its operators take to launch, whatever they compute, so their number is
what is to be kept small. It does not depend on sizes, and is the same on a CPU except for the rasteriser, which is
compiled there. Films a tiny capture (64 x 64, 4 frames, 6 cameras), trains a few steps on it, and prints operators
per step: forward, backward, optimiser; and per search of the surface, after which a GPU records a step anew. Operators
that only look at memory in another way (views) are left out. "waits" are those that make the host wait for the device
or copy a constant to it. ``--list`` names each operator and where it was called. On CUDA it also prints milliseconds
per step and the share of the time that the device is busy.

Smaller networks and lattices give the same numbers sooner: head.edge_mm=20 training.sphere_steps=60
"""

from __future__ import annotations

import argparse
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gha.apps.config import load_config
from gha.apps.training_config import MeshRunConfig
from gha.apps.training_run import open_training_run
from gha.avatars.mesh_head import MeshHead, initialize_sphere
from gha.capture.synthetic import CaptureRecipe, make_capture
from gha.faces.registry import load_face_model
from gha.training.mesh_stage import MeshStage
from gha.training.sample import Sample

CONFIG = Path(__file__).parents[1] / "config" / "train_meshhead_best2048.yaml"
NO_LAUNCH = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "detach", "_unsafe_view"}
NO_LAUNCH |= {"_local_scalar_dense", "lift_fresh", "is_same_size", "resize_"}
WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "bincount", "repeat_interleave"}
WAITS |= {"lift_fresh"}  # a tensor made of Python numbers: copied to the device


class OperatorCount(TorchDispatchMode):
    """Counts launching and waiting operators by name and, if asked, by the place of the library that called them."""

    def __init__(self, places: bool = False) -> None:
        super().__init__()
        self.places = places
        self.launches: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        label = f"{name:32} {_place()}" if self.places else name
        if name not in NO_LAUNCH and not name.startswith("profiler::") and not _is_view(func):
            self.launches[label] += 1
        if name in WAITS or (name in ("index", "index_put_") and _indexed_by_booleans(args)):
            self.waits[label] += 1
        return func(*args, **(kwargs or {}))


def _is_view(func: Any) -> bool:
    """Whether an operator returns memory of its arguments without writing to it."""
    aliases = [value.alias_info for value in func._schema.returns]
    return bool(aliases) and all(alias is not None and not alias.is_write for alias in aliases)


def _indexed_by_booleans(args: tuple) -> bool:
    return any(index is not None and index.dtype == torch.bool for index in args[1])


def _place() -> str:
    """The innermost line of the library on the stack; in the backward pass, the node of the graph."""
    node = torch._C._current_autograd_node()
    frames = [f for f in traceback.extract_stack() if "/gha/" in f.filename]
    line = f"{Path(frames[-1].filename).name}:{frames[-1].lineno} {frames[-1].name}" if frames else ""
    return f"{node.name()} {line}" if node else line


@contextmanager
def tiny_stage(arguments: argparse.Namespace) -> Iterator[tuple[MeshStage, Iterator[Sample]]]:
    """The configured stage on a capture made for it, and its samples on the device."""
    with tempfile.TemporaryDirectory() as folder:
        model = load_face_model("procedural", texture_size=256)
        make_capture(model, Path(folder) / "capture", CaptureRecipe(frames=4, cameras=6, resolution=64), progress=False)
        paths = [f"data.capture={folder}/capture", f"runs={folder}/runs", f"device={arguments.device}"]
        config = load_config(MeshRunConfig, arguments.config, ["data.resolution=64", *paths, *arguments.overrides])
        with open_training_run(config, "mesh", MeshStage.method) as run:
            name = run.capture.split.train_frames[0]
            landmarks = run.capture.codes([name])[0].to_canonical(run.capture.landmarks(name))
            head = MeshHead(config.head, run.subject.expression_size, landmarks).to(run.device)
            initialize_sphere(head, config.training.sphere_steps)
            head.train()
            with run.frames(0) as frames:
                stage = MeshStage(head, config.training, None, {})
                yield stage, (stage.draw(frame, 0, run.device) for frame in frames)


def step(stage: MeshStage, sample: Sample, places: bool = False) -> dict[str, OperatorCount]:
    """One training step; the operators of each of its parts."""
    parts = {name: OperatorCount(places) for name in ("forward", "backward", "optimiser")}
    with parts["forward"]:
        total = torch.stack(list(stage.losses(sample).values())).sum()
    stage.optimizers["adam"].zero_grad(set_to_none=True)
    with parts["backward"]:
        total.backward()
    with parts["optimiser"]:
        stage.optimizers["adam"].step()
    return parts


def report(stage: MeshStage, samples: Iterator[Sample], listed: bool) -> None:
    """Print the table of operators of a step and of a search of the surface."""
    stage.renew(anew=True)
    plain = [step(stage, next(samples), places=listed) for _ in range(3)][-1]
    # The second search of a run follows the surface that the first has found, as nearly all of them do.
    search = OperatorCount(listed)
    with search:
        stage.renew(anew=False)
    print("| part | operators | waits |\n|---|---|---|")
    rows = {name: (part.launches, part.waits) for name, part in plain.items()}
    rows["search"] = (search.launches, search.waits)
    for name, (launches, waits) in rows.items():
        print(f"| {name} | {launches.total()} | {waits.total()} |")
    print(f"| step without search | {sum(p.launches.total() for p in plain.values())} | ", end="")
    print(f"{sum(p.waits.total() for p in plain.values())} |")
    for name, (launches, waits) in rows.items() if listed else ():
        print(f"\n{name}\n" + "\n".join(f"{count:4} {label}" for label, count in sorted(launches.items())))
        print("\n".join(f"{count:4} waits: {label}" for label, count in sorted(waits.items())))


def time_steps(stage: MeshStage, samples: Iterator[Sample], count: int) -> float:
    """Mean milliseconds of a training step."""

    def train() -> None:
        total = torch.stack(list(stage.losses(next(samples)).values())).sum()
        stage.optimizers["adam"].zero_grad(set_to_none=True)
        total.backward()
        stage.optimizers["adam"].step()

    def run() -> None:
        for _ in range(count):
            train()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    run()  # warms up
    start = time.perf_counter()
    run()
    milliseconds = 1e3 * (time.perf_counter() - start) / count
    if next(stage.head.parameters()).is_cuda:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            run()
        kernels = [event for event in profile.events() if event.device_type == torch.autograd.DeviceType.CUDA]
        busy = sum(event.device_time_total for event in kernels) / 1e3 / count
        print(f"kernels and copies per step: {len(kernels) / count:.0f}; busy {busy / milliseconds:.0%} of the time")
    return milliseconds


def main() -> None:
    """Print the table and the time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--config", default=CONFIG)
    parser.add_argument("--steps", type=int, default=24, help="steps that are timed")
    parser.add_argument("--list", action="store_true", help="name each operator and where it was called")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    arguments = parser.parse_args()
    with tiny_stage(arguments) as (stage, samples):
        report(stage, samples, arguments.list)
        print(f"\n{time_steps(stage, samples, arguments.steps):.1f} ms per step at 64 x 64")


if __name__ == "__main__":
    main()
