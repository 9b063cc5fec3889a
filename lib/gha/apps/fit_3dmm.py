"""``gha fit-3dmm``: expression, pose, identity and scale of a parametric face model for every frame of a capture."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gha.errors import InputError

from .command import new_parser
from .config_help import describe_config

if TYPE_CHECKING:
    import numpy as np

    from gha.capture import Capture
    from gha.faces import FaceModel

logger = logging.getLogger(__name__)

SCHEMA = "gha.preprocessing.fitting_config:FittingConfig"

_DESCRIPTION = """\
Fit a parametric face model to 2D landmarks of one or many calibrated cameras, and write what training reads: for every
frame params/{frame}/params.npz, lmk_3d.npy and vertices.npy. Identity and scale are shared by all frames; heads are
placed by the landmarks alone, so that a rig may have any orientation and unit.
"""

_EPILOG = """\
landmarks, in pixels of the full-size pictures, with a confidence of 0 where nothing was detected
  --landmarks FOLDER   files: FOLDER/lmk_{camera}.npz (points [T, 68 or 478, 3], frames [T]), or
                       FOLDER/{frame}/lmk_{camera}.npz (points [68 or 478, 3]) or .npy; default CAPTURE/landmarks
  --detector NAME      detected now, with what you have installed, into CAPTURE/landmarks_NAME; what is there already
                       is not detected again. mediapipe needs --detector-model face_landmarker.task

examples
  gha fit-3dmm captures/anna                                          built-in head, landmarks of the capture
  gha fit-3dmm captures/anna --face-model bfm --face-path BFM09_model_info.mat --visualise
  gha fit-3dmm captures/anna --detector mediapipe --detector-model face_landmarker.task contour=fixed
  gha fit-3dmm captures/talk --video talk.mp4 --focal 1500 --detector mediapipe --detector-model face_landmarker.task

keys of the fit, given as key=value
"""


def build_parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = new_parser(_DESCRIPTION, _EPILOG + describe_config(SCHEMA))
    add = parser.add_argument
    add("capture", metavar="CAPTURE", help="folder with images/ and cameras/; with --video it is made")
    add("overrides", metavar="key=value", nargs="*", help="changes to keys of the fit, listed below")
    add("--face-model", choices=("procedural", "bfm", "flame", "ict"), default="procedural", help="default procedural")
    add("--face-path", metavar="PATH", help="the user's files of bfm, flame or ict")
    add("--landmarks", metavar="FOLDER", help="detections to read (default CAPTURE/landmarks)")
    add("--detector", choices=("mediapipe", "face-alignment"), help="detect landmarks first")
    add("--detector-model", metavar="FILE", help="model file of the detector (mediapipe)")
    add("--cameras", metavar="A,B", help="only these cameras (default: all)")
    add("--video", metavar="FILE", help="make the capture from the frames of a video of one camera first")
    add("--focal", type=float, metavar="PIXELS", help="focal length of the video (default 1.2 times its longer side)")
    add("--every", type=int, default=1, metavar="N", help="keep every n-th frame of the video (default 1)")
    add("--output", metavar="FOLDER", help="where params/ is written (default CAPTURE)")
    add("--overwrite", action="store_true", help="replace tracking that is there already")
    add("--report", metavar="FOLDER", help="where report.json and pictures go (default runs/fit_3dmm/NAME)")
    add("--visualise", action="store_true", help="draw landmarks and face over some views")
    add("--quiet", action="store_true", help="no progress bars")
    return parser


def main(argv: Sequence[str]) -> int:
    """Fit from command-line arguments; returns the exit code."""
    parser = build_parser()
    arguments = parser.parse_intermixed_args(list(argv))
    if (arguments.face_model == "procedural") != (arguments.face_path is None):
        parser.error("--face-path: expected for bfm, flame and ict, and only there")
    if arguments.detector == "mediapipe" and not arguments.detector_model:
        parser.error("--detector mediapipe: expected --detector-model FILE")
    if arguments.detector and arguments.landmarks:
        parser.error("--detector and --landmarks: expected one of the two")
    if arguments.every < 1 or (arguments.focal is not None and not arguments.focal > 0):
        parser.error("--every and --focal: expected numbers above 0")
    _fit(arguments)
    return 0


def _fit(arguments: argparse.Namespace) -> None:
    """All steps, from pictures to files."""
    # Only now: help must not wait for torch.
    from gha.capture import open_capture
    from gha.faces import load_face_model
    from gha.preprocessing.fitting_capture import fit_capture, refuse_other_tracking, write_tracking
    from gha.preprocessing.fitting_config import FittingConfig
    from gha.preprocessing.fitting_report import describe, summarise, write_report

    from .config import load_config

    config = load_config(FittingConfig, None, arguments.overrides)
    if arguments.video:
        from gha.preprocessing.monocular import import_video

        import_video(arguments.video, arguments.capture, arguments.focal, arguments.every, not arguments.quiet)
    capture = open_capture(arguments.capture)
    cameras = _chosen_cameras(capture, arguments.cameras)
    target = Path(arguments.output or capture.root)
    if not arguments.overwrite:
        refuse_other_tracking(target, capture.frame_ids)
    detections = _landmarks(arguments, capture, cameras)
    model: FaceModel = load_face_model(arguments.face_path or "procedural", **_model_options(arguments))
    logger.info("fitting %s to %d frames x %d cameras", model.name, len(capture.frame_ids), len(cameras))
    started = time.perf_counter()
    with _Steps(arguments.quiet) as watch:
        tracking = fit_capture(capture, model, detections, capture.frame_ids, cameras, config, watch)
    summary = summarise(tracking, time.perf_counter() - started)
    write_tracking(target, tracking)
    folder = Path(arguments.report or Path("runs") / "fit_3dmm" / capture.root.resolve().name)
    write_report(folder / "report.json", summary)
    logger.info("%s", describe(summary))
    if arguments.visualise:
        from gha.preprocessing.fitting_pictures import write_overlays

        written = write_overlays(folder / "overlays", capture, tracking)
        logger.info("%d pictures in %s", len(written), folder / "overlays")
    logger.info("wrote %s and %s", target / "params", folder / "report.json")


class _Steps:
    """A progress bar over the stages of a fit."""

    def __init__(self, quiet: bool) -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=5, desc="fitting", unit="stage", disable=quiet)
        self._begun = 0

    def __enter__(self) -> Callable[[str], None]:
        return self._begin

    def __exit__(self, *error: object) -> None:
        self._bar.update(self._begun - self._bar.n)
        self._bar.close()

    def _begin(self, name: str) -> None:
        self._bar.update(self._begun - self._bar.n)
        self._begun += 1
        self._bar.set_postfix_str(name)


def _chosen_cameras(capture: Capture, names: str | None) -> tuple[str, ...]:
    if names is None:
        return capture.camera_ids
    chosen = tuple(name.strip() for name in names.split(",") if name.strip())
    unknown = [name for name in chosen if name not in capture.camera_ids]
    if unknown or not chosen:
        raise InputError(f"--cameras: found {unknown or 'nothing'}, expected some of {', '.join(capture.camera_ids)}")
    return chosen


def _landmarks(arguments: argparse.Namespace, capture: Capture, cameras: Sequence[str]) -> np.ndarray:
    """Detections [T, V, 68, 3], made first where a detector is asked for."""
    from gha.preprocessing.landmarks import read_landmarks

    if not arguments.detector:
        folder = Path(arguments.landmarks or capture.root / "landmarks")
        if not folder.is_dir():
            raise InputError(f"{folder}: folder not found; expected landmarks there, --landmarks FOLDER, or --detector")
        return read_landmarks(folder, capture.frame_ids, cameras)
    from gha.preprocessing import landmark_detectors as detectors
    from gha.preprocessing.landmark_detection import detect_landmarks

    make = {
        "mediapipe": lambda: detectors.MediaPipeDetector(arguments.detector_model),
        "face-alignment": detectors.FaceAlignmentDetector,
    }[arguments.detector]
    folder = capture.root / f"landmarks_{arguments.detector}"
    detect_landmarks(capture, make, folder, capture.frame_ids, cameras, not arguments.quiet)
    return read_landmarks(folder, capture.frame_ids, cameras)


def _model_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Nothing of how a model looks is needed here."""
    return {
        "procedural": {"texture_size": 64, "hair_strands": 50},
        "ict": {"kind": "ict", "base": "mean", "hair_style": None},
        "bfm": {"kind": "bfm"},
        "flame": {"kind": "flame"},
    }[arguments.face_model]
