"""Find the sizes of the Triton splatting kernels that are fastest on this GPU.

    python benchmarks/splatting_sweep.py [--gaussians 150000] [--json FILE]

The scene is that of ``splatting.py`` at 512 x 512 with 32 channels. One row per setting: pairs of tiles and Gaussians,
milliseconds of the forward and of the forward and backward pass (mean of runs one after the other, without a wait in
between), the largest difference of a pixel and the relative difference of the gradients from the first row, whose
products are not rounded. Settings are compiled side by side, in processes of their own, before anything is timed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from provenance import commit
from splatting import INPUTS, make_scene
from torch import Tensor

from gha.geometry import Camera
from gha.rendering import Gaussians, RenderOptions, render_gaussians, triton_backend, triton_capacity
from gha.rendering.triton_tuning import Tuning

SETTINGS = [
    (Tuning(), "ieee"),
    (Tuning(), "tf32x3"),
    (Tuning(), "tf32"),
    (Tuning(chunk=32), "tf32x3"),
    (Tuning(chunk=32, forward_warps=8, backward_warps=8), "tf32x3"),
    (Tuning(tile_height=16, forward_warps=8, backward_warps=8), "tf32x3"),
    (Tuning(tile_height=16, chunk=32, forward_warps=8, backward_warps=8), "tf32x3"),
    (Tuning(tile_width=8, forward_warps=2, backward_warps=2), "tf32x3"),
    (Tuning(tile_width=8, chunk=32, forward_warps=2, backward_warps=2), "tf32x3"),
    (Tuning(tile_width=8, chunk=32, forward_warps=4, backward_warps=4), "tf32x3"),
]


def draw(
    scene: tuple[Gaussians, Camera], setting: tuple[Tuning, str]
) -> tuple[list[Tensor], Callable[[], list[Tensor]]]:
    """Features and alpha of a scene, and what computes their gradients."""
    triton_backend.TUNING, precision = setting
    gaussians, camera = scene
    inputs = [getattr(gaussians, name).detach().requires_grad_() for name in INPUTS]
    drawn = render_gaussians(Gaussians(*inputs), camera, None, "triton", RenderOptions(precision=precision))
    outputs = [drawn.features, drawn.alpha]
    return outputs, lambda: list(torch.autograd.grad(outputs, inputs, [torch.ones_like(value) for value in outputs]))


def mean_ms(work: Callable[[], object], repeats: int) -> float:
    """Milliseconds of one of many runs without a wait between them."""
    for _ in range(3):
        work()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(repeats):
        work()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / repeats


def measure(
    scene: tuple[Gaussians, Camera], setting: tuple[Tuning, str], truth: list[Tensor] | None
) -> tuple[dict, list[Tensor]]:
    """A row of the table, and the images and gradients."""
    outputs, gradients = draw(scene, setting)
    found = [*outputs, *gradients()]
    truth = found if truth is None else truth
    errors = [float((a - b).norm() / b.norm()) for a, b in zip(found[2:], truth[2:], strict=True)]
    return {
        **asdict(setting[0]),
        "precision": setting[1],
        "capacity": max(budget.capacity for budget in triton_capacity._budgets.values()),
        "forward_ms": round(mean_ms(lambda: draw(scene, setting), 20), 3),
        "both_ms": round(mean_ms(lambda: draw(scene, setting)[1](), 20), 3),
        "largest_difference": float((found[0] - truth[0]).abs().max()),
        "gradient_difference": max(errors),
    }, found


def compile_all() -> None:
    """Compile every setting in a process of its own; Triton keeps the results on disk."""
    command = [sys.executable, __file__, "--compile"]
    workers = [subprocess.Popen([*command, str(number)]) for number in range(len(SETTINGS))]
    for worker, setting in zip(workers, SETTINGS, strict=True):
        if worker.wait():
            print(f"{setting} cannot be compiled or run")


def main() -> None:
    """Print a row per setting; save them on request."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gaussians", type=int, default=150_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--compile", type=int, help="only compile the setting of this number")
    arguments = parser.parse_args()
    if arguments.compile is not None:
        draw(make_scene(1600, 512, 32, "cuda"), SETTINGS[arguments.compile])[1]()
        return
    compile_all()
    scene, rows, truth = make_scene(arguments.gaussians, 512, 32, "cuda"), [], None
    for setting in SETTINGS:
        triton_capacity._budgets.clear()
        try:
            row, found = measure(scene, setting, truth)
        except Exception as error:  # a setting that needs more than this GPU has is a result too
            print(f"{setting}: {error}")
            continue
        truth = found if truth is None else truth
        rows.append(row)
        print(
            "  ".join(
                f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in row.items()
            )
        )
    if arguments.json:
        setting = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "commit": commit()}
        arguments.json.write_text(
            json.dumps({**setting, "gaussians": arguments.gaussians, "rows": rows}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
