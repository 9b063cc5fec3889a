"""Writing a capture, in the layout of this library or in the original's to the letter."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from gha.errors import InputError
from gha.faces.code import HeadCode
from gha.files import open_atomically, write_atomically
from gha.geometry import Camera

from . import layout
from .info import CaptureInfo, info_to_json, read_info
from .layout import ImageKind


class CaptureWriter:
    """Writes one capture; safe to use from several processes and to run again after an interruption.

    Every file appears atomically. ``capture.json`` is written at once, marked incomplete, so that a second run finds
    out whether it continues the same capture, and marked complete by :meth:`finish`. Only that file waits for the
    device: there are thousands of others, and a run that lost the power is made again.

    Args:
        root: folder of the capture.
        info: what ``capture.json`` will say.
        original: write the form of the original system: no ``capture.json``, JPEG masks replicated to three
            channels, and visible maps per frame and camera.
    """

    def __init__(self, root: str | Path, info: CaptureInfo, original: bool = False) -> None:
        self.root = Path(root)
        self.info = info
        self.original = original
        self.root.mkdir(parents=True, exist_ok=True)
        if not original:
            self._claim()

    def _claim(self) -> None:
        path = self.root / layout.CAPTURE_FILE
        if not path.exists():
            self._write_info(complete=False)
            return
        found = _flat(json.loads(info_to_json(read_info(path)[0], True)))
        expected = _flat(json.loads(info_to_json(self.info, True)))
        different = [key for key in {**expected, **found} if found.get(key) != expected.get(key)]
        if different:
            first, last = (str(values.get(different[0]))[:80] for values in (found, expected))
            raise InputError(
                f"{path}: holds another capture ({', '.join(different)} differ; found {different[0]} = {first}, "
                f"expected {last}); choose another folder or delete it"
            )

    def _write_info(self, complete: bool) -> None:
        write_atomically(self.root / layout.CAPTURE_FILE, info_to_json(self.info, complete))

    def write_cameras(self, frame_id: str, camera_ids: Sequence[str], cameras: Camera) -> None:
        """Write the calibration [V] of the named cameras, valid for full-size images, for one frame."""
        for index, camera_id in enumerate(camera_ids):
            extrinsic = cameras.w2c[index, :3].double().cpu().numpy()
            intrinsic = cameras.K[index].double().cpu().numpy()
            with open_atomically(layout.camera_file(self.root, frame_id, camera_id), durable=False) as file:
                np.savez(file, extrinsic=extrinsic, intrinsic=intrinsic)

    def write_frame_params(self, frame_id: str, code: HeadCode, landmarks: Tensor, vertices: Tensor) -> None:
        """Write the truth, or the tracking, of one frame.

        Args:
            frame_id: name of the frame.
            code: expression [E], pose [6], scale [1] and optionally identity [I].
            landmarks: facial landmarks in world space [66 or 68, 3].
            vertices: face-region vertices in world space [R, 3].
        """
        arrays = {
            "exp_coeff": _float32(code.expression)[None],
            "pose": _float32(code.pose)[None],
            "scale": _float32(code.scale).reshape(1),
        }
        if code.identity is not None:
            arrays["id_coeff"] = _float32(code.identity)[None]
        # params.npz goes last: a frame that has it has everything.
        for path, array in (
            (layout.landmarks_file(self.root, frame_id), _float32(landmarks)),
            (layout.vertices_file(self.root, frame_id), _float32(vertices)),
        ):
            with open_atomically(path, durable=False) as file:
                np.save(file, array)
        with open_atomically(layout.params_file(self.root, frame_id), durable=False) as file:
            np.savez(file, **arrays)

    def write_image(self, frame_id: str, camera_id: str, rgb: np.ndarray | Path, alpha: np.ndarray) -> None:
        """Write one view, its mask and the small copies of both.

        Args:
            frame_id: name of the frame.
            camera_id: name of the camera.
            rgb: uint8 [H, W, 3] with its background, or a JPEG file whose bytes are kept.
            alpha: uint8 [H, W], 255 inside the subject.
        """
        recorded = rgb if isinstance(rgb, Path) else None
        picture = _open_jpeg(recorded) if recorded else Image.fromarray(_checked_rgb(rgb))
        mask = Image.fromarray(_checked_gray(alpha))
        self._check_size(picture, f"image of frame {frame_id}, camera {camera_id}")
        self._check_size(mask, f"mask of frame {frame_id}, camera {camera_id}")
        paths = self._view_files(frame_id, camera_id)
        if "mask_lowres" in paths:
            self._save(paths["mask_lowres"], shrink(mask))
            self._save(paths["image_lowres"], shrink(picture))
        self._save(paths["mask"], mask)
        if recorded:
            with open_atomically(paths["image"], durable=False) as file:
                file.write(recorded.read_bytes())
        else:
            self._save(paths["image"], picture)

    def write_visible(self, camera_id: str, visible: np.ndarray, frame_id: str | None = None) -> None:
        """Write where the pixels of a camera come from the sensor (uint8 [H, W], 255) rather than from padding.

        The original's form needs ``frame_id``: it keeps one map per frame.
        """
        picture = Image.fromarray(_checked_gray(visible))
        self._check_size(picture, f"visible map of camera {camera_id}")
        if not self.original:
            stem = layout.camera_visible_stem(self.root, camera_id)
            self._save(stem.parent / (stem.name + ".png"), picture)
            return
        if frame_id is None:
            raise ValueError("the original's form keeps one visible map per frame: frame_id is missing")
        self._save(self._image_path("visible", frame_id, camera_id, lowres=False), picture)
        self._save(self._image_path("visible", frame_id, camera_id, lowres=True), shrink(picture))

    def write_background(self, camera_id: str, rgb: np.ndarray) -> None:
        """Write the picture of the empty stage, uint8 [H, W, 3]."""
        self._save(layout.background_file(self.root, camera_id), Image.fromarray(_checked_rgb(rgb)))

    def is_done(self, frame_id: str, camera_id: str) -> bool:
        """Whether pictures, calibration and parameters of this view are all there."""
        return all(_is_written(path) for path in self._files_of(frame_id, (camera_id,)))

    def finish(self) -> None:
        """Check that no view, camera or parameter file of the split is missing and mark the capture complete."""
        split = self.info.split
        frames = split.train_frames + split.test_frames if split else layout.list_frames(self.root)
        cameras = split.train_cameras + split.test_cameras if split else layout.list_cameras(self.root, frames[0])
        missing = [path for frame in frames for path in self._files_of(frame, cameras) if not _is_written(path)]
        if missing:
            raise InputError(f"{self.root}: {len(missing)} files were never written, first {missing[0]}")
        if not self.original:
            self._write_info(complete=True)

    def _files_of(self, frame_id: str, camera_ids: Sequence[str]) -> list[Path]:
        """Every file of a frame as seen by some cameras, except for what is optional."""
        return [
            layout.params_file(self.root, frame_id),
            layout.landmarks_file(self.root, frame_id),
            layout.vertices_file(self.root, frame_id),
            *(layout.camera_file(self.root, frame_id, camera) for camera in camera_ids),
            *(path for camera in camera_ids for path in self._view_files(frame_id, camera).values()),
        ]

    def _view_files(self, frame_id: str, camera_id: str) -> dict[str, Path]:
        paths = {kind: self._image_path(kind, frame_id, camera_id, lowres=False) for kind in ("mask", "image")}
        if self.original or max(self.info.resolution) > layout.LOWRES_SIDE:
            paths |= {
                f"{kind}_lowres": self._image_path(kind, frame_id, camera_id, lowres=True) for kind in ("mask", "image")
            }
        return paths

    def _image_path(self, kind: ImageKind, frame_id: str, camera_id: str, lowres: bool) -> Path:
        stem = layout.image_stem(self.root, kind, frame_id, camera_id, lowres)
        return stem.parent / (stem.name + (".jpg" if self.original or kind == "image" else ".png"))

    def _check_size(self, picture: Image.Image, what: str) -> None:
        expected = (self.info.resolution[1], self.info.resolution[0])
        if picture.size != expected:
            raise InputError(f"{what}: found {picture.size} (width, height), expected {expected}")

    def _save(self, path: Path, picture: Image.Image) -> None:
        with open_atomically(path, durable=False) as file:
            if path.suffix == ".png":
                file.write(_gray_png(np.asarray(picture)))
            elif self.original:
                picture.convert("RGB").save(file, "JPEG", quality=95)
            else:
                picture.save(file, "JPEG", quality=95, subsampling=0)


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """``{"recipe": {"seed": 1}}`` to ``{"recipe.seed": 1}``, one level deep."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= {f"{key}.{name}": inner for name, inner in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def _is_written(path: Path) -> bool:
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


def _gray_png(array: np.ndarray) -> bytes:
    """The PNG file of uint8 [H, W].

    Masks are runs of equal bytes: without the search for a filter per row, which Pillow cannot be told to leave out,
    they are written in a third of its time and are smaller.
    """
    height, width = array.shape
    rows = np.zeros((height, 1 + width), dtype=np.uint8)  # every row begins with its filter: 0, none
    rows[:, 1:] = array
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", packer.compress(rows) + packer.flush()), (b"IEND", b""))
    parts = [
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _open_jpeg(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        if picture.format != "JPEG":
            raise InputError(f"{path}: found {picture.format}, expected a JPEG whose bytes can be kept")
        return picture.convert("RGB")


def _float32(values: Tensor) -> np.ndarray:
    return values.detach().cpu().float().numpy()


def _checked_rgb(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(f"expected uint8 [H, W, 3], got {array.dtype} {list(array.shape)}")
    return array


def _checked_gray(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.uint8 or array.ndim != 2:
        raise ValueError(f"expected uint8 [H, W], got {array.dtype} {list(array.shape)}")
    return array
