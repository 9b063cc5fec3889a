"""LPIPS through the optional ``lpips`` package: a metric and, because it is differentiable, a loss."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from gha.networks import join_activations

logger = logging.getLogger(__name__)

FeatureDistance = Callable[[Tensor, Tensor, Tensor, float], Tensor]

_SMALLEST_SIDE = 64  # the AlexNet and VGG pyramids pool five times
_TINY = 1e-10  # what lpips adds to lengths


class PerceptualDistance(nn.Module):
    """Learned perceptual distance between images [V, 3, H, W] in [0, 1]; its weights never train.

    Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018, equation 1.

    Args:
        network: of the form of ``lpips.LPIPS``: ``scaling_layer`` of images in [-1, 1]; ``net``, which gives features
            of several layers; ``lins``, for each of them a ``model`` that ends with a 1x1 convolution to one channel.
            Its convolutions are joined with the ReLU behind them.
        backbone: of the network.

    Attributes:
        name: what to call the figure, with its backbone, for example ``"lpips_alex"``.
    """

    def __init__(self, network: nn.Module, backbone: str) -> None:
        super().__init__()
        self.name = f"lpips_{backbone}"
        self.network = network.eval().requires_grad_(False)
        join_activations(self.network)

    def forward(self, prediction: Tensor, truth: Tensor) -> Tensor:
        """One distance per image [V]; 0 for equal images."""
        smallest = min(truth.shape[-2:])
        if smallest < _SMALLEST_SIDE:
            raise ValueError(f"LPIPS needs images of at least {_SMALLEST_SIDE} pixels, got {list(truth.shape[-2:])}")
        if truth.is_cuda:  # as convolutions are fastest there
            prediction, truth = (x.contiguous(memory_format=torch.channels_last) for x in (prediction, truth))
        measure = _feature_distance(truth.device)
        layers = zip(self._features(prediction), self._features(truth), self.network.lins, strict=True)
        distances = [measure(one, other, lin.model[-1].weight.flatten(), _TINY) for one, other, lin in layers]
        return torch.stack(distances).sum(0)

    def _features(self, images: Tensor) -> Iterable[Tensor]:
        return self.network.net(self.network.scaling_layer(2 * images - 1))


@functools.cache
def _feature_distance(device: torch.device) -> FeatureDistance:
    """What measures the distance of features: a kernel of ours on a GPU where there is one."""
    if device.type != "cuda":
        return feature_distance
    try:
        from . import perceptual_triton
    except ImportError:
        return feature_distance
    return perceptual_triton.FeatureDistance.apply if perceptual_triton.works(device) else feature_distance


def feature_distance(one: Tensor, other: Tensor, weights: Tensor, tiny: float) -> Tensor:
    """Squared differences of features [B, C, h, w] of length one, weighted by channel [C], meaned over pixels: [B].

    ``tiny`` is the least length, and added to lengths before division.
    """
    one, other = (x / (x.square().sum(1, keepdim=True).clamp_min(tiny**2).sqrt() + tiny) for x in (one, other))
    return ((one - other).square() * weights[:, None, None]).sum(1).mean((1, 2))


@functools.cache
def _load_network(backbone: str) -> nn.Module | None:
    """The ``lpips`` network, or None; the reason is logged once per process and backbone."""
    try:
        import lpips

        return lpips.LPIPS(net=backbone, verbose=False)
    except ImportError:
        reason = "the package 'lpips' is not installed"
    except (OSError, RuntimeError) as error:
        # lpips fetches the weights of its backbone at first use, which fails without a network.
        reason = f"its weights cannot be loaded ({error})"
    logger.warning("LPIPS (%s) is off: %s.", backbone, reason)
    return None


def load_perceptual(backbone: str = "alex", device: torch.device | str = "cpu") -> PerceptualDistance | None:
    """LPIPS with backbone ``alex`` or ``vgg``, or None (said once in the log) where package or weights are missing."""
    if backbone not in ("alex", "vgg"):
        raise ValueError(f"LPIPS backbone must be 'alex' or 'vgg', found {backbone!r}")
    network = _load_network(backbone)
    return None if network is None else PerceptualDistance(network, backbone).to(device)
