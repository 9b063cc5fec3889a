import pytest
import torch
from test_fields import make_fields

from gha.avatars.division import Division


def doubles(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()


@pytest.mark.parametrize(("near", "mixed", "far"), [(2, 3, 4), (0, 3, 0), (2, 0, 4), (0, 0, 3), (3, 0, 0)])
def test_divided_blend_equals_dense_blend(near, mixed, far):
    division = Division(near, mixed, far)
    weights = torch.rand(mixed, dtype=torch.float64).requires_grad_()
    values = doubles(2, near + mixed + far, 3)

    def divided(weights, values):
        leading, trailing = division.parts(values)
        return division.blend(weights, 2 * leading, trailing.square())

    dense = torch.cat([torch.ones(near), weights, torch.zeros(far)])[:, None]
    torch.testing.assert_close(divided(weights, values), dense * 2 * values + (1 - dense) * values.square())
    assert torch.autograd.gradcheck(divided, (weights, values))


def test_skipped_points_get_no_gradient():
    division = Division(1, 2, 1).skipping(3)
    values = doubles(7, 2)
    leading, trailing = division.parts(values)
    assert torch.equal(leading, values[3:6])
    assert torch.equal(trailing, values[4:])
    assert torch.equal(division.mixed_part(values), values[4:6])
    assert torch.autograd.gradcheck(division.parts, values)
    (gradient,) = torch.autograd.grad(leading.sum() + trailing.sum(), values)
    assert gradient[:, 0].tolist() == [0, 0, 0, 1, 2, 2, 1]


@pytest.mark.parametrize("metric", ["squared_distance", "distance"])
def test_points_that_move_within_the_slack_keep_their_networks(metric):
    fields = make_fields(blend_metric=metric)
    generator = torch.Generator().manual_seed(1)
    points, landmarks = 0.3 * torch.randn(500, 3, generator=generator), 0.2 * torch.randn(20, 3, generator=generator)
    slack = 0.02
    order, division, nearest = fields.divide(points, landmarks, slack)
    assert sorted(order.tolist()) == list(range(500))
    assert min(division.near, division.mixed, division.far) > 0
    shift = torch.randn(500, 3, generator=generator)
    moved = points + 0.99 * slack * shift / shift.norm(dim=-1, keepdim=True)
    weights = fields.blend_weights(moved, landmarks)[order]
    assert (weights[: division.near] == 1).all()
    assert (weights[len(points) - division.far :] == 0).all()
    mixed = division.mixed_part(points[order])
    torch.testing.assert_close(
        fields.blend_weights(mixed, landmarks, nearest), fields.blend_weights(mixed, landmarks), atol=0, rtol=0
    )
