"""Compilation of the CPU's splatting kernels before they are needed, beside other work.

Compiling them takes half a minute, once per machine and version of the library; what is compiled is kept on disk.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gha.geometry import Camera

from .gaussian_rendering import render_gaussians
from .gaussians import Gaussians

_COMMAND = [sys.executable, "-c", f"from {__name__} import compile_splatting as c; c()"]


def compile_splatting() -> None:
    """Draw a Gaussian and its gradient, so that all kernels of both are on disk."""
    gaussians = Gaussians(
        means=torch.zeros(1, 1, 3, requires_grad=True),
        quats=torch.tensor([[[1.0, 0, 0, 0]]]),
        scales=torch.full((1, 1, 3), 0.1),
        opacities=torch.full((1, 1), 0.5),
        features=torch.ones(1, 1, 4),
    )
    camera = Camera.look_at(torch.tensor([[[0.0, 0.0, 2.0]]]), torch.zeros(3), 20.0, 16, 16)
    render_gaussians(gaussians, camera, backend="numba").features.sum().backward()


@contextmanager
def splatting_compiled_meanwhile() -> Iterator[None]:
    """Compile in a process of its own, since compilation would keep the interpreter from everything else.

    The block ends when both are done. What cannot be compiled there says why when it is needed here.
    """
    with subprocess.Popen(_COMMAND, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        except BaseException:
            process.kill()
            raise
