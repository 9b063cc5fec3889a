"""The same work on many files: in this process, in several, or on the machines of a Ray or Dask cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

from gha.errors import InputError

logger = logging.getLogger(__name__)

Task = TypeVar("Task")
Result = TypeVar("Result")

EXPECTED = 'a number of processes (0: one per core), "ray://HOST:PORT", "ray" or "dask://HOST:PORT"'


def run_tasks(function: Callable[[Task], Result], tasks: Sequence[Task], parallel: str = "1") -> Iterator[Result]:
    """Call ``function`` with every task and yield the results as they become ready, in any order.

    Function and tasks are sent to other processes, so they must be picklable, and the files they name must be found
    under the same paths on every machine.

    Args:
        function: a function of a module.
        tasks: its arguments.
        parallel: number of processes, "1" for this one and "0" for one per core; ``ray://HOST:PORT`` or
            ``dask://HOST:PORT`` for the scheduler of a cluster, ``ray`` for one that runs on this machine.
    """
    check_parallel(parallel)
    kind, _, address = parallel.partition("://")
    if kind == "ray":
        with _ray(parallel if address else "auto") as backend:
            yield from _run_on(backend, function, tasks)
    elif kind == "dask":
        with _dask(f"tcp://{address}") as backend:
            yield from _run_on(backend, function, tasks)
    else:
        yield from _run_here(function, tasks, int(kind))


def check_parallel(parallel: str) -> None:
    """Refuse what :func:`run_tasks` does not understand, before anything is written."""
    kind, _, address = parallel.partition("://")
    if not (kind == "ray" or (kind == "dask" and address) or (kind.isdecimal() and not address)):
        raise InputError(f"parallel: found {parallel!r}, expected {EXPECTED}")


def _run_here(function: Callable[[Task], Result], tasks: Sequence[Task], processes: int) -> Iterator[Result]:
    if processes == 1 or len(tasks) < 2:
        yield from map(function, tasks)
        return
    from joblib import Parallel, delayed

    # Every worker is a process of its own and needs no threads: as many as there are cores are already at work.
    pool = Parallel(processes or -1, backend="loky", return_as="generator_unordered", batch_size=1)
    yield from pool(delayed(function)(task) for task in tasks)


def _run_on(
    backend: AbstractContextManager[Any], function: Callable[[Task], Result], tasks: Sequence[Task]
) -> Iterator[Result]:
    """Hand the tasks to joblib's back end for a cluster, in portions, so that progress can be seen."""
    from joblib import Parallel, delayed, effective_n_jobs

    with backend:
        portion = 4 * max(1, effective_n_jobs(-1))
        for start in range(0, len(tasks), portion):
            jobs = (delayed(function)(task) for task in tasks[start : start + portion])
            yield from Parallel(n_jobs=-1, batch_size=1)(jobs)


def run_on_ray(function: Callable[[Task], Result], tasks: Sequence[Task], address: str) -> Iterator[Result]:
    """Call ``function`` with every task on a Ray cluster, each on a GPU of its own, for work that takes long.

    Where the cluster has no GPU at all, each task has a processor core. Ray's own tasks and not joblib's: joblib deals
    its tasks out in turn, whoever is busy, so that one could wait behind another while a GPU is idle.

    Args:
        function: a function of a module.
        tasks: its arguments.
        address: ``ray://HOST:PORT``, or ``ray`` for the cluster that runs on this machine.

    Yields:
        The results as they become ready; a task whose machine is lost again and again is reported and left out.
    """
    with _connected(address if "://" in address else "auto") as ray:
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        call = ray.remote(num_gpus=gpus, num_cpus=1)(function)
        pending = [call.remote(task) for task in tasks]
        while pending:
            [ready], pending = ray.wait(pending, num_returns=1)
            try:
                result = ray.get(ready)
            except ray.exceptions.RayError as error:
                logger.warning("a task was lost on the cluster: %s", error)
                continue
            yield result


@contextmanager
def _ray(address: str) -> Iterator[AbstractContextManager[Any]]:
    from joblib import parallel_config

    with _connected(address):
        from ray.util.joblib import register_ray

        register_ray()
        yield parallel_config(backend="ray")


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """The module ``ray``, connected to a cluster."""
    try:
        import ray
    except ImportError as error:
        raise InputError(f"parallel: {address!r} needs the package ray ({error}); pip install ray") from error
    try:
        ray.init(address=address, log_to_driver=False)
    except (ConnectionError, RuntimeError) as error:
        raise InputError(f"parallel: no Ray cluster answers at {address!r} ({error})") from error
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def _dask(address: str) -> Iterator[AbstractContextManager[Any]]:
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError(f"parallel: dask needs the package distributed ({error}); pip install distributed") from error
    from joblib import parallel_config

    try:
        client = Client(address, timeout=10)
    except (OSError, TimeoutError) as error:
        raise InputError(f"parallel: no Dask scheduler answers at {address} ({error})") from error
    with client:
        yield parallel_config(backend="dask")
