"""The command ``gha``: a few verbs, each in a module that is imported when it is called."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import gha

from .command import import_object, report_errors, run_command


@dataclass(frozen=True)
class Verb:
    """One verb of the command line.

    Attributes:
        place: module and function that take the configuration, or the remaining arguments where there is no schema.
        summary: what it does, for ``gha --help``.
        schema: place of the configuration's dataclass.
    """

    place: str
    summary: str
    schema: str = ""


VERBS = {
    "demo": Verb(
        "gha.apps.demo:run_demo",
        "make a small capture, train both stages on it, evaluate and reenact",
        "gha.apps.demo:DemoConfig",
    ),
    "make-capture": Verb("gha.apps.make_capture:main", "film a parametric head into a capture of any size"),
    "import-photos": Verb(
        "gha.apps.import_photos:main", "turn calibrated photographs of a static object into a capture"
    ),
    "import-rig": Verb("gha.apps.import_rig:main", "turn pictures with COLMAP or NeRF-style cameras into a capture"),
    "preprocess-nersemble": Verb(
        "gha.apps.preprocess_nersemble:main", "extract the videos of a NeRSemble download into captures"
    ),
    "remove-background": Verb("gha.apps.remove_background:main", "mask the subject of a capture"),
    "fit-3dmm": Verb("gha.apps.fit_3dmm:main", "fit a parametric face model to the landmarks of a capture or a video"),
    "validate": Verb("gha.apps.validate:main", "tell everything that is wrong with a capture, and show it"),
    "train-mesh": Verb(
        "gha.apps.train:train_mesh", "stage 1: train the mesh head", "gha.apps.training_config:MeshRunConfig"
    ),
    "train-gaussian": Verb(
        "gha.apps.train:train_gaussian",
        "stage 2: train the Gaussian head and its decoder",
        "gha.apps.training_config:GaussianRunConfig",
    ),
    "train-subjects": Verb("gha.apps.train_subjects:main", "both stages for many captures, one subject per GPU"),
    "reenact": Verb(
        "gha.apps.reenact:reenact",
        "drive an avatar with an expression sequence and write a video",
        "gha.apps.reenact:ReenactmentConfig",
    ),
    "evaluate": Verb(
        "gha.apps.evaluate:evaluate",
        "measure an avatar on held-out frames and cameras",
        "gha.apps.evaluate:EvaluationConfig",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``gha VERB ...``; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())  # noqa: T201
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"gha {gha.__version__}")  # noqa: T201
        return 0
    if arguments[0] not in VERBS:
        print(f"error: no verb {arguments[0]!r}\n\n{_usage()}", file=sys.stderr)  # noqa: T201
        return 2
    return run_verb(arguments[0], arguments[1:])


def run_verb(verb: str, argv: Sequence[str]) -> int:
    """Call one verb with its arguments; returns the exit code. ``--debug`` anywhere shows tracebacks."""
    if "--debug" in argv:
        os.environ["GHA_DEBUG"] = "1"
    arguments = [argument for argument in argv if argument != "--debug"]
    entry = VERBS[verb]
    if entry.schema:
        return run_command(entry.summary, entry.schema, entry.place, arguments)
    code = 0

    def call() -> None:
        nonlocal code
        code = int(import_object(entry.place)(arguments) or 0)

    return report_errors(call) or code


def _usage() -> str:
    """The help of ``gha`` itself."""
    width = max(map(len, VERBS))
    lines = [f"  {name.ljust(width)}  {verb.summary}" for name, verb in VERBS.items()]
    return "\n".join(
        ["usage: gha VERB [arguments]", "", *lines, "", "gha VERB --help explains one; --debug shows tracebacks."]
    )
