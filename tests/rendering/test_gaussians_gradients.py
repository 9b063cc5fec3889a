"""Gradients of splatting: against finite differences, and where there are none."""

import pytest
import torch
from gaussian_scenes import INPUTS, join, make_camera, make_gaussians, one_gaussian, render_with_gradients

from gha.geometry import Camera
from gha.rendering import Gaussians, RenderOptions, render_gaussians


def test_gradcheck_of_everything():
    gaussians, camera = make_gaussians(12, 2, log_scale=-2.3, dtype=torch.float64), make_camera(9, 7, 9.0)
    inputs = [getattr(gaussians, name).requires_grad_() for name in INPUTS]
    background = torch.tensor([0.3, -0.7], dtype=torch.float64, requires_grad=True)
    w2c = camera.w2c.double().requires_grad_()

    def images(*values):
        *tensors, behind, pose = values
        rendering = render_gaussians(
            Gaussians(*tensors), Camera(pose, camera.K.double(), 9, 7), behind, "torch", RenderOptions(alpha_cap=0.999)
        )
        return rendering.features, rendering.alpha, rendering.depth, rendering.means2d

    assert torch.autograd.gradcheck(images, (*inputs, background, w2c), eps=1e-7, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_the_background_gets_the_uncovered_share(backend):
    camera, background = make_camera(20, 14), torch.zeros(3, requires_grad=True)
    rendering = render_gaussians(make_gaussians(30, 3), camera, background, backend)
    rendering.features.sum().backward()
    torch.testing.assert_close(background.grad, (1 - rendering.alpha).sum().expand(3), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_nothing_is_learned_through_the_cap(backend):
    opacity = torch.tensor([1.0], requires_grad=True)
    gaussian = one_gaussian(scale=100.0, dtype=torch.float32)
    gaussian = Gaussians(gaussian.means, gaussian.quats, gaussian.scales, opacity, gaussian.features)
    render_gaussians(gaussian, make_camera(8, 8), backend=backend).alpha.sum().backward()
    assert opacity.grad.item() == 0


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_hidden_gaussians_get_no_gradient(backend):
    wall = one_gaussian((0.0, 0.0, 1.0), 5.0, 1.0, (1.0, 1.0), torch.float32)
    second = one_gaussian((0.0, 0.0, 1.5), 5.0, 1.0, (1.0, 1.0), torch.float32)
    hidden = make_gaussians(10, 2)
    behind = one_gaussian((0.0, 0.0, -1.0), 0.1, 0.5, (1.0, 1.0), torch.float32)
    camera = make_camera(16, 16)
    _, gradients = render_with_gradients(
        lambda g: render_gaussians(g, camera, backend=backend), join(wall, second, hidden, behind)
    )
    for name in INPUTS:
        assert (gradients[name][2:] == 0).all(), name
    assert gradients["features"][0].abs().sum() > 0


def test_only_one_output_may_be_used():
    """Losses on the features, on alpha or on the depth alone reach the inputs through the compiled back end."""
    camera = make_camera(16, 16)
    for name in ("features", "alpha", "depth"):
        gradients = {}
        for backend in ("torch", "numba"):
            gaussians = make_gaussians(20, 2)
            means = gaussians.means.requires_grad_()
            getattr(render_gaussians(gaussians, camera, backend=backend), name).square().sum().backward()
            gradients[backend] = means.grad
        torch.testing.assert_close(gradients["numba"], gradients["torch"], rtol=1e-3, atol=1e-4)
        assert gradients["torch"].abs().sum() > 0
