import math

import pytest
import torch
from scipy.spatial.transform import Rotation

from gha.geometry import (
    axis_angle_to_matrix,
    axis_angle_to_quaternion,
    matrix_to_axis_angle,
    matrix_to_quaternion,
    quaternion_multiply,
    quaternion_to_axis_angle,
    quaternion_to_matrix,
    slerp,
)


@pytest.fixture
def vectors() -> torch.Tensor:
    """Axis-angle vectors of every size up to just under pi, in all directions."""
    generator = torch.Generator().manual_seed(1)
    directions = torch.nn.functional.normalize(torch.randn(200, 3, generator=generator, dtype=torch.float64), dim=-1)
    return directions * torch.linspace(0, math.pi - 1e-3, 200, dtype=torch.float64)[:, None]


def test_matrices_match_scipy(vectors):
    expected = torch.from_numpy(Rotation.from_rotvec(vectors.numpy()).as_matrix())
    torch.testing.assert_close(axis_angle_to_matrix(vectors), expected)


def test_quarter_turn_about_z_takes_x_to_y():
    matrix = axis_angle_to_matrix(torch.tensor([0.0, 0.0, math.pi / 2]))
    torch.testing.assert_close(matrix @ torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_round_trips(vectors, dtype):
    vectors = vectors.to(dtype)
    tolerance = {"atol": 1e-5 if dtype == torch.float32 else 1e-9, "rtol": 0}
    torch.testing.assert_close(quaternion_to_axis_angle(axis_angle_to_quaternion(vectors)), vectors, **tolerance)
    matrices = axis_angle_to_matrix(vectors)
    torch.testing.assert_close(quaternion_to_matrix(matrix_to_quaternion(matrices)), matrices, **tolerance)
    # Near a half turn the vector is ill-conditioned in the matrix; the matrix it gives is not.
    torch.testing.assert_close(axis_angle_to_matrix(matrix_to_axis_angle(matrices)), matrices, **tolerance)


def test_half_turns_survive_the_way_through_quaternions():
    for axis in torch.eye(3):
        matrix = axis_angle_to_matrix(math.pi * axis)
        torch.testing.assert_close(axis_angle_to_matrix(matrix_to_axis_angle(matrix)), matrix, atol=1e-5, rtol=0)


def test_angle_beyond_pi_comes_back_the_short_way():
    vector = quaternion_to_axis_angle(axis_angle_to_quaternion(torch.tensor([0.0, 1.5 * math.pi, 0.0])))
    torch.testing.assert_close(vector, torch.tensor([0.0, -0.5 * math.pi, 0.0]))


@pytest.mark.parametrize("size", [0.0, 1e-6, 1e-4, 0.7, 3.0])
def test_gradients_hold_at_zero_and_at_the_series_border(size):
    start = (size * torch.tensor([[0.6, -0.48, 0.64]], dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(axis_angle_to_matrix, start)
    assert torch.autograd.gradgradcheck(axis_angle_to_matrix, start)
    assert torch.autograd.gradcheck(axis_angle_to_quaternion, start)
    assert torch.autograd.gradcheck(lambda v: matrix_to_quaternion(axis_angle_to_matrix(v)), start)


@pytest.mark.parametrize("size", [0.0, 1e-12, 1e-8, 1e-5, 1e-4, 3e-4, 1e-3, 0.1, 3.0])
def test_single_precision_keeps_the_gradient_of_small_rotations(size):
    """1 - cos(a) has no digits left there; nothing may be divided by it or be made of it."""
    directions = torch.nn.functional.normalize(torch.randn(500, 3), dim=-1)
    weights = torch.randn(3, 3)
    gradients = []
    for dtype in (torch.float32, torch.float64):
        vectors = (size * directions).to(dtype).requires_grad_()
        (weights.to(dtype) * axis_angle_to_matrix(vectors)).sum().backward()
        gradients.append(vectors.grad)
    torch.testing.assert_close(gradients[0].double(), gradients[1], atol=3e-6, rtol=0)


def test_gradient_at_zero_is_the_generator():
    vector = torch.zeros(3, requires_grad=True)
    (gradient,) = torch.autograd.grad(axis_angle_to_matrix(vector)[1, 0], vector)
    torch.testing.assert_close(gradient, torch.tensor([0.0, 0.0, 1.0]))
    (gradient,) = torch.autograd.grad(quaternion_to_axis_angle(axis_angle_to_quaternion(vector))[1], vector)
    torch.testing.assert_close(gradient, torch.tensor([0.0, 1.0, 0.0]))


def test_product_of_quaternions_is_product_of_matrices(vectors):
    left, right = axis_angle_to_quaternion(vectors), axis_angle_to_quaternion(vectors.flip(0))
    product = quaternion_to_matrix(quaternion_multiply(left, right))
    torch.testing.assert_close(product, quaternion_to_matrix(left) @ quaternion_to_matrix(right))


def test_quaternion_length_does_not_matter(vectors):
    quats = axis_angle_to_quaternion(vectors)
    torch.testing.assert_close(quaternion_to_matrix(3.0 * quats), quaternion_to_matrix(quats))


def test_slerp_turns_at_constant_speed_the_short_way():
    axis = torch.tensor([0.0, 0.6, 0.8])
    start, end = axis_angle_to_quaternion(0.2 * axis), axis_angle_to_quaternion(1.4 * axis)
    fractions = torch.linspace(0, 1, 5)[:, None]
    expected = axis_angle_to_quaternion((0.2 + 1.2 * fractions) * axis)
    torch.testing.assert_close(slerp(start, end, fractions), expected)
    torch.testing.assert_close(slerp(start, -end, fractions), expected)


def test_slerp_between_equal_rotations_has_value_and_gradient():
    start = axis_angle_to_quaternion(torch.tensor([0.3, 0.2, -0.1])).requires_grad_()
    result = slerp(start, start.detach(), 0.3)
    torch.testing.assert_close(result, start)
    (gradient,) = torch.autograd.grad(result.sum(), start)
    assert gradient.isfinite().all()
