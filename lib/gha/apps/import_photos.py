"""Import calibrated photographs of a static object as a capture of one frame.

FOLDER holds photographs and ``cameras.json`` (K, one world-to-camera matrix per photograph, surface points).
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

logger = logging.getLogger(__name__)


def main(argv: Sequence[str]) -> int:
    """Parse the arguments and import; returns the exit code."""
    parser = argparse.ArgumentParser(prog="gha import-photos", description=__doc__)
    parser.add_argument("source", metavar="FOLDER", help="folder with photographs and cameras.json")
    parser.add_argument("target", help="folder of the capture to write, for example captures/skull")
    parser.add_argument("--front", help="name of a photograph taken from the front, without suffix; default the first")
    parser.add_argument("--hold-out-every", type=int, default=8, help="evaluate on every n-th photograph (default 8)")
    parser.add_argument(
        "--size", type=float, default=2.0, help="largest extent of the object in decimetres (default 2)"
    )
    arguments = parser.parse_args(argv)
    # Only now: help must not wait for torch.
    from gha.capture.static_photos import import_static_photos

    path = import_static_photos(
        arguments.source, arguments.target, arguments.front, arguments.hold_out_every, arguments.size
    )
    logger.info("wrote %s", path)
    return 0
