import pytest
import torch

from gha.avatars.neck import Neck, NeckConfig
from gha.faces.code import HeadCode
from gha.geometry.rotations import axis_angle_to_quaternion, quaternion_multiply
from gha.networks import positional_encoding

HEAD_POSE = torch.tensor([[0.3, -0.5, 0.2, 0.01, 0.02, -0.03], [-0.2, 0.9, 0.1, 0.0, 0.01, 0.02]])
CODE = HeadCode(torch.zeros(2, 4), HEAD_POSE, torch.full((2, 1), 0.1))
BODY_POSE = torch.tensor([0.05, 0.1, -0.02, 0.004, -0.003, 0.001])


@pytest.fixture
def neck():
    torch.manual_seed(0)
    neck = Neck(4, NeckConfig(below_chin=0.5, length=0.8))
    landmarks = torch.randn(66, 3)
    landmarks[8] = torch.tensor([0.0, -0.7, 0.1])
    neck.place(landmarks, BODY_POSE)
    return neck


def share_of(neck, points):
    return neck.head_share(points, positional_encoding(points))


def test_the_share_of_the_head_falls_from_one_to_zero_along_the_neck(neck):
    heights = torch.tensor([-3.0, -1.7, -1.4, -1.2, -1.0, -0.7, 1.5])
    points = torch.stack([torch.zeros(7), heights, torch.full((7,), -0.8)], -1)
    share = share_of(neck, points)
    assert share[:2].tolist() == [0, 0]
    assert share[-2:].tolist() == [1, 1]
    assert share[3].item() == pytest.approx(0.5, abs=0.03)
    assert (share[2:5].diff() > 0).all()


def test_head_and_body_are_rigid(neck):
    points = torch.tensor([[0.3, 0.4, 0.1], [0.2, 1.5, -0.5], [1.0, -2.5, -0.8]])
    world = neck.to_world(points, share_of(neck, points), CODE)
    torch.testing.assert_close(world[:, :2], CODE.to_world(points[:2]))
    body = HeadCode(CODE.expression, BODY_POSE.expand(2, 6), CODE.scale)
    torch.testing.assert_close(world[:, 2:], body.to_world(points[2:]))


def test_nothing_bends_when_head_and_body_have_one_pose(neck):
    points = torch.randn(50, 3)
    code = HeadCode(torch.zeros(1, 4), BODY_POSE[None], torch.full((1, 1), 0.1))
    torch.testing.assert_close(neck.to_world(points, share_of(neck, points), code), code.to_world(points))


def test_rotations_follow_head_and_body_by_the_shorter_way(neck):
    quats = torch.nn.functional.normalize(torch.randn(2, 3, 4), dim=-1)
    turned = neck.rotate(quats, torch.tensor([1.0, 0.0, 0.5]), CODE)
    head, body = axis_angle_to_quaternion(HEAD_POSE[:, :3]), axis_angle_to_quaternion(BODY_POSE[:3]).expand(2, 4)

    def same(left, right):
        return (left * right).sum(-1).abs()

    torch.testing.assert_close(same(turned[:, 0], quaternion_multiply(head, quats[:, 0])), torch.ones(2))
    torch.testing.assert_close(same(turned[:, 1], quaternion_multiply(body, quats[:, 1])), torch.ones(2))
    to_head = same(turned[:, 2], quaternion_multiply(head, quats[:, 2]))
    to_body = same(turned[:, 2], quaternion_multiply(body, quats[:, 2]))
    torch.testing.assert_close(to_head, to_body)
    assert (to_head > same(head, body)).all()
    torch.testing.assert_close(turned.norm(dim=-1), torch.ones(2, 3))


def test_the_neck_is_learned_but_the_pose_of_the_body_is_not(neck):
    points = torch.tensor([[0.0, -1.2, -0.8]])
    neck.to_world(points, share_of(neck, points), CODE).sum().backward()
    assert neck.height.grad is not None
    assert neck.height.grad.abs() > 0
    assert "body_pose" in neck.state_dict()
    assert "body_pose" not in dict(neck.named_parameters())


def test_the_neck_stretches_by_what_parts_head_and_body(neck):
    together = HeadCode(torch.zeros(1, 4), BODY_POSE[None], torch.full((1, 1), 0.1))
    assert neck.stretch(together).item() == pytest.approx(0, abs=1e-6)
    moved = BODY_POSE + torch.tensor([0, 0, 0, 0.2, 0, 0])
    apart = HeadCode(torch.zeros(1, 4), moved[None], torch.full((1, 1), 0.1))
    assert neck.stretch(apart).tolist() == pytest.approx([2.0])
