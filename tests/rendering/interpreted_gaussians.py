"""Run by ``test_gaussians_triton_interpreted``: each scene drawn by the Triton kernels and by the reference.

Prints one line of JSON per scene: what was found to differ by how much.
"""

import json
import logging
import sys
from dataclasses import replace

import torch
from gaussian_scenes import INPUTS, join, make_camera, make_gaussians, relative_error, render_with_gradients

from gha.geometry import Camera
from gha.rendering import Gaussians, RenderOptions, render_gaussians, triton_backend, triton_capacity
from gha.rendering import gaussian_rendering as dispatch
from gha.rendering.triton_tuning import Tuning

dispatch._choose_backend = lambda gaussians, name: name  # the kernels are interpreted: no device is needed
logging.basicConfig(stream=sys.stderr)
CHANNELS = {"one channel": 1, "three channels": 3, "as many channels as fit": 32, "two passes over the channels": 40}
SCENES = {}


def scene(function):
    SCENES[function.__name__.replace("_", " ")] = function
    return function


def compare(gaussians, camera, background=None, options=None):
    """Largest differences of images and relative differences of gradients from the reference."""
    (found, gradients), (expected, expected_gradients) = (
        render_with_gradients(lambda g, b=backend: render_gaussians(g, camera, background, b, options), gaussians)
        for backend in ("triton", "torch")
    )
    differences = {}
    for name in ("features", "alpha", "depth", "means2d", "radii"):
        difference = (getattr(found, name) - getattr(expected, name)).detach().abs()
        differences[name] = float(difference.max()) if difference.numel() else 0.0
    for name in INPUTS:
        differences[f"gradient of {name}"] = relative_error(gradients[name], expected_gradients[name])
    return differences


def channels(count):
    camera = make_camera(23, 13, center=(9.0, 8.0))
    return compare(make_gaussians(60, count, -2.0), camera, torch.linspace(-1, 1, count))


for title, number in CHANNELS.items():
    SCENES[title] = lambda number=number: channels(number)


@scene
def many_chunks_in_a_tile():
    gaussians = make_gaussians(150, 2, -2.0)
    return compare(replace(gaussians, opacities=gaussians.opacities * 0.2), make_camera(17, 9))


@scene
def opaque_Gaussians_end_pixels():
    gaussians = make_gaussians(100, 3, -1.5)
    return compare(replace(gaussians, opacities=torch.full((100,), 0.97)), make_camera(17, 9), torch.ones(3))


@scene
def a_batch_with_views():
    gaussians, camera = make_gaussians(25, 3, -2.0, leading=(2,)), make_camera(18, 11)
    w2c = camera.w2c.repeat(2, 3, 1, 1)
    w2c[:, :, 0, 3] = torch.linspace(-0.3, 0.3, 3)
    return compare(gaussians, Camera(w2c, camera.K.expand(2, 3, 3, 3), 18, 11), torch.rand(3))


@scene
def other_tiles():
    triton_backend.TUNING = Tuning(8, 8, 16, 16, 2, 2)
    try:
        return compare(make_gaussians(40, 20, -2.0), make_camera(18, 19))
    finally:
        triton_backend.TUNING = Tuning()


@scene
def needles_and_large_ones():
    gaussians = make_gaussians(30, 2, -2.0)
    gaussians.scales[::3, 0] = 1.5
    gaussians.scales[::3, 1] = 1e-3
    gaussians.scales[1::6] = 2.0
    return compare(gaussians, make_camera(40, 30))


@scene
def ties_in_depth_go_by_index():
    gaussians = make_gaussians(50, 3, -1.5)
    gaussians.means[:, 2] = 3.0
    return compare(gaussians, make_camera(20, 9))


@scene
def behind_beside_and_broken():
    gaussians = make_gaussians(40, 2, -2.0)
    gaussians.means[::4, 2] *= -1
    gaussians.means[1::8, 0] += 50
    broken = make_gaussians(8, 2, seed=3)
    broken.means[0, 0] = torch.nan
    broken.means[1, 2] = torch.inf
    broken.quats[2] = 0
    broken.quats[3, 1] = torch.nan
    broken.scales[4] = torch.inf
    broken.scales[5, 0] = torch.nan
    broken.opacities[6] = torch.nan
    broken.scales[7] = 1e30
    return compare(join(gaussians, broken), make_camera(20, 9))


@scene
def nothing_in_front():
    return compare(replace(make_gaussians(5, 2), means=torch.full((5, 3), -1.0)), make_camera(20, 9), torch.ones(2))


@scene
def no_gaussians():
    return compare(make_gaussians(0, 2), make_camera(20, 9), torch.ones(2))


@scene
def another_low_pass_and_cap():
    options = RenderOptions(near=2.9, low_pass=1.0, alpha_cap=0.5)
    return compare(make_gaussians(40, 2, -2.0), make_camera(20, 9), None, options)


@scene
def a_camera_that_learns():
    gradients = {}
    for backend in ("triton", "torch"):
        camera = make_camera(20, 9)
        w2c = camera.w2c.requires_grad_()
        drawn = render_gaussians(make_gaussians(40, 2, -2.0), Camera(w2c, camera.K, 20, 9), backend=backend)
        (drawn.features.square().sum() + drawn.depth.sum()).backward()
        gradients[backend] = w2c.grad
    return {"gradient of w2c": relative_error(gradients["triton"], gradients["torch"])}


@scene
def only_features_are_used():
    found = {}
    gaussians, background = make_gaussians(40, 3, -2.0), torch.rand(3)
    for backend in ("triton", "torch"):
        leaves = [getattr(gaussians, name).detach().clone().requires_grad_() for name in INPUTS]
        beyond = background.clone().requires_grad_()
        drawn = render_gaussians(Gaussians(*leaves), make_camera(20, 9), beyond, backend)
        found[backend] = torch.autograd.grad(drawn.features.square().sum(), [*leaves, beyond])
    return {
        f"gradient of {name}": relative_error(a, b)
        for name, a, b in zip([*INPUTS, "background"], found["triton"], found["torch"], strict=True)
    }


@scene
def too_few_pairs():
    """A picture with gradients lacks Gaussians once and says so; one without is drawn again at once."""
    gaussians, camera = make_gaussians(60, 2, -2.0), make_camera(22, 12)
    with torch.no_grad():
        expected = render_gaussians(gaussians, camera, backend="torch").features
        render_gaussians(gaussians, camera, backend="triton")
    (budget,) = (budget for key, budget in triton_capacity._budgets.items() if key[2:5] == (60, 22, 12))
    before = triton_capacity.overflowed()
    budget.capacity = 48
    learning = replace(gaussians, opacities=gaussians.opacities.clone().requires_grad_())
    first = render_gaussians(learning, camera, backend="triton")
    first.features.sum().backward()
    grown = [budget.capacity]
    second = render_gaussians(learning, camera, backend="triton").features.detach()
    grown.append(budget.capacity)
    budget.capacity = 48
    with torch.no_grad():
        third = render_gaussians(gaussians, camera, backend="triton").features
    budget.capacity = 48
    render_gaussians(learning, camera, backend="triton")
    return {
        "lacking": float((first.features.detach() - expected).abs().max()),
        "finite": bool(learning.opacities.grad.isfinite().all()),
        "grown": grown,
        "overflowed": [before, triton_capacity.overflowed(), triton_capacity.overflowed()],
        "second": float((second - expected).abs().max()),
        "without gradients": float((third - expected).abs().max()),
    }


def main():
    for title, function in SCENES.items():
        torch.manual_seed(0)
        sys.stdout.write(json.dumps({"scene": title, **function()}) + "\n")


if __name__ == "__main__":
    main()
