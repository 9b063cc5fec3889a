"""What must not change a splatted image, or change it in a known way."""

from dataclasses import replace

import pytest
import torch
from gaussian_scenes import INPUTS, make_camera, make_gaussians

from gha.geometry import Camera
from gha.geometry.rotations import axis_angle_to_quaternion, quaternion_multiply, quaternion_to_matrix
from gha.rendering import Gaussians, RenderOptions, render_gaussians


def close(value, reference, tolerance=1e-9):
    torch.testing.assert_close(value, reference, rtol=tolerance, atol=tolerance)


def test_world_and_camera_move_together():
    gaussians, camera = make_gaussians(60, 3, dtype=torch.float64), make_camera(40, 30, dtype=torch.float64)
    turn = axis_angle_to_quaternion(torch.tensor([0.4, -0.9, 0.3], dtype=torch.float64))
    rotation, shift = quaternion_to_matrix(turn), torch.tensor([0.7, -2.0, 0.1], dtype=torch.float64)
    moved = replace(
        gaussians,
        means=gaussians.means @ rotation.T + shift,
        quats=quaternion_multiply(turn.expand_as(gaussians.quats), gaussians.quats),
    )
    motion = torch.eye(4, dtype=torch.float64)
    motion[:3, :3], motion[:3, 3] = rotation, shift
    followed = replace(camera, w2c=camera.w2c @ torch.linalg.inv(motion))
    still, moving = (render_gaussians(g, c, backend="torch") for g, c in ((gaussians, camera), (moved, followed)))
    for name in ("features", "alpha", "depth", "means2d"):
        close(getattr(moving, name), getattr(still, name), 1e-8)


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_order_of_rows_does_not_matter(backend):
    gaussians, camera = make_gaussians(80, 4), make_camera(37, 29)
    order = torch.randperm(80)
    shuffled = Gaussians(**{name: getattr(gaussians, name)[order] for name in INPUTS})
    expected, found = (render_gaussians(g, camera, backend=backend) for g in (gaussians, shuffled))
    assert torch.equal(found.features, expected.features)
    assert torch.equal(found.radii, expected.radii[order])


@pytest.mark.parametrize("backend", ["torch", "numba"])
@pytest.mark.parametrize("window", [(7, 3, 19, 22), (-5, -6, 30, 25), (24, 18, 18, 17)])
def test_a_cropped_camera_sees_the_cropped_image(backend, window):
    """Gaussians are small and near the axis, so that none is linearised at the clamp outside of the window."""
    gaussians = make_gaussians(80, 2, log_scale=-4.0)
    gaussians = replace(gaussians, means=torch.cat([0.5 * gaussians.means[:, :2], gaussians.means[:, 2:]], dim=-1))
    camera = make_camera(48, 40, focal=60.0, center=(22.0, 19.0))
    left, top, width, height = window
    full = render_gaussians(gaussians, camera, backend=backend)
    part = render_gaussians(gaussians, camera.crop(left, top, width, height), backend=backend)
    padded = torch.nn.functional.pad(full.features, (50, 50, 50, 50))
    expected = padded[:, 50 + top : 50 + top + height, 50 + left : 50 + left + width]
    assert expected.abs().sum() > 0
    torch.testing.assert_close(part.features, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("factor", [3, 5])
def test_a_resized_camera_sees_the_resized_image(factor):
    """The middle pixel of each block of fine pixels is the coarse pixel, once the low pass is as wide in the world."""
    gaussians, camera = make_gaussians(60, 3, dtype=torch.float64), make_camera(24, 20, dtype=torch.float64)
    coarse = render_gaussians(gaussians, camera, backend="torch", options=RenderOptions(low_pass=0.3))
    finer = camera.resize(24 * factor, 20 * factor)
    fine = render_gaussians(gaussians, finer, backend="torch", options=RenderOptions(low_pass=0.3 * factor**2))
    for name in ("features", "alpha", "depth"):
        close(getattr(fine, name)[:, factor // 2 :: factor, factor // 2 :: factor], getattr(coarse, name))


def test_quaternions_need_no_unit_length_and_no_sign():
    gaussians, camera = make_gaussians(30, 2, dtype=torch.float64), make_camera(20, 20, dtype=torch.float64)
    scaled = replace(gaussians, quats=-3.7 * gaussians.quats)
    expected, found = (render_gaussians(g, camera, backend="torch").features for g in (gaussians, scaled))
    close(found, expected)


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_batches_and_views_equal_single_renderings(backend):
    gaussians = make_gaussians(50, 3, leading=(2, 2))
    cameras = [make_camera(26, 18, focal=24.0, center=(13.0 + k, 9.0)) for k in range(3)]
    w2c = torch.stack([c.w2c for c in cameras]).expand(2, 2, 3, 4, 4).clone()
    w2c[..., 0, 3] = torch.linspace(-0.2, 0.2, 12).reshape(2, 2, 3)
    camera = Camera(w2c, torch.stack([c.K for c in cameras]).expand(2, 2, 3, 3, 3), 26, 18)
    batched = render_gaussians(gaussians, camera, torch.ones(3), backend)
    assert batched.features.shape == (2, 2, 3, 3, 18, 26)
    assert batched.alpha.shape == batched.depth.shape == (2, 2, 3, 1, 18, 26)
    assert batched.radii.shape == batched.means2d.shape == (2, 2, 3, 50, 2)
    for i, j, view in [(0, 0, 0), (0, 1, 2), (1, 0, 1), (1, 1, 2)]:
        one = Gaussians(**{name: getattr(gaussians, name)[i, j] for name in INPUTS})
        single = render_gaussians(one, camera[i][j][view], torch.ones(3), backend)
        assert single.features.shape == (3, 18, 26)
        for name in ("features", "alpha", "depth", "radii"):
            torch.testing.assert_close(getattr(batched, name)[i, j, view], getattr(single, name), rtol=2e-5, atol=2e-5)


def test_a_camera_without_views_gives_none():
    gaussians, camera = make_gaussians(20, 3, leading=(2,)), make_camera(16, 12)
    one_each = Camera(camera.w2c.expand(2, 4, 4), camera.K.expand(2, 3, 3), 16, 12)
    rendering = render_gaussians(gaussians, one_each)
    assert rendering.features.shape == (2, 3, 12, 16)
    assert rendering.radii.shape == (2, 20, 2)
