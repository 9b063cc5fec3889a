"""Compilation of CPU kernels that call each other across files, kept on disk until any of those files changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache


def kernel_compiler(folder: Path, *patterns: str) -> Callable[..., Callable]:
    """``numba.njit`` for kernels whose machine code is made of the files in ``folder`` that match ``patterns``.

    Use the result as a decorator, with or without numba's options: ``@njit`` or ``@njit(nogil=True)``. Compiled code
    is kept on disk, and not longer than any of those files.
    """
    digest = digest_of(folder, *patterns)

    def njit(function: Callable | None = None, **options: Any) -> Callable:
        def compile_later(function: Callable) -> Callable:
            dispatcher = numba.njit(**options)(function)
            # Where nothing may be written, every process compiles for itself.
            with suppress(RuntimeError):
                dispatcher._cache = _Cache(function, digest)
            return dispatcher

        return compile_later if function is None else compile_later(function)

    return njit


def digest_of(folder: Path, *patterns: str) -> str:
    """Identifies the content of the files in ``folder`` that match ``patterns``."""
    sources = sorted({source for pattern in patterns for source in folder.glob(pattern)})
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


class _Cache(FunctionCache):
    """numba notices a change of a function's own file only; a function inlined from another file would go stale."""

    def __init__(self, function: Callable, digest: str) -> None:
        super().__init__(function)
        self._digest = digest

    def _index_key(self, *arguments: Any) -> tuple:
        return (*super()._index_key(*arguments), self._digest)
