"""Every mistake a caller can make is named, found against expected."""

from dataclasses import replace

import pytest
import torch
from gaussian_scenes import make_camera, make_gaussians

from gha.errors import InputError
from gha.geometry import Camera
from gha.rendering import RenderOptions, render_gaussians


@pytest.fixture
def gaussians():
    return make_gaussians(4, 3)


def test_unknown_back_end(gaussians):
    with pytest.raises(InputError, match=r"unknown Gaussian back end 'vulkan', expected 'auto' or one of"):
        render_gaussians(gaussians, make_camera(8, 8), backend="vulkan")


def test_double_precision_needs_the_reference(gaussians):
    with pytest.raises(InputError, match="'numba' computes in float32, found float64 means; use 'torch'"):
        render_gaussians(gaussians.to(dtype=torch.float64), make_camera(8, 8), backend="numba")


def test_gsplat_needs_cuda(gaussians):
    with pytest.raises(InputError, match="'gsplat' needs tensors on cuda, found cpu"):
        render_gaussians(gaussians, make_camera(8, 8), backend="gsplat")


def test_background_has_one_value_per_channel(gaussians):
    with pytest.raises(InputError, match=r"background has shape \[2\], expected one value per channel, \[3\]"):
        render_gaussians(gaussians, make_camera(8, 8), torch.ones(2))


def test_leading_dimensions_must_fit(gaussians):
    camera = make_camera(8, 8)
    batch = Camera(camera.w2c.expand(2, 3, 4, 4), camera.K.expand(2, 3, 3, 3), 8, 8)
    with pytest.raises(InputError, match=r"camera has leading dimensions \[2, 3\].*\[\], or \['V'\]"):
        render_gaussians(gaussians, batch)


def test_devices_must_match(gaussians):
    camera = make_camera(8, 8)
    with pytest.raises(InputError, match=r"camera\.w2c is on meta, expected the device of the Gaussians, cpu"):
        render_gaussians(gaussians, replace(camera, w2c=camera.w2c.to("meta")))


def test_surfels_are_refused(gaussians):
    with pytest.raises(InputError, match="draws primitive 'ellipsoid', found 'surfel'"):
        render_gaussians(replace(gaussians, primitive="surfel"), make_camera(8, 8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"near": 0.0}, "near must be positive, got 0.0"),
        ({"low_pass": 0.0}, "low_pass must be positive, got 0.0"),
        ({"alpha_cap": 1.0}, "alpha_cap must lie between 1/255 and 1, got 1.0"),
    ],
)
def test_options_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        RenderOptions(**arguments)
