"""Time the splatting of Gaussians, forward and backward, each back end beside the torch reference in the same run.

    python benchmarks/splatting.py [--threads 2] [--repeats 50] [--save]
    python benchmarks/splatting.py --device cuda [--repeats 50] [--save]

Needs an idle machine: the library lets a waiting thread sleep after some 50 us (see ``gha/__init__.py``), and when
another program takes a core, one thread waits for the other.

The scene: means from N(0, 0.35²) around z = 3, log scales from N(-4.2, 0.4²), random orientations, opacities
sigmoid(N(0, 1)), focal length 1.1 times the image size, one camera. "forward" is ``render_gaussians`` with inputs
that want gradients; "both" adds the backward pass from a random gradient of features and alpha to all inputs.
Compilation and first calls are left out. Times are milliseconds, median (and least) of all repeats; on CUDA between
events, runs following each other without a wait, as in training. Of the Triton back end, a second table says how long
the GPU works on each part: projection, binning (which Gaussians touch which tile, in order), blending, both directions.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numba
import torch
from provenance import commit, processor
from timing import Clock

from gha.geometry import Camera
from gha.rendering import Gaussians, RenderOptions, render_gaussians
from gha.rendering.gaussian_rendering import _gsplat_is_usable

# Gaussians, image size, channels
SCENES = {
    "cpu": [(10_000, 256, 32), (5_000, 64, 32), (10_000, 256, 3), (50_000, 512, 32)],
    "cuda": [(50_000, 512, 32), (150_000, 512, 32), (250_000, 512, 32)],
}
BACKENDS = {"cpu": ("numba", "torch"), "cuda": ("triton", "gsplat", "torch")}
PARTS = {
    "_project": "projection",
    "_unproject": "projection, backward",
    "_blend": "blending",
    "_unblend": "blending, backward",
    "_sum_moments": "sums over tiles, backward",
    "_sum_features": "sums over tiles, backward",
    "_count_tiles": "binning",
    "_list_pairs": "binning",
    "_start_tiles": "binning",
}
INPUTS = ("means", "quats", "scales", "opacities", "features")
RESULTS = Path(__file__).parent / "results"


def make_scene(count: int, size: int, channels: int, device: str) -> tuple[Gaussians, Camera]:
    """The scene described above; the same for every device."""
    generator = torch.Generator().manual_seed(0)
    gaussians = Gaussians(
        means=0.35 * torch.randn(count, 3, generator=generator) + torch.tensor([0.0, 0.0, 3.0]),
        quats=torch.randn(count, 4, generator=generator),
        scales=torch.exp(-4.2 + 0.4 * torch.randn(count, 3, generator=generator)),
        opacities=torch.sigmoid(torch.randn(count, generator=generator)),
        features=torch.rand(count, channels, generator=generator),
    )
    K = torch.tensor([[1.1 * size, 0.0, size / 2], [0.0, 1.1 * size, size / 2], [0.0, 0.0, 1.0]])
    return gaussians.to(device), Camera(torch.eye(4), K, size, size).to(device)


def time_backend(backend: str, scene: tuple[Gaussians, Camera], options: RenderOptions, repeats: int) -> dict:
    """Medians and least times of forward alone and of forward and backward, in milliseconds."""
    step = make_step(backend, scene, options)
    clocks = []
    for _ in range(repeats + 3):
        clocks.append(Clock(scene[1].K.device))
        step(clocks[-1])
    intervals = [clock.intervals_ms(("forward", "backward")) for clock in clocks[3:]]
    forward = [interval["forward"] for interval in intervals]
    both = [sum(interval.values()) for interval in intervals]
    return {
        "forward_ms": round(statistics.median(forward), 3),
        "forward_least_ms": round(min(forward), 3),
        "both_ms": round(statistics.median(both), 3),
        "both_least_ms": round(min(both), 3),
    }


def make_step(backend: str, scene: tuple[Gaussians, Camera], options: RenderOptions) -> Callable[[Clock], None]:
    """What is timed: draws a scene and computes its gradients, and marks the end of each on a clock."""
    gaussians, camera = scene
    inputs = [getattr(gaussians, name).detach().clone().requires_grad_() for name in INPUTS]
    like = render_gaussians(gaussians, camera, None, backend, options)
    gradients = torch.randn_like(like.features), torch.randn_like(like.alpha)

    def step(clock: Clock) -> None:
        clock.mark("start")
        drawn = render_gaussians(Gaussians(*inputs), camera, None, backend, options)
        clock.mark("forward")
        torch.autograd.grad((drawn.features, drawn.alpha), inputs, gradients)
        clock.mark("backward")

    return step


def time_parts(scene: tuple[Gaussians, Camera], options: RenderOptions, repeats: int) -> dict[str, float]:
    """Milliseconds that the GPU works on each part of one forward and backward pass of the Triton back end."""
    step, device = make_step("triton", scene, options), scene[1].K.device
    for _ in range(3):
        step(Clock(device))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for _ in range(repeats):
            step(Clock(device))
        torch.cuda.synchronize()
    parts = dict.fromkeys(PARTS.values(), 0.0)
    for event in profile.key_averages():
        sorts = any(word in event.key.lower() for word in ("sort", "scan", "cub"))
        part = PARTS.get(event.key, "binning" if sorts else "the rest: filling, adding")
        parts[part] = parts.get(part, 0.0) + event.self_device_time_total / 1e3 / repeats
    return {name: round(value, 4) for name, value in parts.items()}


def largest_difference(backend: str, scene: tuple[Gaussians, Camera], options: RenderOptions) -> float:
    """Largest difference of any feature of any pixel from the reference on the same device."""
    images = [render_gaussians(*scene, None, name, options).features for name in (backend, "torch")]
    return float((images[0] - images[1]).abs().max())


def describe(arguments: argparse.Namespace) -> dict:
    """Where and how the figures were measured."""
    cuda = arguments.device == "cuda"
    return {
        "device": torch.cuda.get_device_name() if cuda else processor(),
        "threads": arguments.threads,
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "not set"),
        "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "not set"),
        "torch": torch.__version__,
        "numba": numba.__version__,
        "commit": commit(),
        "command": shlex.join(["python", *sys.argv]),
        "date": datetime.now(UTC).date().isoformat(),
        "repeats": arguments.repeats,
    }


def measure(arguments: argparse.Namespace) -> list[dict]:
    """One row per scene and back end; prints each as it comes."""
    options = RenderOptions(alpha_cap=0.999)  # gsplat's, so that all draw the same
    rows = []
    for count, size, channels in SCENES[arguments.device]:
        scene = make_scene(count, size, channels, arguments.device)
        for backend in BACKENDS[arguments.device]:
            if (backend == "gsplat" and not _gsplat_is_usable()) or (backend == "torch" and count > 50_000):
                continue
            repeats = arguments.repeats if backend != "torch" else max(3, arguments.repeats // 10)
            row = {"backend": backend, "gaussians": count, "size": size, "channels": channels}
            row |= time_backend(backend, scene, options, repeats)
            if backend == "triton":
                row["parts_ms"] = time_parts(scene, options, 10)
            row["max_difference"] = largest_difference(backend, scene, options)
            rows.append(row)
            forward = f"{row['forward_ms']:.2f} ({row['forward_least_ms']:.2f})"
            both = f"{row['both_ms']:.2f} ({row['both_least_ms']:.2f})"
            print(f"| {backend} | {count} | {size}² | {channels} | {forward} | {both} | {row['max_difference']:.1e} |")
    return rows


def print_parts(rows: list[dict]) -> None:
    """The second table: milliseconds of each part, where they are known."""
    rows = [row for row in rows if "parts_ms" in row]
    if rows:
        print("\n| part | " + " | ".join(f"{row['gaussians']} Gaussians" for row in rows) + " |")
        print("|---" * (len(rows) + 1) + "|")
        for part in sorted({part for row in rows for part in row["parts_ms"]}):
            print(f"| {part} | " + " | ".join(f"{row['parts_ms'].get(part, 0):.3f}" for row in rows) + " |")


def main() -> None:
    """Print the table; save it on request."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=numba.get_num_threads())
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/splatting_DEVICE.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    numba.set_num_threads(arguments.threads)
    setting = describe(arguments)
    print(", ".join(f"{name} {value}" for name, value in setting.items()), "\n")
    print("| back end | Gaussians | image | channels | forward ms | both ms | max. difference |")
    print("|---|---|---|---|---|---|---|")
    rows = measure(arguments)
    print_parts(rows)
    if arguments.save:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"splatting_{arguments.device}.json"
        path.write_text(json.dumps({**setting, "rows": rows}, indent=2) + "\n")
        print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
