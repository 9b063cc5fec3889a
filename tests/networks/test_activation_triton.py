"""LeakyReLU with its bias by a kernel: on a CPU by Triton's interpreter, and within networks on a GPU."""

import copy

import pytest
import torch
from interpreted import run_interpreted

from gha.networks import MLP
from gha.networks.activation import fused_activation

pytest.importorskip("triton", reason="Triton is not installed")

SCRIPT = """
import torch
from torch.nn.functional import leaky_relu
from gha.networks import activation_triton
from gha.networks.activation_triton import BiasedLeakyReLU

torch.manual_seed(0)
activation_triton._MOST_PROGRAMS = 3
for dtype, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-12)):
    for shape in ((1, 1), (5, 256), (700, 33), (2, 129, 64), (0, 8)):
        products = torch.randn(shape, dtype=dtype, requires_grad=True)
        bias = torch.randn(shape[-1], dtype=dtype, requires_grad=True)
        weights = torch.randn(shape, dtype=dtype)
        expected = leaky_relu(products + bias, 0.01)
        gradients = torch.autograd.grad((expected * weights).sum(), (products, bias))
        found = BiasedLeakyReLU.apply(products + 0, bias)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
        for one, other in zip(torch.autograd.grad((found * weights).sum(), (products, bias)), gradients, strict=True):
            torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)
assert activation_triton.works(torch.device("cpu"))
with torch.inference_mode():
    assert activation_triton.works(torch.device("cpu"))
print("agrees")
"""


def test_kernels_agree_with_pytorch():
    run = run_interpreted("-c", SCRIPT)
    assert "agrees" in run.stdout, run.stderr


def test_a_cpu_has_no_such_kernel():
    assert fused_activation(torch.device("cpu")) is None


@pytest.mark.cuda
@pytest.mark.parametrize("batch", [1, 3])  # the second has a bias per item: PyTorch's own kernels
def test_gradients_of_a_network_on_a_gpu(batch):
    assert fused_activation(torch.device("cuda")) is not None
    torch.manual_seed(0)
    reference = MLP(27, 5 * [200], 3, 64).double()
    network = copy.deepcopy(reference).cuda()
    points, condition = torch.randn(batch, 5000, 27).double(), torch.randn(batch, 64).double()
    weights = torch.randn(batch, 5000, 3).double()
    (reference(points, condition) * weights).sum().backward()
    (network(points.cuda(), condition.cuda()) * weights.cuda()).sum().backward()
    for found, expected in zip(network.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(found.grad.cpu(), expected.grad, atol=1e-9, rtol=1e-9)
