"""Running scripts of tests in several processes that find each other on the CPU."""

import os
import subprocess
import sys

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]


def torchrun(count, *command, check=True):
    """Run a script in ``count`` processes with torchrun; returns what it gave back."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    command = [*TORCHRUN, f"--nproc-per-node={count}", *map(str, command)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes, env=environment) as running:
        try:
            out, err = running.communicate(timeout=240)
        except subprocess.TimeoutExpired:
            running.terminate()  # which ends its processes too
            raise AssertionError(running.communicate()[1][-4000:]) from None
    assert not check or running.returncode == 0, err[-4000:]
    return subprocess.CompletedProcess(command, running.returncode, out, err)
