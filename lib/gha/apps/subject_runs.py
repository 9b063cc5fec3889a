"""Training one subject by the ordinary commands, each a process of its own, and many of them at a time."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from queue import SimpleQueue

from gha.errors import InputError
from gha.files import write_atomically
from gha.preprocessing.parallel import run_on_ray

from .subjects import FAILURE_FILE, LOG_FILE, Part, Standing, SubjectPlan, is_finished, standing_of

INTERRUPTED = 130  # exit code of a command that was asked to stop
VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass
class Children:
    """Commands that are running and can be asked to stop together; afterwards no new one starts.

    They have a session of their own: Ctrl-C in a terminal must not reach them beside the request made here, because a
    second request ends training without saving.
    """

    running: set[subprocess.Popen] = field(default_factory=set)
    stopped: bool = False
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def run(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> int:
        """Run a command to its end, everything it says appended to ``log``; returns its exit code."""
        with log.open("ab") as file:
            with self._guard:
                if self.stopped:
                    return INTERRUPTED
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **environment},
                    start_new_session=True,
                )
                self.running.add(child)
            try:
                return child.wait()
            finally:
                self.running.discard(child)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send every running command a signal."""
        with self._guard:
            self.stopped = True
            for child in self.running:
                child.send_signal(number)


def train_subject(plan: SubjectPlan, environment: Mapping[str, str], children: Children | None = None) -> Standing:
    """Do what is left of a subject, and tell where it stands afterwards.

    What is finished is not done again, and what was interrupted continues. The first command that fails ends the
    subject; why is kept beside the log until it is tried again.

    Args:
        plan: the subject.
        environment: variables of its commands beside those of this process.
        children: where the commands are registered.
    """
    children = children or Children()
    lock = plan.lock
    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except InputError:
        return standing_of(plan)  # somebody else trains it
    try:
        (plan.folder / FAILURE_FILE).unlink(missing_ok=True)
        for part in plan.parts:
            if not is_finished(plan, part) and not _run_part(plan, part, environment, children):
                break
    except OSError as error:  # a full disk must not end the others
        return replace(standing_of(plan), state="failed", note=str(error))
    finally:
        lock.release()
    return standing_of(plan)


def _run_part(plan: SubjectPlan, part: Part, environment: Mapping[str, str], children: Children) -> bool:
    """Run one command of a subject; returns whether it succeeded."""
    log = plan.folder / LOG_FILE
    command = [sys.executable, "-m", "gha", *part.arguments]
    device = environment.get(VISIBLE, os.environ.get(VISIBLE, "all"))
    when = datetime.now().astimezone().isoformat(timespec="seconds")
    with log.open("a", encoding="utf-8") as file:
        file.write(f"\n== {when} on {socket.gethostname()}, GPU {device}: {shlex.join(command)}\n")
    # A bar that is redrawn ten times a second is for people; the log gets one every half a minute.
    code = children.run(command, {"TQDM_MININTERVAL": "30", **environment}, log)
    if code not in (0, INTERRUPTED) and not children.stopped:
        failure = {"part": part.name, "exit_code": code, "message": f"{part.name}: {_last_words(log, code)}"}
        write_atomically(plan.folder / FAILURE_FILE, json.dumps(failure, indent=1) + "\n")
    return code == 0


def _last_words(log: Path, code: int) -> str:
    """The last error in a log, or its last line."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        lines = [line.strip() for line in file.read().decode("utf-8", "replace").replace("\r", "\n").split("\n")]
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    errors = [line for line in lines if line.startswith("error: ")]
    return errors[-1] if errors else next((line for line in reversed(lines) if line), "no message")


def train_here(plans: Sequence[SubjectPlan], count: int, report: Callable[[Standing], None]) -> None:
    """Train subjects on this machine, each on a GPU of its own.

    Interrupted, it asks the running commands to save and stop, and waits for them; interrupted again, it kills them.

    Args:
        plans: of the subjects.
        count: how many at a time; 0: one per GPU, or one where there is none.
        report: called with every subject that ends.
    """
    slots: SimpleQueue[dict[str, str]] = SimpleQueue()
    places = _places(count)
    for place in places:
        slots.put(place)
    children = Children()

    def work(plan: SubjectPlan) -> Standing:
        place = slots.get()
        try:
            return train_subject(plan, place, children)
        finally:
            slots.put(place)

    with ThreadPoolExecutor(len(places)) as pool:
        futures = [pool.submit(work, plan) for plan in plans]
        try:
            for future in as_completed(futures):
                report(future.result())
        except BaseException:
            _wind_up(pool, children)
            raise


def _wind_up(pool: ThreadPoolExecutor, children: Children) -> None:
    """Ask everything to stop and wait for it; a second interruption kills."""
    children.stop()
    try:
        pool.shutdown(wait=True, cancel_futures=True)
    except BaseException:
        children.stop(signal.SIGKILL)
        raise


def train_on_ray(plans: Sequence[SubjectPlan], address: str) -> Iterator[Standing]:
    """Train subjects on a Ray cluster, each on a GPU that Ray gives it, and yield where each stands when it ends."""
    return run_on_ray(_train_alone, plans, address)


def _train_alone(plan: SubjectPlan) -> Standing:
    return train_subject(plan, {})


def _places(count: int) -> list[dict[str, str]]:
    """Variables for every subject that is trained at a time: its GPU, and its share of the processor."""
    import torch

    visible = [name for name in os.environ.get(VISIBLE, "").split(",") if name]
    gpus = visible or [str(index) for index in range(torch.cuda.device_count())]
    if torch.cuda.device_count() == 0:
        gpus = []
    if gpus and count > len(gpus):
        raise InputError(f"parallel: found {count}, expected at most {len(gpus)}, the number of GPUs here")
    count = count or max(1, len(gpus))
    threads = str(max(1, (os.cpu_count() or 1) // count))
    shares = {name: os.environ.get(name, threads) for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}
    return [{**shares, **({VISIBLE: gpus[index]} if gpus else {})} for index in range(count)]
