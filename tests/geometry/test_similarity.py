import math

import torch

from gha.geometry import canonical_to_world, world_to_canonical


def test_known_motion():
    pose = torch.tensor([0.0, math.pi / 2, 0.0, 0.5, 0.0, -1.0])
    world = canonical_to_world(torch.tensor([[0.0, 2.0, 1.0]]), pose, torch.tensor([0.1]))
    # A quarter turn about y takes z to x; one decimetre is 0.1 world units.
    torch.testing.assert_close(world, torch.tensor([[0.6, 0.2, -1.0]]))


def test_round_trip_of_424_landmarks_in_a_batch():
    generator = torch.Generator().manual_seed(3)
    points = torch.randn(5, 424, 3, generator=generator)
    pose, scale = torch.randn(5, 6, generator=generator), 0.1 + 0.1 * torch.rand(5, 1, generator=generator)
    back = world_to_canonical(canonical_to_world(points, pose, scale), pose, scale)
    # One unit is a decimetre; errors stem from adding translations of metres in single precision.
    torch.testing.assert_close(back, points, atol=1e-5, rtol=0)


def test_points_without_batch_follow_every_pose():
    pose, scale = torch.randn(4, 6), torch.ones(4, 1)
    world = canonical_to_world(torch.randn(9, 3), pose, scale)
    assert world.shape == (4, 9, 3)


def test_gradients_reach_everything():
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 3, 3), (2, 6), (2, 1))]
    assert torch.autograd.gradcheck(canonical_to_world, inputs)
    assert torch.autograd.gradcheck(world_to_canonical, inputs)
