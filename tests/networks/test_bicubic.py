"""Bicubic enlargement by products is that of PyTorch, with its gradient."""

import pytest
import torch
from torch.nn.functional import interpolate

from gha.networks.bicubic import _Interpolation, enlarge_bicubic


def reference(images):
    return interpolate(images, scale_factor=4, mode="bicubic", align_corners=False)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (32, 32), (64, 48), (129, 5)])  # the last is interpolated
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_enlarged_images_are_those_of_interpolation(size, dtype):
    images = torch.rand(2, 4, *size, generator=torch.Generator().manual_seed(0), dtype=dtype)
    torch.testing.assert_close(enlarge_bicubic(images, 4), reference(images), atol=3e-6, rtol=0)


def test_the_gradient_is_that_of_interpolation():
    images = torch.rand(1, 4, 16, 20, requires_grad=True)
    weights = torch.rand(1, 4, 64, 80)
    expected = torch.autograd.grad((reference(images) * weights).sum(), images)[0]
    found = torch.autograd.grad((enlarge_bicubic(images, 4) * weights).sum(), images)[0]
    torch.testing.assert_close(found, expected, atol=3e-5, rtol=1e-5)


def test_what_inference_has_kept_may_be_trained_with():
    with torch.inference_mode():
        enlarge_bicubic(torch.rand(1, 1, 11, 13), 4)
    images = torch.rand(1, 1, 11, 13, requires_grad=True)
    enlarge_bicubic(images, 4).sum().backward()
    assert images.grad is not None


def test_the_gradient_that_gpus_take_is_that_of_interpolation():
    images = torch.rand(2, 4, 16, 20, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(2, 4, 64, 80, dtype=torch.float64)
    enlarged = _Interpolation.apply(images, 4)
    assert torch.equal(enlarged, reference(images))
    expected = torch.autograd.grad((reference(images) * weights).sum(), images)[0]
    found = torch.autograd.grad((enlarged * weights).sum(), images)[0]
    torch.testing.assert_close(found, expected, atol=3e-6, rtol=1e-6)
