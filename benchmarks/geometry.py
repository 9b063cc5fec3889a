"""Time surface extraction and the mesh operators of a training step, without any network.

    python benchmarks/geometry.py [--device cuda] [--repeats 20]

The field is a head-like solid in closed form (a skull, a nose, a neck, shoulders through the lower border), so the
times are those of finding, triangulating and differentiating the surface. "evaluated" is the number of points at
which a training step would evaluate its geometry network without gradient; with gradient it does so at "crossed".
Times are milliseconds, the least of all repeats.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable

import torch
from torch import Tensor

from gha.geometry import (
    Neighbours,
    SurfaceTracker,
    TetrahedralLattice,
    blend_weights,
    extract_sparse,
    interpolate_on_edges,
    laplacian_loss,
    marching_tetrahedra,
    nearest_index,
)

BOUNDS = [[-1.6, 1.6], [-1.7, 1.8], [-2.5, 1.0]]
EDGES = (0.14, 0.068, 0.034)
CHANNELS = 3 + 128  # a position and a feature
LANDMARKS = 424


def head(points: Tensor) -> Tensor:
    """Roughly the signed distance of a head with neck and shoulders, in decimetres."""
    x, y, z = points.unbind(-1)
    skull = torch.sqrt((x / 0.75) ** 2 + ((y - 0.3) / 1.1) ** 2 + ((z + 0.8) / 0.95) ** 2).sub(1) * 0.75
    nose = torch.sqrt(x**2 + (y + 0.1) ** 2 + (z - 0.2) ** 2) - 0.2
    neck = torch.maximum(torch.hypot(x, z + 0.9) - 0.5, y)
    shoulders = torch.sqrt((x / 1.5) ** 2 + ((y + 1.9) / 0.7) ** 2 + ((z + 0.9) / 0.7) ** 2).sub(1) * 0.7
    return torch.minimum(torch.minimum(skull, nose), torch.minimum(neck, shoulders))


def least_ms(work: Callable[[], object], device: str, repeats: int) -> float:
    """Milliseconds of the fastest of ``repeats`` runs, after two more to warm up."""
    times = []
    for _ in range(repeats + 2):
        synchronize(device)
        start = time.perf_counter()
        work()
        synchronize(device)
        times.append(time.perf_counter() - start)
    return 1e3 * min(times[2:])


def synchronize(device: str) -> None:
    """Wait for the GPU, if there is one."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def measure(edge: float, device: str, repeats: int) -> dict[str, float]:
    """One row of the table."""
    lattice = TetrahedralLattice(BOUNDS, edge, device=device)
    tracker = SurfaceTracker(lattice, full_every=10**9)
    full, tracked = extract_sparse(lattice, head), [tracker.extract(head), tracker.extract(head)][1]
    topology = marching_tetrahedra(full.sdf, full.tets)
    values = torch.randn(len(full.vertices), CHANNELS, device=device, requires_grad=True)
    sdf = full.sdf.clone().requires_grad_()
    vertices = interpolate_on_edges(full.vertices, full.sdf, topology.edges).requires_grad_()
    landmarks = vertices.detach()[:: len(vertices) // LANDMARKS][:LANDMARKS].clone().requires_grad_()

    def interpolate() -> None:
        result = interpolate_on_edges(values, sdf, topology.edges)
        torch.autograd.grad(result, (values, sdf), result.detach())

    def blend() -> None:
        torch.autograd.grad(blend_weights(vertices, landmarks).sum(), (vertices, landmarks))

    neighbours = Neighbours.of(topology.triangles, len(vertices))

    def laplacian() -> None:
        torch.autograd.grad(laplacian_loss(vertices, neighbours), vertices)

    timed = {
        "full pass": lambda: extract_sparse(lattice, head),
        "tracked": lambda: tracker.extract(head),
        "triangulate": lambda: marching_tetrahedra(full.sdf, full.tets),
        "interpolate f+b": interpolate,
        "nearest": lambda: nearest_index(vertices, landmarks),
        "blend f+b": blend,
        "laplacian f+b": laplacian,
    }
    return {
        "edge [dm]": edge,
        "lattice": lattice.vertex_count,
        "evaluated": full.evaluations,
        "(tracked)": tracked.evaluations,
        "crossed": len(full.vertices),
        "vertices": len(vertices),
        "triangles": len(topology.triangles),
        **{name: round(least_ms(work, device, repeats), 2) for name, work in timed.items()},
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    cuda = arguments.device.startswith("cuda")
    name = torch.cuda.get_device_name() if cuda else f"{torch.get_num_threads()} threads, {platform.machine()}"
    print(f"{name}, torch {torch.__version__}\n")
    rows = [measure(edge, arguments.device, arguments.repeats) for edge in EDGES]
    for key in rows[0]:
        print(f"{key:16s}" + "".join(f"{row[key]:>12}" for row in rows))


if __name__ == "__main__":
    main()
