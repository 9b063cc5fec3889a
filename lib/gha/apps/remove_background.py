"""``gha remove-background``: a mask for every picture of a capture."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .command import new_parser

if TYPE_CHECKING:
    from gha.preprocessing.matting_models import MattingMethod

logger = logging.getLogger(__name__)

METHODS = ("plate", "bgm-v2", "torchscript", "onnx", "onnx-plate", "selfie")

_DESCRIPTION = """\
Write images/{frame}/mask_{camera}.png, 255 on the subject, for every picture of a capture. Run again, the same command
continues where it stopped.
"""

_EPILOG = """\
methods (--method)
  plate        built in, needs no weights: difference to background/image_{camera}.jpg, the picture of the empty stage
  bgm-v2       BackgroundMattingV2 as a TorchScript file (--model); needs the empty stage too
  torchscript  any TorchScript file that turns a picture [1, 3, H, W] into alpha [1, 1, H, W]
  onnx         the same as an ONNX file (pip install onnxruntime); onnx-plate: with the empty stage as second input
  selfie       MediaPipe's selfie_segmentation.tflite (pip install mediapipe): coarse, for pictures without empty stage

many at a time (--parallel): as for preprocess-nersemble

exit code
  0  every picture has a mask
  1  some have not, or nothing could be done

examples
  gha remove-background captures/031
  gha remove-background captures/031 captures/036 --parallel 8
  gha remove-background captures/031 --method bgm-v2 --model torchscript_resnet101_fp32.pth --device cuda --parallel 1
  gha remove-background captures/clip --method selfie --model selfie_segmentation.tflite
"""


def build_parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = new_parser(_DESCRIPTION, _EPILOG)
    add = parser.add_argument
    add("captures", nargs="+", metavar="CAPTURE", help="folders with images/ and, for most methods, background/")
    add("--method", choices=METHODS, default="plate", help="see above (default plate)")
    add("--model", metavar="FILE", help="weights, for all methods but plate")
    add(
        "--input-values",
        choices=("unit", "signed", "imagenet"),
        default="unit",
        help="what a torchscript or onnx model expects: [0, 1], [-1, 1], or standardised like ImageNet (default unit)",
    )
    add("--device", default="cpu", help="where a TorchScript model runs: cpu (default), cuda, cuda:1 ...")
    add(
        "--allow-missing-plates",
        action="store_true",
        help="leave pictures without mask whose camera has no picture of the empty stage, instead of stopping",
    )
    add("--overwrite", action="store_true", help="make masks anew that are there already")
    add("--parallel", default="0", metavar="N|ADDRESS", help="see above (default 0: one process per core)")
    add("--quiet", action="store_true", help="no progress bar")
    return parser


def main(argv: Sequence[str]) -> int:
    """Mask from command-line arguments; returns the exit code."""
    parser = build_parser()
    arguments = parser.parse_args(list(argv))
    if (arguments.method == "plate") == bool(arguments.model):
        parser.error(f"--model: method {arguments.method} " + ("takes none" if arguments.model else "needs one"))
    # Only now: help must not wait for torch.
    from gha.preprocessing.matting import mask_capture

    complete = True
    for folder in arguments.captures:
        masking = mask_capture(
            folder,
            _method(arguments),
            arguments.parallel,
            arguments.overwrite,
            arguments.allow_missing_plates,
            progress=not arguments.quiet,
        )
        logger.info("%s: %d new masks, %d pictures without", folder, masking.written, len(masking.failed))
        complete = complete and not masking.failed
    return 0 if complete else 1


def _method(arguments: argparse.Namespace) -> MattingMethod:
    from gha.preprocessing.matting_models import NetworkMethod, PlateMethod, SelfieMethod

    if arguments.method == "plate":
        return PlateMethod()
    path = Path(arguments.model)
    if arguments.method == "selfie":
        return SelfieMethod(path)
    return NetworkMethod(
        "onnx" if arguments.method.startswith("onnx") else "torchscript",
        path,
        needs_plate=arguments.method in ("bgm-v2", "onnx-plate"),
        normalisation=arguments.input_values,
        device=arguments.device,
    )
