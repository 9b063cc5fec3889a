"""Driving: orbits that look where they say, motion carried between worlds, expressions carried between faces."""

import math

import pytest
import torch

from gha.avatars.camera_path import OrbitConfig, front_view, orbit_path
from gha.avatars.driving import transfer_motion, transfer_relative
from gha.faces.code import HeadCode
from gha.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle


def head(pose=(0.0,) * 6, scale=0.1) -> HeadCode:
    return HeadCode(torch.zeros(1), torch.tensor(pose), torch.tensor([scale]))


ORIGINAL = OrbitConfig(target=[0.0, 0.0, 0.5])


def test_orbit_starts_where_the_original_meant_to():
    camera = orbit_path(1, ORIGINAL, head(), 100, 100)[0]
    expected = torch.tensor([1.2 * math.sin(math.pi / 4), 0.0, 0.05 + 1.2 * math.cos(math.pi / 4)])
    assert torch.allclose(camera.center, expected, atol=1e-5)
    assert camera.K[0, 0] == 350


def test_orbit_follows_the_formula_of_the_original():
    camera = orbit_path(60, ORIGINAL, head(), 100, 100)
    index = torch.arange(60)
    towards = torch.nn.functional.normalize(camera.center - torch.tensor([0.0, 0.0, 0.05]), dim=-1)
    elevation = torch.rad2deg(torch.arcsin(towards[:, 1]))
    azimuth = torch.rad2deg(torch.atan2(towards[:, 0], towards[:, 2]))
    assert torch.allclose(elevation, 8 * torch.sin(index / 20), atol=1e-2)
    assert torch.allclose(azimuth, 45 * torch.cos(index / 20), atol=1e-2)


@pytest.mark.parametrize("pose", [(0.0,) * 6, (0.3, -1.2, 0.4, 2.0, -1.0, 0.5)])
def test_every_camera_of_an_orbit_looks_at_the_target(pose):
    reference = head(pose, scale=0.13)
    orbit = OrbitConfig(target=[0.1, -0.2, 0.5])
    camera = orbit_path(40, orbit, reference, 320, 200)
    target = reference.to_world(torch.tensor([orbit.target]))
    pixels, depth = camera.project(target.expand(40, 1, 3))
    assert torch.allclose(pixels[:, 0], torch.tensor([160.0, 100.0]).expand(40, 2), atol=1e-2)
    assert torch.allclose(depth, torch.full_like(depth, 12 * 0.13), rtol=1e-4)
    # The head stands upright: its own up points up in the picture.
    crown, _ = camera.project(reference.to_world(torch.tensor([[0.1, 0.3, 0.5]])).expand(40, 1, 3))
    assert (crown[:, 0, 1] < 100).all()
    assert ((crown[:, 0, 0] - 160).abs() < 0.2 * (crown[:, 0, 1] - 100).abs()).all()


def test_front_view_is_straight_and_still():
    reference = head((0.0, 0.5, 0.0, 0.1, 0.2, 0.3))
    camera = front_view(3, ORIGINAL, reference, 64, 64)
    canonical = reference.to_canonical(camera.center)
    assert torch.allclose(canonical, torch.tensor([0.0, 0.0, 12.5]).expand(3, 3), atol=1e-4)


def random_poses(count: int = 9) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 6, generator=generator, dtype=torch.float64) * 0.2


def moved(poses: torch.Tensor, turn: torch.Tensor, shift: torch.Tensor, scale: float) -> torch.Tensor:
    """The same performance in a world that is turned, shifted and measured in other units."""
    rotation = axis_angle_to_matrix(turn)
    axis_angle = matrix_to_axis_angle(rotation @ axis_angle_to_matrix(poses[:, :3]))
    return torch.cat([axis_angle, scale * poses[:, 3:] @ rotation.T + shift], dim=-1)


def same_poses(first: torch.Tensor, second: torch.Tensor) -> bool:
    rotations = torch.allclose(axis_angle_to_matrix(first[:, :3]), axis_angle_to_matrix(second[:, :3]), atol=1e-6)
    return rotations and torch.allclose(first[:, 3:], second[:, 3:], atol=1e-6)


def test_motion_does_not_depend_on_the_drivers_world():
    poses = random_poses()
    reference = torch.tensor([0.1, 0.2, -0.3, 1.0, 2.0, 3.0], dtype=torch.float64)
    other = moved(poses, torch.tensor([0.5, 1.0, -0.7], dtype=torch.float64), torch.tensor([3.0, -1.0, 8.0]), 4.0)
    here, there = transfer_motion(poses, reference, 1.0), transfer_motion(other, reference, 0.25)
    assert same_poses(here, there)
    assert torch.allclose(here[:, 3:].mean(0), reference[3:])


def test_motion_about_the_drivers_own_mean_is_the_performance_itself():
    poses = random_poses()
    centred = transfer_motion(poses, torch.zeros(6, dtype=torch.float64), 1.0)
    # Carried to the origin, its mean pose is zero, so carrying it to zero again changes nothing.
    assert same_poses(transfer_motion(centred, torch.zeros(6, dtype=torch.float64), 1.0), centred)


def test_a_still_driver_holds_the_reference():
    reference = torch.tensor([0.1, 0.2, -0.3, 1.0, 2.0, 3.0])
    pose = transfer_motion(torch.tensor([0.4, 0.0, 2.0, 5.0, 5.0, 5.0]).expand(4, 6), reference, 1.0)
    assert torch.allclose(pose, reference.expand(4, 6), atol=1e-5)


def test_relative_transfer():
    driver, rest, target = torch.rand(5, 3), torch.rand(3), torch.rand(3)
    carried = transfer_relative(driver, rest, target)
    assert torch.allclose(carried - target, driver - rest, atol=1e-6)
    assert torch.allclose(transfer_relative(driver, rest, rest), driver, atol=1e-6)
