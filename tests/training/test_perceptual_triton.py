"""The distance of features by kernels: on a CPU by Triton's interpreter, and on a GPU."""

import pytest
import torch
from interpreted import run_interpreted

from gha.training.perceptual import _feature_distance, feature_distance

pytest.importorskip("triton", reason="Triton is not installed")

SCRIPT = """
import torch
from gha.training import perceptual_triton
from gha.training.perceptual import feature_distance

torch.manual_seed(0)
for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
    for shape in ((1, 33, 3, 2), (2, 5, 3, 4), (3, 64, 9, 7), (1, 512, 5, 3)):
        one, other = (torch.randn(shape, dtype=dtype).relu() for _ in range(2))
        one[0, :, 0, 0] = 0
        one, other = one.requires_grad_(), other.requires_grad_()
        weights, slopes = torch.rand(shape[1], dtype=dtype), torch.randn(shape[0], dtype=dtype)
        pair = [f(one, other, weights, 1e-10) for f in (feature_distance, perceptual_triton.FeatureDistance.apply)]
        torch.testing.assert_close(*pair, rtol=tolerance, atol=tolerance)
        expected, found = (torch.autograd.grad((x * slopes).sum(), (one, other)) for x in pair)
        for a, b in zip(expected, found, strict=True):
            assert (a - b).norm() <= max(tolerance, 1e-8) * a.norm(), (shape, dtype)  # a kernel rounds 1e-10 to float32
        only = perceptual_triton.FeatureDistance.apply(one, other.detach(), weights, 1e-10)
        torch.testing.assert_close(torch.autograd.grad((only * slopes).sum(), one)[0], found[0])
half = [torch.rand(2, 16, 4, 4).half().requires_grad_() for _ in range(2)]
found = perceptual_triton.FeatureDistance.apply(*half, torch.ones(16), 1e-10)
assert found.dtype == torch.float32
torch.testing.assert_close(found, feature_distance(*(x.float() for x in half), torch.ones(16), 1e-10))
assert torch.autograd.grad(found.sum(), half[0])[0].dtype == torch.float16
assert perceptual_triton.works(torch.device("cpu"))
print("agrees")
"""


def test_kernels_agree_with_pytorch():
    run = run_interpreted("-c", SCRIPT)
    assert "agrees" in run.stdout, run.stderr


@pytest.mark.cuda
def test_the_distance_on_a_gpu():
    measure = _feature_distance(torch.device("cuda"))
    assert measure is not feature_distance
    one, other = (torch.randn(2, 256, 40, 24).relu() for _ in range(2))
    one.requires_grad_()
    weights = torch.rand(256)
    expected = feature_distance(one, other, weights, 1e-10)
    (gradient,) = torch.autograd.grad(expected.sum(), one)
    found = measure(one.cuda(), other.cuda(), weights.cuda(), 1e-10)
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(torch.autograd.grad(found.sum(), one)[0], gradient, rtol=1e-4, atol=1e-7)
