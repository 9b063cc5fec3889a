import math

import pytest
import torch

from gha.geometry import (
    SurfaceTopology,
    TetrahedralLattice,
    euler_characteristic,
    face_areas,
    face_normals,
    interpolate_at_zero,
    interpolate_on_edges,
    is_closed,
    marching_tetrahedra,
)

TET = torch.tensor([[0, 1, 2, 3]])
CORNERS = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def dense_surface(sdf_at, bounds, edge: float) -> tuple[torch.Tensor, SurfaceTopology]:
    lattice = TetrahedralLattice(bounds, edge)
    vertices, sdf = lattice.vertices, sdf_at(lattice.vertices)
    topology = marching_tetrahedra(sdf, lattice.tets)
    return interpolate_on_edges(vertices, sdf, topology.edges), topology


@pytest.mark.parametrize("case", range(1, 15))
def test_each_sign_case_separates_inside_from_outside(case):
    inside = torch.tensor([bool(case >> n & 1) for n in range(4)])
    sdf = torch.where(inside, -1.0, 1.0)
    topology = marching_tetrahedra(sdf, TET)
    assert len(topology.triangles) == (2 if inside.sum() == 2 else 1)
    assert len(topology.edges) == (4 if inside.sum() == 2 else 3)
    assert inside[topology.edges[:, 0]].all()
    assert not inside[topology.edges[:, 1]].any()
    points = interpolate_on_edges(CORNERS, sdf, topology.edges)
    normals = face_normals(points, topology.triangles)
    outward = CORNERS[~inside].mean(0) - CORNERS[inside].mean(0)
    assert (normals @ outward > 0.1).all()


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_one_sign_gives_an_empty_surface(sign):
    topology = marching_tetrahedra(torch.full((4,), sign), TET)
    assert topology.edges.shape == (0, 2)
    assert topology.triangles.shape == (0, 3)
    ids, compacted = topology.compact()
    assert ids.numel() == 0
    assert compacted.edges.shape == (0, 2)


def test_sphere_of_the_published_check(fields, bounds):
    points, topology = dense_surface(fields.sphere, bounds, 0.068)
    assert len(points) == pytest.approx(15_678, rel=0.02)  # what the original's kind of grid gives
    assert len(topology.triangles) == 2 * (len(points) - 2)
    assert is_closed(topology.triangles)
    assert euler_characteristic(topology.triangles) == 2
    assert float(face_areas(points, topology.triangles).sum()) == pytest.approx(4 * math.pi * 0.95**2, rel=0.01)
    torch.testing.assert_close(points.norm(dim=-1), torch.full((len(points),), 0.95), atol=1e-3, rtol=0)
    centres = points[topology.triangles].mean(1)
    assert ((face_normals(points, topology.triangles) * centres).sum(-1) > 0).all()


def test_torus_has_its_hole_and_its_volume(fields, bounds):
    points, topology = dense_surface(fields.torus, bounds, 0.1)
    assert is_closed(topology.triangles)
    assert euler_characteristic(topology.triangles) == 0
    a, b, c = points[topology.triangles].unbind(1)
    volume = (torch.linalg.cross(a, b) * c).sum() / 6
    assert float(volume) == pytest.approx(2 * math.pi**2 * 0.9 * 0.35**2, rel=0.02)


def test_each_edge_is_one_vertex_and_the_order_is_sorted(fields, bounds):
    _, topology = dense_surface(fields.torus, bounds, 0.2)
    keys = topology.edges[:, 0] * 10**6 + topology.edges[:, 1]
    assert (keys[1:] > keys[:-1]).all()
    assert torch.equal(torch.unique(topology.triangles), torch.arange(len(topology.edges)))


def test_vertices_do_not_depend_on_the_order_of_tetrahedra(fields, bounds):
    lattice = TetrahedralLattice(bounds, 0.3)
    sdf = fields.torus(lattice.vertices)
    topology = marching_tetrahedra(sdf, lattice.tets)
    shuffled = marching_tetrahedra(sdf, lattice.tets[torch.randperm(lattice.tet_count)])
    assert torch.equal(topology.edges, shuffled.edges)
    rows = [t.triangles[:, 0] * 10**8 + t.triangles[:, 1] * 10**4 + t.triangles[:, 2] for t in (topology, shuffled)]
    assert torch.equal(rows[0].sort().values, rows[1].sort().values)


def test_a_linear_function_and_linear_features_are_met_exactly(bounds):
    lattice = TetrahedralLattice(bounds, 0.25)
    vertices, normal = lattice.vertices, torch.tensor([0.36, 0.48, 0.8])
    sdf = vertices @ normal + 0.33
    topology = marching_tetrahedra(sdf, lattice.tets)
    both = interpolate_on_edges(torch.cat([vertices, vertices @ normal[:, None]], dim=1), sdf, topology.edges)
    torch.testing.assert_close(both[:, :3] @ normal, torch.full((len(both),), -0.33), atol=1e-5, rtol=0)
    torch.testing.assert_close(both[:, 3], torch.full((len(both),), -0.33), atol=1e-5, rtol=0)
    torch.testing.assert_close(face_normals(both[:, :3], topology.triangles)[5], normal, atol=1e-3, rtol=0)


def test_compact_keeps_the_surface(fields, bounds):
    lattice = TetrahedralLattice(bounds, 0.3)
    vertices, sdf = lattice.vertices, fields.torus(lattice.vertices)
    topology = marching_tetrahedra(sdf, lattice.tets)
    ids, compacted = topology.compact()
    assert (ids[1:] > ids[:-1]).all()
    assert len(ids) < lattice.vertex_count / 3
    assert torch.equal(ids[compacted.edges], topology.edges)
    assert torch.equal(compacted.triangles, topology.triangles)
    torch.testing.assert_close(
        interpolate_on_edges(vertices[ids], sdf[ids], compacted.edges),
        interpolate_on_edges(vertices, sdf, topology.edges),
    )


def test_interpolation_gradients():
    generator = torch.Generator().manual_seed(0)
    sdf = torch.tensor([-0.3, -0.8, 0.5, 0.2, -0.05, 0.9], dtype=torch.float64, requires_grad=True)
    values = torch.randn(6, 5, dtype=torch.float64, generator=generator).requires_grad_()
    edges = torch.tensor([[0, 2], [0, 3], [1, 2], [4, 5], [4, 3]])
    assert torch.autograd.gradcheck(lambda v, s: interpolate_on_edges(v, s, edges), (values, sdf))


def test_an_edge_from_a_vertex_to_itself_gives_what_is_there():
    values = torch.randn(3, 4, requires_grad=True)
    found = interpolate_at_zero(values, torch.tensor([[2, 2], [0, 0]]))
    torch.testing.assert_close(found, values[[2, 0]])
    (gradient,) = torch.autograd.grad(found.sum(), values)
    torch.testing.assert_close(gradient, torch.tensor([[1.0], [0.0], [1.0]]).expand(3, 4))


@pytest.mark.parametrize(
    ("inside", "outside", "expected"),
    [
        (0.0, 0.5, 0.0),  # exactly on the surface
        (0.0, 0.0, 0.5),
        (-1e-30, 1e-30, 0.5),  # nearly equal
        (0.01, 0.5, 0.0),  # sign turned on re-evaluation
        (-0.5, -0.01, 1.0),
        (0.2, -0.1, 0.5),  # both turned
        (-0.1, 0.3, 0.25),
    ],
)
def test_degenerate_crossings_stay_on_the_edge_with_finite_gradients(inside, outside, expected):
    sdf = torch.tensor([inside, outside], requires_grad=True)
    fraction = interpolate_on_edges(torch.tensor([[0.0], [1.0]]), sdf, torch.tensor([[0, 1]]))
    assert float(fraction.detach()) == pytest.approx(expected)
    (gradient,) = torch.autograd.grad(fraction.sum(), sdf)
    assert gradient.isfinite().all()


def test_gradient_moves_the_surface_the_right_way(fields, bounds):
    # Raising the distance everywhere shrinks the solid: vertices move inwards.
    lattice = TetrahedralLattice(bounds, 0.3)
    vertices, offset = lattice.vertices, torch.zeros((), requires_grad=True)
    sdf = fields.sphere(vertices) + offset
    topology = marching_tetrahedra(sdf.detach(), lattice.tets)
    radius = interpolate_on_edges(vertices, sdf, topology.edges).norm(dim=-1).mean()
    (gradient,) = torch.autograd.grad(radius, offset)
    assert float(gradient) == pytest.approx(-1.0, abs=0.05)
