"""Writing files so that a crash leaves the old one or the new one, never half of one. Shared by every room."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def open_atomically(path: Path | str, durable: bool = True) -> Iterator[BinaryIO]:
    """A file to fill, which takes the place of ``path`` when the block ends, and never does if the block fails.

    It is temporary and beside ``path``, in a folder that is made if missing. Its name starts with a dot and holds
    process and thread, so that several writers of one folder never meet and listings can skip it.

    Args:
        path: the file to write or replace.
        durable: return once the device holds the file, so that it also survives a loss of power. Waiting for the
            device costs more than encoding a small image, so what is written by the thousand and can be made again
            does without; killing the process never tears a file either way.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            if durable:
                _sync_file(file)
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            # A full disk does not say by itself which file it had no room for; numpy does not even say that it is full.
            raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error
        raise
    if durable:
        sync_folder(path.parent)


def write_atomically(path: Path | str, content: bytes | str) -> None:
    """Replace the file at ``path`` by ``content`` (text as UTF-8), and return once the device holds it."""
    with open_atomically(path) as file:
        file.write(_as_bytes(content))


def write_durably(path: Path, content: bytes | str) -> None:
    """Write ``content`` to ``path`` and return once the device holds it; a crash meanwhile may leave a torn file."""
    with path.open("wb") as file:
        file.write(_as_bytes(content))
        _sync_file(file)


def sync_folder(folder: Path) -> None:
    """Make renames inside ``folder`` survive a loss of power, where the system can (Windows cannot)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(content: bytes) -> str:
    """SHA-256 of ``content`` as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def _as_bytes(content: bytes | str) -> bytes:
    return content.encode("utf-8") if isinstance(content, str) else content


def _sync_file(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
