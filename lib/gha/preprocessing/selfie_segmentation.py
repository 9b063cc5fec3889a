"""MediaPipe's person segmentation from a model file the user has; needs the package mediapipe."""

from __future__ import annotations

import atexit
import struct
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from gha.errors import InputError

Segmenter = Callable[[np.ndarray], np.ndarray]
NATIVE_SIZE = 256  # pixels along the side of what these models see


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
    # When the interpreter has begun to take itself apart MediaPipe cannot close it, and says so with a traceback.
    atexit.register(segmenter.close)

    def run(picture: np.ndarray) -> np.ndarray:
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(picture))
        return np.array(segmenter.segment(image).confidence_masks[-1].numpy_view(), dtype=np.float32).squeeze()

    return run


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
