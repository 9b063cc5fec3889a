"""``gha validate``: everything that is wrong with a capture, what it consists of, and a picture of it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from .command import new_parser

_DESCRIPTION = """\
Look at every file of a capture, in the original's layout or in that of this library, and tell all that is wrong with
it, not the first thing only; then say whether training can use it. Needs no GPU and changes nothing in the capture.
"""

_EPILOG = """\
what is looked at
  files       missing, damaged, of another size, of 16 bits; frames that two names stand for; names in the split,
              capture.json and sequences that do not exist
  cameras     extrinsic that is no rotation, focal length that is not positive, head behind or beside the picture,
              cameras that move in a few frames, that coincide, that differ in proportions
  tracking    parameters, landmarks and vertices that are not finite or not as many in all frames; pose and scale that
              do not take the landmarks to where they lie in other frames, or not to the size of a face
  masks       empty, full, without the projected landmarks, unlike their small copy
  pictures    of one colour, the same as another, far less sharp than their camera's others

An error is what training would refuse or learn wrongly; a warning deserves a look. Problems that are alike take one
line with their number; report.json has every one, and picture.png shows cameras, face and landmarks.

exit code
  0  usable, perhaps with warnings
  1  not usable, or there is no capture
  2  wrong arguments

examples
  gha validate captures/anna
  gha validate captures/anna --quick                       headers and numbers only, for captures of terabytes
  gha validate captures/anna --output reports/anna --quiet && gha train-mesh data.capture=captures/anna
"""


def build_parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = new_parser(_DESCRIPTION, _EPILOG)
    add = parser.add_argument
    add("capture", metavar="CAPTURE", help="folder with images/, cameras/ and params/")
    add(
        "--output",
        metavar="FOLDER",
        help="where report.json and picture.png go (default: runs/validate/ and the name of the capture)",
    )
    add("--quick", action="store_true", help="decode no picture but those that are shown: nothing is said about masks")
    add("--workers", type=int, metavar="N", help="threads that read pictures (default: one per processor core)")
    add("--quiet", action="store_true", help="no progress bar, and of the text the problems only")
    return parser


def main(argv: Sequence[str]) -> int:
    """Validate a capture from command-line arguments; returns the exit code."""
    parser = build_parser()
    arguments = parser.parse_args(list(argv))
    if arguments.workers is not None and arguments.workers < 1:
        parser.error(f"--workers: found {arguments.workers}, expected at least 1")
    # Only now: help must not wait for torch.
    from gha.preprocessing import validate_capture
    from gha.preprocessing.validation_picture import write_picture
    from gha.preprocessing.validation_report import describe, describe_problems, write_report

    found = validate_capture(arguments.capture, not arguments.quick, arguments.workers, not arguments.quiet)
    print(describe_problems(found) if arguments.quiet else describe(found))  # noqa: T201
    folder = Path(arguments.output or Path("runs") / "validate" / Path(arguments.capture).resolve().name)
    write_report(folder / "report.json", found)
    write_picture(folder / "picture.png", found)
    print(f"see {folder / 'report.json'} and {folder / 'picture.png'}")  # noqa: T201
    return 0 if found.usable else 1
