"""JPEG pictures at their full size, decoded by libjpeg-turbo straight into memory of ours.

Pillow decodes to four bytes per pixel in memory of its own, from which channels have to be picked again: the same
pixels, but a third of the time more. Where it is asked for something else (a part, another size, another format), it
is the better tool.
"""

from __future__ import annotations

from threading import local

import numpy as np
import simplejpeg

_memory = local()


def decode_jpeg(content: bytes, out: np.ndarray) -> bool:
    """Decode a JPEG file into ``out``, uint8 [3 or 1, H, W]; False if anything is amiss, as another size.

    ``out`` is written to only where it returns True.
    """
    from .channels import split_channels  # compiles kernels

    channels, height, width = out.shape
    interleaved = _interleaved((height, width, channels))
    try:
        found = simplejpeg.decode_jpeg(content, "RGB" if channels == 3 else "GRAY", buffer=interleaved)
    except ValueError:
        return False
    if found.shape != interleaved.shape:
        return False
    split_channels(interleaved, out)
    return True


def _interleaved(shape: tuple[int, int, int]) -> np.ndarray:
    """Memory of this thread for one picture, kept for the next: new memory is slow at first touch."""
    size = int(np.prod(shape))
    if getattr(_memory, "pixels", None) is None or len(_memory.pixels) < size:
        _memory.pixels = np.empty(size, np.uint8)
    return _memory.pixels[:size].reshape(shape)
