import pytest
import torch

from gha.errors import TrainingError
from gha.geometry import SurfaceTracker, TetrahedralLattice, extract_sparse, is_closed, marching_tetrahedra

EDGE = 0.12


@pytest.fixture(scope="module")
def lattice(bounds) -> TetrahedralLattice:
    return TetrahedralLattice(bounds, EDGE)


def assert_equals_dense(active, lattice, sdf_at) -> None:
    """Same surface vertices on the same lattice edges, same triangles, as from every tetrahedron."""
    dense = marching_tetrahedra(sdf_at(lattice.vertices), lattice.tets)
    sparse = marching_tetrahedra(active.sdf, active.tets)
    assert torch.equal(active.vertex_ids[sparse.edges], dense.edges)
    assert torch.equal(sparse.triangles, dense.triangles)
    torch.testing.assert_close(active.vertices, lattice.positions(active.vertex_ids))
    torch.testing.assert_close(active.sdf, sdf_at(active.vertices), atol=1e-5, rtol=1e-4)


SHAPES = ["sphere", "torus", "slab", "two_spheres", "sphere_with_spike"]


@pytest.mark.parametrize("coarse_factor", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_dense_extraction(lattice, fields, shape, coarse_factor):
    field = getattr(fields, shape)
    active = extract_sparse(lattice, field, coarse_factor)
    assert_equals_dense(active, lattice, field)
    assert active.evaluations < lattice.vertex_count / (2 if coarse_factor > 1 else 1)


@pytest.mark.parametrize("seed", range(4))
@torch.no_grad()
def test_equals_dense_extraction_of_a_random_network(lattice, fields, seed):
    network = fields.random_network(seed)
    assert_equals_dense(extract_sparse(lattice, network), lattice, network)


def test_surface_through_the_border_of_the_lattice(lattice):
    def plane(points):
        return points[:, 1] + 0.31 * points[:, 0] + 0.2

    active = extract_sparse(lattice, plane)
    assert_equals_dense(active, lattice, plane)
    assert not is_closed(marching_tetrahedra(active.sdf, active.tets).triangles)


def test_only_crossed_tetrahedra_and_their_vertices_are_returned(lattice, fields):
    active = extract_sparse(lattice, fields.sphere)
    inside = (active.sdf <= 0)[active.tets].sum(1)
    assert ((inside > 0) & (inside < 4)).all()
    assert torch.equal(torch.unique(active.tets), torch.arange(len(active.vertex_ids)))
    ids, _ = marching_tetrahedra(active.sdf, active.tets).compact()
    assert torch.equal(ids, torch.arange(len(active.vertex_ids)))  # compacting has nothing left to do


def test_each_point_is_evaluated_once_and_without_gradient(lattice, fields):
    seen, weight = [], torch.ones((), requires_grad=True)

    def field(points):
        assert not torch.is_grad_enabled()
        seen.append(points)
        return weight * fields.sphere(points)

    active = extract_sparse(lattice, field)
    points = torch.cat(seen)
    assert len(points) == active.evaluations == len(torch.unique(points, dim=0))
    assert not active.sdf.requires_grad


def test_margin_finds_a_small_piece_near_a_large_one(lattice, fields):
    def field(points):
        return torch.minimum(fields.sphere(points, 0.7), fields.sphere(points, 0.1, (0.0, 1.3, 0.03)))

    alone = extract_sparse(lattice, field, coarse_factor=4)
    both = extract_sparse(lattice, field, coarse_factor=4, margin=1)
    assert len(both.tets) > len(alone.tets)
    assert_equals_dense(both, lattice, field)


def test_tiny_surface_is_found_by_looking_everywhere(lattice, fields):
    def field(points):
        return fields.sphere(points, 0.08, (0.31, 0.42, -0.53))

    assert_equals_dense(extract_sparse(lattice, field, coarse_factor=8), lattice, field)


def test_tracker_follows_a_growing_and_moving_surface(lattice, fields):
    tracker, dense_count = SurfaceTracker(lattice, full_every=100), lattice.vertex_count
    for step in range(12):

        def field(points, step=step):
            return fields.sphere(points, 0.6 + 0.03 * step, (0.02 * step, 0.0, -0.03 * step))

        active = tracker.extract(field)
        assert_equals_dense(active, lattice, field)
        if step:
            assert active.evaluations < dense_count / 4


def test_tracker_sees_a_new_piece_at_the_next_full_pass(lattice, fields):
    def after(points):
        return torch.minimum(fields.sphere(points, 0.5), fields.sphere(points, 0.3, (0.9, 0.9, -1.5)))

    tracker = SurfaceTracker(lattice, full_every=3)
    before = len(tracker.extract(lambda p: fields.sphere(p, 0.5)).tets)
    assert [len(tracker.extract(after).tets) == before for _ in range(2)] == [True, True]
    assert_equals_dense(tracker.extract(after), lattice, after)


def test_tracker_finds_a_surface_that_jumped(lattice, fields):
    tracker = SurfaceTracker(lattice, full_every=100)
    tracker.extract(lambda p: fields.sphere(p, 0.3, (1.0, 1.0, -2.0)))

    def elsewhere(points):
        return fields.sphere(points, 0.3, (-1.0, -1.0, 0.5))

    assert_equals_dense(tracker.extract(elsewhere), lattice, elsewhere)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (
            lambda p: p.norm(dim=-1) + 8,
            r"all \d+ values are positive \(everything is outside\), between 8\.\d+ and .*sphere",
        ),
        (lambda p: p.norm(dim=-1) - 9, r"negative or zero \(everything is inside\)"),
        (lambda p: p[:, 0] + torch.nan, "not finite"),
    ],
)
def test_a_lost_surface_is_explained(lattice, field, message):
    with pytest.raises(TrainingError, match=message):
        extract_sparse(lattice, field)
