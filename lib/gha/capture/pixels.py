"""From the memory of a decoded Pillow picture to an array, in one pass and without the interpreter lock.

``numpy.asarray`` makes two copies and holds the lock throughout, 3 ms for a picture of 2048 x 2048: enough that sixteen
decoding threads would wait for one another, and training for them. Pillow shows its memory through the Arrow C data
interface, whose layout never changes (https://arrow.apache.org/docs/format/CDataInterface.html).
"""

from __future__ import annotations

import ctypes

import numpy as np
from PIL import Image


class _ArrowArray(ctypes.Structure):
    """``struct ArrowArray``, which holds pointers to its like."""


_ArrowArray._fields_ = [
    *((name, ctypes.c_int64) for name in ("length", "null_count", "offset", "n_buffers", "n_children")),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_ArrowArray))),
    *((name, ctypes.c_void_p) for name in ("dictionary", "release", "private_data")),
]

_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype, _pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def copy_pixels(picture: Image.Image, out: np.ndarray) -> None:
    """Copy a picture of mode "L" or "RGB" into ``out``, uint8 [1 or 3, H, W]."""
    from .channels import split_channels  # compiles kernels

    try:
        # Whoever holds these keeps the memory alive.
        capsules = picture.__arrow_c_array__()
    except (AttributeError, ValueError, MemoryError):
        # Pillow before 11.2, or a picture that lies in several pieces, as those beyond 16 MB may.
        pixels = np.asarray(picture)
    else:
        pixels = _view(picture, capsules[1])
    split_channels(pixels.reshape(*out.shape[1:], -1), out)


def _view(picture: Image.Image, capsule: object) -> np.ndarray:
    """The memory behind a capsule with a picture's pixels, uint8 [H, W, 1 or 4]: Pillow pads three channels to four."""
    pixels = ctypes.cast(_pointer_of(capsule, b"arrow_array"), ctypes.POINTER(_ArrowArray)).contents
    channels = 1
    if pixels.n_children:
        pixels, channels = pixels.children[0].contents, 4
    memory = ctypes.cast(pixels.buffers[1], ctypes.POINTER(ctypes.c_uint8))
    return np.ctypeslib.as_array(memory, (picture.height, picture.width, channels))
