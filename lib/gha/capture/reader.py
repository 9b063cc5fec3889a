"""Reading a capture: the original's layout and ours, through one class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gha.errors import InputError
from gha.faces.code import HeadCode
from gha.geometry import Camera

from . import layout
from .frame import Frame
from .image_cache import ImageCache
from .images import Window
from .info import CaptureInfo, Split
from .tracking import read_camera, read_params, read_points, sample_face_points
from .views import Pictures, ViewReader

Size = int | tuple[int, int] | None


class Capture:
    """A recording on disk; made by :func:`open_capture`.

    Attributes:
        root: its folder.
        info: what it says about itself (defaults where it says nothing).
        frame_ids: all frames in natural order.
        camera_ids: all cameras in natural order.
        split: training and held-out frames and cameras.
    """

    def __init__(self, root: Path, info: CaptureInfo, frame_ids: Sequence[str], camera_ids: Sequence[str]) -> None:
        self.root = root
        self.info = info
        self.frame_ids = tuple(frame_ids)
        self.camera_ids = tuple(camera_ids)
        self.split = info.split or Split.holding_out(frame_ids, camera_ids)
        self._params: dict[str, dict[str, np.ndarray]] = {}
        self._landmarks: dict[str, Tensor] = {}
        self._cameras: dict[tuple[str, str], Camera] = {}
        self._views = ViewReader(root, self.frame_ids)

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self.info.fps

    @property
    def expression_size(self) -> int:
        """Number of expression coefficients E."""
        return self._frame_params(self.frame_ids[0])["exp_coeff"].shape[-1]

    @property
    def expression_names(self) -> tuple[str, ...]:
        """Names of the E expression coefficients; ``expression_000`` and so on where the capture names none."""
        return self.info.expression_names or tuple(f"expression_{i:03d}" for i in range(self.expression_size))

    def codes(self, frame_ids: Sequence[str] | None = None) -> HeadCode:
        """Driving parameters of frames (default all): expression [T, E], pose [T, 6], scale [T, 1]."""
        params = [self._frame_params(frame) for frame in (self.frame_ids if frame_ids is None else frame_ids)]

        def stack(key: str) -> Tensor:
            return torch.from_numpy(np.stack([p[key] for p in params])).float()

        has_identity = all("id_coeff" in p for p in params)
        return HeadCode(
            expression=stack("exp_coeff"),
            pose=stack("pose"),
            scale=stack("scale"),
            identity=stack("id_coeff") if has_identity else None,
        )

    def facial_landmarks(self, frame_id: str) -> Tensor:
        """The tracked facial landmarks of a frame in world space [66 or 68, 3]."""
        return read_points(layout.landmarks_file(self.root, frame_id), (66, 68))

    def vertices(self, frame_id: str) -> Tensor:
        """The tracked face-region vertices of a frame in world space [R, 3]."""
        return read_points(layout.vertices_file(self.root, frame_id))

    def landmarks(self, frame_id: str) -> Tensor:
        """Facial landmarks, then sampled face-region vertices of a frame, in world space [L, 3]."""
        if frame_id not in self._landmarks:
            sampled = sample_face_points(self.vertices(frame_id))
            self._landmarks[frame_id] = torch.cat([self.facial_landmarks(frame_id), sampled])
        return self._landmarks[frame_id]

    def resolution(self, camera_id: str) -> tuple[int, int]:
        """Height and width of the full-size images of a camera."""
        return self._views.resolution(camera_id)

    def camera(self, camera_id: str, frame_id: str | None = None) -> Camera:
        """A camera at full size, in one frame (default: the first)."""
        frame_id = self.frame_ids[0] if frame_id is None else frame_id
        self._check_known(frame_id, (camera_id,))
        key = (frame_id, camera_id)
        if key not in self._cameras:
            height, width = self.resolution(camera_id)
            self._cameras[key] = read_camera(layout.camera_file(self.root, frame_id, camera_id), width, height)
        return self._cameras[key]

    def cameras(
        self, camera_ids: Sequence[str], size: Size = None, frame_id: str | None = None, crop: Window | None = None
    ) -> Camera:
        """Several cameras [V] cropped and resized as :meth:`read` crops and resizes their images."""
        height, width = self.output_size(camera_ids, size, crop)
        chosen = [self.camera(camera_id, frame_id) for camera_id in camera_ids]
        if crop is not None:
            chosen = [camera.crop(*crop) for camera in chosen]
        if len({(camera.width, camera.height) for camera in chosen}) > 1:
            chosen = [camera.resize(width, height) for camera in chosen]
        first = chosen[0]
        together = replace(first, w2c=torch.stack([c.w2c for c in chosen]), K=torch.stack([c.K for c in chosen]))
        return together.resize(width, height)

    def output_size(self, camera_ids: Sequence[str], size: Size, crop: Window | None = None) -> tuple[int, int]:
        """Height and width that ``size`` stands for: both, the longer side, or None for the size of image or crop."""
        if isinstance(size, tuple):
            return size
        full_sizes = [(crop[3], crop[2])] if crop else [self.resolution(camera_id) for camera_id in camera_ids]
        sizes = set()
        for full_size in full_sizes:
            factor = 1.0 if size is None else size / max(full_size)
            sizes.add(tuple(max(1, round(side * factor)) for side in full_size))
        if len(sizes) != 1:
            raise InputError(
                f"{self.root}: images of {list(camera_ids)} differ in size {sorted(sizes)}; give (height, width)"
            )
        return sizes.pop()

    def read(
        self,
        frame_id: str,
        camera_ids: Sequence[str],
        size: Size = None,
        lowres: Literal["auto", "never"] = "auto",
        crop: Window | None = None,
        cache: ImageCache | None = None,
        out: Pictures | None = None,
    ) -> Frame:
        """Read one frame as seen by V cameras; decodes nothing else.

        Args:
            frame_id: which frame.
            camera_ids: which cameras.
            size: (height, width), or the longer side as one number, or None for the full size of image or crop.
            lowres: ``"auto"`` takes the small copies where they are large enough, ``"never"`` does not.
            crop: left, top, width, height in full-size pixels; outside the image everything is 0.
            cache: keeps decoded pictures for the next call.
            out: memory that the frame's pictures are put into; new by default. Must have the size asked for.

        Returns:
            A frame of uint8 pictures on the host, with the recorded background and cameras that fit.
        """
        self._check_known(frame_id, camera_ids)
        shape = self.output_size(camera_ids, size, crop)
        cache = cache or ImageCache(0)
        allow_lowres = lowres == "auto" and crop is None
        out = Pictures.empty(len(camera_ids), shape) if out is None else out
        for view, camera in enumerate(camera_ids):
            self._views.read(frame_id, camera, allow_lowres, crop, cache, out[view])
        return Frame(
            image=torch.from_numpy(out.image),
            mask=torch.from_numpy(out.mask),
            visible=torch.from_numpy(out.visible),
            camera=self.cameras(camera_ids, shape, frame_id, crop),
            code=self.codes([frame_id])[0],
            landmarks=self.landmarks(frame_id),
            frame_id=frame_id,
            camera_ids=tuple(camera_ids),
        )

    def _frame_params(self, frame_id: str) -> dict[str, np.ndarray]:
        if frame_id not in self._params:
            self._check_known(frame_id, ())
            width = len(self.info.expression_names) or None
            self._params[frame_id] = read_params(layout.params_file(self.root, frame_id), width)
        return self._params[frame_id]

    def _check_known(self, frame_id: str, camera_ids: Sequence[str]) -> None:
        if frame_id not in self.frame_ids:
            raise InputError(f"{self.root}: no frame {frame_id!r}; frames are {_shortened(self.frame_ids)}")
        for camera_id in camera_ids:
            if camera_id not in self.camera_ids:
                raise InputError(f"{self.root}: no camera {camera_id!r}; cameras are {_shortened(self.camera_ids)}")


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 8 else f"{', '.join(names[:6])} ... {names[-1]} ({len(names)} in all)"
