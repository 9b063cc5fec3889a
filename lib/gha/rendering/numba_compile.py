"""Compilation of the splatting kernels for the CPU."""

from __future__ import annotations

from pathlib import Path

from gha.numba_compile import kernel_compiler

njit = kernel_compiler(Path(__file__).parent, "numba_*.py", "options.py", "projection.py", "footprint_gradient.py")
