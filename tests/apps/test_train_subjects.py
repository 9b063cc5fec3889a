import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from small_heads import SMALL_GAUSSIANS, SMALL_HEAD

from gha.apps import subject_runs
from gha.apps.cli import run_verb
from gha.apps.subject_runs import Children, train_here, train_subject
from gha.apps.subjects import LOG_FILE, Part, Recipe, SubjectPlan, format_table, plan_subjects, standing_of
from gha.errors import InputError
from gha.training.checkpoint import save_checkpoint

CONFIG = Path(__file__).parents[2] / "config"
MESH, GAUSSIAN = (str(CONFIG / f"train_{stage}_demo.yaml") for stage in ("meshhead", "gaussianhead"))
STAGES = ["--mesh", MESH, "--gaussian", GAUSSIAN]
LONG = "loop.steps=100000"


@pytest.fixture
def captures(toy_capture_folder, tmp_path):
    """Captures of two people, and one that cannot be used."""
    for name in ("anna", "bert"):
        shutil.copytree(toy_capture_folder, tmp_path / "captures" / name)
    (tmp_path / "captures" / "void").mkdir()
    return tmp_path / "captures"


def arguments(captures, *names, mesh_steps="loop.steps=4"):
    folders = [str(captures / name) for name in names]
    keys = ["device=cpu", "data.resolution=64", "data.views_per_frame=1", "loop.preview_every=0", "loop.log_every=2"]
    mesh = [*SMALL_HEAD, "training.sphere_steps=300", mesh_steps]
    gaussian = [*SMALL_GAUSSIANS, "loop.steps=3", "training.loss.landmarks=0"]
    return [*folders, *STAGES, "--keys", *keys, "--mesh-keys", *mesh, "--gaussian-keys", *gaussian,
            "--runs", str(captures.parent / "runs"), "--parallel", "2"]  # fmt: skip


def states(text):
    """The last table in what was said: name to (state, stage, step)."""
    rows = [line.split() for line in text.split("subject  ")[-1].splitlines()[1:]]
    return {row[0]: tuple(row[1:4]) for row in rows if len(row) >= 4}


def test_a_failed_subject_is_reported_the_others_finish_and_nothing_is_done_twice(captures, capsys):
    command = arguments(captures, "anna", "bert", "void")
    assert run_verb("train-subjects", [*command, "--status"]) == 0
    assert set(states(capsys.readouterr().err).values()) == {("waiting", "mesh", "0/4")}
    assert not (captures.parent / "runs").exists()

    assert run_verb("train-subjects", command) == 1
    said = capsys.readouterr().err
    assert states(said) == {
        "anna": ("finished", "gaussian", "3/3"),
        "bert": ("finished", "gaussian", "3/3"),
        "void": ("failed", "mesh", "0/4"),
    }
    assert "mesh: error: " in said
    assert "no folder images/ found" in said
    log = captures.parent / "runs/anna" / LOG_FILE
    assert log.read_text().count("\n== ") == 2
    assert "Gaussians from the mesh head" in log.read_text()

    (captures / "void").rmdir()
    shutil.copytree(captures / "anna", captures / "void")
    assert run_verb("train-subjects", command) == 0
    assert states(capsys.readouterr().err)["void"] == ("finished", "gaussian", "3/3")
    assert log.read_text().count("\n== ") == 2, "nothing was left to do"
    assert run_verb("train-subjects", [*arguments(captures, "anna"), "--evaluate"]) == 0
    assert "head PSNR held_out_frames" in capsys.readouterr().err
    assert log.read_text().count("\n== ") == 3


def test_interrupted_subjects_are_saved_and_continue(captures, capsys):
    command = arguments(captures, "anna", mesh_steps=LONG)
    running = subprocess.Popen([sys.executable, "-m", "gha", "train-subjects", *command], stderr=subprocess.PIPE)
    scalars = captures.parent / "runs/anna/mesh/scalars.jsonl"
    wait_for(scalars.exists, running)
    assert run_verb("train-subjects", [*command, "--status"]) == 0
    said = capsys.readouterr().err
    assert states(said)["anna"][0] == "running"
    assert f"process {running.pid} on " in said
    running.send_signal(signal.SIGTERM)
    assert running.wait(60) == 130
    running.stderr.close()
    [plan] = plan_subjects([str(captures / "anna")], recipe(captures))
    stopped = standing_of(plan)
    assert (stopped.state, stopped.part) == ("interrupted", "mesh")
    assert stopped.step >= 2
    more = arguments(captures, "anna", mesh_steps=f"loop.steps={stopped.step + 1}")
    assert run_verb("train-subjects", more) == 0
    assert f"continuing mesh_head after step {stopped.step}" in (captures.parent / "runs/anna" / LOG_FILE).read_text()


def wait_for(condition, process):
    for _ in range(600):
        if condition():
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    raise AssertionError("a minute has passed")


def recipe(captures, keys=("device=cpu",), evaluate=False):
    return Recipe(MESH, GAUSSIAN, keys, keys, str(captures.parent / "runs"), evaluate)


def test_what_cannot_be_planned_is_refused_before_anything_runs(captures):
    with pytest.raises(InputError, match="nobody: found no folder, expected a capture"):
        plan_subjects([str(captures / "nobody")], recipe(captures))
    shutil.copytree(captures / "anna", captures.parent / "again/anna")
    with pytest.raises(InputError, match="anna: found another capture of this name"):
        plan_subjects([str(captures / "anna"), str(captures.parent / "again/anna")], recipe(captures))
    with pytest.raises(InputError, match="unknown key"):
        plan_subjects([str(captures / "anna")], recipe(captures, ("loop.stepps=3",)))


def test_parallel_must_be_a_number_or_ray(captures, capsys):
    assert run_verb("train-subjects", [*arguments(captures, "anna")[:-1], "dask://here:1"]) == 1
    assert "parallel: found 'dask://here:1', expected a number" in capsys.readouterr().err


@pytest.fixture
def plan(tmp_path):
    parts = (Part("mesh", ("--version",), 10), Part("gaussian", ("no-such-verb",), 20))
    return SubjectPlan("anna", tmp_path / "runs" / "anna", parts)


def checkpoint(plan, stage, step):
    save_checkpoint(plan.folder / stage / "checkpoints", step, {"a": {"x": torch.ones(1)}}, {"method": "m"})


def test_standing_tells_stage_step_speed_and_loss(plan):
    assert standing_of(plan).state == "waiting"
    checkpoint(plan, "mesh", 10)
    assert [getattr(standing_of(plan), key) for key in ("state", "part", "step")] == ["interrupted", "gaussian", 0]
    checkpoint(plan, "gaussian", 5)
    lines = [{"step": 4, "time": 100.0, "total": 0.5}, {"step": 8, "time": 102.0, "total": 0.25}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (plan.folder / "gaussian/scalars.jsonl").write_text(text + '{"step": 9, "ti')
    assert standing_of(plan).step == 5, "it would continue there"
    assert standing_of(plan).speed is None
    lock = plan.lock
    lock.acquire()
    standing = standing_of(plan)
    assert (standing.state, standing.step, standing.speed) == ("running", 8, 2.0)
    assert standing.figures == "gaussian loss 0.2500"
    assert standing.note.startswith(f"process {os.getpid()} on ")
    lock.release()
    checkpoint(plan, "gaussian", 20)
    assert standing_of(plan).state == "finished"


def test_whoever_is_gone_does_not_hold_a_subject(plan):
    plan.folder.mkdir(parents=True)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    host = os.uname().nodename
    (plan.folder / ".lock").write_text(json.dumps({"pid": gone.pid, "host": host}))
    assert standing_of(plan).state == "interrupted"
    (plan.folder / ".lock").write_text(json.dumps({"pid": gone.pid, "host": "elsewhere"}))
    assert standing_of(plan).note == f"process {gone.pid} on elsewhere"


def test_a_subject_that_somebody_trains_is_left_alone(plan):
    plan.folder.mkdir(parents=True)
    lock = plan.lock
    lock.acquire()
    assert train_subject(plan, {}).state == "running"
    assert not (plan.folder / LOG_FILE).exists()
    lock.release()


def test_why_a_command_failed_is_kept_until_it_is_tried_again(plan):
    checkpoint(plan, "mesh", 10)
    failed = train_subject(plan, {})
    assert failed.state == "failed"
    assert failed.note.startswith("gaussian: error: no verb 'no-such-verb'")
    assert standing_of(plan) == failed
    checkpoint(plan, "gaussian", 20)
    assert train_subject(plan, {}).state == "finished"


def test_a_command_that_was_killed_says_so(plan, monkeypatch):
    monkeypatch.setattr(Children, "run", lambda *_: -signal.SIGKILL)
    assert train_subject(plan, {}).note == "mesh: killed by SIGKILL"


def test_children_stop_together_and_none_starts_afterwards(tmp_path):
    children, codes = Children(), []
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    threads = [
        threading.Thread(target=lambda i=i: codes.append(children.run(sleep, {}, tmp_path / f"{i}.log"))) for i in "ab"
    ]
    for thread in threads:
        thread.start()
    while len(children.running) < 2:
        time.sleep(0.01)
    children.stop()
    for thread in threads:
        thread.join(10)
    assert codes == [-signal.SIGTERM] * 2
    assert children.run(sleep, {}, tmp_path / "c.log") == subject_runs.INTERRUPTED


def test_every_subject_has_a_gpu_of_its_own(plan, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    used, both = [], threading.Barrier(2)

    def record(plan, environment, children):
        both.wait(10)
        used.append(environment["CUDA_VISIBLE_DEVICES"])
        return standing_of(plan)

    monkeypatch.setattr(subject_runs, "train_subject", record)
    ended = []
    train_here([plan] * 4, 0, ended.append)
    assert len(ended) == 4
    assert sorted(used[:2]) == sorted(used[2:]) == ["5", "7"]
    with pytest.raises(InputError, match="parallel: found 3, expected at most 2, the number of GPUs here"):
        train_here([plan], 3, ended.append)


def test_ray_is_named_where_it_is_missing(plan, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"'auto' needs the package ray .*pip install ray"):
        list(subject_runs.train_on_ray([plan], "ray"))


def test_the_table_is_aligned(plan):
    heading, row = format_table([standing_of(plan)]).splitlines()
    assert heading.index("stage") == row.index("mesh")
    assert heading.index("step ") == row.index("0/10")
