"""Time the splatting of Gaussians, forward and backward, each back end beside the torch reference in the same run.

    OMP_WAIT_POLICY=passive python benchmarks/splatting.py [--device cuda] [--threads 2] [--repeats 50] [--save]

Without that variable the threads of torch and numba spin while they wait, which is no faster on an idle machine and
ten times slower on a busy one.

The scene: means from N(0, 0.35²) around z = 3, log scales from N(-4.2, 0.4²), random orientations, opacities
sigmoid(N(0, 1)), focal length 1.1 times the image size, one camera. "forward" is ``render_gaussians`` with inputs
that want gradients; "both" adds the backward pass from a random gradient of features and alpha to all inputs.
Compilation and first calls are left out. Times are milliseconds, median (and least) of all repeats.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numba
import torch
from provenance import commit, processor

from gha.geometry import Camera
from gha.rendering import Gaussians, RenderOptions, render_gaussians

SCENES = [(10_000, 256, 32), (5_000, 64, 32), (10_000, 256, 3), (50_000, 512, 32)]  # Gaussians, image size, channels
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
    gaussians, camera = scene
    inputs = [getattr(gaussians, name).detach().clone().requires_grad_() for name in INPUTS]
    forward, both = [], []
    gradients = None
    for _ in range(repeats + 3):
        start = now(camera)
        drawn = render_gaussians(Gaussians(*inputs), camera, None, backend, options)
        middle = now(camera)
        gradients = gradients or (torch.randn_like(drawn.features), torch.randn_like(drawn.alpha))
        resumed = now(camera)
        torch.autograd.grad((drawn.features, drawn.alpha), inputs, gradients)
        forward.append(1e3 * (middle - start))
        both.append(1e3 * (now(camera) - resumed + middle - start))
    return {
        "forward_ms": round(statistics.median(forward[3:]), 2),
        "forward_least_ms": round(min(forward[3:]), 2),
        "both_ms": round(statistics.median(both[3:]), 2),
        "both_least_ms": round(min(both[3:]), 2),
    }


def now(camera: Camera) -> float:
    """Seconds, once the device has finished."""
    if camera.K.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter()


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
    for count, size, channels in SCENES:
        scene = make_scene(count, size, channels, arguments.device)
        for backend in ("numba" if arguments.device == "cpu" else "gsplat", "torch"):
            repeats = arguments.repeats if backend != "torch" else max(3, arguments.repeats // 10)
            row = {"backend": backend, "gaussians": count, "size": size, "channels": channels}
            row |= time_backend(backend, scene, options, repeats)
            row["max_difference"] = largest_difference(backend, scene, options)
            rows.append(row)
            forward = f"{row['forward_ms']:.1f} ({row['forward_least_ms']:.1f})"
            both = f"{row['both_ms']:.1f} ({row['both_least_ms']:.1f})"
            print(f"| {backend} | {count} | {size}² | {channels} | {forward} | {both} | {row['max_difference']:.1e} |")
    return rows


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
    if arguments.save:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"splatting_{arguments.device}.json"
        path.write_text(json.dumps({**setting, "rows": rows}, indent=2) + "\n")
        print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
