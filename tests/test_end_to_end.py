"""Both stages, evaluation and reenactment on a miniature capture: everything a user runs, in a minute."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_heads import SMALL_GAUSSIANS, SMALL_HEAD

from gha.apps.config import load_config
from gha.apps.evaluate import EvaluationConfig, evaluate
from gha.apps.reenact import ReenactmentConfig, reenact
from gha.apps.train import train_gaussian, train_mesh
from gha.apps.training_config import GaussianRunConfig, MeshRunConfig
from gha.capture import open_capture
from gha.capture.synthetic import CaptureRecipe, make_capture
from gha.errors import GhaError, InputError
from gha.faces.registry import load_face_model
from gha.training.checkpoint import load_checkpoint

PRESETS = Path(__file__).parents[1] / "config"
PREVIEWS = "loop.preview_every=40"


def shared_keys(folder):
    return [f"runs={folder / 'runs'}", f"data.capture={folder / 'capture'}", "device=cpu"]


def mesh_config(folder, name, *changes):
    keys = [*shared_keys(folder), f"name={name}", "data.resolution=64", *SMALL_HEAD, PREVIEWS, *changes]
    return load_config(MeshRunConfig, PRESETS / "train_meshhead_demo.yaml", keys)


def gaussian_config(folder, name, *changes):
    keys = [*shared_keys(folder), f"name={name}", "data.resolution=64", f"mesh_run={folder}/runs/mini/mesh"]
    return load_config(
        GaussianRunConfig,
        PRESETS / "train_gaussianhead_demo.yaml",
        [*keys, *SMALL_GAUSSIANS, PREVIEWS, "training.pose_learning_rate=1e-3", *changes],
    )


def head_psnr(run, split="held_out_frames"):
    config = EvaluationConfig(run=str(run), device="cpu", perceptual="none", max_images=6, contact_images=2)
    report = json.loads((evaluate(config) / "evaluation.json").read_text())
    return report["splits"][split]["figures"]["head_psnr"]["mean"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A capture and a trained mesh head."""
    folder = tmp_path_factory.mktemp("end_to_end")
    model = load_face_model("procedural", texture_size=256, hair_strands=300)
    make_capture(
        model, folder / "capture", CaptureRecipe(frames=6, cameras=4, resolution=64, held_out=0.34, held_out_cameras=1)
    )
    torch.set_num_threads(2)
    train_mesh(mesh_config(folder, "mini", "loop.steps=120"))
    return folder


@pytest.fixture(scope="module")
def gaussian_run(folder):
    return train_gaussian(gaussian_config(folder, "mini", "loop.steps=150"))


def test_the_mesh_head_learns(folder):
    untrained = train_mesh(mesh_config(folder, "untrained", "loop.steps=1"))
    assert head_psnr(folder / "runs/mini/mesh") > head_psnr(untrained) + 3


def test_the_gaussian_head_improves_on_its_start(folder, gaussian_run):
    start = train_gaussian(gaussian_config(folder, "start", "loop.steps=1"))
    assert head_psnr(gaussian_run, "held_out_cameras") > head_psnr(start, "held_out_cameras") + 1.5


def test_a_run_leaves_what_a_user_looks_for(gaussian_run):
    assert load_config(GaussianRunConfig, gaussian_run / "config.yaml").loop.steps == 150
    assert (gaussian_run / "previews" / "step_00000120.png").is_file()
    assert "Gaussians" in (gaussian_run / "log.txt").read_text()
    assert load_checkpoint(gaussian_run).step == 150


def test_stopping_and_continuing_gives_the_same_weights(folder):
    """Exactly, on the CPU: weights, moments, windows, backgrounds and data order continue where they stopped."""
    whole = train_gaussian(gaussian_config(folder, "whole", "loop.steps=12", "loop.checkpoint_every=6"))
    parts = gaussian_config(folder, "parts", "loop.steps=12", "loop.checkpoint_every=6")
    train_gaussian(parts)
    newest = load_checkpoint(folder / "runs/parts/gaussian").path
    for file in newest.iterdir():
        file.unlink()
    newest.rmdir()
    train_gaussian(parts)
    expected, found = load_checkpoint(whole), load_checkpoint(folder / "runs/parts/gaussian")
    assert found.step == 12
    for group, tensors in expected.tensors.items():
        for name, value in tensors.items():
            assert torch.equal(value, found.tensors[group][name]), f"{group}.{name}"


def test_a_continued_run_keeps_its_head_and_its_configuration(folder):
    config_file = folder / "runs/mini/mesh/config.yaml"
    before = config_file.read_bytes()
    with pytest.raises(InputError, match=r"head\.edge_mm: found 25\.0, expected 30\.0"):
        train_mesh(mesh_config(folder, "mini", "loop.steps=120", "head.edge_mm=25"))
    assert config_file.read_bytes() == before
    train_mesh(mesh_config(folder, "mini", "loop.steps=120", "data.workers=1", "training.loss.rgb=0.9"))
    assert "training.loss.rgb 1.0 -> 0.9" in (config_file.parent / "log.txt").read_text()
    assert load_config(MeshRunConfig, config_file).training.loss.rgb == 0.9


def test_a_continued_gaussian_run_keeps_its_head(folder, gaussian_run):
    with pytest.raises(InputError, match=r"head\.mouth_points: found 60, expected 50"):
        train_gaussian(gaussian_config(folder, "mini", "loop.steps=150", "head.mouth_points=60"))


def test_reenactment_writes_video_and_frames(folder, gaussian_run):
    camera = open_capture(folder / "capture").split.train_cameras[0]
    out = reenact(ReenactmentConfig(run=str(gaussian_run), camera=camera, output=str(folder / "video"), device="cpu"))
    frames = sorted((out / "frames").iterdir())
    assert len(frames) == len(open_capture(folder / "capture").split.test_frames)
    assert (out / "video.mp4").stat().st_size > 500


def test_playback_shows_and_measures_what_was_trained(folder, gaussian_run):
    videos = [
        reenact(ReenactmentConfig(run=str(gaussian_run), exact=exact, output=str(folder / str(exact)), device="cpu"))
        for exact in (True, False)
    ]
    frames = [sorted((video / "frames").iterdir()) for video in videos]
    assert len(frames[0]) == len(frames[1]) > 0
    for one, other in zip(*frames, strict=True):
        pictures = [np.asarray(Image.open(path)).astype(int) for path in (one, other)]
        assert np.abs(pictures[0] - pictures[1]).max() <= 1
    report = folder / "fidelity.json"
    command = [sys.executable, str(PRESETS.parent / "benchmarks" / "playback_fidelity.py"), "--run", str(gaussian_run)]
    done = subprocess.run([*command, "--views", "2", "--device", "cpu", "--json", str(report)], check=False)
    assert done.returncode == 0
    rows = json.loads(report.read_text())["rows"]
    assert rows[0]["networks"] == rows[0]["decoder"] == "float32"
    assert rows[0]["largest_error"] < 1e-4 < rows[-1]["largest_error"]
    assert all(abs(row["lost_db"]) < 0.1 for row in rows)


def test_a_mistyped_mesh_run_does_not_start_from_scratch(folder):
    with pytest.raises(GhaError, match="no checkpoint at"):
        train_gaussian(gaussian_config(folder, "typo", f"mesh_run={folder}/runs/mimi/mesh"))


def test_unknown_camera_is_named(folder):
    with pytest.raises(InputError, match=r"data\.cameras names \['999'\]"):
        train_mesh(mesh_config(folder, "typo", 'data.cameras=["999"]'))


def test_missing_cuda_is_said(folder):
    if torch.cuda.is_available():
        pytest.skip("needs a machine without CUDA")
    with pytest.raises(InputError, match="sees no CUDA device"):
        train_mesh(mesh_config(folder, "cuda", "device=cuda"))
