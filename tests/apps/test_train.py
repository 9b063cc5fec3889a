from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from gha.apps import train as training
from gha.apps.command import run_command
from gha.apps.training_config import DataConfig, MeshRunConfig
from gha.apps.training_run import choose_device, choose_own_device
from gha.errors import InputError
from gha.training.processes import ALONE, Processes
from gha.training.stage import LoopConfig


def test_a_device_that_does_not_exist_is_named():
    with pytest.raises(InputError, match="device: found 'gpu', expected cpu, cuda"):
        choose_device("gpu")
    with pytest.raises(InputError, match="device: found 'mps', expected cpu, cuda"):
        choose_device("mps")
    assert choose_device("cpu").type == "cpu"


def test_every_process_has_a_gpu_of_its_own(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert choose_own_device("auto", Processes(rank=5, count=6, local_rank=1)) == torch.device("cuda", 1)
    assert chosen == [torch.device("cuda", 1)]
    assert choose_own_device("cpu", Processes(1, 2, 1)) == torch.device("cpu")
    assert choose_own_device("cuda:1", ALONE) == torch.device("cuda", 1)
    with pytest.raises(InputError, match="device=cuda:1: found one GPU for 2 processes, expected cuda or auto"):
        choose_own_device("cuda:1", Processes(1, 2, 1))
    with pytest.raises(InputError, match="found 2 CUDA devices for at least 3 processes on this machine"):
        choose_own_device("cuda", Processes(2, 4, 2))


@pytest.mark.parametrize("name", ["", ".", "../elsewhere", "/elsewhere"])
def test_a_name_stays_in_the_folder_of_runs(name, toy_capture_folder, tmp_path):
    config = MeshRunConfig(name, DataConfig(str(toy_capture_folder)), runs=str(tmp_path), device="cpu")
    with pytest.raises(InputError, match=f"name: found '{name}', expected the name of a folder"):
        training.train_mesh(config)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"views_per_frame": 9}, "found views_per_frame = 9, expected 1 to 2"),
        ({"cameras": ["left", "left"]}, "data.cameras: found .*, expected every camera once"),
        ({"cameras": ["top"]}, r"data\.cameras names \['top'\]"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_anything_is_made(data, message, toy_capture_folder, tmp_path):
    config = MeshRunConfig("a", DataConfig(str(toy_capture_folder), **data), runs=str(tmp_path), device="cpu")
    with pytest.raises(InputError, match=message):
        training.train_mesh(config)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("schema", "key"),
    [
        ("MeshRunConfig", "data.camera_color"),
        ("MeshRunConfig", "head.fields.blend_metric"),
        ("MeshRunConfig", "head.fields.color_activation"),
        ("MeshRunConfig", "head.pose_deform_input"),
        ("GaussianRunConfig", "head.decoder.normalization"),
        ("GaussianRunConfig", "training.background"),
    ],
)
def test_a_mistyped_choice_is_refused_with_the_choices(schema, key, capsys):
    assert run_command("Test.", f"gha.apps.training_config:{schema}", print, [f"{key}=of"]) == 1
    assert f"{key}: expected one of " in capsys.readouterr().err


@pytest.mark.parametrize("finished", [7, 10])
def test_a_stopped_stage_stops_what_builds_on_it(finished, monkeypatch):
    """The demo must not go on to stage 2 with half a stage 1."""
    monkeypatch.setattr(training, "restore", lambda *_: None)
    monkeypatch.setattr(training, "train", lambda *_: finished)
    config = MeshRunConfig("run", DataConfig("c"), loop=LoopConfig(steps=10))
    run = SimpleNamespace(
        config=config, device=torch.device("cpu"), folder=None, frames=lambda first_step: nullcontext(), processes=ALONE
    )
    expected = nullcontext() if finished == 10 else pytest.raises(KeyboardInterrupt)
    with expected:
        training._run(SimpleNamespace(finished_steps=0), run)
