"""Writing the pictures and cameras of a capture, view by view, in whatever order they are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from gha.errors import InputError
from gha.files import open_atomically
from gha.geometry import Camera

from . import layout
from .layout import ImageKind


@dataclass(frozen=True)
class PictureFiles:
    """Where the pictures of one capture go and in which form; any number of processes may write at once.

    The small copies are written first: where a full picture is, everything that belongs to it is.

    Attributes:
        root: folder of the capture.
        resolution: height and width of the full pictures.
        original: write the form of the original system: JPEG masks replicated to three channels, visible maps per
            frame and camera.
    """

    root: Path
    resolution: tuple[int, int]
    original: bool = False

    def write_picture(self, frame_id: str, camera_id: str, rgb: np.ndarray | Path) -> None:
        """Write what a camera recorded, uint8 [H, W, 3] or a JPEG file whose bytes are kept, and its small copy."""
        recorded = rgb if isinstance(rgb, Path) else None
        picture = _open_jpeg(recorded) if recorded else Image.fromarray(_checked_rgb(rgb))
        self._check_size(picture, f"image of frame {frame_id}, camera {camera_id}")
        *small, full = self.files("image", frame_id, camera_id)
        for path in small:
            self._save(path, shrink(picture))
        if recorded:
            with open_atomically(full, durable=False) as file:
                file.write(recorded.read_bytes())
        else:
            self._save(full, picture)

    def write_mask(self, frame_id: str, camera_id: str, alpha: np.ndarray) -> None:
        """Write which share of each pixel shows the subject, uint8 [H, W], and its small copy."""
        mask = Image.fromarray(_checked_gray(alpha))
        self._check_size(mask, f"mask of frame {frame_id}, camera {camera_id}")
        *small, full = self.files("mask", frame_id, camera_id)
        for path in small:
            self._save(path, shrink(mask))
        self._save(full, mask)

    def write_visible(self, camera_id: str, visible: np.ndarray, frame_id: str | None = None) -> None:
        """Write where pixels come from the sensor, uint8 [H, W]; the original's form needs ``frame_id``."""
        picture = Image.fromarray(_checked_gray(visible))
        self._check_size(picture, f"visible map of camera {camera_id}")
        if not self.original:
            stem = layout.camera_visible_stem(self.root, camera_id)
            self._save(stem.parent / (stem.name + ".png"), picture)
            return
        if frame_id is None:
            raise ValueError("the original's form keeps one visible map per frame: frame_id is missing")
        self._save(self._path("visible", frame_id, camera_id, lowres=False), picture)
        self._save(self._path("visible", frame_id, camera_id, lowres=True), shrink(picture))

    def write_background(self, camera_id: str, rgb: np.ndarray) -> None:
        """Write the picture of the empty stage, uint8 [H, W, 3]."""
        self._save(layout.background_file(self.root, camera_id), Image.fromarray(_checked_rgb(rgb)))

    def files(self, kind: ImageKind, frame_id: str, camera_id: str) -> list[Path]:
        """The files of one picture: its small copy, where this capture has those, then itself."""
        lowres = self.original or max(self.resolution) > layout.LOWRES_SIDE
        return [self._path(kind, frame_id, camera_id, small) for small in ([True, False] if lowres else [False])]

    def has(self, kind: ImageKind, frame_id: str, camera_id: str) -> bool:
        """Whether a picture and its small copy are there."""
        return all(is_written(path) for path in self.files(kind, frame_id, camera_id))

    def _path(self, kind: ImageKind, frame_id: str, camera_id: str, lowres: bool) -> Path:
        stem = layout.image_stem(self.root, kind, frame_id, camera_id, lowres)
        return stem.parent / (stem.name + (".jpg" if self.original or kind == "image" else ".png"))

    def _check_size(self, picture: Image.Image, what: str) -> None:
        expected = (self.resolution[1], self.resolution[0])
        if picture.size != expected:
            raise InputError(f"{what}: found {picture.size} (width, height), expected {expected}")

    def _save(self, path: Path, picture: Image.Image) -> None:
        with open_atomically(path, durable=False) as file:
            if path.suffix == ".png":
                picture.save(file, "PNG", compress_level=2)
            elif self.original:
                picture.convert("RGB").save(file, "JPEG", quality=95)
            else:
                picture.save(file, "JPEG", quality=95, subsampling=0)


def write_cameras(root: Path, frame_id: str, camera_ids: Sequence[str], cameras: Camera) -> None:
    """Write the calibration [V] of the named cameras, valid for full-size images, for one frame."""
    for index, camera_id in enumerate(camera_ids):
        extrinsic = cameras.w2c[index, :3].double().cpu().numpy()
        intrinsic = cameras.K[index].double().cpu().numpy()
        with open_atomically(layout.camera_file(root, frame_id, camera_id), durable=False) as file:
            np.savez(file, extrinsic=extrinsic, intrinsic=intrinsic)


def is_written(path: Path) -> bool:
    """Whether a file is there and holds something: a loss of power can leave names without content."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def shrink(picture: Image.Image) -> Image.Image:
    """The small copy of a picture: longer side 256, antialiased."""
    factor = layout.LOWRES_SIDE / max(picture.size)
    size = tuple(max(1, round(side * factor)) for side in picture.size)
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _open_jpeg(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        if picture.format != "JPEG":
            raise InputError(f"{path}: found {picture.format}, expected a JPEG whose bytes can be kept")
        return picture.convert("RGB")


def _checked_rgb(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(f"expected uint8 [H, W, 3], got {array.dtype} {list(array.shape)}")
    return array


def _checked_gray(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.uint8 or array.ndim != 2:
        raise ValueError(f"expected uint8 [H, W], got {array.dtype} {list(array.shape)}")
    return array
