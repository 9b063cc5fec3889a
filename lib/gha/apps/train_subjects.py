"""``gha train-subjects``: both stages for many captures, one per GPU, here or on a Ray cluster."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from .command import new_parser

logger = logging.getLogger(__name__)

_DESCRIPTION = """\
Train an avatar of each of many captures: both stages, and on request an evaluation, by the ordinary commands, one
subject per GPU. A subject is called like the folder of its capture; its results go to {RUNS}/{subject}/, everything
its commands say to train_subjects.log there.

Given again, the same command skips what is finished, continues what was interrupted and tries again what failed.
--status shows where each subject stands, at any time and from anywhere, and runs nothing.
"""

_EPILOG = """\
where (--parallel)
  0                      one subject on each GPU of this machine (the default); without a GPU one at a time
  4                      four at a time: on four GPUs, or on the processor where there is none
  ray://HOST:10001       one on each GPU of the Ray cluster whose client server listens there; ray: one running on this
                         machine (pip install "ray[client]"). All machines must find captures, configurations and runs
                         under the same absolute paths and have this library installed.

examples
  gha train-subjects captures/031 captures/036 --mesh config/train_meshhead_N031.yaml \\
      --gaussian config/train_gaussianhead_N031.yaml --keys "data.cameras=[]" --evaluate
  the same with --status
"""


def build_parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = new_parser(_DESCRIPTION, _EPILOG)
    add = parser.add_argument
    add("captures", nargs="+", metavar="CAPTURE", help="folders of the captures")
    add("--mesh", required=True, metavar="FILE", help="configuration of stage 1")
    add("--gaussian", required=True, metavar="FILE", help="configuration of stage 2")
    add("--keys", nargs="+", default=[], metavar="key=value", help="changes to both configurations")
    add("--mesh-keys", nargs="+", default=[], metavar="key=value", help="changes to that of stage 1")
    add("--gaussian-keys", nargs="+", default=[], metavar="key=value", help="changes to that of stage 2")
    add("--runs", default="runs", metavar="FOLDER", help="folder of all runs (default: runs)")
    add("--parallel", default="0", metavar="N|ADDRESS", help="see below (default 0: one per GPU)")
    add("--evaluate", action="store_true", help="measure each avatar at the end")
    add("--status", action="store_true", help="show where each subject stands, and run nothing")
    return parser


def main(argv: Sequence[str]) -> int:
    """Train subjects from command-line arguments; returns the exit code, 1 if one of them is not finished."""
    parser = build_parser()
    arguments = parser.parse_args(list(argv))
    # Only now: help must not wait for torch.
    from gha.errors import InputError

    from .subject_runs import train_here, train_on_ray
    from .subjects import Recipe, Standing, format_table, plan_subjects, standing_of

    recipe = Recipe(
        mesh=arguments.mesh,
        gaussian=arguments.gaussian,
        mesh_keys=(*arguments.keys, *arguments.mesh_keys),
        gaussian_keys=(*arguments.keys, *arguments.gaussian_keys),
        runs=arguments.runs,
        evaluate=arguments.evaluate,
    )
    plans = plan_subjects(arguments.captures, recipe)

    def show(ended: Standing | None = None) -> None:
        if ended:
            logger.info("\n%s: %s", ended.subject, ended.state)
        logger.info("%s", format_table([standing_of(plan) for plan in plans]))

    if arguments.status:
        show()
        return 0
    on_ray = arguments.parallel.partition("://")[0] == "ray"
    if not on_ray and not arguments.parallel.isdecimal():
        raise InputError(f'parallel: found {arguments.parallel!r}, expected a number, "ray" or "ray://HOST:PORT"')
    if on_ray:
        for standing in train_on_ray(plans, arguments.parallel):
            show(standing)
    else:
        train_here(plans, int(arguments.parallel), show)
    return int(any(standing_of(plan).state != "finished" for plan in plans))
