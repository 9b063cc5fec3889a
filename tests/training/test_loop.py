import json
import threading

import numpy as np
import pytest
import torch
from torch import nn

from gha.capture.frame import Frame
from gha.errors import CheckpointError, TrainingError
from gha.faces.code import HeadCode
from gha.geometry import Camera
from gha.training import loop
from gha.training.checkpoint import list_checkpoints, load_checkpoint, save_checkpoint
from gha.training.loop import restore, train
from gha.training.run_folder import RunFolder
from gha.training.sample import Sample
from gha.training.stage import LoopConfig

CPU = torch.device("cpu")


class LineStage:
    """Fits a line to numbers that the frames carry."""

    method = "line"

    def __init__(self):
        torch.manual_seed(0)
        self.line = nn.Linear(1, 1)
        self.finished_steps = 0
        self.modules = {"line": self.line}
        self.optimizers = {"adam": torch.optim.Adam(self.line.parameters(), lr=0.2)}
        self.seen = []

        self.renewals = []

    replayable = False

    def renews(self, update):
        return update % 20 == 0

    def renew(self, anew):
        self.renewals.append((len(self.seen), anew))

    def draw(self, frame, step, device):
        self.seen.append((step, frame.frame_id[0]))
        return Sample(frame, background=torch.randn((), generator=torch.Generator().manual_seed(step)))

    def losses(self, sample):
        x, noise = sample.frame.code.expression, sample.background
        return {"fit": (self.line(x) - 2 * x).square().mean() + 0.01 * noise * self.line.weight.sum()}

    def preview(self, frame):
        return np.zeros((2, 2, 3), np.uint8)

    def metadata(self):
        return {"note": "test"}


def frames(start=0, bad=None):
    step = start
    while True:
        x = torch.tensor([[float("nan") if step == bad else float(step % 5)]])
        code = HeadCode(x, torch.zeros(1, 6), torch.ones(1, 1))
        camera = Camera(torch.eye(4)[None, None], torch.eye(3)[None, None], 2, 2)
        picture = torch.zeros(1, 1, 3, 2, 2, dtype=torch.uint8)
        landmarks = torch.zeros(1, 66, 3)
        yield Frame(picture, picture[:, :, :1], picture[:, :, :1], camera, code, landmarks, [f"{step}"], (("c",),))
        step += 1


def run(path, steps, total=None, bad=None):
    """Train to ``steps`` of a schedule of ``total`` steps, continuing if there is something to continue."""
    stage = LineStage()
    config = LoopConfig(
        steps=total or steps, log_every=10, preview_every=0, checkpoint_every=10, final_learning_rate_factor=0.1
    )
    with RunFolder(path) as folder:
        restore(stage, folder, CPU)
        stream = frames(stage.finished_steps, bad)
        if total and steps < total:
            stage.draw = stop_after(stage, steps)
        train(stage, stream, config, folder, CPU)
    return stage


def stop_after(stage, steps):
    """Ask for a stop, as Ctrl-C does, while step ``steps`` is computed."""
    import os
    import signal

    draw = stage.draw

    def interrupted(frame, step, device):
        if step + 1 == steps:
            os.kill(os.getpid(), signal.SIGINT)
        return draw(frame, step, device)

    return interrupted


def test_interrupted_and_resumed_training_equals_uninterrupted(tmp_path):
    whole = run(tmp_path / "whole", 40)
    first = run(tmp_path / "parts", 25, total=40)
    assert first.finished_steps == 25, "a request to stop ends after the current step, with a checkpoint"
    second = run(tmp_path / "parts", 40)
    assert second.seen[0] == (25, "25"), "steps go on where they stopped"
    assert torch.equal(whole.line.weight, second.line.weight)
    assert torch.equal(whole.line.bias, second.line.bias)


def test_it_learns_and_keeps_few_checkpoints(tmp_path):
    stage = run(tmp_path / "run", 100)
    assert stage.line.weight.item() == pytest.approx(2.0, abs=0.3)
    assert [path.name for path in list_checkpoints(tmp_path / "run/checkpoints")] == ["step_00000090", "step_00000100"]
    lines = [json.loads(line) for line in (tmp_path / "run/scalars.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(10, 101, 10))
    assert lines[-1]["fit"] < lines[0]["fit"]


def test_learning_rate_falls_along_a_cosine(tmp_path):
    stage = run(tmp_path / "run", 100)
    last = 0.2 * (0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * 99 / 100)))
    assert stage.optimizers["adam"].param_groups[0]["lr"] == pytest.approx(last)


def test_a_finished_run_is_not_trained_further(tmp_path):
    run(tmp_path / "run", 20)
    assert run(tmp_path / "run", 20).seen == []


def test_non_finite_loss_stops_before_the_optimiser_and_names_the_frame(tmp_path):
    with pytest.raises(TrainingError, match=r"step 13: loss fit is not finite \(frames 13; cameras c\)"):
        run(tmp_path / "run", 20, bad=13)
    resumed = run(tmp_path / "run", 20)
    assert resumed.seen[0][0] == 10, "the checkpoint before the accident is intact"


def test_a_checkpoint_without_what_the_stage_holds_is_refused(tmp_path):
    run(tmp_path, 10)
    stage = LineStage()
    stage.modules["gain"] = nn.Linear(1, 1)
    with pytest.raises(CheckpointError, match="found line, optimizer_adam, expected gain, line, optimizer_adam"):
        restore(stage, RunFolder(tmp_path), CPU)


def test_what_is_kept_is_renewed_at_the_start_now_and_then_and_after_saving(tmp_path):
    """Otherwise a run that continues from a checkpoint would not train as the one that went on."""
    stage = LineStage()
    config = LoopConfig(steps=50, log_every=10, preview_every=0, checkpoint_every=30)
    with RunFolder(tmp_path) as folder:
        train(stage, frames(), config, folder, CPU)
    assert stage.renewals == [(0, True), (20, False), (30, True), (40, False)]


def test_who_watches_is_called_after_every_step(tmp_path):
    seen = []

    def watch(stage, finished):
        seen.append((finished, len(stage.seen)))

    with RunFolder(tmp_path) as folder:
        train(LineStage(), frames(), LoopConfig(steps=3, preview_every=0, checkpoint_every=2), folder, CPU, watch=watch)
    assert seen == [(1, 1), (2, 2), (3, 3)]


def test_a_checkpoint_is_of_its_step_however_late_it_is_written(tmp_path, monkeypatch):
    """Training goes on while it is being written."""
    went_on, weights = threading.Event(), {}

    def save_late(folder, step, tensors, *args, **options):
        if step == 2:
            assert went_on.wait(30)
        return save_checkpoint(folder, step, tensors, *args, **options)

    def watch(stage, finished):
        weights[finished] = stage.modules["line"].weight.detach().clone()
        if finished == 3:
            went_on.set()

    monkeypatch.setattr(loop, "save_checkpoint", save_late)
    config = LoopConfig(steps=4, preview_every=0, checkpoint_every=2)
    with RunFolder(tmp_path) as folder:
        train(LineStage(), frames(), config, folder, CPU, watch=watch)
    assert not torch.equal(weights[2], weights[3])
    for path in list_checkpoints(tmp_path / "checkpoints"):
        checkpoint = load_checkpoint(path)
        assert torch.equal(checkpoint.tensors["line"]["weight"], weights[checkpoint.step])


def test_a_checkpoint_that_cannot_be_written_ends_training_with_the_reason(tmp_path, monkeypatch):
    def fail(*args, **options):
        raise CheckpointError("the disk is full")

    monkeypatch.setattr(loop, "save_checkpoint", fail)
    config = LoopConfig(steps=50, preview_every=0, checkpoint_every=10)
    stage = LineStage()
    with RunFolder(tmp_path) as folder, pytest.raises(CheckpointError, match="the disk is full"):
        train(stage, frames(), config, folder, CPU)
    assert len(stage.seen) <= 30
