"""The least time a part can take: its arithmetic at the device's peak, or the traffic it cannot avoid.

Arithmetic is counted by PyTorch from the operations that run, at the peak of bf16 matrix products whatever precision
was timed: the floor says what the device could do, not what the chosen precision can. Known for one device only.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

PEAKS = {"H200": (790e12, 4.3e12)}
"""Part of a device's name: bf16 FLOP/s and bytes/s that large matrix products and copies really reach."""
DECODER_BYTES = 1.9e9
"""Traffic of the decoder with bilinear upsampling at 2048² in bf16, capacity 32, if every feature map is written once
and read once."""
TRAINING_MS = {("H200", 2048, 150_000): 8.0}
"""A training iteration at the original's sizes: an estimate, not a count."""


def count_flop(work: Callable[[], object]) -> float:
    """Floating-point operations of matrix products and convolutions, two for each multiplication and addition."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def floor_ms(device: torch.device, flop: float, traffic: float = 0.0) -> float | None:
    """Milliseconds below which the device cannot do ``flop`` operations and move ``traffic`` bytes; None: unknown."""
    peak = PEAKS.get(known_name(device))
    return None if peak is None else 1e3 * max(flop / peak[0], traffic / peak[1])


def decoder_traffic(resolution: int) -> float:
    """Bytes that the decoder with bilinear upsampling must move for a picture of ``resolution`` squared."""
    return DECODER_BYTES * (resolution / 2048) ** 2


def training_floor_ms(device: torch.device, resolution: int, gaussians: int) -> float | None:
    """Milliseconds of an iteration, where they have been worked out."""
    return TRAINING_MS.get((known_name(device), resolution, gaussians))


def known_name(device: torch.device) -> str:
    """The device's key in :data:`PEAKS`, or an empty string."""
    if device.type != "cuda":
        return ""
    return next((name for name in PEAKS if name in torch.cuda.get_device_name(device)), "")
