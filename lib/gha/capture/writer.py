"""Writing a capture, in the layout of this library or in the original's to the letter."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from gha.errors import InputError
from gha.faces.code import HeadCode
from gha.files import open_atomically, write_atomically
from gha.geometry import Camera

from . import layout
from .info import CaptureInfo, info_to_json, read_info
from .picture_files import PictureFiles, is_written, write_cameras


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
        self._pictures = PictureFiles(self.root, info.resolution, original)
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
                f"{path}: holds another capture ({', '.join(different[:4])} differ; found {different[0]} = {first}, "
                f"expected {last}); choose another folder or delete it"
            )

    def _write_info(self, complete: bool) -> None:
        write_atomically(self.root / layout.CAPTURE_FILE, info_to_json(self.info, complete))

    def write_cameras(self, frame_id: str, camera_ids: Sequence[str], cameras: Camera) -> None:
        """Write the calibration [V] of the named cameras, valid for full-size images, for one frame."""
        write_cameras(self.root, frame_id, camera_ids, cameras)

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
        self._pictures.write_mask(frame_id, camera_id, alpha)
        self._pictures.write_picture(frame_id, camera_id, rgb)

    def write_visible(self, camera_id: str, visible: np.ndarray, frame_id: str | None = None) -> None:
        """Write where the pixels of a camera come from the sensor (uint8 [H, W], 255) rather than from padding.

        The original's form needs ``frame_id``: it keeps one map per frame.
        """
        self._pictures.write_visible(camera_id, visible, frame_id)

    def write_background(self, camera_id: str, rgb: np.ndarray) -> None:
        """Write the picture of the empty stage, uint8 [H, W, 3]."""
        self._pictures.write_background(camera_id, rgb)

    def is_done(self, frame_id: str, camera_id: str) -> bool:
        """Whether pictures, calibration and parameters of this view are all there."""
        return all(is_written(path) for path in self._files_of(frame_id, (camera_id,)))

    def finish(self) -> None:
        """Check that no view, camera or parameter file of the split is missing and mark the capture complete."""
        split = self.info.split
        frames = split.train_frames + split.test_frames if split else layout.list_frames(self.root)
        cameras = split.train_cameras + split.test_cameras if split else layout.list_cameras(self.root, frames[0])
        missing = [path for frame in frames for path in self._files_of(frame, cameras) if not is_written(path)]
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
            *(
                path
                for camera in camera_ids
                for kind in ("mask", "image")
                for path in reversed(self._pictures.files(kind, frame_id, camera))
            ),
        ]


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """``{"recipe": {"seed": 1}}`` to ``{"recipe.seed": 1}``, one level deep."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= {f"{key}.{name}": inner for name, inner in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def _float32(values: Tensor) -> np.ndarray:
    return values.detach().cpu().float().numpy()
