"""Writing files so that a crash leaves the old one or the new one, never half of one. Shared by every room."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def write_atomically(path: Path | str, content: bytes | str) -> None:
    """Replace the file at ``path`` by ``content`` (text as UTF-8): temporary name, fsync, rename, fsync again."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write_durably(temporary, content)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_durably(path: Path, content: bytes | str) -> None:
    """Write ``content`` to ``path`` and return once the device holds it; a crash meanwhile may leave a torn file."""
    with path.open("wb") as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())


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
