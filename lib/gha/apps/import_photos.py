"""``gha import-photos``: calibrated photographs of a static object as a capture of one frame."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from .command import new_parser

logger = logging.getLogger(__name__)

_DESCRIPTION = """\
Import calibrated photographs of a static object as a capture of one frame, in which every photograph is a camera.
FOLDER holds the photographs and cameras.json: "width", "height", "K" [3][3] in pixels, "frames" with "file" and "w2c"
[4][4] each (world to camera, x right, y down, z forward; no distortion), and "points" [N][3] on the surface.
Masks are cut out by colour and by where the points are; look at them before training.
"""


def main(argv: Sequence[str]) -> int:
    """Parse the arguments and import; returns the exit code."""
    parser = new_parser(_DESCRIPTION)
    parser.add_argument("source", metavar="FOLDER", help="folder with photographs and cameras.json")
    parser.add_argument("target", metavar="CAPTURE", help="folder of the capture to write, for example captures/skull")
    parser.add_argument(
        "--front", metavar="NAME", help="a photograph taken from the front, without suffix (default: the first)"
    )
    parser.add_argument(
        "--hold-out-every", type=int, default=8, metavar="N", help="hold out every N-th photograph (default 8)"
    )
    parser.add_argument(
        "--size",
        type=float,
        default=2.0,
        metavar="DECIMETRES",
        help="largest extent of the object; the world is scaled to it (default 2, about a head)",
    )
    arguments = parser.parse_args(argv)
    if arguments.hold_out_every < 2:
        parser.error(f"--hold-out-every: found {arguments.hold_out_every}, expected at least 2")
    # Only now: help must not wait for torch.
    from gha.capture.static_photos import import_static_photos

    path = import_static_photos(
        arguments.source, arguments.target, arguments.front, arguments.hold_out_every, arguments.size
    )
    logger.info("wrote %s", path)
    return 0
