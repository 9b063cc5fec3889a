"""What training many subjects consists of, and where each of them stands, read from the folders of their runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gha.errors import InputError
from gha.training.checkpoint import list_checkpoints
from gha.training.run_lock import RunLock

from .config import load_config
from .training_config import GaussianRunConfig, MeshRunConfig

EVALUATION = "evaluation"
FAILURE_FILE = "failure.json"
LOG_FILE = "train_subjects.log"
FIGURE = "head_psnr"  # of evaluation.json, shown in the table
HEADINGS = ("subject", "state", "stage", "step", "steps/s", "latest figures", "note")


@dataclass(frozen=True)
class Part:
    """One command of a subject.

    Attributes:
        name: ``mesh``, ``gaussian`` or ``evaluation``.
        arguments: of the command ``gha``.
        steps: that training takes; for the evaluation, those of the stage it measures.
    """

    name: str
    arguments: tuple[str, ...]
    steps: int


@dataclass(frozen=True)
class SubjectPlan:
    """Everything that is run for one subject.

    Attributes:
        name: of the subject, which is that of its capture's folder.
        folder: of its run.
        parts: in their order.
    """

    name: str
    folder: Path
    parts: tuple[Part, ...]

    @property
    def lock(self) -> RunLock:
        """Held by whoever trains the subject."""
        return RunLock(self.folder / ".lock")


@dataclass(frozen=True)
class Recipe:
    """How every subject is trained.

    Attributes:
        mesh, gaussian: configuration files of the stages.
        mesh_keys, gaussian_keys: changes to them, as ``key=value``.
        runs: folder of all runs.
        evaluate: whether the Gaussian head is measured at the end.
    """

    mesh: str
    gaussian: str
    mesh_keys: tuple[str, ...]
    gaussian_keys: tuple[str, ...]
    runs: str
    evaluate: bool


@dataclass(frozen=True)
class Standing:
    """Where a subject stands.

    Attributes:
        subject: its name.
        state: ``waiting``, ``running``, ``interrupted``, ``failed`` or ``finished``.
        part: what is next or at work; the last one of a finished subject.
        step, steps: of that part.
        speed: steps a second as last logged; None where nothing runs.
        figures: the latest there are, in words.
        note: why it failed, or who trains it.
    """

    subject: str
    state: str
    part: str
    step: int
    steps: int
    speed: float | None
    figures: str
    note: str


def plan_subjects(captures: Sequence[str], recipe: Recipe) -> list[SubjectPlan]:
    """One plan for each capture.

    Raises:
        InputError: a capture is no folder, two have one name, or a configuration cannot be used.
    """
    folders = [Path(capture).absolute() for capture in captures]
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: found no folder, expected a capture")
        if [other.name for other in folders].count(folder.name) > 1:
            raise InputError(f"{folder}: found another capture of this name, expected names that tell subjects apart")
    return [_plan(folder, recipe) for folder in folders]


def _plan(capture: Path, recipe: Recipe) -> SubjectPlan:
    runs = Path(recipe.runs).absolute()
    own = (f"name={capture.name}", f"runs={runs}", f"data.capture={capture}")
    mesh_keys, gaussian_keys = (*recipe.mesh_keys, *own), (*recipe.gaussian_keys, *own, "mesh_run=")
    mesh = load_config(MeshRunConfig, recipe.mesh, mesh_keys)
    gaussian = load_config(GaussianRunConfig, recipe.gaussian, gaussian_keys)
    mesh_file, gaussian_file = (str(Path(file).absolute()) for file in (recipe.mesh, recipe.gaussian))
    folder = runs / capture.name
    parts = [
        Part("mesh", ("train-mesh", "--config", mesh_file, *mesh_keys), mesh.loop.steps),
        Part("gaussian", ("train-gaussian", "--config", gaussian_file, *gaussian_keys), gaussian.loop.steps),
    ]
    if recipe.evaluate:
        arguments = ("evaluate", f"run={folder / 'gaussian'}", f"device={gaussian.device}")
        parts.append(Part(EVALUATION, arguments, gaussian.loop.steps))
    return SubjectPlan(capture.name, folder, tuple(parts))


def is_finished(plan: SubjectPlan, part: Part) -> bool:
    """Whether a part has nothing left to do."""
    return _saved_step(plan, part) >= part.steps


def standing_of(plan: SubjectPlan) -> Standing:
    """Where a subject stands now."""
    left = [part for part in plan.parts if not is_finished(plan, part)]
    holder = plan.lock.holder()
    part = left[0] if left else plan.parts[-1]
    scalars = _last_scalars(plan.folder / part.name)
    step, speed, note = _saved_step(plan, part), None, ""
    if not left:
        state = "finished"
    elif holder:
        state, note = "running", holder
        step, speed = max(step, _logged_step(scalars)), _speed(scalars)
    elif (plan.folder / FAILURE_FILE).is_file():
        state, note = "failed", str(_read_json(plan.folder / FAILURE_FILE).get("message", ""))
    else:
        state = "interrupted" if plan.folder.is_dir() else "waiting"
    return Standing(plan.name, state, part.name, step, part.steps, speed, _figures(plan), note)


def format_table(standings: Sequence[Standing]) -> str:
    """The table of all subjects, columns aligned."""
    rows = [HEADINGS, *map(_cells, standings)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _cells(standing: Standing) -> tuple[str, ...]:
    speed = "" if standing.speed is None else f"{standing.speed:.3g}"
    progress = f"{standing.step}/{standing.steps}"
    return (
        standing.subject,
        standing.state,
        standing.part,
        progress,
        speed,
        standing.figures,
        standing.note[:160],
    )


def _saved_step(plan: SubjectPlan, part: Part) -> int:
    """The step of the newest checkpoint of a stage, or the one that was evaluated."""
    if part.name == EVALUATION:
        return int(_evaluation(plan).get("step", 0))
    saved = list_checkpoints(plan.folder / part.name / "checkpoints")
    return int(saved[-1].name.split("_")[1]) if saved else 0


def _figures(plan: SubjectPlan) -> str:
    """Figures of the evaluation where there is one, else the loss of the latest stage."""
    splits = _evaluation(plan).get("splits", {})
    measured = {name: split["figures"][FIGURE]["mean"] for name, split in splits.items() if FIGURE in split["figures"]}
    if measured:
        return "head PSNR " + ", ".join(f"{name} {value:.2f}" for name, value in measured.items())
    for stage in ("gaussian", "mesh"):
        scalars = _last_scalars(plan.folder / stage)
        if scalars:
            return f"{stage} loss {scalars[-1].get('total', float('nan')):.4f}"
    return ""


def _evaluation(plan: SubjectPlan) -> dict[str, Any]:
    return _read_json(plan.folder / "gaussian" / "evaluation" / "evaluation.json")


def _last_scalars(stage: Path) -> list[dict[str, Any]]:
    """The last lines of ``scalars.jsonl``, at most two; a line that is being written is left out."""
    try:
        lines = (stage / "scalars.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    except OSError:
        return []
    return [json.loads(line) for line in lines[-2:]]


def _logged_step(scalars: Sequence[dict[str, Any]]) -> int:
    return int(scalars[-1]["step"]) if scalars else 0


def _speed(scalars: Sequence[dict[str, Any]]) -> float | None:
    """Steps a second between the last two lines; None where a run was resumed between them or there are not two."""
    if len(scalars) < 2 or "time" not in scalars[0]:
        return None
    steps, seconds = (scalars[1][key] - scalars[0][key] for key in ("step", "time"))
    return steps / seconds if steps > 0 and seconds > 0 else None


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
