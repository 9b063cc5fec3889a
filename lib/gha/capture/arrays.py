"""Loading numpy files from disk without trusting them."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gha.errors import InputError

MAX_BYTES = 512 * 2**20
# Beyond it float32 has no squares to spare, and nothing that a capture measures is that large.
LARGEST = 1e12

# What numpy and zipfile raise over damaged files, each found by damaging some.
DAMAGE = (
    ValueError,
    OSError,
    EOFError,
    KeyError,
    SyntaxError,
    TypeError,
    OverflowError,
    MemoryError,
    RuntimeError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)

# A shape to expect; None stands for any size from 1.
Shape = tuple[int | None, ...]


def read_npz(path: Path, expected: Mapping[str, tuple[Shape, ...]], optional: tuple[str, ...] = ()) -> dict:
    """The named arrays of an npz file as finite float64.

    Args:
        path: the file.
        expected: for every key the shapes that are accepted.
        optional: keys that may be missing.

    Raises:
        InputError: naming the file, what was found and what was expected.
    """
    _refuse_missing(path)
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_BYTES:
            raise InputError(f"{path}: found {size} bytes of arrays, expected at most {MAX_BYTES}")
        with np.load(path, allow_pickle=False) as archive:
            missing = [key for key in expected if key not in archive and key not in optional]
            if missing:
                raise InputError(f"{path}: found keys {sorted(archive)}, expected {missing[0]!r}")
            arrays = {key: archive[key] for key in expected if key in archive}
    except DAMAGE as error:
        raise InputError(f"{path}: not a readable npz of plain arrays ({error})") from error
    return {key: checked(array, expected[key], f"{path}: {key}") for key, array in arrays.items()}


def read_npy(path: Path, shapes: tuple[Shape, ...]) -> np.ndarray:
    """The array of an npy file as finite float64, in one of the accepted shapes."""
    _refuse_missing(path)
    try:
        # Mapped, so that a header that promises terabytes allocates nothing before it is checked.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except DAMAGE as error:
        raise InputError(f"{path}: not a readable npy of plain numbers ({error})") from error
    if not isinstance(array, np.ndarray) or array.nbytes > MAX_BYTES:
        raise InputError(f"{path}: found {type(array).__name__}, expected one array of at most {MAX_BYTES} bytes")
    return checked(array, shapes, str(path))


def checked(array: np.ndarray, shapes: tuple[Shape, ...], what: str) -> np.ndarray:
    """``array`` as float64, refused unless its shape is accepted and every number is finite."""
    if array.dtype.kind not in "fiu":
        raise InputError(f"{what}: found dtype {array.dtype}, expected numbers")
    if not any(_matches(array.shape, shape) for shape in shapes):
        wanted = " or ".join(str(list(shape)).replace("None", "any") for shape in shapes)
        raise InputError(f"{what}: found shape {list(array.shape)}, expected {wanted}")
    array = np.array(array, dtype=np.float64)
    bad = int((~np.isfinite(array)).sum())
    if bad:
        raise InputError(f"{what}: found {bad} NaN or infinite values, expected finite numbers")
    if array.size and np.abs(array).max() > LARGEST:
        raise InputError(f"{what}: found {np.abs(array).max():.2g}, expected numbers of at most {LARGEST:g}")
    return array


def _matches(found: tuple[int, ...], shape: Shape) -> bool:
    return len(found) == len(shape) and all(
        (f >= 1) if s is None else f == s for f, s in zip(found, shape, strict=True)
    )


def _refuse_missing(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path}: file not found")
