"""Compilation of the film camera's kernels."""

from __future__ import annotations

from pathlib import Path

from gha.numba_compile import kernel_compiler

njit = kernel_compiler(Path(__file__).parent, "film_*.py")
