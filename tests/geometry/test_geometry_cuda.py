"""The same code on a GPU gives the same surfaces and weights as on the CPU."""

import pytest
import torch

from gha.geometry import (
    Neighbours,
    TetrahedralLattice,
    blend_weights,
    extract_sparse,
    interpolate_on_edges,
    laplacian_loss,
    marching_tetrahedra,
    nearest_index,
    neighbour_distance,
    surface_distance,
    vertex_normals,
)

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]


def surface(device: str, bounds, field):
    lattice = TetrahedralLattice(bounds, 0.1, device=device)
    active = extract_sparse(lattice, field)
    topology = marching_tetrahedra(active.sdf, active.tets)
    points = interpolate_on_edges(active.vertices, active.sdf, topology.edges)
    return active.vertex_ids, topology, points


@pytest.mark.parametrize("shape", ["torus", "sphere_with_spike"])
def test_surfaces_agree(fields, bounds, shape):
    field = getattr(fields, shape)
    (ids, topology, points), (cuda_ids, cuda_topology, cuda_points) = (
        surface(device, bounds, field) for device in ("cpu", "cuda")
    )
    assert torch.equal(cuda_ids.cpu(), ids)
    assert torch.equal(cuda_topology.edges.cpu(), topology.edges)
    assert torch.equal(cuda_topology.triangles.cpu(), topology.triangles)
    torch.testing.assert_close(cuda_points.cpu(), points, atol=1e-5, rtol=0)


def test_operators_and_gradients_agree(fields, bounds):
    _, topology, points = surface("cpu", bounds, fields.torus)
    landmarks = torch.randn(424, 3, generator=torch.Generator().manual_seed(0))
    results = []
    for device in ("cpu", "cuda"):
        vertices = points.detach().to(device).requires_grad_()
        anchors = landmarks.to(device).requires_grad_()
        triangles = topology.triangles.to(device)
        weights = blend_weights(vertices, anchors)
        total = (
            weights.sum()
            + 1e3 * laplacian_loss(vertices, Neighbours.of(triangles, len(vertices)))
            + vertex_normals(vertices, triangles)[:, 0].sum()
        )
        gradients = torch.autograd.grad(total, (vertices, anchors))
        index = nearest_index(vertices, anchors)
        results.append([value.detach().cpu() for value in (weights, index, *gradients)])
    for cpu, cuda in zip(*results, strict=True):
        torch.testing.assert_close(cuda, cpu, atol=1e-3, rtol=1e-4)


def test_host_side_helpers_return_to_the_device(fields, bounds):
    _, topology, points = surface("cuda", bounds, fields.torus)
    spacing = neighbour_distance(points)
    distance = surface_distance(points, points, topology.triangles, samples=20_000)
    assert spacing.is_cuda
    assert distance.is_cuda
    expected = surface_distance(points.cpu(), points.cpu(), topology.triangles.cpu(), samples=20_000)
    torch.testing.assert_close(distance.cpu(), expected, atol=1e-4, rtol=0)
