"""Writing files beside training, one after the other."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

logger = logging.getLogger(__name__)


class BackgroundWriter:
    """A thread that writes what it is given in that order, while the caller goes on.

    The error of a write is raised by a later call, the first one if there are several. Use it as a context manager: it
    ends when everything is written, even after an error; what failed to be written beside that error is logged.

    Args:
        ahead: things that may be in memory at a time; whoever brings another waits.
    """

    def __init__(self, ahead: int = 2) -> None:
        self._ahead = ahead
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._pending: deque[Future] = deque()
        self._errors: list[BaseException] = []

    def write(self, job: Callable[[], object]) -> None:
        """Have ``job`` done, which must not depend on anything that changes from now on.

        Raises what one before has failed with; ``job`` is done all the same.
        """
        self._settle(len(self._pending) - self._ahead + 1)
        self._pending.append(self._pool.submit(job))
        self._raise()

    def check(self) -> None:
        """Raise what a write has failed with, if any has."""
        self._settle(0)
        self._raise()

    def finish(self) -> None:
        """Wait until everything is written; raises as :meth:`check`."""
        self._settle(len(self._pending))
        self.check()

    def _raise(self) -> None:
        if self._errors:
            raise self._errors.pop(0)

    def _settle(self, count: int) -> None:
        """Note how the first ``count`` things ended, waiting for them, and those behind them that have ended."""
        while self._pending and (count > 0 or self._pending[0].done()):
            error = self._pending.popleft().exception()
            if error is not None:
                self._errors.append(error)
            count -= 1

    def __enter__(self) -> BackgroundWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True)
        if kind is None:
            self.finish()
        self._settle(len(self._pending))
        for missed in self._errors:
            logger.error("%s", missed)
