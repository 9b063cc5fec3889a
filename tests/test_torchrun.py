"""Both stages trained by two processes on the CPU, as torchrun starts them on several GPUs."""

import json
from pathlib import Path

import pytest
import torch
from several_processes import torchrun
from small_heads import SMALL_GAUSSIANS, SMALL_HEAD

from gha.capture import SampleSchedule, open_capture
from gha.capture.synthetic import CaptureRecipe, make_capture
from gha.faces.registry import load_face_model
from gha.training.checkpoint import list_checkpoints, load_checkpoint

ROOT = Path(__file__).parents[1]
WORKER = Path(__file__).with_name("torchrun_worker.py")
STEPS = 12


def keys(folder, name, *more, device="cpu"):
    return [
        f"runs={folder / 'runs'}",
        f"data.capture={folder / 'capture'}",
        f"device={device}",
        f"name={name}",
        "data.resolution=64",
        *more,
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A capture, and a mesh head that two processes trained on it."""
    folder = tmp_path_factory.mktemp("torchrun")
    model = load_face_model("procedural", texture_size=256, hair_strands=300)
    make_capture(
        model, folder / "capture", CaptureRecipe(frames=6, cameras=4, resolution=64, held_out=0.34, held_out_cameras=1)
    )
    more = keys(folder, "mini", *SMALL_HEAD, "loop.steps=60", "loop.log_every=10", "loop.preview_every=40")
    torchrun(2, ROOT / "train_meshhead.py", "--config", ROOT / "config/train_meshhead_demo.yaml", *more)
    return folder


def train_gaussian(folder, name, stop_at=-1, device="cpu"):
    """Reports of both processes of a short run."""
    more = keys(folder, name, *SMALL_GAUSSIANS, f"mesh_run={folder}/runs/mini/mesh", device=device)
    more += [f"loop.steps={STEPS}", "loop.log_every=4"]
    more += ["training.pose_learning_rate=1e-3", "loop.preview_every=0"]
    # Runs that save at the same steps look again at what they keep at the same steps.
    more += ["data.views_per_frame=1", "loop.checkpoint_every=6"]
    torchrun(2, WORKER, folder, stop_at, ROOT / "config/train_gaussianhead_demo.yaml", *more)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.fixture(scope="module")
def whole(folder):
    return train_gaussian(folder, "whole")


def test_two_processes_train_the_mesh_head_and_one_writes(folder):
    run = folder / "runs/mini/mesh"
    lines = [json.loads(line) for line in (run / "scalars.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [20, 40, 60], "a line every ten steps of each process"
    assert lines[-1]["total"] < 0.8 * lines[0]["total"]
    assert [path.name for path in list_checkpoints(run / "checkpoints")] == ["step_00000060"]
    assert [path.name for path in (run / "previews").iterdir()] == ["step_00000040.png"]
    log = (run / "log.txt").read_text()
    assert log.count("2 processes take as many steps at once") == log.count("initial sphere") == 1


def test_both_end_with_the_same_avatar(whole):
    assert whole[0]["digest"] == whole[1]["digest"]
    assert [one["finished"] for one in whole] == [STEPS, STEPS]


@pytest.mark.cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU")
def test_two_gpus_end_with_the_same_avatar(folder):
    both = train_gaussian(folder, "cuda", device="cuda")
    assert both[0]["digest"] == both[1]["digest"]
    assert [one["finished"] for one in both] == [STEPS, STEPS]
    assert [one["moved"] for one in both] == [sorted({f for one in both for _, [f], _ in one["seen"]})] * 2


def test_their_samples_are_those_of_one_process(folder, whole):
    split = open_capture(folder / "capture").split
    schedule = SampleSchedule(0, split.train_frames, split.train_cameras)
    seen = sorted(whole[0]["seen"] + whole[1]["seen"])
    assert [step for step, _, _ in seen] == list(range(STEPS))
    drawn = [schedule.at(step)[0] for step in range(STEPS)]
    assert [(frame, tuple(cameras)) for _, [frame], [cameras] in seen] == drawn


def test_poses_move_of_frames_that_either_saw(whole):
    frames = sorted({frame for one in whole for _, [frame], _ in one["seen"]})
    assert [one["moved"] for one in whole] == [frames, frames]


def test_stopped_and_continued_they_end_where_uninterrupted_ones_do(folder, whole):
    stopped = train_gaussian(folder, "parts", stop_at=5)
    assert [one["finished"] for one in stopped] == [6, 6]
    assert load_checkpoint(folder / "runs/parts/gaussian").step == 6
    continued = train_gaussian(folder, "parts")
    assert [one["seen"][0][0] for one in continued] == [6, 7]
    assert {one["digest"] for one in continued} == {whole[0]["digest"]}


def test_what_none_can_use_is_said_once(folder):
    config = ROOT / "config/train_meshhead_demo.yaml"
    more = [*keys(folder, "typo"), f"data.capture={folder / 'elsewhere'}"]
    done = torchrun(2, ROOT / "train_meshhead.py", "--config", config, *more, check=False)
    assert done.returncode != 0
    assert done.stderr.count(f"{folder / 'elsewhere'}: no folder images/ found") == 1
    assert not (folder / "runs/typo").exists()
