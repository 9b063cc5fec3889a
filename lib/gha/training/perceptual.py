"""LPIPS through the optional ``lpips`` package: a metric and, because it is differentiable, a loss."""

from __future__ import annotations

import functools
import logging

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)

_SMALLEST_SIDE = 64  # the AlexNet and VGG pyramids pool five times


class PerceptualDistance(nn.Module):
    """Learned perceptual distance between images [V, 3, H, W] in [0, 1]; its weights never train.

    Attributes:
        name: what to call the figure, with its backbone, for example ``"lpips_alex"``.
    """

    def __init__(self, network: nn.Module, backbone: str) -> None:
        super().__init__()
        self.name = f"lpips_{backbone}"
        self.network = network.eval().requires_grad_(False)

    def forward(self, prediction: Tensor, truth: Tensor) -> Tensor:
        """One distance per image [V]; 0 for equal images."""
        smallest = min(truth.shape[-2:])
        if smallest < _SMALLEST_SIDE:
            raise ValueError(f"LPIPS needs images of at least {_SMALLEST_SIDE} pixels, got {list(truth.shape[-2:])}")
        if truth.is_cuda:  # as convolutions are fastest there
            prediction, truth = (x.contiguous(memory_format=torch.channels_last) for x in (prediction, truth))
        return self.network(prediction, truth, normalize=True).flatten(1).mean(1)


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
