"""The Triton back end on a GPU: precision, determinism, no waiting, CUDA graphs, overflow."""

import sys
from dataclasses import replace

import pytest
import torch
from gaussian_scenes import INPUTS, make_camera, make_gaussians, relative_error, render_with_gradients

from gha.rendering import Gaussians, RenderOptions, render_gaussians
from gha.rendering.gaussian_rendering import _automatic_backend, _gsplat_is_usable

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]


def large_scene(count=20_000, size=512, channels=32):
    return make_gaussians(count, channels, -4.2).to("cuda"), make_camera(size, size).to("cuda")


def leaves_of(gaussians):
    return [getattr(gaussians, name).detach().clone().requires_grad_() for name in INPUTS]


def step(inputs, camera, backend="triton", options=None):
    """Features and the gradients of a fixed function of them."""
    drawn = render_gaussians(Gaussians(*inputs), camera, None, backend, options)
    loss = drawn.features.square().sum() + drawn.alpha.sum() + drawn.depth.sum()
    return drawn.features, torch.autograd.grad(loss, inputs)


def test_it_is_the_default():
    _automatic_backend.cache_clear()
    assert _automatic_backend("cuda", torch.float32) == "triton"


@pytest.mark.parametrize("other", ["torch", "gsplat"])
def test_a_large_scene_agrees_with_the_others(other):
    if other == "gsplat" and not _gsplat_is_usable():
        pytest.skip("gsplat is not installed or cannot be compiled here")
    gaussians, camera = large_scene()
    options = RenderOptions(alpha_cap=0.999)
    (found, gradients), (expected, expected_gradients) = (
        render_with_gradients(lambda g, b=backend: render_gaussians(g, camera, None, b, options), gaussians)
        for backend in ("triton", other)
    )
    fractions = {
        name: float(((getattr(found, name) - getattr(expected, name)).abs().amax(-3) < 1e-4).double().mean())
        for name in ("features", "alpha")
    }
    errors = {name: relative_error(gradients[name], expected_gradients[name]) for name in INPUTS}
    sys.stdout.write(f"\ntriton against {other}: within 1e-4 {fractions}, gradients {errors}")
    assert all(fraction >= 0.9999 for fraction in fractions.values()), fractions
    assert all(error < 1e-3 for error in errors.values()), errors


@pytest.mark.parametrize(("precision", "tolerance"), [("tf32x3", 1e-4), ("ieee", 1e-4), ("tf32", 2e-3)])
def test_precisions_keep_what_they_promise(precision, tolerance):
    gaussians, camera = large_scene(5000, 256)
    gaussians = replace(gaussians, features=gaussians.features.sigmoid())
    expected, expected_gradients = step(leaves_of(gaussians), camera, "torch")
    found, gradients = step(leaves_of(gaussians), camera, options=RenderOptions(precision=precision))
    errors = [relative_error(a, b) for a, b in zip(gradients, expected_gradients, strict=True)]
    sys.stdout.write(f"\n{precision}: {float((found - expected).abs().max()):.1e}, gradients {max(errors):.1e}")
    assert ((found - expected).abs().amax(0) < tolerance).double().mean() >= 0.9999
    assert max(errors) < (1e-3 if precision != "tf32" else 1e-2)


@pytest.mark.parametrize("channels", [1, 3, 32, 40, 70])
def test_any_number_of_channels(channels):
    gaussians, camera = make_gaussians(500, channels, -2.5).to("cuda"), make_camera(67, 45).to("cuda")
    background = torch.linspace(0, 1, channels, device="cuda")
    (found, gradients), (expected, expected_gradients) = (
        render_with_gradients(lambda g, b=backend: render_gaussians(g, camera, background, b), gaussians)
        for backend in ("triton", "torch")
    )
    assert ((found.features - expected.features).abs() < 1e-4).double().mean() >= 0.9999
    for name in INPUTS:
        assert relative_error(gradients[name], expected_gradients[name]) < 1e-3, name


def test_the_same_bits_twice():
    gaussians, camera = large_scene()
    (first, gradients), (second, again) = (step(leaves_of(gaussians), camera) for _ in range(2))
    assert torch.equal(first, second)
    for name, a, b in zip(INPUTS, gradients, again, strict=True):
        assert torch.equal(a, b), name


def test_nothing_waits_for_the_device():
    gaussians, camera = large_scene(2001, 200)
    inputs = leaves_of(gaussians)
    expected, _ = step(inputs, camera)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            found, _ = step(inputs, camera)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(found, expected)


def test_a_graph_draws_and_differentiates_what_it_is_given():
    gaussians, camera = large_scene(3000, 128, 8)
    inputs = leaves_of(gaussians)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step(inputs, camera)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found, gradients = step(inputs, camera)
    with torch.no_grad():
        inputs[0].add_(0.01)
        inputs[4].mul_(0.5)
    graph.replay()
    expected, expected_gradients = step(inputs, camera)
    assert torch.equal(found, expected)
    for name, a, b in zip(INPUTS, gradients, expected_gradients, strict=True):
        assert torch.equal(a, b), name


def test_a_graph_needs_one_picture_before_it():
    gaussians, camera = large_scene(77, 33, 3)
    with pytest.raises(Exception, match="after one picture of its kind"), torch.cuda.graph(torch.cuda.CUDAGraph()):
        render_gaussians(gaussians, camera, backend="triton")


def test_too_few_pairs_in_a_graph_are_noticed():
    from gha.rendering.triton_capacity import overflowed

    gaussians, camera = large_scene(3000, 96, 4)
    small = replace(gaussians, scales=gaussians.scales * 0.1)
    scales = small.scales.clone()
    drawn = replace(small, scales=scales)
    with torch.no_grad():
        render_gaussians(drawn, camera, backend="triton")
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            render_gaussians(drawn, camera, backend="triton")
        graph.replay()
        assert not overflowed()
        scales.copy_(gaussians.scales * 5)
        graph.replay()
        assert overflowed()
        assert not overflowed()
        found = render_gaussians(drawn, camera, backend="triton").features
        expected = render_gaussians(drawn, camera, backend="torch").features
    assert ((found - expected).abs() < 1e-4).double().mean() >= 0.9999
