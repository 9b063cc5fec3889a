"""MediaPipe's person segmentation from a model file the user has; needs the package mediapipe."""

from __future__ import annotations

import struct
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from gha.errors import InputError

NATIVE_SIZE = 256  # pixels along the side of what these models see


class Segmenter:
    """Turns a picture uint8 [H, W, 3] into the confidence [H, W] in [0, 1] that a pixel shows a person."""

    def __init__(self, segmenter: Any, mediapipe: Any) -> None:
        self._segmenter = segmenter
        self._mediapipe = mediapipe

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """The confidence."""
        data = np.ascontiguousarray(picture)
        image = self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=data)
        masks = self._segmenter.segment(image).confidence_masks
        return np.array(masks[-1].numpy_view(), dtype=np.float32).squeeze()

    def close(self) -> None:
        """Give back what MediaPipe holds; at exit it could not do so itself, and would print a traceback."""
        self._segmenter.close()


@lru_cache(maxsize=1)
def load_segmenter(path: Path) -> Segmenter:
    """What turns a picture uint8 [H, W, 3] into the confidence [H, W] in [0, 1] that a pixel shows a person.

    Args:
        path: ``selfie_segmentation.tflite``, or any model for the image segmenter of MediaPipe Tasks whose last class
            is the person.
    """
    if not path.is_file():
        raise InputError(f"{path}: file not found; expected a segmentation model for MediaPipe Tasks")
    try:
        import mediapipe
        from mediapipe.tasks.python import BaseOptions, vision
    except ImportError as error:
        raise InputError(f"{path}: this model needs the package mediapipe ({error}); pip install mediapipe") from error
    content = path.read_bytes()
    segmenter, problem = None, ""
    for prepare in (bytes, _with_metadata):
        try:
            options = vision.ImageSegmenterOptions(
                base_options=BaseOptions(model_asset_buffer=prepare(content)),
                output_confidence_masks=True,
                output_category_mask=False,
            )
            segmenter = vision.ImageSegmenter.create_from_options(options)
            break
        # MediaPipe reports its own refusals as any of these, and damaged flatbuffers fail as the last five.
        except (OSError, RuntimeError, ValueError, TypeError, IndexError, AttributeError, struct.error) as error:
            problem = problem or str(error)
    if segmenter is None:
        raise InputError(f"{path}: not a segmentation model for MediaPipe Tasks ({problem})")

    return Segmenter(segmenter, mediapipe)


def _with_metadata(content: bytes) -> bytes:
    """The model with a note that its input is RGB in [0, 1].

    MediaPipe Tasks insists on that note, and the model file of MediaPipe's earlier interface lacks it.
    """
    import flatbuffers
    from mediapipe.tasks.metadata import metadata_schema_py_generated as notes
    from mediapipe.tasks.metadata import schema_py_generated as schema

    def pack(table: Any, identifier: bytes) -> bytes:
        builder = flatbuffers.Builder(0)
        builder.Finish(table.Pack(builder), identifier)
        return bytes(builder.Output())

    values = notes.NormalizationOptionsT()
    values.mean, values.std = [0.0], [255.0]  # of bytes
    step = notes.ProcessUnitT()
    step.optionsType, step.options = notes.ProcessUnitOptions.NormalizationOptions, values
    colours = notes.ImagePropertiesT()
    colours.colorSpace = notes.ColorSpaceType.RGB
    about = notes.ContentT()
    about.contentPropertiesType, about.contentProperties = notes.ContentProperties.ImageProperties, colours
    given, returned = notes.TensorMetadataT(), notes.TensorMetadataT()
    given.name, given.content, given.processUnits, returned.name = "image", about, [step], "mask"
    graph = notes.SubGraphMetadataT()
    graph.inputTensorMetadata, graph.outputTensorMetadata = [given], [returned]
    note = notes.ModelMetadataT()
    note.name, note.subgraphMetadata = "segmentation", [graph]

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(pack(note, b"M001"), np.uint8)
    model.buffers.append(buffer)
    entry.name, entry.buffer = "TFLITE_METADATA", len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    return pack(model, b"TFL3")
