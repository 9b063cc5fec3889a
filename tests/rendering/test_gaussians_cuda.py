"""Splatting on a GPU: the CUDA back ends against the reference on the CPU."""

import sys

import pytest
import torch
from gaussian_scenes import INPUTS, make_camera, make_gaussians, relative_error, render_with_gradients

from gha.geometry import Camera
from gha.rendering import RenderOptions, render_gaussians
from gha.rendering.gaussian_rendering import _gsplat_is_usable

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]
OPTIONS = RenderOptions(alpha_cap=0.999)
SCENES = {
    "10k small, 32 channels": (10_000, 32, -4.2, 256, 256),
    "3 channels, odd size": (2_000, 3, -3.0, 201, 131),
    "70 channels": (1_000, 70, -3.0, 96, 64),
    "large": (200, 16, -1.0, 128, 96),
}


@pytest.fixture(params=["triton", "gsplat", "torch"])
def backend(request):
    if request.param == "gsplat" and not _gsplat_is_usable():
        pytest.skip("gsplat is not installed or cannot be compiled here")
    return request.param


def views(width, height, count):
    """Cameras side by side, with off-centre principal points."""
    camera = make_camera(width, height, 1.1 * max(width, height), (0.47 * width, 0.56 * height))
    w2c = camera.w2c.repeat(count, 1, 1)
    w2c[:, 0, 3] = torch.linspace(-0.1, 0.1, count)
    return Camera(w2c, camera.K.repeat(count, 1, 1), width, height)


def report(title, images, expected, gradients, expected_gradients):
    """Print a line per image and gradient; returns the fractions within 1e-4 and the errors of the gradients."""
    fractions, errors = {}, {}
    for name in ("features", "alpha", "depth"):
        difference = (getattr(images, name).detach().cpu() - getattr(expected, name).detach()).abs()
        fractions[name] = float((difference.amax(-3) < 1e-4).double().mean())
        sys.stdout.write(f"\n{title:38s} {name:10s} max {difference.max():.2e}  within 1e-4 {fractions[name]:.6f}")
    for name in INPUTS:
        errors[name] = relative_error(gradients[name], expected_gradients[name])
        sys.stdout.write(f"\n{title:38s} {name:10s} gradient, relative error {errors[name]:.2e}")
    return fractions, errors


@pytest.mark.parametrize("scene", SCENES)
def test_cuda_agrees_with_the_reference(backend, scene):
    count, channels, log_scale, width, height = SCENES[scene]
    gaussians, camera = make_gaussians(count, channels, log_scale), views(width, height, 2)
    background = torch.linspace(0, 1, channels)
    expected, expected_gradients = render_with_gradients(
        lambda g: render_gaussians(g, camera, background, "torch", OPTIONS), gaussians
    )
    found, gradients = render_with_gradients(
        lambda g: render_gaussians(g, camera.to("cuda"), background.to("cuda"), backend, OPTIONS),
        gaussians.to("cuda"),
    )
    fractions, errors = report(f"{backend}: {scene}", found, expected, gradients, expected_gradients)
    assert all(fraction >= 0.9999 for name, fraction in fractions.items() if name != "depth"), fractions
    # One minus the transmittance, which gsplat divides by, has few digits where alpha is near 1/255.
    assert fractions["depth"] >= 0.99, fractions
    assert all(error < 2e-3 for error in errors.values()), errors


def test_batches_on_cuda(backend):
    gaussians, camera = make_gaussians(300, 5, leading=(2,)), views(50, 40, 3)
    camera = Camera(camera.w2c.expand(2, 3, 4, 4), camera.K.expand(2, 3, 3, 3), 50, 40)
    expected = render_gaussians(gaussians, camera, options=OPTIONS)
    found = render_gaussians(gaussians.to("cuda"), camera.to("cuda"), None, backend, OPTIONS)
    assert found.features.shape == (2, 3, 5, 40, 50)
    assert found.radii.shape == found.means2d.shape == (2, 3, 300, 2)
    assert ((found.features.cpu() - expected.features).abs() < 1e-4).double().mean() >= 0.9999


def test_broken_gaussians_on_cuda(backend):
    gaussians, camera = make_gaussians(50, 4), make_camera(40, 30)
    expected = render_gaussians(gaussians, camera, options=OPTIONS).features
    extra = make_gaussians(56, 4)
    for name in INPUTS:
        getattr(extra, name)[:50] = getattr(gaussians, name)
    extra.means[50] = torch.nan
    extra.means[51] = torch.inf
    extra.quats[52] = 0
    extra.scales[53] = torch.nan
    extra.opacities[54] = torch.nan
    extra.scales[55] = torch.inf
    found, gradients = render_with_gradients(
        lambda g: render_gaussians(g, camera.to("cuda"), None, backend, OPTIONS), extra.to("cuda")
    )
    assert (found.features.cpu() - expected).abs().max() < 1e-3
    assert all(gradient.isfinite().all() for gradient in gradients.values())


@pytest.mark.parametrize("count", [0, 20])
def test_nothing_in_front_of_the_camera_on_cuda(backend, count):
    gaussians, camera = make_gaussians(count, 4), make_camera(40, 30)
    gaussians.means[..., 2] -= 100
    background = torch.rand(4)
    found, _ = render_with_gradients(
        lambda g: render_gaussians(g, camera.to("cuda"), background.to("cuda"), backend, OPTIONS), gaussians.to("cuda")
    )
    assert torch.equal(found.features.detach().cpu(), background[:, None, None].expand(4, 30, 40))
    assert found.alpha.abs().max() == 0
