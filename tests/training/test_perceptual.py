"""LPIPS: the package, what stands in for it, and the distance of features."""

import copy
import logging
import sys
import types

import pytest
import torch
from torch import nn

from gha.training import perceptual
from gha.training.perceptual import PerceptualDistance


class Pyramid(nn.Module):
    """Features of two layers, as ``lpips.LPIPS`` has them of five."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 5, stride=2, padding=1), nn.ReLU(inplace=True))
        self.second = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(8, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 1), nn.ReLU())

    def forward(self, x):
        first = self.first(x)
        return first, self.second(first)


class Network(nn.Module):
    """Of the form of ``lpips.LPIPS``, with its arithmetic written out."""

    def __init__(self, net="vgg", verbose=False):
        super().__init__()
        self.net = Pyramid()
        self.scaling_layer = nn.LocalResponseNorm(2)
        weights = (nn.Conv2d(channels, 1, 1, bias=False) for channels in (8, 6))
        self.lins = nn.ModuleList(nn.ModuleDict({"model": nn.Sequential(nn.Dropout(), x)}) for x in weights)
        for lin in self.lins:
            lin.model = lin["model"]

    def forward(self, x, y):
        total = 0
        pair = [self.net(self.scaling_layer(2 * image - 1)) for image in (x, y)]
        for one, other, lin in zip(*pair, self.lins, strict=True):
            one, other = (f / (f.pow(2).sum(1, keepdim=True).sqrt() + 1e-10) for f in (one, other))
            total = total + lin.model((one - other).pow(2)).mean((2, 3))
        return total[:, 0]


def test_the_distance_is_that_of_the_network():
    plain = Network().double().eval().requires_grad_(False)
    distance = PerceptualDistance(copy.deepcopy(plain), "vgg")
    assert sum(isinstance(layer, nn.ReLU) for layer in distance.modules()) == 0, "they are joined with convolutions"
    prediction = torch.rand(2, 3, 70, 64, dtype=torch.float64, requires_grad=True)
    truth = torch.rand(2, 3, 70, 64, dtype=torch.float64)
    found, expected = distance(prediction, truth), plain(prediction, truth)
    torch.testing.assert_close(found, expected)
    slopes = torch.tensor([1.0, -0.3], dtype=torch.float64)
    gradients = (torch.autograd.grad((x * slopes).sum(), prediction)[0] for x in (found, expected))
    torch.testing.assert_close(*gradients)
    assert distance(truth, truth).tolist() == [0, 0]


@pytest.mark.parametrize("backbone", ["vgg", "alex"])
def test_the_distance_is_that_of_the_package(backbone):
    lpips = pytest.importorskip("lpips", reason="lpips is not installed", exc_type=ImportError)
    plain = lpips.LPIPS(net=backbone, pnet_rand=True, verbose=False).eval().requires_grad_(False)
    distance = PerceptualDistance(copy.deepcopy(plain), backbone)
    prediction, truth = torch.rand(2, 3, 96, 80, requires_grad=True), torch.rand(2, 3, 96, 80)
    found, expected = distance(prediction, truth), plain(prediction, truth, normalize=True).flatten()
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(x.sum(), prediction)[0] for x in (found, expected)]
    assert (gradients[0] - gradients[1]).norm() < 1e-4 * gradients[1].norm()


def test_pixels_where_all_features_are_zero_spoil_no_gradient():
    distance = PerceptualDistance(Network(), "vgg")
    with torch.no_grad():
        distance.network.net.first[0].convolution.bias.fill_(-100)
    prediction = torch.rand(1, 3, 64, 64, requires_grad=True)
    distance(prediction, torch.rand(1, 3, 64, 64)).sum().backward()
    assert not prediction.grad.any()


@pytest.fixture
def fresh_networks():
    perceptual._load_network.cache_clear()
    yield
    perceptual._load_network.cache_clear()


def test_missing_lpips_is_said_once(monkeypatch, caplog, fresh_networks):
    monkeypatch.setitem(sys.modules, "lpips", None)
    with caplog.at_level(logging.WARNING):
        assert perceptual.load_perceptual("alex") is None
        assert perceptual.load_perceptual("alex") is None
    assert [record.message for record in caplog.records] == [
        "LPIPS (alex) is off: the package 'lpips' is not installed."
    ]


def test_lpips_names_its_backbone_and_freezes_its_weights(monkeypatch, fresh_networks):
    monkeypatch.setitem(sys.modules, "lpips", types.SimpleNamespace(LPIPS=Network))
    distance = perceptual.load_perceptual("vgg")
    assert distance.name == "lpips_vgg"
    assert not any(parameter.requires_grad for parameter in distance.parameters())
    prediction = torch.full((2, 3, 64, 64), 0.5, requires_grad=True)
    distance(prediction, torch.zeros(2, 3, 64, 64)).sum().backward()
    assert prediction.grad is not None
    with pytest.raises(ValueError, match="at least 64 pixels"):
        distance(torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32))


def test_lpips_without_weights_is_off(monkeypatch, caplog, fresh_networks):
    def fail(**_: object) -> None:
        raise OSError("no network")

    monkeypatch.setitem(sys.modules, "lpips", types.SimpleNamespace(LPIPS=fail))
    with caplog.at_level(logging.WARNING):
        assert perceptual.load_perceptual("vgg") is None
    assert "weights cannot be loaded (no network)" in caplog.text


def test_unknown_backbone_is_refused():
    with pytest.raises(ValueError, match="'alex' or 'vgg', found 'squeeze'"):
        perceptual.load_perceptual("squeeze")
