import pytest
import torch

from gha.geometry import sample_surface, surface_distance
from gha.geometry.surface_distance import triangle_squared_distance

# A unit square in the plane z = 0, split unevenly: a small and a large part.
VERTICES = torch.tensor([[0.0, 0, 0], [1.0, 0, 0], [1.0, 1, 0], [0.0, 1, 0], [0.2, 0, 0]])
TRIANGLES = torch.tensor([[0, 4, 3], [4, 1, 2], [4, 2, 3]])


def test_samples_lie_on_their_faces_and_spread_by_area():
    points, faces = sample_surface(VERTICES, TRIANGLES, 20_000)
    assert (points[:, 2] == 0).all()
    assert ((points[:, :2] >= -1e-6) & (points[:, :2] <= 1 + 1e-6)).all()
    share = torch.bincount(faces, minlength=3) / len(faces)
    torch.testing.assert_close(share, torch.tensor([0.1, 0.4, 0.5]), atol=0.015, rtol=0)
    torch.testing.assert_close(points.mean(0), torch.tensor([0.5, 0.5, 0.0]), atol=0.01, rtol=0)
    assert triangle_squared_distance(points, VERTICES[TRIANGLES[faces]]).max() < 1e-10


def test_samples_repeat_with_their_seed():
    first, second = (sample_surface(VERTICES, TRIANGLES, 50, seed=5)[0] for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, sample_surface(VERTICES, TRIANGLES, 50, seed=6)[0])


def test_samples_move_with_the_vertices():
    vertices = VERTICES.clone().requires_grad_()
    points, _ = sample_surface(vertices, TRIANGLES, 50)
    (gradient,) = torch.autograd.grad(points.sum(), vertices)
    torch.testing.assert_close(gradient.sum(), torch.tensor(150.0))


def test_sampling_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one triangle"):
        sample_surface(VERTICES, TRIANGLES[:0], 5)


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ((0.25, 0.25, 0.7), 0.7),  # above the face
        ((0.5, -0.3, 0.4), 0.5),  # beside an edge
        ((-0.3, -0.4, 0.0), 0.5),  # beyond a corner
        ((0.8, 0.8, 0.0), 0.6 / 2**0.5),  # beyond the slanted edge
        ((0.2, 0.3, 0.0), 0.0),
    ],
)
def test_distance_to_one_triangle(point, expected):
    corners = torch.tensor([[0.0, 0, 0], [1.0, 0, 0], [0.0, 1, 0]], dtype=torch.float64)
    points = torch.tensor([point], dtype=torch.float64)
    for order in ([0, 1, 2], [1, 2, 0], [2, 1, 0]):
        distance = triangle_squared_distance(points, corners[None, order]).sqrt()
        assert float(distance) == pytest.approx(expected, abs=1e-9)


def test_distance_to_a_triangle_without_area():
    corners = torch.tensor([[[0.0, 0, 0], [1.0, 0, 0], [2.0, 0, 0]], [[1.0, 0, 0], [1.0, 0, 0], [1.0, 0, 0]]])
    points = torch.tensor([[1.5, 0.5, 0.0], [1.0, 0.0, 3.0]])
    torch.testing.assert_close(triangle_squared_distance(points, corners), torch.tensor([0.25, 9.0]))


def test_distance_to_a_mesh_is_exact_where_every_face_is_sampled():
    points = torch.tensor([[0.5, 0.5, 0.3], [0.5, 2.0, 0.0], [-1.0, 0.5, 0.0], [0.3, 0.6, 0.0]])
    distance = surface_distance(points, VERTICES, TRIANGLES, samples=2000)
    torch.testing.assert_close(distance, torch.tensor([0.3, 1.0, 1.0, 0.0]), atol=1e-6, rtol=0)
    single = surface_distance(points, VERTICES, TRIANGLES, samples=2000, candidates=1)
    assert (single >= distance - 1e-6).all()
