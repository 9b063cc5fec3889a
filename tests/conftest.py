"""Fixtures of all tests: fixed seeds, few threads, the optional folder of real recordings."""

import importlib
import os
import sys
from pathlib import Path

# Before numba and OpenMP read them: tests run several at a time, and one thread makes small shapes fastest.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("NUMBA_NUM_THREADS", str(min(2, os.cpu_count() or 1)))

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def fixed_seeds():
    """Every test starts from the same random state."""
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture(autouse=True, scope="session")
def few_threads():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data():
    """Folder of real recordings beside the checkout; tests that want it are skipped without it."""
    folder = Path(os.environ.get("GHA_SHARED_DATA", Path(__file__).resolve().parents[1] / ".." / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the folder of real recordings is not here (GHA_SHARED_DATA names it)")
    return folder.resolve()


@pytest.fixture
def benchmark_module(monkeypatch):
    """Imports a module of benchmarks/ as its scripts do, and forgets it afterwards: their names are common ones."""
    benchmarks = Path(__file__).resolve().parents[1] / "benchmarks"
    monkeypatch.syspath_prepend(str(benchmarks))
    yield importlib.import_module
    for path in benchmarks.glob("*.py"):
        sys.modules.pop(path.stem, None)


def pytest_collection_modifyitems(items):
    """Tests marked ``cuda`` are skipped where there is no CUDA device."""
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="no CUDA device")
    for item in items:
        if "cuda" in item.keywords:
            item.add_marker(skip)
