"""The Gaussians a renderer draws: always activated, always posed in world space."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Gaussians:
    """A set of anisotropic 3D Gaussians, or a batch of such sets.

    Attributes:
        means: centres in world space [..., N, 3].
        quats: orientations wxyz [..., N, 4]; the renderer normalises them.
        scales: linear standard deviations in world units [..., N, 3].
        opacities: [..., N] in [0, 1].
        features: colours or any other channels [..., N, C].
        sh: optional view-dependent colour coefficients [..., N, K, 3].
        primitive: ``"ellipsoid"`` or ``"surfel"`` (third scale ignored).
    """

    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    features: Tensor
    sh: Tensor | None = None
    primitive: str = "ellipsoid"

    def __post_init__(self) -> None:
        leading = self.means.shape[:-1]
        expected = {"means": 3, "quats": 4, "scales": 3}
        for name, width in expected.items():
            shape = getattr(self, name).shape
            if shape != (*leading, width):
                raise ValueError(f"Gaussians.{name} has shape {list(shape)}, expected {[*leading, width]}")
        if self.opacities.shape != leading:
            raise ValueError(f"Gaussians.opacities has shape {list(self.opacities.shape)}, expected {list(leading)}")
        if self.features.shape[:-1] != leading:
            raise ValueError(f"Gaussians.features has shape {list(self.features.shape)}, expected {[*leading, 'C']}")

    @property
    def count(self) -> int:
        """N, the number of Gaussians in each set."""
        return self.means.shape[-2]

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Gaussians:
        """The same Gaussians on another device or in another precision."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(
            self, **{name: value.to(device, dtype) for name, value in tensors.items() if isinstance(value, Tensor)}
        )
