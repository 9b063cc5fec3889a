"""Stopping on request: the first Ctrl-C or SIGTERM asks, the second ends the process at once."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Turns SIGINT and SIGTERM inside a ``with`` block into a flag the loop looks at.

    Outside the main thread, where Python allows no signal handlers, the flag stays False.

    Attributes:
        requested: whether somebody asked to stop.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._ask) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        # The system's own handler ends the process even inside a long C call, where Python's would wait its turn.
        # Checkpoints are written so that this never tears one.
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        name = signal.Signals(number).name
        logger.warning("%s: finishing this step, then saving; a second signal exits at once", name)
