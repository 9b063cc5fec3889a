import pytest
import torch

from gha.geometry import TetrahedralLattice

SMALL = [[0.0, 0.5], [-0.2, 0.4], [1.0, 1.3]]


@pytest.fixture
def lattice() -> TetrahedralLattice:
    return TetrahedralLattice(SMALL, 0.1)


def volumes(vertices: torch.Tensor, tets: torch.Tensor) -> torch.Tensor:
    corners = vertices.double()[tets]
    return torch.linalg.det(corners[:, 1:] - corners[:, :1]) / 6


def test_tetrahedra_are_congruent_and_positively_oriented(lattice):
    vertices, tets = lattice.vertices, lattice.tets
    torch.testing.assert_close(
        volumes(vertices, tets), torch.full((len(tets),), 0.1**3 / 12, dtype=torch.float64), rtol=1e-4, atol=0
    )
    corners = vertices[tets]
    pairs = torch.combinations(torch.arange(4))
    lengths = (corners[:, pairs[:, 0]] - corners[:, pairs[:, 1]]).norm(dim=-1).sort(dim=1).values
    short, long = 0.1 * 3**0.5 / 2, 0.1
    expected = torch.tensor([short] * 4 + [long] * 2).expand_as(lengths)
    torch.testing.assert_close(lengths, expected, rtol=1e-4, atol=0)


def test_volume_is_the_box_of_cubes_less_the_pyramids_under_its_faces(lattice):
    nx, ny, nz = lattice.cells
    assert (nx, ny, nz) == (6, 7, 4)  # one more along each axis than the box needs
    pyramids = 2 * (nx * ny + ny * nz + nz * nx) * 0.1**2 * 0.05 / 3
    total = volumes(lattice.vertices, lattice.tets).sum()
    assert float(total) == pytest.approx(nx * ny * nz * 0.1**3 - pyramids, rel=1e-5)


def test_every_point_of_the_box_lies_in_exactly_one_tetrahedron(lattice):
    lower, upper = torch.tensor(SMALL).double().unbind(1)
    points = lower + (upper - lower) * torch.rand(300, 3, generator=torch.Generator().manual_seed(0)).double()
    corners = lattice.vertices.double()[lattice.tets]
    inverse = torch.linalg.inv((corners[:, 1:] - corners[:, :1]).transpose(1, 2))
    weights = torch.einsum("kij,pkj->pki", inverse, points[:, None] - corners[:, 0])
    inside = (weights > 0).all(-1) & (weights.sum(-1) < 1)
    assert (inside.sum(1) == 1).all()


def test_faces_conform(lattice):
    # Each triangle belongs to two tetrahedra, or to one on the border: the sides of the pyramids left out
    # there, except those that two pyramids of one cube share.
    tets = lattice.tets
    faces = torch.cat([tets[:, [0, 1, 2]], tets[:, [0, 1, 3]], tets[:, [0, 2, 3]], tets[:, [1, 2, 3]]])
    _, uses = torch.unique(faces.sort(dim=1).values, dim=0, return_counts=True)
    nx, ny, nz = lattice.cells
    assert uses.max() == 2
    assert (uses == 1).sum() == 8 * (nx * ny + ny * nz + nz * nx) - 8 * (nx + ny + nz)


def test_ids_and_positions_invert_each_other(lattice):
    ids = torch.arange(lattice.vertex_count)
    assert torch.equal(lattice.nearest_ids(lattice.positions(ids)), ids)
    noise = 0.02 * torch.randn(len(ids), 3, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
    assert torch.equal(lattice.nearest_ids(lattice.positions(ids) + noise), ids)


def test_nearest_ids_match_a_search(lattice):
    points = torch.rand(200, 3, generator=torch.Generator().manual_seed(2)) * 0.7 + torch.tensor([-0.1, -0.3, 0.8])
    vertices = lattice.vertices
    best = torch.cdist(points, vertices, compute_mode="donot_use_mm_for_euclid_dist").min(dim=1).values
    torch.testing.assert_close((vertices[lattice.nearest_ids(points)] - points).norm(dim=-1), best)


def test_counts(lattice):
    assert lattice.vertices.shape == (lattice.vertex_count, 3)
    assert lattice.tets.shape == (lattice.tet_count, 4)
    assert lattice.tets.max() < lattice.vertex_count


def test_original_resolution_has_as_many_vertices_and_tetrahedra_as_the_original(bounds):
    lattice = TetrahedralLattice(bounds, 0.068)
    assert lattice.vertex_count == pytest.approx(277_410, rel=0.05)
    assert lattice.tet_count == pytest.approx(1_524_684, rel=0.10)


def test_finer_lattice_contains_the_coarse_vertices(lattice):
    finer = lattice.finer()
    assert finer.edge == pytest.approx(lattice.edge / 2)
    coarse = lattice.vertices
    torch.testing.assert_close(finer.positions(finer.nearest_ids(coarse)), coarse, atol=1e-6, rtol=0)
    assert finer.corner_count > lattice.vertex_count


def test_bounds_are_covered_symmetrically(bounds):
    lattice = TetrahedralLattice(bounds, 0.15)
    low, high = lattice.vertices.min(0).values, lattice.vertices.max(0).values
    limits = torch.tensor(bounds)
    assert (low <= limits[:, 0] - 0.075 + 1e-5).all()
    assert (high >= limits[:, 1] + 0.075 - 1e-5).all()
    torch.testing.assert_close(low + high, limits.sum(1), atol=1e-5, rtol=0)


def test_bad_arguments_are_named(bounds):
    with pytest.raises(ValueError, match=r"bounds must be \[3\]\[2\] with lower < upper.*1\.0, 0\.0"):
        TetrahedralLattice([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], 0.1)
    with pytest.raises(ValueError, match="edge must be positive, got 0"):
        TetrahedralLattice(bounds, 0)
