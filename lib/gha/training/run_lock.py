"""One process per run folder: a lock the system releases when its holder dies."""

from __future__ import annotations

import json
import logging
import os
import socket
from pathlib import Path

from gha.errors import InputError

try:
    import fcntl
except ImportError:  # Windows: runs are not locked there
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)


class RunLock:
    """An exclusive lock on a file that tells who holds it.

    The lock itself is ``flock``, so one left by a killed process is free again. What the file says matters in two
    cases: the refusal names the holder, and a holder on another machine is believed even where the file system does
    not carry locks between machines.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            InputError: another process holds it, or a process on another machine did not release it.
        """
        if fcntl is None:
            return
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            holder = _read_holder(descriptor)
            self._refuse_if_held(descriptor, holder)
        except BaseException:
            os.close(descriptor)
            raise
        if holder:
            logger.info("taking over the lock of process %s, which is gone", holder.get("pid"))
        _write_holder(descriptor, {"pid": os.getpid(), "host": socket.gethostname()})
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; nothing happens if it is not held."""
        if self._descriptor is not None:
            _write_holder(self._descriptor, {})
            os.close(self._descriptor)
            self._descriptor = None

    def holder(self) -> str:
        """Who holds the lock, in words; empty if nobody does. On another machine whoever wrote it is believed."""
        try:
            said = json.loads(self.path.read_bytes() or b"{}")
            pid, host = int(said["pid"]), str(said["host"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""
        if host == socket.gethostname() and not _is_alive(pid):
            return ""
        return f"process {pid} on {host}"

    def _refuse_if_held(self, descriptor: int, holder: dict[str, object]) -> None:
        """Take the system's lock, or complain with the holder's name."""
        who = f"process {holder.get('pid', 'unknown')} on {holder.get('host', 'this machine')}"
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"{self.path.parent} is in use by {who}; wait for it, or use another run name") from error
        if holder and holder.get("host") != socket.gethostname():
            raise InputError(
                f"{self.path.parent} was locked by {who} and not released; if that is gone, delete {self.path}"
            )


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is, and somebody else's
    return True


def _read_holder(descriptor: int) -> dict[str, object]:
    """Pid and host of the last holder; empty after a proper release or for anything unreadable."""
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0) or b"{}")
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _write_holder(descriptor: int, holder: dict[str, object]) -> None:
    """Replace what the lock file says."""
    os.ftruncate(descriptor, 0)
    if holder:
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)
