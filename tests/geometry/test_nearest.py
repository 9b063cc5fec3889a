import pytest
import torch

from gha.geometry import blend_weights, nearest_index, nearest_squared_distance, neighbour_distance
from gha.geometry.nearest import _nearest_by_brute_force


@pytest.fixture
def cloud() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(2, 300, 3, generator=generator), torch.randn(41, 3, generator=generator)


def test_nearest_matches_all_pairs(cloud):
    points, anchors = cloud
    squared = (points[..., None, :] - anchors).square().sum(-1)
    assert torch.equal(nearest_index(points, anchors), squared.argmin(-1))
    torch.testing.assert_close(nearest_squared_distance(points, anchors), squared.min(-1).values)


def test_search_without_a_tree_agrees(cloud):
    points, anchors = cloud
    assert torch.equal(_nearest_by_brute_force(points[0], anchors), nearest_index(points[0], anchors))


def test_non_finite_points_do_not_stop_the_search(cloud):
    points, anchors = cloud
    broken = points[0].clone()
    broken[3, 1], broken[7, 0] = torch.nan, torch.inf
    distance = nearest_squared_distance(broken, anchors)
    assert distance.isfinite().sum() == len(broken) - 2


def test_no_points_have_no_weights(cloud):
    points = torch.zeros(0, 3, requires_grad=True)
    weights = blend_weights(points, cloud[1])
    assert weights.shape == (0,)
    (gradient,) = torch.autograd.grad(weights.sum(), points)
    assert gradient.shape == (0, 3)


def test_gradients_reach_points_and_anchors(cloud):
    points, anchors = cloud[0][0, :20].double().requires_grad_(), cloud[1].double().requires_grad_()
    assert torch.autograd.gradcheck(nearest_squared_distance, (points, anchors))
    assert torch.autograd.gradcheck(lambda p, a: blend_weights(p, a, 0.05, 2.0), (points, anchors))


@pytest.mark.parametrize(
    ("squared_distance", "expected"), [(0.0, 1.0), (0.1, 1.0), (0.175, 0.5), (0.25, 0.0), (9.0, 0.0)]
)
def test_blend_of_the_published_thresholds(squared_distance, expected):
    points = torch.tensor([[squared_distance**0.5, 0.0, 0.0]])
    landmarks = torch.tensor([[0.0, 0.0, 0.0], [-5.0, 0.0, 0.0]])
    assert float(blend_weights(points, landmarks)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("distance", "expected"), [(0.0, 1.0), (0.3, 1.0), (0.4, 0.5), (0.5, 0.0)])
def test_blend_linear_in_the_distance(distance, expected):
    points = torch.tensor([[0.0, distance, 0.0]], requires_grad=True)
    weight = blend_weights(points, torch.zeros(1, 3), near=0.3, far=0.5, squared=False)
    assert float(weight.detach()) == pytest.approx(expected, abs=1e-6)
    (gradient,) = torch.autograd.grad(weight.sum(), points)
    assert gradient.isfinite().all()


def test_blend_refuses_crossed_thresholds():
    with pytest.raises(ValueError, match=r"near < far, got near=0\.3 and far=0\.1"):
        blend_weights(torch.zeros(1, 3), torch.zeros(1, 3), near=0.3, far=0.1)


def test_neighbour_distance_on_a_line_and_of_coinciding_points():
    line = torch.tensor([[0.0, 0, 0], [1.0, 0, 0], [3.0, 0, 0], [6.0, 0, 0]])
    # Squares of the two nearest: (1, 9), (1, 4), (4, 9), (9, 25).
    expected = torch.tensor([5.0, 2.5, 6.5, 17.0]).sqrt()
    torch.testing.assert_close(neighbour_distance(line, neighbours=2), expected)
    torch.testing.assert_close(neighbour_distance(torch.zeros(5, 3)), torch.full((5,), 1e-7).sqrt())
    torch.testing.assert_close(neighbour_distance(line[:2]), torch.ones(2))
    with pytest.raises(ValueError, match="at least 2 points, got 1"):
        neighbour_distance(line[:1])
