"""From a frame, a camera and a size to three decoded pictures: image, mask and visible map."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from gha.errors import InputError

from . import layout
from .image_cache import ImageCache, Version, file_version
from .images import Window, decode, fill_visible_everywhere, picture_size
from .layout import ImageKind

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pictures:
    """Memory for the pixels of V views, uint8.

    Attributes:
        image: [..., V, 3, H, W].
        mask, visible: [..., V, 1, H, W].
    """

    image: np.ndarray
    mask: np.ndarray
    visible: np.ndarray

    @classmethod
    def empty(cls, views: int, size: tuple[int, int]) -> Pictures:
        """For ``views`` views of height and width ``size``; the content is undefined."""
        return cls(*(np.empty((views, channels, *size), np.uint8) for channels in (3, 1, 1)))

    def __getitem__(self, index: int) -> Pictures:
        """One item along the first dimension."""
        return Pictures(self.image[index], self.mask[index], self.visible[index])


class ViewReader:
    """Finds and decodes the pictures of a capture.

    Args:
        root: folder of the capture.
        frame_ids: all frames; the first with a picture of a camera tells the full size of that camera.
    """

    def __init__(self, root: Path, frame_ids: Sequence[str]) -> None:
        self.root = root
        self.frame_ids = tuple(frame_ids)
        self._sizes: dict[str, tuple[int, int]] = {}
        self._files: dict[tuple, tuple[Path | None, bool]] = {}
        self._plate_files: dict[str, Path | None] = {}
        self._plates: dict[tuple, tuple[Version | None, np.ndarray]] = {}

    def resolution(self, camera_id: str) -> tuple[int, int]:
        """Height and width of the full-size images of a camera."""
        if camera_id not in self._sizes:
            stems = (layout.image_stem(self.root, "image", frame, camera_id) for frame in self.frame_ids)
            found = next((path for stem in stems if (path := layout.with_known_suffix(stem))), None)
            # Where there is none at all, the first one is missed by name.
            path = found or self._full_size_file("image", self.frame_ids[0], camera_id)
            self._sizes[camera_id] = picture_size(path)
        return self._sizes[camera_id]

    def read(
        self,
        frame_id: str,
        camera_id: str,
        allow_lowres: bool,
        crop: Window | None,
        cache: ImageCache,
        out: Pictures,
    ) -> None:
        """Fill in image, mask and visible map of one view.

        Where the capture has a picture of the empty stage, outlines are freed of it (see ``unmixing``).

        Args:
            frame_id: which frame.
            camera_id: which camera.
            allow_lowres: take the small copies where they are large enough.
            crop: part of the full-size picture, or None for all of it.
            cache: where decoded pictures are kept.
            out: image [3, H, W], mask [1, H, W] and visible map [1, H, W]; their size is that of the result.
        """
        size, full_size = out.image.shape[-2:], self.resolution(camera_id)
        kinds: dict[ImageKind, np.ndarray] = {"image": out.image, "mask": out.mask, "visible": out.visible}
        for kind, pixels in kinds.items():
            path, is_lowres = self._choose_file(kind, frame_id, camera_id, size, allow_lowres)
            if path is None:
                fill_visible_everywhere(pixels, full_size, crop)
                continue
            gray = kind != "image"
            read = partial(decode, path, size, full_size, gray, is_lowres, crop)
            cache.fill(path, (size, crop), lambda pixels, read=read: read(out=pixels), pixels)
        if crop is None and not out.mask.any():
            path = self._full_size_file("mask", frame_id, camera_id)
            raise InputError(f"{path}: found an empty mask, expected the subject in it")
        plate = self._plate(camera_id, size, crop)
        if plate is not None:
            from .unmixing import unmix  # compiles kernels

            full_height = full_size[0] if crop is None else crop[3]
            unmix(out.image, out.mask, plate, full_height / size[0])

    def _plate(self, camera_id: str, size: tuple[int, int], crop: Window | None) -> np.ndarray | None:
        """The empty stage seen by a camera [3, H, W]; None where there is no such picture."""
        path, full_size = self._plate_file(camera_id), self.resolution(camera_id)
        if path is None or crop is not None:
            return None if path is None else decode(path, size, full_size, gray=False, window=crop)
        version, kept = file_version(path), self._plates.get((camera_id, size))
        if kept is None or kept[0] != version:
            kept = self._plates[camera_id, size] = version, decode(path, size, full_size, gray=False)
        return kept[1]

    def _plate_file(self, camera_id: str) -> Path | None:
        """The picture of the empty stage, if it shows the same as the other pictures of the camera."""
        if camera_id not in self._plate_files:
            stem = layout.background_file(self.root, camera_id).with_suffix("")
            path = layout.with_known_suffix(stem)
            if path is None and stem.parent.is_dir():
                logger.warning("%s.jpg: not found; outlines of camera %s keep what is behind them", stem, camera_id)
            elif path is not None and picture_size(path) != self.resolution(camera_id):
                logger.warning("%s: another size than the camera's pictures; outlines keep what is behind them", path)
                path = None
            self._plate_files[camera_id] = path
        return self._plate_files[camera_id]

    def _choose_file(
        self, kind: ImageKind, frame_id: str, camera_id: str, size: tuple[int, int], allow_lowres: bool
    ) -> tuple[Path | None, bool]:
        """The file to decode and whether it is a small copy; None for a visible map that does not exist."""
        key = (kind, frame_id, camera_id, size, allow_lowres)
        if key not in self._files:
            lowres = self._lowres_file(kind, frame_id, camera_id, size) if allow_lowres else None
            self._files[key] = (lowres or self._full_size_file(kind, frame_id, camera_id), lowres is not None)
        return self._files[key]

    def _lowres_file(self, kind: ImageKind, frame_id: str, camera_id: str, size: tuple[int, int]) -> Path | None:
        path = layout.with_known_suffix(layout.image_stem(self.root, kind, frame_id, camera_id, lowres=True))
        if path is None or any(wanted > has for wanted, has in zip(size, picture_size(path), strict=True)):
            return None
        return path

    def _full_size_file(self, kind: ImageKind, frame_id: str, camera_id: str) -> Path | None:
        stem = layout.image_stem(self.root, kind, frame_id, camera_id)
        path = layout.with_known_suffix(stem)
        if path is None and kind == "visible":
            return layout.with_known_suffix(layout.camera_visible_stem(self.root, camera_id))
        if path is None:
            raise InputError(f"{stem}.jpg (or .png): file not found; expected the {kind} of camera {camera_id}")
        return path
