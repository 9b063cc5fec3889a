"""Compilation of CPU kernels that call each other across files, kept on disk until any of those files changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache


def _digest() -> str:
    """Identifies the sources that end up in the machine code of the Gaussian kernels."""
    folder = Path(__file__).parent
    sources = [*sorted(folder.glob("numba_*.py")), folder / "options.py", folder / "projection.py"]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


_DIGEST = _digest()


class _Cache(FunctionCache):
    """numba notices a change of a function's own file only; a function inlined from another file would go stale."""

    def _index_key(self, *arguments: Any) -> tuple:
        return (*super()._index_key(*arguments), _DIGEST)


def njit(function: Callable | None = None, *, parallel: bool = False) -> Callable:
    """``numba.njit`` whose compiled code is kept on disk; use it as a decorator, with or without arguments."""

    def compile_later(function: Callable) -> Callable:
        dispatcher = numba.njit(parallel=parallel)(function)
        dispatcher._cache = _Cache(function)
        return dispatcher

    return compile_later if function is None else compile_later(function)
