"""What is compiled ahead is all that training and rendering use, and a failed block leaves no process behind."""

import importlib
import subprocess

import pytest
import torch
from gaussian_scenes import INPUTS, make_gaussians
from numba.core.dispatcher import Dispatcher

from gha.geometry import Camera
from gha.rendering import compile_ahead, render_gaussians

MODULES = ("numba_kernels", "numba_gradients", "numba_tiles", "numba_projection")


def signatures() -> dict[str, set]:
    modules = [importlib.import_module(f"gha.rendering.{name}") for name in MODULES]
    found = {}
    for module in modules:
        for name, kernel in vars(module).items():
            if isinstance(kernel, Dispatcher) and kernel.__module__ == module.__name__:
                found[f"{module.__name__}.{name}"] = set(kernel.signatures)
    return found


def test_nothing_is_compiled_for_the_scenes_of_training_that_was_not_ahead():
    compile_ahead.compile_splatting()
    ahead = signatures()
    assert all(ahead[f"gha.rendering.{name}"] for name in ("numba_kernels.draw", "numba_gradients.undraw"))
    gaussians = make_gaussians(50, 16, leading=(1,))
    for name in INPUTS:
        getattr(gaussians, name).requires_grad_()
    eyes = torch.tensor([[[0.0, 0.0, 7.0], [1.0, 0.0, 7.0], [0.0, 1.0, 7.0]]])
    camera = Camera.look_at(eyes, torch.tensor([0.0, 0.0, 3.0]), 40.0, 32, 48)
    rendering = render_gaussians(gaussians, camera)
    (rendering.features.sum() + rendering.alpha.sum()).backward()
    assert gaussians.means.grad.abs().sum() > 0
    with torch.no_grad():
        render_gaussians(gaussians, camera)
    assert signatures() == ahead


def test_a_block_that_fails_ends_the_process(monkeypatch):
    started = []

    class Recorded(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(compile_ahead, "_COMMAND", ["sleep", "60"])
    monkeypatch.setattr(compile_ahead.subprocess, "Popen", Recorded)
    with pytest.raises(ZeroDivisionError):
        fail_in_a_block()
    assert started[0].poll() is not None


def fail_in_a_block() -> None:
    with compile_ahead.splatting_compiled_meanwhile():
        raise ZeroDivisionError
