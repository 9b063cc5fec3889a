"""Sizes of the Triton splatting kernels: they change how fast the kernels are, never what they compute."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tuning:
    """Powers of two, all of them.

    Attributes:
        tile_width: pixels of a tile from left to right.
        tile_height: and from top to bottom; at least 16 pixels in all.
        chunk: Gaussians that a tile blends at a time, at least 16.
        channels: channels that are blended at a time, at least 16; more take further passes.
        forward_warps: warps that share a tile in the forward pass.
        backward_warps: and in the backward pass.
    """

    tile_width: int = 16
    tile_height: int = 8
    chunk: int = 16
    channels: int = 32
    forward_warps: int = 4
    backward_warps: int = 4

    @property
    def pixels(self) -> int:
        """Pixels of a tile."""
        return self.tile_width * self.tile_height


TUNING = Tuning()
"""What the back end uses."""
