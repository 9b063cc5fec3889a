"""JPEG files at their full size are read to the same pixels as by Pillow, and damaged ones are left to it."""

import numpy as np
import pytest
from PIL import Image

from gha.capture import images
from gha.capture.images import decode
from gha.capture.jpeg import decode_jpeg
from gha.errors import InputError

SIZE = (45, 67)


def write(path, mode="RGB", **options):
    generator = np.random.default_rng(0)
    smooth = generator.integers(0, 256, (6, 9, 3), np.uint8)
    picture = Image.fromarray(smooth).resize((SIZE[1], SIZE[0]), Image.Resampling.BICUBIC).convert(mode)
    picture.save(path, "JPEG", **options)
    return path


def by_pillow(path, gray):
    with Image.open(path) as picture:
        if gray:
            picture.draft("L", picture.size)
        pixels = np.asarray(picture if gray else picture.convert("RGB"))
    return pixels[None] if gray else pixels.transpose(2, 0, 1)


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 2}, {"progressive": True}, {"quality": 95}])
def test_pixels_are_those_of_pillow(tmp_path, mode, gray, options):
    path = write(tmp_path / "a.jpg", mode, **options)
    out = np.zeros((1 if gray else 3, *SIZE), np.uint8)
    assert decode_jpeg(path.read_bytes(), out)
    assert np.array_equal(out, by_pillow(path, gray))
    assert out.std() > 10


def test_whole_files_are_read_by_the_fast_decoder_and_nothing_else_is(tmp_path, monkeypatch):
    path, read = write(tmp_path / "a.jpg"), []
    monkeypatch.setattr(images, "decode_jpeg", lambda content, out: bool(read.append(1)) or decode_jpeg(content, out))
    decode(path, SIZE, SIZE, gray=False)
    assert read == [1]
    decode(path, SIZE, SIZE, gray=False, window=(1, 2, SIZE[1], SIZE[0]))
    decode(path, (20, 30), SIZE, gray=False)
    Image.open(path).save(tmp_path / "a.png")
    decode(tmp_path / "a.png", SIZE, SIZE, gray=False)
    assert read == [1]


def test_what_the_fast_decoder_finds_amiss_is_judged_by_pillow(tmp_path):
    path = write(tmp_path / "a.jpg")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + content[-2:])  # ends too early, but as it should: a warning
    assert not decode_jpeg(path.read_bytes(), np.empty((3, *SIZE), np.uint8))
    assert np.array_equal(decode(path, SIZE, SIZE, gray=False), by_pillow(path, False))
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"a\.jpg: found a damaged picture"):
        decode(path, SIZE, SIZE, gray=False)


def test_threads_have_memory_of_their_own(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    paths = []
    for number in range(8):
        level = np.full((*SIZE, 3), 30 * number, np.uint8)
        Image.fromarray(level).save(tmp_path / f"{number}.jpg", quality=100)
        paths.append(tmp_path / f"{number}.jpg")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda path: decode(path, SIZE, SIZE, gray=False), 5 * paths))
    for number, pixels in enumerate(found):
        assert np.abs(pixels.astype(int) - 30 * (number % 8)).max() <= 2


def test_a_file_that_is_replaced_meanwhile_is_read_as_it_was_opened(tmp_path, monkeypatch):
    path = write(tmp_path / "a.jpg")
    expected, opened = decode(path, SIZE, SIZE, gray=False), images._opened

    def open_and_replace(path):
        picture = opened(path)
        path.unlink()
        Image.fromarray(np.zeros((SIZE[0], SIZE[1] // 2, 3), np.uint8)).save(path)
        return picture

    monkeypatch.setattr(images, "_opened", open_and_replace)
    assert np.array_equal(decode(path, SIZE, SIZE, gray=False), expected)


def test_a_picture_of_another_size_is_not_taken(tmp_path):
    content = write(tmp_path / "a.jpg").read_bytes()
    for height, width in ((SIZE[1], SIZE[0]), (2 * SIZE[0], SIZE[1]), (SIZE[0], SIZE[1] - 1)):
        out = np.full((3, height, width), 7, np.uint8)
        assert not decode_jpeg(content, out)
        assert (out == 7).all()
