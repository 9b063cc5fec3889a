"""Decoding pictures: only what is asked for, at the size that is asked for, antialiased."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from gha.errors import InputError

from .jpeg import decode_jpeg
from .pixels import copy_pixels

# left, top, width, height in pixels of the full-size image; may reach outside it.
Window = tuple[int, int, int, int]


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width of a picture, from its header."""
    with _opened(path) as picture:
        return picture.height, picture.width


def check_picture(path: Path, full_size: tuple[int, int], lowres: bool = False) -> None:
    """Refuse a picture whose header cannot be read or tells another size than :func:`decode` would accept."""
    with _opened(path) as picture:
        _check_size(path, picture, full_size, lowres)


def decode(
    path: Path,
    size: tuple[int, int],
    full_size: tuple[int, int],
    gray: bool,
    lowres: bool = False,
    window: Window | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Read a picture into uint8 [3 or 1, H, W].

    Args:
        path: JPEG or PNG of 8 bits; a gray picture may have one or three equal channels.
        size: height and width of the result.
        full_size: height and width a full-size picture must have; a small copy must have its proportions.
        gray: one channel instead of three.
        lowres: whether ``path`` is a small copy.
        window: part of the full-size picture that is read; zero outside the picture.
        out: where to; a new array by default.
    """
    height, width = size
    out = np.empty((1 if gray else 3, height, width), np.uint8) if out is None else out
    with _opened(path) as picture:
        _check_size(path, picture, full_size, lowres)
        mode = "L" if gray else "RGB"
        # Of what the fast decoder finds amiss, Pillow says whether it is damage.
        if _is_whole_jpeg(picture, size, window) and decode_jpeg(_content(picture), out):
            return out
        if picture.width % 8 == 0 and picture.height % 8 == 0 and window is None:
            # JPEG can decode straight to 1/2, 1/4, 1/8; twice the result leaves the rest to the better filter.
            picture.draft(mode, (2 * width, 2 * height))
        try:
            converted = _converted(path, picture, mode)
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(f"{path}: found a damaged picture ({error}), expected a whole one") from error
        copy_pixels(_resized(_cropped(converted, window), width, height), out)
    return out


def fill_visible_everywhere(out: np.ndarray, full_size: tuple[int, int], window: Window | None) -> None:
    """The visible map uint8 [1, H, W] of a picture without padding: 255, but 0 where a window reaches outside."""
    if window is None:
        out[...] = 255
        return
    picture = Image.new("L", (full_size[1], full_size[0]), 255)
    copy_pixels(_resized(_cropped(picture, window), out.shape[2], out.shape[1]), out)


def _opened(path: Path) -> Image.Image:
    if not path.is_file():
        raise InputError(f"{path}: file not found")
    try:
        return Image.open(path)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise InputError(f"{path}: not a readable picture ({error}), expected JPEG or PNG") from error


def _check_size(path: Path, picture: Image.Image, full_size: tuple[int, int], lowres: bool) -> None:
    height, width = full_size
    if lowres:
        # The proportions agree when each side is within a pixel of the scaled full size.
        scale = max(picture.size) / max(full_size)
        agrees = abs(picture.height - height * scale) <= 1 and abs(picture.width - width * scale) <= 1
    else:
        agrees = (picture.height, picture.width) == (height, width)
    if not agrees:
        raise InputError(
            f"{path}: found {picture.width} x {picture.height} pixels, expected {width} x {height}"
            + (" or a smaller copy of the same proportions" if lowres else "")
        )


def _content(picture: Image.Image) -> bytes:
    """The file that a picture was opened from, as it was then, whatever has its name now."""
    picture.fp.seek(0)
    return picture.fp.read()


def _is_whole_jpeg(picture: Image.Image, size: tuple[int, int], window: Window | None) -> bool:
    """Whether all that is asked for is the content of a JPEG file of one or three channels."""
    whole = window is None and (picture.height, picture.width) == size
    return whole and picture.format == "JPEG" and picture.mode in ("L", "RGB")


def _converted(path: Path, picture: Image.Image, mode: str) -> Image.Image:
    picture.load()
    if picture.mode not in ("L", "RGB", "RGBA", "LA", "P", "1"):
        raise InputError(f"{path}: found pixel format {picture.mode}, expected 8 bits per channel")
    if mode == "L" and picture.mode in ("RGB", "RGBA"):
        return picture.getchannel(0)
    return picture if picture.mode == mode else picture.convert(mode)


def _cropped(picture: Image.Image, window: Window | None) -> Image.Image:
    if window is None:
        return picture
    left, top, width, height = window
    return picture.crop((left, top, left + width, top + height))


def _resized(picture: Image.Image, width: int, height: int) -> Image.Image:
    if picture.size == (width, height):
        return picture
    factor = picture.width // width
    if factor > 1 and picture.size == (width * factor, height * factor):
        return picture.reduce(factor)  # the exact mean over each block
    return picture.resize((width, height), Image.Resampling.LANCZOS)
