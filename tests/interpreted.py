"""Running scripts of tests where Triton interprets kernels on the CPU, which it has to know before its import."""

import os
import subprocess
import sys
from pathlib import Path


def run_interpreted(*arguments, timeout=300):
    """Run Python with these arguments in a process of its own; returns what it gave back."""
    path = os.pathsep.join([str(Path(__file__).parents[1] / "lib"), *sys.path])
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
