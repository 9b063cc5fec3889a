"""What every command line of the library shares: help without torch, configs, one clean line per error."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gha.errors import GhaError

from .config import load_config
from .config_help import describe_config

_EPILOG = """\
key=value changes one key, with dots between sections and YAML values: section.key=1e-4, "section.list=[a, b]".
Keys without a default must be given. FILE changes the defaults, key=value changes FILE. --debug shows tracebacks."""


def run_command(
    description: str,
    schema: str,
    body: Callable[[Any], Any] | str,
    argv: Sequence[str],
    default_config: Path | str | None = None,
) -> int:
    """Parse ``--config FILE key=value ...``, load the configuration, and hand it to ``body``.

    Args:
        description: one sentence for ``--help``.
        schema: place of the configuration's dataclass, ``"gha.apps.train:MeshRunConfig"``. Its module is read, not
            imported, for ``--help``; it is imported once the arguments are known to be right.
        body: takes the configuration and does the work; by its place, ``"gha.apps.train:train_mesh"``, where importing
            it is slow.
        argv: the arguments after the command.
        default_config: configuration file where ``--config`` is not given; None: the defaults of the dataclass.

    Returns:
        Exit code: 0, or 1 after an error that was reported.
    """
    parser = new_parser(description, f"{_EPILOG}\n\nkeys:\n{describe_config(schema)}")
    default = f"; default: {default_config}" if default_config else ""
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=default_config,
        help=f"YAML file with values of keys; config/ of the repository holds some{default}",
    )
    parser.add_argument("overrides", metavar="key=value", nargs="*", help="changes to single keys, applied last")
    arguments = parser.parse_intermixed_args(list(argv))

    def load_and_run() -> None:
        config = load_config(import_object(schema), arguments.config, arguments.overrides)
        (import_object(body) if isinstance(body, str) else body)(config)

    return report_errors(load_and_run)


def report_errors(body: Callable[[], Any]) -> int:
    """Run ``body``; an error the user can mend becomes one line on stderr and exit code 1, an interruption 130.

    ``GHA_DEBUG=1`` in the environment, or ``--debug`` on the command line, shows the traceback as well.
    """
    show_log_on_console()
    try:
        with _sigterm_as_interrupt():
            body()
    except KeyboardInterrupt:
        _complain("interrupted", only_first=True)
        return 130
    except (GhaError, OSError) as error:
        if os.environ.get("GHA_DEBUG"):
            traceback.print_exc()
        _complain(f"error: {_in_words(error)}")
        return 1
    return 0


def _complain(text: str, only_first: bool = False) -> None:
    """Print to stderr; of several processes that torchrun started, all but the first say which they are."""
    rank = os.environ.get("RANK", "0")
    if rank == "0":
        print(text, file=sys.stderr)  # noqa: T201
    elif not only_first:
        print(f"process {rank}: {text}", file=sys.stderr)  # noqa: T201


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM unwind like Ctrl-C, so that unfinished files are removed. Training asks to stop in its own way."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _in_words(error: Exception) -> str:
    """The message of an error, its kind in front where it is not one of this library."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    return str(error) if isinstance(error, GhaError) else f"{type(error).__name__}: {error}"


def import_object(place: str) -> Any:
    """What ``"package.module:name"`` names."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def new_parser(description: str, epilog: str = "") -> argparse.ArgumentParser:
    """A parser under the name the user typed, whose help keeps the lines of description and epilog."""
    return argparse.ArgumentParser(
        program_name(),
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def program_name() -> str:
    """What the user typed to get here: ``train_meshhead.py``, ``gha train-mesh`` or ``python -m gha train-mesh``."""
    name = Path(sys.argv[0]).name
    name = "python -m gha" if name == "__main__.py" else name
    return " ".join([name, *sys.argv[1:2]]) if name in ("gha", "python -m gha") else name


def show_log_on_console() -> None:
    """Show what the library logs on stderr, between progress bars rather than across them. Calling twice is fine."""
    library = logging.getLogger("gha")
    if not any(isinstance(handler, _ConsoleHandler) for handler in library.handlers):
        library.addHandler(_ConsoleHandler())
        library.setLevel(logging.INFO)


class _ConsoleHandler(logging.Handler):
    """Writes through tqdm, which redraws its bars below the line."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        prefix = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        tqdm.write(prefix + self.format(record), file=sys.stderr)
