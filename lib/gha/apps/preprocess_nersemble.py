"""``gha preprocess-nersemble``: the videos of a NeRSemble download as captures, one per person."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .command import new_parser

if TYPE_CHECKING:
    from gha.preprocessing.extraction_run import Extraction

logger = logging.getLogger(__name__)

_DESCRIPTION = """\
Extract frames, cameras and pictures of the empty stage from a NeRSemble download of version 1 or 2 into one capture per
person. Masks and face parameters come from the next steps (remove_background_nersemble.py, fit_3dmm.py).

Frame numbers belong to sequence and time: a short or damaged video of one camera shifts nothing. What a camera lacks is
reported and absent, and the frames concerned are neither trained on nor held out. Run again, the same command continues
where it stopped.
"""

_EPILOG = """\
Names of sequences are given in full, as a part (EMO: every name with EMO in it), or with * and ?; case does not matter.

many at a time (--parallel)
  4                      four processes of this machine; 0: one per core
  dask://HOST:8786       the Dask cluster whose scheduler listens there   (pip install distributed)
  ray://HOST:10001       the Ray cluster whose client server listens there; ray: one running on this machine
                         (pip install "ray[client]")
  All machines must find input and output under the same absolute paths and have this library installed.

examples
  gha preprocess-nersemble raw captures --list
  gha preprocess-nersemble raw captures --identities 031 036 --parallel 8
  gha preprocess-nersemble raw captures --identities 031 --sequences EMO EXP FREE --exclude tongue --frame-step 1
  gha preprocess-nersemble raw captures --crop 0 0 2200 3208 --size 802       the whole picture, small
"""


def build_parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = new_parser(_DESCRIPTION, _EPILOG)
    add = parser.add_argument
    add("source", metavar="DOWNLOAD", help="folder of the download, of version 1 or 2")
    add("target", metavar="CAPTURES", help="where the captures go, one folder per person")
    add("--identities", nargs="+", default=[], metavar="ID", help="people to extract (default: all)")
    add("--sequences", nargs="+", default=[], metavar="NAME", help="sequences to take (default: all)")
    add(
        "--exclude",
        nargs="*",
        default=["tongue", "GLASSES"],
        metavar="NAME",
        help="sequences to leave out (default: tongue GLASSES)",
    )
    add("--cameras", nargs="+", default=[], metavar="SERIAL", help="cameras to take (default: all)")
    add("--held-out", nargs="*", default=["FREE"], metavar="NAME", help="sequences kept for evaluation (default: FREE)")
    add(
        "--held-out-cameras",
        nargs="+",
        default=[],
        metavar="SERIAL",
        help="cameras kept for evaluation (default: none)",
    )
    add("--frame-step", type=int, default=3, metavar="N", help="keep every N-th timestep (default 3: 24 a second)")
    add(
        "--crop",
        type=int,
        nargs=4,
        default=[-200, 304, 2600, 2600],
        metavar=("LEFT", "TOP", "WIDTH", "HEIGHT"),
        help="window in recorded pixels, black where it reaches outside (default: -200 304 2600 2600)",
    )
    add("--size", type=int, default=2048, metavar="PIXELS", help="longer side of the result (default 2048)")
    add(
        "--no-colour-correction",
        action="store_true",
        help="leave the colours as each camera recorded them, even where there is a color_calibration.json",
    )
    add("--parallel", default="0", metavar="N|ADDRESS", help="see above (default 0: one process per core)")
    add("--list", action="store_true", help="show people, sequences and cameras, and extract nothing")
    add("--quiet", action="store_true", help="no progress bar")
    return parser


def main(argv: Sequence[str]) -> int:
    """Extract from command-line arguments; returns the exit code."""
    arguments = build_parser().parse_args(list(argv))
    # Only now: help must not wait for torch.
    from gha.preprocessing.extraction import ExtractionSettings
    from gha.preprocessing.extraction_run import extract_identities
    from gha.preprocessing.raw_tree import find_identities

    source = Path(arguments.source)
    names = list(dict.fromkeys(arguments.identities)) or find_identities(source)
    if arguments.list:
        _show(source, names)
        return 0
    settings = ExtractionSettings(
        include=tuple(arguments.sequences),
        exclude=tuple(arguments.exclude),
        cameras=tuple(arguments.cameras),
        frame_step=arguments.frame_step,
        crop=tuple(arguments.crop),
        size=arguments.size,
        held_out=tuple(arguments.held_out),
        held_out_cameras=tuple(arguments.held_out_cameras),
        colour_correction=not arguments.no_colour_correction,
    )
    for extraction in extract_identities(
        source, arguments.target, names, settings, arguments.parallel, progress=not arguments.quiet
    ):
        _report(extraction)
    return 0


def _show(source: Path, names: Sequence[str]) -> None:
    from gha.preprocessing.raw_tree import read_identity

    for name in names:
        identity = read_identity(source, name)
        for sequence, videos in identity.sequences.items():
            logger.info("%s  %s: cameras %s", name, sequence, ", ".join(videos))
        colours = "with" if identity.colours else "without"
        logger.info(
            "%s  %d pictures of the empty stage, %s colour calibration", name, len(identity.backgrounds), colours
        )


def _report(extraction: Extraction) -> None:
    missing = sum(map(len, extraction.missing.values()))
    logger.info("%s: %d frames, %d new pictures", extraction.folder, len(extraction.frames), extraction.written)
    if missing:
        logger.warning(
            "%s: %d views are missing; %d frames with gaps are in no part of the split (capture.json lists them)",
            extraction.folder,
            missing,
            len(extraction.missing),
        )
