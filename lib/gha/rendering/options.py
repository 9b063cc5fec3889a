"""What a user may choose about the drawing of Gaussians, and the constants that are part of its definition."""

from __future__ import annotations

from dataclasses import dataclass

ALPHA_CUT = 1 / 255
"""A Gaussian reaches exactly as far as its alpha is at least this."""

MIN_TRANSMITTANCE = 1e-4 * (1 - 1e-5)
"""A Gaussian that would take the transmittance of a pixel below 1e-4 ends that pixel and is not drawn itself.

The bound lies a hair below 1e-4, so that two Gaussians at a cap of 0.99 (which leave exactly 1e-4) are both drawn
in every precision, instead of as rounding happens to fall.
"""

PRECISIONS = ("tf32x3", "ieee", "tf32")


@dataclass(frozen=True)
class RenderOptions:
    """Constants of the splatting equation.

    Attributes:
        near: Gaussians whose centre has a z-depth of at most this (world units) are not drawn.
        low_pass: variance in square pixels added to every projected Gaussian.
        alpha_cap: largest alpha that one Gaussian can have at a pixel; 0.999 to compare with gsplat, where it is fixed.
        precision: of the matrix products of the Triton back end: "tf32x3", as good as float32, on tensor cores;
            "ieee", float32 without them; "tf32", an error of up to 2e-3 of the features. Others compute in float32.
    """

    near: float = 0.01
    low_pass: float = 0.3
    alpha_cap: float = 0.99
    precision: str = "tf32x3"

    def __post_init__(self) -> None:
        if not self.near > 0:
            raise ValueError(f"RenderOptions.near must be positive, got {self.near}")
        if not self.low_pass > 0:
            raise ValueError(f"RenderOptions.low_pass must be positive, got {self.low_pass}")
        if not ALPHA_CUT < self.alpha_cap < 1:
            raise ValueError(f"RenderOptions.alpha_cap must lie between 1/255 and 1, got {self.alpha_cap}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"RenderOptions.precision must be one of {list(PRECISIONS)}, got {self.precision!r}")
