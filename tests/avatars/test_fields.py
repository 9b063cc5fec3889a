import pytest
import torch

from gha.avatars.fields import FieldsConfig, HeadFields, LayerSizes, sigmoid_rgb

SMALL = dict(
    feature_size=6,
    color_size=5,
    expression_color=LayerSizes(8, 2),
    pose_color=LayerSizes(8, 1),
    expression_deform=LayerSizes(8, 3),
    pose_deform=LayerSizes(8, 2),
)


def make_fields(**changes):
    torch.manual_seed(0)
    return HeadFields(4, FieldsConfig(**(SMALL | changes)))


@pytest.mark.parametrize(
    ("squared_distance", "expected"), [(0.05, 1.0), (0.1, 1.0), (0.175, 0.5), (0.25, 0.0), (0.4, 0.0)]
)
def test_expression_fades_linearly_in_squared_distance(squared_distance, expected):
    point = torch.tensor([[squared_distance**0.5, 0.0, 0.0]])
    landmarks = torch.tensor([[0.0, 0.0, 0.0], [-5.0, 0.0, 0.0]])
    assert make_fields().blend_weights(point, landmarks).item() == pytest.approx(expected, abs=1e-5)


def test_paper_variant_is_linear_in_distance():
    fields = make_fields(blend_metric="distance", blend_near=0.15, blend_far=0.25)
    weight = fields.blend_weights(torch.tensor([[0.2, 0.0, 0.0]]), torch.zeros(1, 3))
    assert weight.item() == pytest.approx(0.5, abs=1e-5)


def test_displacement_bound_is_an_option():
    expected = {True: (0.3, 0.05), False: (30.0, 5.0)}
    for bounded, (by_expression, by_pose) in expected.items():
        fields = make_fields(bounded_deformation=bounded)
        for network in (fields.expression_deform, fields.pose_deform):
            torch.nn.init.zeros_(network.last_layer.weight)
            torch.nn.init.constant_(network.last_layer.bias, 100.0)
        condition = fields.condition(torch.zeros(4), torch.zeros(6))
        encoded = fields.encode_positions(torch.zeros(1, 3))
        assert fields.expression_displacement(encoded, condition)[0, 0].item() == pytest.approx(by_expression)
        assert fields.pose_displacement(encoded, condition)[0, 0].item() == pytest.approx(by_pose)


def test_deformation_starts_close_to_none():
    fields = make_fields()
    condition = fields.condition(torch.rand(4), torch.rand(6))
    encoded = fields.encode_positions(torch.randn(50, 3))
    assert fields.expression_displacement(encoded, condition).abs().max() < 0.005
    assert fields.pose_displacement(encoded, condition).abs().max() < 0.005


def test_sigmoid_rgb_leaves_other_channels():
    raw = torch.randn(2, 5)
    torch.testing.assert_close(sigmoid_rgb(raw), torch.cat([raw[:, :3].sigmoid(), raw[:, 3:]], dim=-1))


def test_pose_reaches_expression_networks_only_on_request():
    expression, pose = torch.randn(2, 4), torch.randn(2, 6)
    assert make_fields().condition(expression, pose).expression.shape == (2, 4)
    fields = make_fields(pose_in_expression_networks=True)
    condition = fields.condition(expression, pose)
    assert condition.expression.shape == (2, 4 + 54)
    assert fields.expression_color(torch.randn(3, 6), condition.expression).shape == (2, 3, 5)
