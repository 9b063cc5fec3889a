"""LeakyReLU with its bias by a kernel: on a CPU by Triton's interpreter, and within networks on a GPU."""

import copy

import pytest
import torch
from interpreted import run_interpreted

from gha.networks import MLP, DecoderConfig, build_decoder
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
        found = BiasedLeakyReLU.apply(products + 0, bias, 0.01, False)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
        for one, other in zip(torch.autograd.grad((found * weights).sum(), (products, bias)), gradients, strict=True):
            torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)
    for shape in ((2, 33, 5, 7), (1, 64, 16, 16)):
        products = torch.randn(shape, dtype=dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
        bias, weights = torch.randn(shape[1], dtype=dtype, requires_grad=True), torch.randn(shape, dtype=dtype)
        expected = torch.relu(products + bias[:, None, None])
        gradients = torch.autograd.grad((expected * weights).sum(), (products, bias))
        found = BiasedLeakyReLU.apply(products + 0, bias, 0.0, True)
        assert found.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
        for one, other in zip(torch.autograd.grad((found * weights).sum(), (products, bias)), gradients, strict=True):
            torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)

products, bias = torch.randn(300, 16), torch.randn(16, requires_grad=True)
half = (products.half() + 0).requires_grad_()  # products are rounded, sums are not
found = BiasedLeakyReLU.apply(half + 0, bias, 0.0, False)
assert found.dtype == torch.float16
torch.testing.assert_close(found.float(), torch.relu(half.float() + bias), atol=2e-3, rtol=2e-3)
of_half, of_bias = torch.autograd.grad(found.float().sum(), (half, bias))
assert (of_half.dtype, of_bias.dtype) == (torch.float16, torch.float32)
torch.testing.assert_close(of_bias, (found > 0).float().sum(0))

from gha.networks import DecoderConfig, build_decoder, convolution
for upsampling in ("pixel_shuffle", "light", "bilinear"):
    network = build_decoder(5, DecoderConfig(capacity=4, upsampling=upsampling)).double()
    torch.nn.init.normal_(network.output.weight, std=0.3)
    x = torch.randn(2, 6, 8, 12, dtype=torch.float64)
    expected = network.details(x)
    weights = torch.randn_like(expected)
    gradients = torch.autograd.grad((expected * weights).sum(), tuple(network.parameters()))
    convolution.fused_activation = lambda device: BiasedLeakyReLU.apply
    found = network.details(x.contiguous(memory_format=torch.channels_last))
    assert network.hidden(x.contiguous(memory_format=torch.channels_last)).stride(1) == 1
    convolution.fused_activation = lambda device: None
    torch.testing.assert_close(found, expected)
    for one, other in zip(torch.autograd.grad((found * weights).sum(), network.parameters()), gradients, strict=True):
        torch.testing.assert_close(one, other)
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


@pytest.mark.cuda
@pytest.mark.parametrize("upsampling", ["pixel_shuffle", "light", "bilinear"])
def test_gradients_of_a_decoder_on_a_gpu(upsampling):
    torch.manual_seed(0)
    reference = build_decoder(32, DecoderConfig(capacity=8, upsampling=upsampling)).double()
    torch.nn.init.normal_(reference.output.weight, std=0.3)
    decoder = copy.deepcopy(reference).cuda()
    features, alpha = torch.rand(2, 32, 24, 40).double(), torch.rand(2, 1, 24, 40).double()
    weights = torch.randn(2, 3, 96, 160).double()
    (reference(features, alpha)[0] * weights).sum().backward()
    (decoder(features.cuda(), alpha.cuda())[0] * weights.cuda()).sum().backward()
    for found, expected in zip(decoder.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(found.grad.cpu(), expected.grad, atol=1e-8, rtol=1e-8)
    decoder, x = decoder.float(), torch.rand(1, 33, 24, 40, device="cuda")
    with torch.autocast("cuda", torch.bfloat16):
        hidden = decoder.hidden(x.contiguous(memory_format=torch.channels_last))
    assert hidden.dtype == torch.bfloat16
    assert hidden.is_contiguous(memory_format=torch.channels_last), "nothing turned it around on the way"
    hidden.float().sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in decoder.parameters())
