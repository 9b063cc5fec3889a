"""Decoded pictures kept in memory, for as long as their files stay as they were."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np

Version = tuple[int, int, int]


@dataclass(frozen=True)
class _Kept:
    """Pixels and the version of the file that they were decoded from."""

    version: Version
    pixels: np.ndarray

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return self.pixels.itemsize if 0 in self.pixels.strides else self.pixels.nbytes


class ImageCache:
    """Decoded pictures kept in memory up to a budget; safe to share between threads.

    What has entered stays: frames are drawn uniformly, so that any eviction would only trade one hit for another. But
    a file that is written anew, by this process or another, is decoded anew: inode, size and time of modification
    tell, which costs microseconds where a hash of the content would cost a tenth of what decoding costs.

    Args:
        budget: bytes the pictures may take together; 0 keeps nothing.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.used = 0
        self._kept: dict[tuple[Path, Hashable], _Kept] = {}
        self._lock = Lock()

    def fill(self, path: Path, form: Hashable, decode: Callable[[np.ndarray], object], out: np.ndarray) -> None:
        """Put a picture into ``out``, uint8 [C, H, W].

        Args:
            path: its file.
            form: what else the pixels depend on, as size and window.
            decode: puts the picture into the array that it is given; called where it is not kept.
            out: where to.
        """
        version = file_version(path)
        kept = self._kept.get((path, form))
        if kept is not None and kept.version == version:
            np.copyto(out, kept.pixels)
            return
        decode(out)
        if version is not None:
            self._keep((path, form), version, out)

    def _keep(self, key: tuple[Path, Hashable], version: Version, pixels: np.ndarray) -> None:
        """Keep a copy if the budget allows; of a visible map that is one value everywhere, as most are, that value."""
        uniform = _is_uniform(pixels)
        size = pixels.itemsize if uniform else pixels.nbytes
        with self._lock:
            stale = self._kept.get(key)
            if stale is not None and stale.version != version:
                self.used -= self._kept.pop(key).size
            if key not in self._kept and self.used + size <= self.budget:
                copy = np.broadcast_to(pixels[:1, :1, :1].copy(), pixels.shape) if uniform else pixels.copy()
                self._kept[key] = _Kept(version, copy)
                self.used += size


def file_version(path: Path) -> Version | None:
    """What tells the content of a file from what it was before: inode, size, time of modification; None without one.

    A copy put in its place differs in the inode even where it keeps size and time, as ``rsync -t`` does.
    """
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _is_uniform(pixels: np.ndarray) -> bool:
    """Whether all values are the same; a line through the middle settles it for nearly all pictures."""
    value = pixels[0, 0, 0]
    middle = pixels[:, pixels.shape[1] // 2]
    return bool((middle == value).all() and (pixels == value).all())
