"""Float images to 8-bit pictures for people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def to_uint8(image: Tensor) -> np.ndarray:
    """[3, H, W] or [1, H, W] in [0, 1] to [H, W, 3] uint8; values outside are clamped, NaN shows as black."""
    image = torch.nan_to_num(image.detach().float()).clamp(0, 1)
    return (image * 255 + 0.5).to(torch.uint8).expand(3, -1, -1).permute(1, 2, 0).cpu().numpy()


def picture_row(images: Sequence[Tensor]) -> np.ndarray:
    """Images [3, H, W] of one height side by side: [H, sum of widths, 3] uint8."""
    return np.concatenate([to_uint8(image) for image in images], axis=1)
