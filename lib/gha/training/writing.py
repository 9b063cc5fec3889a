"""Writing files beside training, one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType


class BackgroundWriter:
    """A thread that writes what it is given in that order, while the caller goes on.

    An error of a write is raised by a later call. Use it as a context manager: it ends when everything is written, even
    after an error.

    Args:
        ahead: things that may be in memory at a time; whoever brings another waits.
    """

    def __init__(self, ahead: int = 2) -> None:
        self._ahead = ahead
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._pending: deque[Future] = deque()

    def write(self, job: Callable[[], object]) -> None:
        """Have ``job`` done, which must not depend on anything that changes from now on."""
        while self._pending and (len(self._pending) >= self._ahead or self._pending[0].done()):
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(job))

    def finish(self) -> None:
        """Wait until everything is written."""
        while self._pending:
            self._pending.popleft().result()

    def __enter__(self) -> BackgroundWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True)
        if kind is None:
            self.finish()
