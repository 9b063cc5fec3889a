"""The compiled CPU back end against the reference, and the same bits for any number of threads."""

import logging

import numba
import pytest
import torch
from gaussian_scenes import (
    INPUTS,
    join,
    make_camera,
    make_gaussians,
    one_gaussian,
    relative_error,
    render_with_gradients,
)

from gha.geometry.rotations import axis_angle_to_matrix
from gha.rendering import Gaussians, RenderOptions, render_gaussians
from gha.rendering.gaussian_rendering import _automatic_backend
from gha.rendering.numba_projection import project_gaussians as compiled_projection
from gha.rendering.numba_tiles import depth_order
from gha.rendering.projection import project_gaussians

SCENES = {
    "small Gaussians": (2000, 32, -4.2, 96, 80),
    "three channels, odd size": (500, 3, -3.0, 53, 37),
    "many channels": (200, 45, -3.0, 40, 40),
    "large Gaussians": (60, 16, -0.5, 50, 70),
    "tiny image": (100, 1, -2.0, 3, 5),
    "tall image": (300, 4, -2.5, 17, 130),
}


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("seed", [1, 2])
def test_numba_agrees_with_the_reference(scene, seed):
    count, channels, log_scale, width, height = SCENES[scene]
    gaussians = make_gaussians(count, channels, log_scale, seed=seed)
    camera = make_camera(width, height, focal=1.1 * max(width, height), center=(0.4 * width, 0.55 * height))
    background = torch.linspace(-1, 1, channels)
    results = [
        render_with_gradients(lambda g, b=backend: render_gaussians(g, camera, background, b), gaussians)
        for backend in ("numba", "torch")
    ]
    (images, gradients), (expected_images, expected_gradients) = results
    for name in ("features", "alpha", "depth"):
        torch.testing.assert_close(getattr(images, name), getattr(expected_images, name), rtol=0, atol=1e-5)
    for name in INPUTS:
        assert relative_error(gradients[name], expected_gradients[name]) < 1e-4, name
    torch.testing.assert_close(images.radii, expected_images.radii)


@pytest.mark.parametrize("threads", [1, 2])
def test_results_do_not_depend_on_the_number_of_threads(threads):
    if threads > numba.config.NUMBA_NUM_THREADS:
        pytest.skip("numba was started with fewer threads")
    gaussians, camera = make_gaussians(800, 8, leading=(2,)), make_camera(70, 50)
    camera = type(camera)(camera.w2c.expand(2, 3, 4, 4), camera.K.expand(2, 3, 3, 3), 70, 50)

    def run(count):
        before = numba.get_num_threads()
        numba.set_num_threads(count)
        try:
            return render_with_gradients(lambda g: render_gaussians(g, camera, backend="numba"), gaussians)
        finally:
            numba.set_num_threads(before)

    (images, gradients), (expected_images, expected_gradients) = run(threads), run(1)
    for name in ("features", "alpha", "depth"):
        assert torch.equal(getattr(images, name), getattr(expected_images, name))
    for name in INPUTS:
        assert torch.equal(gradients[name], expected_gradients[name]), name


def test_cameras_that_learn_agree_too():
    """With gradients of the camera the compiled back end uses the reference's projection."""
    gaussians, gradients = make_gaussians(100, 4), {}
    for backend in ("torch", "numba"):
        camera = make_camera(40, 30)
        camera = type(camera)(camera.w2c.requires_grad_(), camera.K, 40, 30)
        rendering = render_gaussians(gaussians, camera, backend=backend)
        (rendering.features.square().sum() + rendering.depth.sum()).backward()
        gradients[backend] = camera.w2c.grad
    assert relative_error(gradients["numba"], gradients["torch"]) < 1e-4


def test_the_compiled_projection_gives_the_same_bits():
    gaussians, camera = make_gaussians(3000, 1), make_camera(64, 48, center=(30.25, 26.5))
    turned = camera.w2c.clone()
    turned[:3, :3] = axis_angle_to_matrix(torch.tensor([0.1, -0.2, 0.3]))
    sets = Gaussians(*(getattr(gaussians, name)[None] for name in INPUTS))
    views = type(camera)(turned[None, None], camera.K[None, None], 64, 48)
    found, expected = (project(sets, views, RenderOptions()) for project in (compiled_projection, project_gaussians))
    assert 0.3 < expected.visible.double().mean() < 1
    for name in ("means2d", "conics", "depth", "visible"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    torch.testing.assert_close(found.radii, expected.radii)


def broken_set():
    """Finite Gaussians, and after them some that cannot be drawn."""
    good = make_gaussians(20, 2)
    bad = make_gaussians(8, 2, seed=3)
    bad.means[0, 0] = torch.nan
    bad.means[1, 2] = torch.inf
    bad.quats[2] = 0
    bad.quats[3, 1] = torch.nan
    bad.scales[4] = torch.inf
    bad.scales[5, 0] = torch.nan
    bad.opacities[6] = torch.nan
    bad.scales[7] = 1e30
    return good, bad


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_gaussians_that_are_not_finite_are_not_drawn(backend):
    good, bad = broken_set()
    camera = make_camera(30, 20)
    found, gradients = render_with_gradients(lambda g: render_gaussians(g, camera, backend=backend), join(good, bad))
    expected, expected_gradients = render_with_gradients(lambda g: render_gaussians(g, camera, backend=backend), good)
    torch.testing.assert_close(found.features, expected.features)
    assert (found.radii[20:] == 0).all()
    for name in INPUTS:
        torch.testing.assert_close(gradients[name][:20], expected_gradients[name])
        assert (gradients[name][20:] == 0).all(), name


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_an_empty_set_shows_the_background(backend):
    gaussians = make_gaussians(0, 3)
    gaussians.features.requires_grad_()
    rendering = render_gaussians(gaussians, make_camera(20, 12), torch.tensor([0.1, 0.2, 0.3]), backend)
    assert torch.equal(rendering.features, torch.tensor([0.1, 0.2, 0.3])[:, None, None].expand(3, 12, 20))
    assert rendering.alpha.max() == rendering.depth.max() == 0
    rendering.features.sum().backward()
    camera = make_camera(20, 12)
    views = type(camera)(camera.w2c.expand(3, 4, 4), camera.K.expand(3, 3, 3), 20, 12)
    assert (render_gaussians(gaussians, views, torch.ones(3), backend).features == 1).all()


@pytest.mark.parametrize("backend", ["torch", "numba"])
@pytest.mark.parametrize("z", [-3.0, 0.0])
def test_everything_behind_the_camera_shows_the_background(backend, z):
    gaussian = one_gaussian((0.0, 0.0, z), 0.5, 0.9, (1.0,), torch.float32)
    images, gradients = render_with_gradients(
        lambda g: render_gaussians(g, make_camera(20, 12), torch.ones(1), backend), gaussian
    )
    assert (images.features == 1).all()
    assert all((gradient == 0).all() for gradient in gradients.values())


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_huge_and_tiny_gaussians_stay_finite(backend):
    parts = [one_gaussian((0.0, 0.0, 3.0), scale, 0.5, (1.0,), torch.float32) for scale in (1e-12, 1e-3, 1e2, 1e4)]
    near = one_gaussian((0.0, 0.0, 0.011), 1e-3, 0.5, (1.0,), torch.float32)
    images, gradients = render_with_gradients(
        lambda g: render_gaussians(g, make_camera(20, 12), backend=backend), join(*parts, near)
    )
    assert images.features.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert images.alpha.min() > 0.7


def test_features_that_are_not_finite_show():
    gaussian = one_gaussian(features=(torch.nan,), dtype=torch.float32)
    for backend in ("torch", "numba"):
        assert render_gaussians(gaussian, make_camera(16, 16), backend=backend).features.isnan().any()


def test_half_precision_features_are_drawn_in_single():
    gaussians, camera = make_gaussians(50, 4), make_camera(24, 24)
    half = Gaussians(
        gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.features.bfloat16()
    )
    found, expected = (render_gaussians(g, camera).features for g in (half, gaussians))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)


def test_auto_says_once_what_it_chose(caplog):
    _automatic_backend.cache_clear()
    gaussians, camera = make_gaussians(5, 1), make_camera(8, 8)
    with caplog.at_level(logging.INFO, "gha.rendering.gaussian_rendering"):
        render_gaussians(gaussians, camera)
        render_gaussians(gaussians, camera)
        render_gaussians(gaussians.to(dtype=torch.float64), camera)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert "numba" in messages[0]
    assert "torch" in messages[1]


def test_the_cap_is_the_same_option_everywhere():
    gaussians = make_gaussians(200, 2, log_scale=-1.5)
    gaussians = Gaussians(**{**{n: getattr(gaussians, n) for n in INPUTS}, "opacities": torch.ones(200)})
    camera, options = make_camera(40, 40), RenderOptions(alpha_cap=0.999)
    found, expected = (render_gaussians(gaussians, camera, None, b, options).features for b in ("numba", "torch"))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_depth_order_breaks_ties_by_index():
    depth = torch.tensor([[2.0, 1.0, 2.0, 0.5, 1.0], [1.0, 1.0, 1.0, 1.0, 0.25]]).numpy()
    assert depth_order(depth).tolist() == [[3, 1, 4, 0, 2], [4, 0, 1, 2, 3]]
