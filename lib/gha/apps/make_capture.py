"""``gha make-capture``: film a parametric head into a capture of any size."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

from .command import new_parser

_DESCRIPTION = """\
Film a parametric head with a NeRSemble-like rig: up to 16 cameras over the front 120 degrees, head motion, speech,
emotions and extreme expressions, and a free performance that is held out for evaluation. Writes pictures, masks,
cameras, true expression codes, landmarks and capture.json; training reads the folder as it reads a real recording.
"""

_EXAMPLES = """\
examples:
  gha make-capture --output captures/small                                  the defaults
  gha make-capture --output captures/anna --identity 7 --frames 200 --resolution 2048
  gha make-capture --output captures/photo --face ~/ICT-FaceKit --motion range_of_motion.csv --resolution 2048
  gha make-capture --output captures/as_original --layout original          the file layout of the original system

An interrupted run continues when the same command is given again. The same arguments give the same bytes.
"""


def build_parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = new_parser(_DESCRIPTION, _EXAMPLES)
    add = parser.add_argument
    add("--output", required=True, metavar="FOLDER", help="where the capture is written")
    add(
        "--face",
        default="procedural",
        metavar="NAME|PATH",
        help='"procedural" (built in, the default), or the path of a downloaded ICT-FaceKit (folder or packed npz)',
    )
    add(
        "--identity", type=int, default=0, help="which person: 0 is the model's own, other numbers draw one (default 0)"
    )
    add("--frames", type=int, default=36, help="timesteps; few frames sample the performance sparsely (default 36)")
    add("--cameras", type=int, default=16, help="2 to 16 (default 16)")
    add("--resolution", type=int, default=256, metavar="PIXELS", help="side of the square images (default 256)")
    add("--seed", type=int, default=0, help="of the performance and the rig (default 0)")
    add(
        "--motion",
        default="auto",
        metavar="auto|PATH",
        help='"auto" (the default) acts by itself; or a Live Link Face csv (.csv, .csv.gz), or an expression sequence '
        "(.npz, .csv)",
    )
    add("--held-out", type=float, default=0.2, metavar="SHARE", help="share of the frames held out (default 0.2)")
    add("--held-out-cameras", type=int, default=2, metavar="COUNT", help="cameras held out (default 2)")
    add(
        "--exposure-variation",
        type=float,
        default=0.0,
        metavar="SIGMA",
        help="difference in exposure between cameras, standard deviation of its logarithm; 0.1 is much (default 0)",
    )
    add("--backdrop", choices=("grey", "black"), default="grey", help="what is behind the head (default grey)")
    add(
        "--layout",
        choices=("ours", "original"),
        default="ours",
        help="ours (the default): capture.json, PNG masks; original: the form of the original system to the letter, "
        "which has no place for a split, so that nothing is held out",
    )
    add(
        "--supersample",
        type=int,
        default=0,
        metavar="N",
        help="samples along a pixel's side; 0 (the default): by resolution",
    )
    add(
        "--lens-blur",
        type=float,
        default=0.7,
        metavar="PIXELS",
        help="standard deviation of the cameras' point spread; 0: sharper than any camera, with jagged edges "
        "(default 0.7)",
    )
    add("--workers", type=int, default=None, metavar="N", help="threads (default: one per processor core)")
    add("--quiet", action="store_true", help="no progress bar")
    return parser  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """Make a capture from command-line arguments; returns the exit code."""
    parser = build_parser()
    arguments = parser.parse_args(list(argv))
    if not arguments.output:
        parser.error("--output: found nothing, expected a folder")
    from gha.capture.synthetic import CaptureRecipe, make_capture
    from gha.faces.registry import load_face_model

    recipe = CaptureRecipe(
        identity=arguments.identity,
        frames=arguments.frames,
        cameras=arguments.cameras,
        resolution=arguments.resolution,
        seed=arguments.seed,
        motion=arguments.motion,
        held_out=arguments.held_out,
        held_out_cameras=arguments.held_out_cameras,
        exposure_variation=arguments.exposure_variation,
        backdrop=arguments.backdrop,
        supersample=arguments.supersample,
        lens_blur=arguments.lens_blur,
        original=arguments.layout == "original",
    )
    started = time.monotonic()
    model = load_face_model(arguments.face, **_model_options(arguments))
    make_capture(model, arguments.output, recipe, arguments.workers, progress=not arguments.quiet)
    seconds = time.monotonic() - started
    print(f"{arguments.output}: {recipe.frames} frames x {recipe.cameras} cameras in {seconds:.0f} s")  # noqa: T201
    return 0


def _model_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Detail of the built-in head that the resolution can show."""
    if arguments.face != "procedural":
        return {}
    return {"texture_size": 2048 if arguments.resolution > 768 else 512}
