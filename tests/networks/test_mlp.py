import pytest
import torch
from torch.nn.functional import leaky_relu, linear

from gha.networks import MLP, encoded_size, positional_encoding


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


# The networks of the original at their released sizes: points, hidden layers, outputs, condition, parameters.
RELEASED = {
    "geometry": (27, [256] * 5, 132, 0, 311_172),
    "expression_color": (128, [256, 256], 32, 64, 129_568),
    "pose_color": (128, [128], 32, 54, 33_376),
    "expression_deform": (27, [256] * 5, 3, 64, 310_787),
    "pose_deform": (27, [256, 256], 3, 54, 87_798),
    "expression_attributes": (128, [256] * 3, 8, 64, 232_200),
    "pose_attributes": (128, [128, 128], 8, 54, 42_424),
}


@pytest.mark.parametrize("name", RELEASED)
def test_released_parameter_counts(name):
    points, hidden, outputs, condition, expected = RELEASED[name]
    assert count(MLP(points, hidden, outputs, condition)) == expected


def concatenated(mlp, points, condition):
    """The same network written the plain way: everything concatenated for every point."""
    x = points if condition is None else torch.cat([points, condition[..., None, :].expand(*points.shape[:-1], -1)], -1)
    hidden = x
    for index, layer in enumerate(mlp.layers):
        if index == mlp.skip_layer:
            hidden = torch.cat([hidden, x], dim=-1)
        hidden = linear(hidden, layer.weight, layer.bias)
        if index < len(mlp.layers) - 1:
            hidden = leaky_relu(hidden, 0.01)
    return hidden


@pytest.mark.parametrize("hidden", [[], [16], [16, 12], [16, 12, 8, 10]])
@pytest.mark.parametrize("condition_size", [0, 5])
@pytest.mark.parametrize("batch", [1, 2])
def test_split_products_equal_concatenation(hidden, condition_size, batch):
    mlp = MLP(7, hidden, 3, condition_size).double()
    points = torch.randn(batch, 9, 7, dtype=torch.float64)
    condition = torch.randn(batch, condition_size, dtype=torch.float64) if condition_size else None
    torch.testing.assert_close(mlp(points, condition), concatenated(mlp, points, condition))


def test_shared_points_broadcast_over_conditions():
    mlp = MLP(4, [8, 8], 3, 2)
    points, conditions = torch.randn(6, 4), torch.randn(5, 2)
    together = mlp(points, conditions)
    assert together.shape == (5, 6, 3)
    torch.testing.assert_close(together[3], mlp(points, conditions[3]))


def test_no_points_give_no_output():
    assert MLP(4, [8, 8], 3, 2)(torch.zeros(0, 4), torch.zeros(1, 2)).shape == (1, 0, 3)


def test_missing_condition_is_refused():
    with pytest.raises(ValueError, match="condition of size 2"):
        MLP(4, [8], 3, 2)(torch.zeros(1, 4))
    with pytest.raises(ValueError, match="condition of size 0"):
        MLP(4, [8], 3)(torch.zeros(1, 4), torch.zeros(1))


def test_positional_encoding_order_and_size():
    x = torch.tensor([[0.3, -0.7]], dtype=torch.float64)
    encoded = positional_encoding(x, 2)[0]
    expected = [x, x.sin(), x.cos(), (2 * x).sin(), (2 * x).cos()]
    torch.testing.assert_close(encoded, torch.cat(expected, dim=-1)[0])
    assert (encoded_size(3, 4), encoded_size(6, 4)) == (27, 54)


@pytest.mark.parametrize("frequencies", [0, 4])
def test_gradient_of_the_encoding(frequencies):
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda points: positional_encoding(points, frequencies), x)


def test_autocast_is_possible():
    network = MLP(5, [8, 8, 8], 3, condition_size=2)
    points, condition = torch.randn(1, 20, 5), torch.randn(1, 2)
    with torch.autocast("cpu", torch.bfloat16):
        half = network(points, condition)
    half.float().sum().backward()
    torch.testing.assert_close(half.float(), network(points, condition), atol=0.03, rtol=0.03)
