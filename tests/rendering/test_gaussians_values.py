"""Values of splatted images against closed forms, on every CPU back end."""

import math

import pytest
import torch
from gaussian_scenes import join, make_camera, one_gaussian

from gha.rendering import RenderOptions, render_gaussians

BACKENDS = ["torch", "numba"]
TOLERANCE = {"torch": {"rtol": 1e-9, "atol": 1e-9}, "numba": {"rtol": 2e-5, "atol": 2e-6}}


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


def draw(gaussians, camera, backend, **arguments):
    """Render in the precision of the back end."""
    dtype = torch.float64 if backend == "torch" else torch.float32
    return render_gaussians(gaussians.to(dtype=dtype), camera.to(dtype=dtype), backend=backend, **arguments)


def expected_alpha(camera, opacity, center, variance):
    """alpha = opacity * exp(-r² / 2 variance) at the pixel centres, cut at 1/255."""
    y, x = torch.meshgrid(torch.arange(camera.height) + 0.5, torch.arange(camera.width) + 0.5, indexing="ij")
    squared = (x.double() - center[0]) ** 2 + (y.double() - center[1]) ** 2
    alpha = opacity * torch.exp(-squared / (2 * variance))
    return torch.where(alpha >= 1 / 255, alpha, torch.zeros_like(alpha))


def test_a_sphere_on_the_axis_is_the_widened_gaussian(backend):
    camera = make_camera(33, 21, focal=60.0, center=(14.25, 9.75))
    rendering = draw(one_gaussian(scale=0.1, opacity=0.8, features=(2.0, -1.0)), camera, backend)
    alpha = expected_alpha(camera, 0.8, (14.25, 9.75), (60.0 * 0.1 / 3) ** 2 + 0.3)
    expected = torch.stack([2 * alpha, -alpha])
    torch.testing.assert_close(rendering.features.double(), expected, **TOLERANCE[backend])
    torch.testing.assert_close(rendering.alpha[0].double(), alpha, **TOLERANCE[backend])
    assert 0 < (alpha > 0).double().mean() < 1


def test_depth_is_that_of_the_centre_and_zero_outside(backend):
    rendering = draw(one_gaussian(position=(0.0, 0.0, 2.5)), make_camera(24, 24), backend)
    seen = rendering.alpha > 0
    assert 0 < seen.double().mean() < 1
    torch.testing.assert_close(rendering.depth[seen], torch.full_like(rendering.depth[seen], 2.5))
    assert (rendering.depth[~seen] == 0).all()


def test_two_gaussians_composite_front_to_back(backend):
    camera = make_camera(16, 16, focal=40.0)
    front = one_gaussian(position=(0.0, 0.0, 2.0), opacity=0.6, features=(1.0, 0.0))
    back = one_gaussian(position=(0.0, 0.0, 4.0), opacity=0.9, features=(0.0, 1.0))
    background = torch.tensor([0.25, 0.5], dtype=torch.float64 if backend == "torch" else torch.float32)
    rendering = draw(join(back, front), camera, backend, background=background)
    near = expected_alpha(camera, 0.6, (8, 8), (40 * 0.05 / 2) ** 2 + 0.3)
    far = expected_alpha(camera, 0.9, (8, 8), (40 * 0.05 / 4) ** 2 + 0.3)
    weights = near, far * (1 - near)
    through = (1 - near) * (1 - far)
    expected = torch.stack([weights[0] + 0.25 * through, weights[1] + 0.5 * through])
    torch.testing.assert_close(rendering.features.double(), expected, **TOLERANCE[backend])
    torch.testing.assert_close(rendering.alpha[0].double(), 1 - through, **TOLERANCE[backend])
    total = (weights[0] + weights[1]).clamp_min(1e-12)
    depth = torch.where(total > 1e-9, (2 * weights[0] + 4 * weights[1]) / total, torch.zeros_like(total))
    torch.testing.assert_close(rendering.depth[0].double(), depth, rtol=1e-5, atol=1e-5)


def test_ties_in_depth_go_by_index(backend):
    first, second = one_gaussian(features=(1.0, 0.0)), one_gaussian(features=(0.0, 1.0))
    center = draw(join(first, second), make_camera(15, 15), backend).features[:, 7, 7]
    torch.testing.assert_close(center.double(), torch.tensor([0.8, 0.2 * 0.8], dtype=torch.float64), rtol=1e-6, atol=0)


@pytest.mark.parametrize("cap", [0.99, 0.999, 0.5])
def test_alpha_is_capped(backend, cap):
    rendering = draw(one_gaussian(opacity=1.0), make_camera(15, 15), backend, options=RenderOptions(alpha_cap=cap))
    assert rendering.alpha.max().item() == pytest.approx(cap, rel=1e-6)


def test_the_gaussian_that_would_end_a_pixel_is_not_drawn(backend):
    """Two at 0.99 leave 1e-4 and are drawn; the third would go below and ends the pixel, also for what is behind it."""
    parts = [one_gaussian((0.0, 0.0, 2.0 + k), 0.3, 1.0, torch.eye(4)[k].tolist()) for k in range(3)]
    faint = one_gaussian((0.0, 0.0, 6.0), 0.3, 0.004, (0.0, 0.0, 0.0, 1.0))
    center = draw(join(*parts, faint), make_camera(15, 15), backend).features[:, 7, 7]
    expected = torch.tensor([0.99, 0.0099, 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(center.double(), expected, rtol=1e-5, atol=1e-9)


def test_low_pass_is_an_option(backend):
    camera = make_camera(17, 17, focal=30.0)
    rendering = draw(one_gaussian(scale=1e-6), camera, backend, options=RenderOptions(low_pass=2.0))
    torch.testing.assert_close(
        rendering.alpha[0].double(), expected_alpha(camera, 0.8, (8.5, 8.5), 2.0), **TOLERANCE[backend]
    )


def test_near_plane_hides(backend):
    gaussian = one_gaussian(position=(0.0, 0.0, 0.5))
    camera = make_camera(12, 12)
    assert draw(gaussian, camera, backend, options=RenderOptions(near=0.49)).alpha.max() > 0.5
    assert draw(gaussian, camera, backend, options=RenderOptions(near=0.5)).alpha.max() == 0


def test_an_ellipsoid_turns_with_its_quaternion(backend):
    """A long thin Gaussian along x, turned by 90 degrees about z, is long along y."""
    camera = make_camera(31, 31, focal=31.0)
    lying = one_gaussian()
    lying = type(lying)(**{**vars(lying), "scales": torch.tensor([[0.3, 0.01, 0.01]], dtype=torch.float64)})
    half = math.sqrt(0.5)
    standing = type(lying)(**{**vars(lying), "quats": torch.tensor([[half, 0.0, 0.0, half]], dtype=torch.float64)})
    images = [draw(gaussian, camera, backend).alpha[0] for gaussian in (lying, standing)]
    torch.testing.assert_close(images[0], images[1].T, **TOLERANCE[backend])
    assert images[0][15].sum() > 2 * images[0][:, 15].sum()


def test_radii_and_centres(backend):
    camera = make_camera(40, 30, focal=60.0, center=(21.0, 13.0))
    rendering = draw(one_gaussian(position=(0.3, -0.15, 3.0), opacity=0.8, scale=0.001), camera, backend)
    torch.testing.assert_close(rendering.means2d[0].double(), torch.tensor([27.0, 10.0], dtype=torch.float64))
    reach = math.sqrt(2 * math.log(255 * 0.8) * 0.3)
    assert rendering.radii[0, 0].item() == pytest.approx(reach, rel=1e-2)
    assert draw(one_gaussian(position=(50.0, 0.0, 3.0)), camera, backend).radii.abs().max() == 0
