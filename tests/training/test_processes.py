"""Two processes on the CPU, connected by gloo, do together what one does alone."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from processes_worker import LineStage, gradients_of, run
from several_processes import torchrun

from gha.errors import InputError, TrainingError
from gha.training.averaging import scale_rates
from gha.training.checkpoint import list_checkpoints, load_checkpoint
from gha.training.processes import ALONE, Processes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    torchrun(2, Path(__file__).with_name("processes_worker.py"), folder)
    return folder


@pytest.fixture(scope="module")
def both(folder):
    """What each of the two processes found."""
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def test_they_know_each_other(both):
    assert [one["numbers"] for one in both] == [[0, 2, True], [1, 2, False]]


def test_they_agree(both):
    for one in both:
        assert one["any"] == [False, True, True]
        assert one["mean"] == [0.5, float("inf")]


def test_a_step_of_two_processes_is_a_step_of_one_with_a_batch_of_two(both):
    stage = LineStage()
    gradients_of(stage, [3, 4])
    stage.unused(torch.ones(1, 1)).sum().backward()
    for one in both:
        gradients = one["one step"]["gradients"]
        assert gradients["line.weight"] == pytest.approx(stage.line.weight.grad.flatten().tolist(), rel=1e-5)
        assert gradients["line.bias"] == pytest.approx(stage.line.bias.grad.tolist(), rel=1e-5)
        expected = stage.offsets.weight.grad.flatten().tolist()
        assert gradients["offsets.weight"] == pytest.approx(expected, rel=1e-5)
        assert gradients["unused.weight"] == [0.5], "one process has gradient 1, the other none"


def test_only_rows_that_some_process_has_move(both):
    assert [one["one step"]["rows"] for one in both] == [[3, 4], [3, 4]]


def test_a_step_that_one_process_objects_to_is_left_out_by_all(both):
    assert [one["one step"]["left out"] for one in both] == [[0, 1], [0, 1]]


def test_samples_are_shared_out_in_the_order_of_one_process(both):
    assert both[0]["whole"]["seen"] == list(range(0, 40, 2))
    assert both[1]["whole"]["seen"] == list(range(1, 40, 2))


def test_avatars_stay_equal_though_they_start_differently(both):
    assert both[0]["whole"]["state"] == both[1]["whole"]["state"]


def test_what_is_kept_is_renewed_by_all_after_as_many_steps_of_the_optimiser(both):
    # Every 4 steps, and after checkpoints: after 10, 20 and 30 samples.
    expected = [[0, True], [4, False], [5, True], [8, False], [10, True], [12, False], [15, True], [16, False]]
    assert [one["whole"]["renewals"] for one in both] == [expected] * 2


def test_the_loss_falls_and_is_the_mean_of_both(folder):
    lines = [json.loads(line) for line in (folder / "whole" / "scalars.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [6, 12, 18, 24, 30, 36], "a line every three steps of each"
    assert lines[-1]["fit"] < 0.5 * lines[0]["fit"]


def test_one_process_writes(folder, both):
    assert [path.name for path in list_checkpoints(folder / "whole/checkpoints")] == ["step_00000030", "step_00000040"]
    assert len(list((folder / "whole/previews").iterdir())) == 4
    assert [len(one["whole"]["previews"]) for one in both] == [4, 0]


def test_a_stop_asked_of_one_process_stops_both_and_they_continue_exactly(folder, both):
    # Only the second process computes step 17.
    assert [one["first part"]["finished"] for one in both] == [18, 18]
    assert "stopped on request after step 18" in (folder / "parts/log.txt").read_text()
    assert [one["second part"]["seen"][0] for one in both] == [18, 19]
    assert both[0]["second part"]["state"] == both[1]["second part"]["state"] == both[0]["whole"]["state"]


def test_one_process_continues_what_two_began(folder, tmp_path):
    shutil.copytree(folder / "whole", tmp_path / "run")
    done = run(tmp_path / "run", ALONE, 45)
    assert done["seen"] == [40, 41, 42, 43, 44]
    assert load_checkpoint(tmp_path / "run").step == 45


def test_a_loss_that_is_not_finite_in_one_process_stops_both(folder, both):
    assert both[0]["bad"].startswith("TrainingError: process 1 of 2: step 23: loss fit is not finite (frames 7;")
    assert both[1]["bad"] == "SystemExit: 1"
    assert load_checkpoint(folder / "bad").step == 20


def test_an_error_of_one_is_an_error_of_all(both):
    assert both[0]["refused"] == [
        "InputError: no such picture", "InputError: process 1 of 2: no such picture", "nothing"
    ]  # fmt: skip
    assert both[1]["refused"] == ["SystemExit: 1", "SystemExit: 1", "nothing"]


def test_different_avatars_are_refused(both):
    for one in both:
        assert one["different"].startswith("TrainingError: the 2 processes built different avatars: line.bias, line.")


def test_a_process_that_vanishes_is_an_error_of_the_others(both):
    assert both[0]["lost"].startswith("TrainingError: process 0 of 2 has lost the others; what one of them said tells")


def test_one_process_alone_sends_nothing():
    value = torch.ones(2)
    assert Processes.from_environment() == ALONE
    assert ALONE.leads
    assert ALONE.mean(value) is value
    assert ALONE.any(True)
    assert ALONE.gather(3) == [3]
    with pytest.raises(TrainingError, match="own"):
        ALONE.raise_any(TrainingError("own"))
    with pytest.raises(InputError, match="here"), ALONE.together():
        raise InputError("here")


@pytest.mark.parametrize(("rule", "factor", "power"), [("sqrt", 2, 4), ("linear", 4, 4), ("off", 1, 1)])
def test_rates_follow_the_number_of_processes(rule, factor, power):
    stage = LineStage()
    scale_rates(stage.optimizers.values(), 4, rule)
    adam, offsets = (stage.optimizers[name].param_groups[0] for name in ("adam", "offsets"))
    assert (adam["lr"], offsets["lr"]) == pytest.approx((0.05 * factor, 0.05))
    assert adam["betas"] == pytest.approx((0.9**power, 0.999**power))
    assert offsets["betas"] == (0.9, 0.999)
