import errno
import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

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


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_block_that_fails_leaves_the_old_file_alone(tmp_path, error):
    path = tmp_path / "image.png"
    files.write_atomically(path, "old")

    def write_half():
        with files.open_atomically(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_can_be_made_again_does_not_wait_for_the_device(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: pytest.fail("waited for the device"))
    path = tmp_path / "made" / "as needed" / "image.png"
    with files.open_atomically(path, durable=False) as file:
        file.write(b"picture")
        assert not path.exists()
    assert path.read_bytes() == b"picture"


def test_several_writers_of_one_file_never_mix(tmp_path):
    """The last one wins, whole; every writer is in the middle of its file when the others start."""
    path = tmp_path / "image.png"
    together = threading.Barrier(4)

    def write(letter):
        with files.open_atomically(path, durable=False) as file:
            file.write(letter * 1000)
            together.wait(timeout=30)
            file.write(letter * 1000)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, [b"a", b"b", b"c", b"d"]))
    assert path.read_bytes() in {letter * 2000 for letter in (b"a", b"b", b"c", b"d")}
    assert list(tmp_path.iterdir()) == [path]


def test_sha256():
    assert files.sha256_of(b"abc") == hashlib.sha256(b"abc").hexdigest()


def test_a_full_disk_names_the_file(tmp_path):
    """The system's error about a write holds no name."""
    with pytest.raises(OSError, match="No space") as caught, files.open_atomically(tmp_path / "video.png"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "video.png"))
    with (
        pytest.raises(OSError, match="200 requested and 80 written") as caught,
        files.open_atomically(tmp_path / "x.npz"),
    ):
        raise OSError("200 requested and 80 written")
    assert caught.value.filename == str(tmp_path / "x.npz")
    assert not list(tmp_path.iterdir())
