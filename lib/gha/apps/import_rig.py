"""``gha import-rig``: pictures with cameras of other programs as a capture."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from .command import new_parser

logger = logging.getLogger(__name__)

_DESCRIPTION = """\
Import pictures whose cameras another program has found: a NeRF-style transforms.json, an export of VHAP for
GaussianAvatars (a transforms.json as well), or a COLMAP model. Principal points are honoured; pictures must not be
distorted. Masks and face parameters come from the next steps, except where the source has masks.
"""

_EPILOG = """\
examples
  gha import-rig nerf/transforms.json captures/anna                          each picture is a camera, all at one moment
  gha import-rig export/transforms.json captures/306 --held-out-cameras 8    VHAP: moments and cameras are named in it
  gha import-rig clip/transforms.json captures/clip --arrangement moving     one camera, a moment per picture
  gha import-rig sparse/0 captures/rig --pictures images --arrangement folders     COLMAP; images/{camera}/{moment}.jpg
"""


def build_parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = new_parser(_DESCRIPTION, _EPILOG)
    add = parser.add_argument
    add("source", metavar="SOURCE", help="transforms.json, or folder of a COLMAP model (.bin or .txt)")
    add("target", metavar="CAPTURE", help="folder of the capture to write")
    add("--pictures", metavar="FOLDER", help="of a COLMAP model: where its pictures are (default: images beside it)")
    add(
        "--arrangement",
        choices=("static", "moving", "folders"),
        default="static",
        help="static (default): one moment, each picture a camera; moving: one camera, each picture a moment; folders: "
        "{camera}/{moment}.jpg, for COLMAP; where a transforms.json names moments and cameras those count",
    )
    add(
        "--axes",
        choices=("opengl", "opencv"),
        default="opengl",
        help="of the cameras in transforms.json: opengl (default; y up, z back) or opencv (y down, z forward)",
    )
    add("--fps", type=float, default=25.0, help="moments per second (default 25)")
    add("--metres-per-unit", type=float, default=1.0, metavar="M", help="size of the source's world unit (default 1)")
    add("--held-out-cameras", nargs="+", default=[], metavar="ID", help="cameras kept for evaluation (default: none)")
    add("--parallel", default="0", metavar="N|ADDRESS", help="as for preprocess-nersemble (default 0)")
    add("--quiet", action="store_true", help="no progress bar")
    return parser


def main(argv: Sequence[str]) -> int:
    """Import from command-line arguments; returns the exit code."""
    parser = build_parser()
    arguments = parser.parse_args(list(argv))
    for option, value in (("--fps", arguments.fps), ("--metres-per-unit", arguments.metres_per_unit)):
        if not 0 < value < float("inf"):
            parser.error(f"{option}: found {value}, expected a number above 0")
    source = Path(arguments.source)
    if source.suffix == ".json" and arguments.arrangement == "folders":
        parser.error("--arrangement folders: is for COLMAP models; a transforms.json names moments and cameras itself")
    # Only now: help must not wait for torch.
    from gha.preprocessing.colmap_model import read_colmap
    from gha.preprocessing.posed_pictures import import_pictures
    from gha.preprocessing.transforms_json import read_transforms

    if source.suffix == ".json":
        pictures = read_transforms(source, arguments.axes, moving=arguments.arrangement == "moving")
    else:
        folder = Path(arguments.pictures) if arguments.pictures else source.parent / "images"
        pictures = read_colmap(source, folder, arguments.arrangement)
    path = import_pictures(
        pictures,
        arguments.target,
        source.name,
        arguments.fps,
        arguments.metres_per_unit,
        arguments.held_out_cameras,
        arguments.parallel,
        progress=not arguments.quiet,
    )
    logger.info("%s: %d pictures", path, len(pictures))
    return 0
