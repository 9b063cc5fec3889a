"""Copying pixels out of Pillow's memory gives what numpy gives."""

import numpy as np
import pytest
from PIL import Image

from gha.capture.pixels import copy_pixels


def picture(mode: str, size: tuple[int, int]) -> Image.Image:
    generator = np.random.default_rng(0)
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
    return Image.fromarray(generator.integers(0, 256, shape, np.uint8))


def expected(picture: Image.Image) -> np.ndarray:
    array = np.asarray(picture)
    return array[None] if picture.mode == "L" else array.transpose(2, 0, 1)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (640, 333), (3001, 2203)])  # the last lies in several pieces
def test_pixels_are_those_of_numpy(mode, size):
    source = picture(mode, size)
    out = np.empty((len(source.getbands()), size[1], size[0]), np.uint8)
    copy_pixels(source, out)
    assert np.array_equal(out, expected(source))


@pytest.mark.parametrize("error", [AttributeError, ValueError, MemoryError])
def test_a_pillow_that_does_not_show_its_memory_is_read_all_the_same(monkeypatch, error):
    def refuse(self, requested_schema=None):
        raise error

    monkeypatch.setattr(Image.Image, "__arrow_c_array__", refuse, raising=False)
    test_pixels_are_those_of_numpy("RGB", (640, 333))


def test_parts_and_reduced_copies_are_read_from_their_own_memory():
    source = picture("RGB", (64, 48))
    for changed in (source.crop((-3, 5, 40, 60)), source.reduce(4), source.resize((33, 21))):
        out = np.empty((3, changed.height, changed.width), np.uint8)
        copy_pixels(changed, out)
        assert np.array_equal(out, expected(changed))
