"""Compiled kernels are kept on disk, and not longer than any of the sources they were made of."""

import importlib
import os
import sys
from pathlib import Path

import pytest

from gha import numba_compile
from gha.capture import film_image, film_shading
from gha.rendering import mesh_numba, numba_kernels

CALLER = """
from pathlib import Path
from gha.numba_compile import kernel_compiler
from kernel_callee import double
njit = kernel_compiler(Path(__file__).parent, "kernel_*.py")
@njit(nogil=True, fastmath=True)
def quadruple(number):
    return double(double(number))
"""
CALLEE = """
from pathlib import Path
from gha.numba_compile import kernel_compiler
njit = kernel_compiler(Path(__file__).parent, "kernel_*.py")
@njit(inline="always")
def double(number):
    return number + number
"""


@pytest.fixture
def kernels(tmp_path, monkeypatch):
    """Two files of kernels of which one calls the other; the function imports them anew, as another process would."""
    (tmp_path / "kernel_caller.py").write_text(CALLER)
    (tmp_path / "kernel_callee.py").write_text(CALLEE)
    monkeypatch.syspath_prepend(tmp_path)

    def load():
        for name in ("kernel_caller", "kernel_callee"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module("kernel_caller").quadruple

    yield load
    for name in ("kernel_caller", "kernel_callee"):
        sys.modules.pop(name, None)


def test_a_second_process_loads_what_the_first_compiled(kernels):
    assert kernels()(10) == 40
    again = kernels()
    assert again(10) == 40
    assert sum(again.stats.cache_hits.values()) == 1
    assert not again.stats.cache_misses


def test_a_change_in_another_file_compiles_anew(kernels, tmp_path):
    """numba alone would go on with the old code: the file of the function that is called has not changed."""
    assert kernels()(10) == 40
    callee = tmp_path / "kernel_callee.py"
    callee.write_text(CALLEE.replace("number + number", "number * number"))
    os.utime(callee, (1, 1))  # else Python itself might take its old bytecode, written in the same second
    changed = kernels()
    assert changed(10) == 10_000
    assert not changed.stats.cache_hits
    assert sum(changed.stats.cache_misses.values()) == 1


def test_options_reach_numba(kernels):
    quadruple = kernels()
    assert quadruple.targetoptions["nogil"]
    assert quadruple.targetoptions["fastmath"]


def test_the_digest_follows_matching_files_only(tmp_path):
    for name in ("numba_a.py", "options.py", "other.py"):
        (tmp_path / name).write_text("1")
    patterns = ("numba_*.py", "options.py")
    first = numba_compile.digest_of(tmp_path, *patterns)
    (tmp_path / "other.py").write_text("2")
    assert numba_compile.digest_of(tmp_path, *patterns) == first
    for name in ("numba_a.py", "options.py"):
        (tmp_path / name).write_text("2")
        assert numba_compile.digest_of(tmp_path, *patterns) != first
        first = numba_compile.digest_of(tmp_path, *patterns)


@pytest.mark.parametrize(
    ("kernel", "patterns"),
    [
        (film_image.photograph, ["film_*.py"]),
        (film_shading.shade, ["film_*.py"]),
        (numba_kernels.draw, ["numba_*.py", "options.py", "projection.py", "footprint_gradient.py"]),
        (mesh_numba._draw_faces, ["mesh_numba.py", "mesh_projection.py"]),
    ],
)
def test_kernels_follow_all_the_files_they_are_made_of(kernel, patterns):
    folder = Path(kernel.py_func.__code__.co_filename).parent
    assert kernel._cache._digest == numba_compile.digest_of(folder, *patterns)


def test_kernels_work_where_nothing_may_be_written(monkeypatch):
    def refuse(*arguments):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(numba_compile, "_Cache", refuse)
    njit = numba_compile.kernel_compiler(Path(__file__).parent, "test_numba_compile.py")

    @njit(nogil=True)
    def double(number):
        return number + number

    assert double(21) == 42
