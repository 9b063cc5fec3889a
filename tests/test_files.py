import errno
import hashlib

import pytest

from gha import files


def test_writing_replaces_the_whole_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "config.yaml"
    files.write_atomically(path, "a much longer text")
    files.write_atomically(path, "grün")
    assert path.read_bytes() == "grün".encode()
    files.write_atomically(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch, failing):
    path = tmp_path / "config.yaml"
    files.write_atomically(path, "old")

    def fail(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, failing, fail)
    with pytest.raises(OSError, match="No space left"):
        files.write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_order_is_write_sync_rename_sync(tmp_path, monkeypatch):
    events = []
    fsync, replace = files.os.fsync, files.os.replace
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: (events.append("fsync"), fsync(descriptor)))
    monkeypatch.setattr(files.os, "replace", lambda old, new: (events.append("replace"), replace(old, new)))
    files.write_atomically(tmp_path / "a", "text")
    assert events == ["fsync", "replace", "fsync"]


def test_sha256():
    assert files.sha256_of(b"abc") == hashlib.sha256(b"abc").hexdigest()
