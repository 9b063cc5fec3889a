"""Matting models whose weights the user has, each behind the same call: picture, plate, visible map to alpha.

Nothing is downloaded and none of the packages is needed unless its adapter is used. A method is a small record that
travels to other processes; the model is loaded where it is first called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from PIL import Image
from scipy import ndimage

from gha.errors import InputError

from .clean_plate import PlateMatting, matte_from_plate
from .guided_filter import guided_filter
from .selfie_segmentation import NATIVE_SIZE, load_segmenter

Normalisation = Literal["unit", "signed", "imagenet"]
_SCALES: dict[Normalisation, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "signed": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
FAINT = 0.05  # alpha below which parts are not connected
MULTIPLE = 32  # sides that networks with five halvings accept
Session = Callable[[list[np.ndarray]], np.ndarray]


class MattingMethod(Protocol):
    """Anything that finds the subject of a picture."""

    needs_plate: bool

    def __call__(self, picture: np.ndarray, plate: np.ndarray | None, visible: np.ndarray | None) -> np.ndarray:
        """Alpha uint8 [H, W] of a picture uint8 [H, W, 3], its empty stage, and where it was recorded."""
        ...

    def check(self) -> None:
        """Raise InputError where it cannot be used at all, before anything is written."""
        ...

    def release(self) -> None:
        """Give back what it holds in this process."""
        ...

    def describe(self) -> str:
        """What makes two runs of the method alike, for people."""
        ...


@dataclass(frozen=True)
class PlateMethod:
    """The built-in method, see :mod:`.clean_plate`."""

    settings: PlateMatting = PlateMatting()  # noqa: RUF009 - frozen
    needs_plate: bool = True

    def __call__(self, picture: np.ndarray, plate: np.ndarray | None, visible: np.ndarray | None) -> np.ndarray:
        """Alpha uint8 [H, W]."""
        assert plate is not None
        return matte_from_plate(picture, plate, visible, self.settings)

    def check(self) -> None:
        """It always can."""

    def release(self) -> None:
        """It holds nothing."""

    def describe(self) -> str:
        """Name and settings."""
        return f"plate {self.settings}"


@dataclass(frozen=True)
class NetworkMethod:
    """A TorchScript or ONNX file that takes a picture, or a picture and its plate, and returns alpha.

    Attributes:
        kind: ``"torchscript"`` or ``"onnx"``.
        path: the file.
        needs_plate: give it the plate as its second input, as BackgroundMattingV2 wants it.
        normalisation: what the network expects: values in [0, 1], in [-1, 1], or standardised as ImageNet's are.
        device: of PyTorch, such as ``"cpu"`` or ``"cuda"``; ONNX takes the GPU where its package has one.
    """

    kind: Literal["torchscript", "onnx"]
    path: Path
    needs_plate: bool = False
    normalisation: Normalisation = "unit"
    device: str = "cpu"

    def __call__(self, picture: np.ndarray, plate: np.ndarray | None, visible: np.ndarray | None) -> np.ndarray:
        """Alpha uint8 [H, W]."""
        run, size = _load_network(self.kind, self.path, self.device)
        pictures = [picture, plate] if self.needs_plate else [picture]
        inputs = [_tensor(entry, size, self.normalisation) for entry in pictures if entry is not None]
        alpha = run(inputs)
        if alpha.ndim != 4 or alpha.shape[:2] != (1, 1):
            raise InputError(f"{self.path}: found an output of shape {list(alpha.shape)}, expected alpha [1, 1, H, W]")
        if not np.isfinite(alpha).all():
            raise InputError(f"{self.path}: found NaN or infinite values in its output, expected alpha in [0, 1]")
        height, width = picture.shape[:2]
        values = alpha[0, 0, :height, :width] if size is None else _enlarged(alpha[0, 0], (height, width), picture)
        return _finished(values, visible)

    def check(self) -> None:
        """Load the network."""
        _load_network(self.kind, self.path, self.device)

    def release(self) -> None:
        """Forget the network."""
        _load_network.cache_clear()

    def describe(self) -> str:
        """Kind, file and what it is fed."""
        return f"{self.kind} {self.path.name} plate={self.needs_plate} {self.normalisation}"


@dataclass(frozen=True)
class SelfieMethod:
    """MediaPipe's selfie segmentation: coarse, but needs no plate; its outline is sharpened along the picture's edges.

    Attributes:
        path: selfie_segmentation.tflite or another segmentation model for MediaPipe Tasks.
    """

    path: Path
    needs_plate: bool = False

    def __call__(self, picture: np.ndarray, plate: np.ndarray | None, visible: np.ndarray | None) -> np.ndarray:
        """Alpha uint8 [H, W]."""
        confidence = load_segmenter(self.path)(picture)
        native = min(1.0, NATIVE_SIZE / max(confidence.shape))
        return _finished(_sharpened(keep_largest(confidence), picture, 1 / native), visible)

    def check(self) -> None:
        """Load the model."""
        load_segmenter(self.path)

    def release(self) -> None:
        """Close the model."""
        if load_segmenter.cache_info().currsize:
            load_segmenter(self.path).close()
            load_segmenter.cache_clear()

    def describe(self) -> str:
        """Kind and file."""
        return f"selfie {self.path.name}"


def keep_largest(alpha: np.ndarray) -> np.ndarray:
    """An alpha [H, W] of which only the part with the most of it is left: models take bits of a wall for people."""
    labels, count = ndimage.label(alpha > FAINT)
    if count < 2:
        return alpha
    largest = 1 + int(np.argmax(ndimage.sum_labels(alpha, labels, range(1, count + 1))))
    return np.where((labels == 0) | (labels == largest), alpha, 0)


def _finished(values: np.ndarray, visible: np.ndarray | None) -> np.ndarray:
    alpha = np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)
    return alpha if visible is None else np.where(visible >= 128, alpha, 0).astype(np.uint8)


def _enlarged(alpha: np.ndarray, shape: tuple[int, ...], picture: np.ndarray) -> np.ndarray:
    """A small alpha [h, w] at the size [H, W] of the picture, its outline moved to the picture's edges."""
    height, width = shape[:2]
    image = Image.fromarray(np.ascontiguousarray(alpha, dtype=np.float32))
    large = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    return _sharpened(large, picture, max(height / alpha.shape[0], width / alpha.shape[1]))


def _sharpened(alpha: np.ndarray, picture: np.ndarray, factor: float) -> np.ndarray:
    """An alpha [H, W] that was enlarged by ``factor``, its outline moved to the edges of the picture [H, W, 3]."""
    if factor <= 1:
        return alpha
    return guided_filter(alpha, picture.astype(np.float32) / 255, max(2, round(2 * factor)), 1e-4)


def _tensor(picture: np.ndarray, size: tuple[int, int] | None, normalisation: Normalisation) -> np.ndarray:
    """A picture uint8 [H, W, 3] as float32 [1, 3, h, w], resized to ``size`` or padded to sides a network accepts."""
    if size is not None:
        picture = np.asarray(Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.LANCZOS))
    else:
        height, width = picture.shape[:2]
        picture = np.pad(picture, ((0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0)), mode="edge")
    mean, deviation = (np.array(values, dtype=np.float32) for values in _SCALES[normalisation])
    values = (picture.astype(np.float32) / 255 - mean) / deviation
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])


@lru_cache(maxsize=1)
def _load_network(kind: str, path: Path, device: str) -> tuple[Session, tuple[int, int] | None]:
    """What runs the network, and the picture size it insists on, if it does."""
    if not path.is_file():
        raise InputError(f"{path}: file not found; expected a {kind} model")
    return (_load_torchscript if kind == "torchscript" else _load_onnx)(path, device)


def _load_torchscript(path: Path, device: str) -> tuple[Session, None]:
    import torch

    try:
        model = torch.jit.load(str(path), map_location=device).eval()
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{path}: not a TorchScript model ({reason}); a checkpoint of weights alone is not") from error
    # What BackgroundMattingV2 calls its settings; the original system's values, which fit 2048 pixels.
    for name, value in (("backbone_scale", 0.25), ("refine_mode", "sampling"), ("refine_sample_pixels", 80_000)):
        if hasattr(model, name):
            setattr(model, name, value)

    def run(inputs: list[np.ndarray]) -> np.ndarray:
        try:
            with torch.inference_mode():
                outputs: Any = model(*(torch.from_numpy(array).to(device) for array in inputs))
        except RuntimeError as error:
            reason = str(error).strip().rpartition("\n")[2]
            raise InputError(f"{path}: the model failed on {len(inputs)} pictures ({reason})") from error
        alpha = outputs[0] if isinstance(outputs, tuple | list) else outputs
        return alpha.float().cpu().numpy()

    return run, None


def _load_onnx(path: Path, device: str) -> tuple[Session, tuple[int, int] | None]:
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(f"{path}: ONNX models need the package onnxruntime; pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1 if device == "cpu" else 0
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=onnxruntime.get_available_providers())
    except Exception as error:  # onnxruntime's errors share no base class but this one
        raise InputError(f"{path}: not a readable ONNX model ({str(error)[:200]})") from error
    names = [entry.name for entry in session.get_inputs()]
    sides = session.get_inputs()[0].shape[2:]
    size = (sides[0], sides[1]) if len(sides) == 2 and all(isinstance(side, int) for side in sides) else None
    outputs = [entry.name for entry in session.get_outputs()]
    chosen = next((name for name in outputs if name in ("pha", "alpha", "matte")), outputs[0])

    def run(inputs: list[np.ndarray]) -> np.ndarray:
        if len(names) != len(inputs):
            raise InputError(f"{path}: the model has inputs {names}, expected {len(inputs)} (pictures, then plates)")
        try:
            return np.asarray(session.run([chosen], dict(zip(names, inputs, strict=True)))[0])
        except Exception as error:  # as above
            raise InputError(f"{path}: the model failed on {len(inputs)} pictures ({str(error)[:200]})") from error

    return run, size
