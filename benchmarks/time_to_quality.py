r"""Held-out quality against training time: this library beside the original's data flow, on one capture and one GPU.

    python train_meshhead.py --config config/train_meshhead_best2048.yaml
    python benchmarks/time_to_quality.py --capture captures/synthetic2048 --mesh-run runs/best2048/mesh \
        --config config/train_gaussianhead_best2048.yaml --seconds 480

Both sides start from the same mesh head, draw the same frames and cameras at the same size, and are measured by the
same code on the same held-out views (test frames, training cameras). Seconds are those of stage 2 from an empty folder
on: opening the capture, seeding Gaussians, recording, waiting for data, everything a user waits for. The clock stands
still while an avatar is measured, and kernels of the rasteriser are compiled before it starts.

The library trains as its preset says, by its own command and for its own number of steps; ``key=value`` changes the
preset, and for what both sides share (data, seeds, rates) the baseline too. The baseline trains for ``--seconds``. The
result: both curves, and how long each side needs to what the baseline has in the end. OUTPUT gets
``time_to_quality.json`` after every point and ``time_to_quality.png``. Sides may be measured by separate commands with
the same OUTPUT, also at a time on two GPUs; with ``--sides`` and no side nothing is trained and what is there is shown.
What is matched between the two and what is not: FAIRNESS.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from quality_chart import draw_curves
from quality_curves import SIDES, Report, comparison_table, curve_table
from quality_sides import TRAIN, Choices, prepare, refuse_begun, warm_up

from gha.errors import GhaError
from gha.files import open_atomically

NAME = "time_to_quality"


def build_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capture", required=True, help="folder of a capture of a face, with held-out frames")
    parser.add_argument("--mesh-run", required=True, help="trained stage 1, from which both sides start")
    parser.add_argument(
        "--baseline-mesh-run", default="", help="another stage 1 for the baseline, for example one without a body"
    )
    parser.add_argument("--config", type=Path, required=True, help="preset of stage 2")
    parser.add_argument("--sides", nargs="*", choices=SIDES, default=list(SIDES), metavar="SIDE", help="to train now")
    parser.add_argument("--seconds", type=_positive, default=480.0, help="of the baseline's training (480)")
    parser.add_argument("--steps", type=_count, default=0, help="of the baseline, instead of seconds")
    parser.add_argument("--every", type=_positive, default=30.0, help="seconds of training between points (30)")
    parser.add_argument("--views", type=_count, default=24, help="held-out views (24); 0: all")
    parser.add_argument(
        "--baseline-rates",
        choices=("preset", "published"),
        default="preset",
        help="the preset's rates, cosine and zoom for the same groups, or those of the released code, constant",
    )
    parser.add_argument("--perceptual", action="store_true", help="LPIPS (VGG) in both losses; needs its weights")
    parser.add_argument("--output", type=Path, default=Path("runs") / NAME, help="folder; sides are added to it")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes of the preset, device=cpu as well")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"expected a number above 0, found {text}")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected 0 or more, found {text}")
    return value


def show(report: Report, output: Path) -> None:
    """Print the tables of what the report holds and draw it."""
    curves = report.curves()
    if not curves:
        return
    print("\nSeconds of training only: the clock stands still while an avatar is measured.\n")
    print(curve_table(curves))
    if len(curves) == len(SIDES):
        print("\nTo what the baseline has in the end:\n")
        print(comparison_table(curves["library"], curves["baseline"]))
    for side in report.cut_short():
        print(f"\n{side}: training was cut short at {curves[side][-1].seconds:.1f} s; its end is not known")
    with open_atomically(output / f"{NAME}.png") as file:
        draw_curves(curves).save(file, "PNG")


def main(arguments: list[str] | None = None) -> int:
    """Train the sides that were asked for, then show all there are; 1 where an input cannot be used."""
    options = vars(build_parser().parse_intermixed_args(arguments))
    sides = options.pop("sides")
    choices = Choices(**options)
    try:
        comparison = prepare(choices)
        report = Report(choices.output / f"{NAME}.json", comparison.describe())
        if "library" in sides:
            refuse_begun(comparison)
        for side in sides:
            report.refuse_complete(side)
        if sides:
            warm_up(comparison)
        for side in sides:
            TRAIN[side](comparison, report)
        show(report, choices.output)
    except GhaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"interrupted; points so far are in {choices.output / NAME}.json", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
