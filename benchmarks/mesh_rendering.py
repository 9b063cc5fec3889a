"""Time mesh rendering as a training step uses it: four views of one mesh, forward and backward.

    python benchmarks/mesh_rendering.py [--device cuda] [--backend auto] [--channels 32] [--repeats 20]

The mesh is a closed, lumpy, head-sized surface that fills about a fifth of the image. "faces" and "outline" are the
two searches without gradient, "forward" is all of ``render_mesh``, "step" adds the backward pass of a colour and a
silhouette loss. Times are milliseconds for all four views together, the least of all repeats.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable

import torch

from gha.geometry import Camera
from gha.rendering import render_mesh
from gha.rendering.mesh_projection import project_mesh
from gha.rendering.mesh_shapes import sphere_mesh
from gha.rendering.mesh_silhouette import SOFT_REACH
from gha.rendering.mesh_visibility import NEAR, load_backend

VIEWS = 4
SCENES = [(50, 128), (141, 128), (141, 256), (375, 256), (375, 512)]  # rings (faces = 2 rings²), image size


def rig(size: int) -> Camera:
    """Four cameras over the front 90 degrees at a distance of a metre."""
    angle = torch.linspace(-0.8, 0.8, VIEWS)
    eye = torch.stack([angle.sin(), 0.2 * angle, angle.cos()], dim=-1)
    return Camera.look_at(eye, torch.zeros(3), 2.5 * size, size, size)


def least_ms(work: Callable[[], object], device: str, repeats: int) -> float:
    """Milliseconds of the fastest of ``repeats`` runs, after two more to warm up."""
    times = []
    for _ in range(repeats + 2):
        _synchronize(device)
        start = time.perf_counter()
        work()
        _synchronize(device)
        times.append(time.perf_counter() - start)
    return 1e3 * min(times[2:])


def _synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def measure(rings: int, size: int, arguments: argparse.Namespace) -> list[float]:
    """Milliseconds: faces, outline, forward, step."""
    vertices, triangles = sphere_mesh(rings, rings, 0.1)
    vertices = vertices * (1 + 0.1 * (vertices * 60).sin().prod(-1, keepdim=True))
    vertices = vertices.to(arguments.device).requires_grad_()
    attributes = torch.rand(len(vertices), arguments.channels, device=arguments.device, requires_grad=True)
    triangles, camera = triangles.to(arguments.device), rig(size).to(arguments.device)
    backend = load_backend(arguments.backend, vertices.device)
    face_ids = backend.visible_faces(project_mesh(vertices, triangles, camera, NEAR))

    def search_faces() -> None:
        backend.visible_faces(project_mesh(vertices, triangles, camera, NEAR))

    def search_outline() -> None:
        backend.nearest_edges(project_mesh(vertices, triangles, camera, NEAR), face_ids, SOFT_REACH)

    def step() -> None:
        drawn = render_mesh(vertices, triangles, attributes, camera, backend=arguments.backend)
        loss = drawn.attributes[:, :3].square().mean() + drawn.soft_mask.mean()
        torch.autograd.grad(loss, (vertices, attributes))

    def forward() -> None:
        render_mesh(vertices, triangles, attributes, camera, backend=arguments.backend)

    works = (search_faces, search_outline, forward, step)
    return [least_ms(work, arguments.device, arguments.repeats) for work in works]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    name = torch.cuda.get_device_name() if arguments.device.startswith("cuda") else platform.processor() or "CPU"
    print(f"{name}, torch {torch.__version__}, {torch.get_num_threads()} threads, back end {arguments.backend}")
    print(f"{VIEWS} views, {arguments.channels} channels, milliseconds for all views\n")
    print("|   faces | size | faces | outline | forward | step |\n|---|---|---|---|---|---|")
    for rings, size in SCENES:
        times = " | ".join(f"{value:.1f}" for value in measure(rings, size, arguments))
        print(f"| {2 * rings * rings} | {size} | {times} |")


if __name__ == "__main__":
    main()
