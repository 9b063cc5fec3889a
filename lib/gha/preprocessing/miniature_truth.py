"""What a miniature recording knows and a real one does not, brought to the frames extracted from it.

True masks and true tracking make the capture that recovered ones are compared with; noisy landmarks stand in for a
detector, which the built-in head would not always satisfy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gha.capture import Capture, CaptureInfo, CaptureWriter
from gha.capture.face_model import declare_face_model
from gha.capture.picture_files import PictureFiles
from gha.faces.code import HeadCode
from gha.faces.face_model import FaceModel

from .crop import CropWindow
from .landmarks import detection_file, write_detection
from .miniature import truth_path


@dataclass(frozen=True)
class Detector:
    """How far landmarks are from the truth.

    Attributes:
        noise: standard deviation in x and in y, as a share of the picture's longer side.
        wild: share of landmarks that are anywhere near the face instead.
        blind: share of views in which no face is found.
        seed: of all three.
    """

    noise: float = 1.5 / 1024
    wild: float = 0.05
    blind: float = 0.1
    seed: int = 0


def write_true_masks(capture: Capture, raw: str | Path) -> None:
    """Write the coverage of the head as mask of every view that has a picture."""
    files, recipe = PictureFiles(capture.root, capture.info.resolution), capture.info.recipe
    window = CropWindow(*recipe["crop"], max(capture.info.resolution))
    for frame, sequence, timestep in _timesteps(capture):
        for camera in capture.camera_ids:
            if files.has("image", frame, camera):
                name = f"{timestep:05d}_{camera}.png"
                with Image.open(truth_path(Path(raw), recipe["identity"], sequence, name)) as picture:
                    files.write_mask(frame, camera, window.apply(np.asarray(picture)))


def write_true_tracking(capture: Capture, raw: str | Path, model: FaceModel) -> None:
    """Write the codes, landmarks and face vertices that were filmed with ``model``."""
    writer = CaptureWriter(capture.root, CaptureInfo((1, 1)), original=True)  # capture.json stays as it is
    for frame, sequence, timestep in _timesteps(capture):
        with np.load(_truth(capture, raw, sequence, "codes.npz"), allow_pickle=False) as codes:
            parts = {key: torch.from_numpy(codes[key][timestep]) for key in ("expression", "pose", "scale")}
            code = HeadCode(**parts, identity=torch.from_numpy(codes["identity"]))
        landmarks, vertices = (
            torch.from_numpy(np.load(_truth(capture, raw, sequence, f"{name}.npy"), allow_pickle=False)[timestep])
            for name in ("landmarks", "vertices")
        )
        writer.write_frame_params(frame, code, landmarks, vertices)
    declare_face_model(capture.root, model.expression_names, model.name, model.version)


def write_noisy_landmarks(capture: Capture, raw: str | Path, detector: Detector | None = None) -> Path:
    """Write what a detector would find in every picture into ``landmarks/`` of the capture; returns that folder."""
    detector = detector or Detector()
    generator, folder = np.random.default_rng(detector.seed), capture.root / "landmarks"
    files = PictureFiles(capture.root, capture.info.resolution)
    for frame, sequence, timestep in _timesteps(capture):
        points = torch.from_numpy(
            np.load(_truth(capture, raw, sequence, "landmarks.npy"), allow_pickle=False)[timestep]
        )
        for camera in capture.camera_ids:
            pixels = capture.camera(camera, frame).project(points)[0].numpy()
            found = _detect(generator, pixels, max(capture.info.resolution), detector)
            if files.has("image", frame, camera):
                write_detection(detection_file(folder, frame, camera), found)
    return folder


def _detect(generator: np.random.Generator, pixels: np.ndarray, side: int, detector: Detector) -> np.ndarray:
    """A detection [68, 3] of points [68, 2]."""
    noise = detector.noise * side * generator.normal(size=pixels.shape)
    wild = 40 * noise * (generator.random(len(pixels)) < detector.wild)[:, None]
    confidence = np.full((len(pixels), 1), float(generator.random() >= detector.blind))
    return np.concatenate([pixels + noise + wild, confidence], axis=1)


def _timesteps(capture: Capture) -> Iterator[tuple[str, str, int]]:
    """Frame, sequence and raw timestep of everything that was extracted."""
    step, count = capture.info.recipe["frame_step"], 0
    for sequence, timesteps in capture.info.recipe["timesteps"].items():
        for timestep in range(0, timesteps, step):
            frame = f"{count:04d}"
            if frame in capture.info.sequences.get(sequence, ()):
                yield frame, sequence, timestep
            count += 1


def _truth(capture: Capture, raw: str | Path, sequence: str, name: str) -> Path:
    return truth_path(Path(raw), capture.info.recipe["identity"], sequence, name)
