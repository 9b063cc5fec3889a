"""The cache of decoded pictures: its budget, and that it notices what happens to files."""

import os

import numpy as np
import pytest

from gha.capture.image_cache import ImageCache


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "picture"
    path.write_bytes(b"first")
    return path


def ramp(seed: int = 0) -> np.ndarray:
    return (np.arange(600) + seed).astype(np.uint8).reshape(1, 20, 30)


def fetch(cache, path, pixels, form=None):
    """The picture that comes out, and whether it was decoded for it."""
    decoded = []

    def decode(out):
        decoded.append(True)
        out[...] = pixels

    out = np.zeros(pixels.shape, np.uint8)
    cache.fill(path, form, decode, out)
    return out, bool(decoded)


def test_a_picture_is_decoded_once_for_each_form(file):
    cache = ImageCache(10_000)
    for form in ("whole", "half"):
        for expected in (True, False, False):
            out, decoded = fetch(cache, file, ramp(len(form)), form)
            assert decoded is expected
            assert np.array_equal(out, ramp(len(form)))


def test_what_comes_out_may_be_written_to(file):
    cache = ImageCache(10_000)
    for _ in range(3):
        out, _ = fetch(cache, file, ramp())
        assert np.array_equal(out, ramp())
        out[...] = 7


def test_the_cache_never_grows_past_its_budget(tmp_path):
    cache = ImageCache(1000)
    for name in "abc":
        (tmp_path / name).write_bytes(b"x")
        fetch(cache, tmp_path / name, ramp())
    assert cache.used == 600
    assert [fetch(cache, tmp_path / name, ramp())[1] for name in "abc"] == [False, True, True]


def test_of_a_uniform_picture_one_value_is_kept(file):
    cache = ImageCache(10)
    white = np.full((1, 500, 500), 255, np.uint8)
    fetch(cache, file, white)
    assert cache.used == 1
    out, decoded = fetch(cache, file, white)
    assert not decoded
    assert np.array_equal(out, white)


def test_one_other_pixel_is_not_uniform(file):
    white = np.full((1, 500, 500), 255, np.uint8)
    white[0, 3, 4] = 0
    cache = ImageCache(10**6)
    for _ in range(2):
        assert np.array_equal(fetch(cache, file, white)[0], white)


def rewrite(path, content, keep_time=False, in_place=True):
    status = path.stat()
    if in_place:
        path.write_bytes(content)
    else:
        other = path.with_name("other")
        other.write_bytes(content)
        os.replace(other, path)
    time = status.st_mtime_ns if keep_time else status.st_mtime_ns + 1
    os.utime(path, ns=(status.st_atime_ns, time))


@pytest.mark.parametrize(
    ("content", "keep_time", "in_place"),
    [
        (b"other", False, True),  # same size, another time, as a program that writes into the file
        (b"longer than before", True, True),  # same time, as on a file system that counts seconds
        (b"other", True, False),  # same size and time, another file, as rsync -t leaves it
    ],
)
def test_a_file_that_changes_is_decoded_anew_and_the_old_picture_forgotten(file, content, keep_time, in_place):
    cache = ImageCache(1000)  # room for one
    fetch(cache, file, ramp(0))
    rewrite(file, content, keep_time, in_place)
    out, decoded = fetch(cache, file, ramp(1))
    assert decoded
    assert np.array_equal(out, ramp(1))
    assert cache.used == 600
    assert np.array_equal(fetch(cache, file, ramp(2))[0], ramp(1))


def test_a_file_that_is_gone_is_left_to_the_decoder(file):
    cache = ImageCache(1000)
    fetch(cache, file, ramp())
    file.unlink()
    assert fetch(cache, file, ramp(1))[1]
