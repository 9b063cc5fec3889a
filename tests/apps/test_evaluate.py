"""Evaluation on a capture filmed of the very avatar it measures: all answers are known."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gha.apps import evaluate as app
from gha.apps.config import load_config
from gha.avatars import GaussianHead, GaussianHeadConfig
from gha.avatars.fields import FieldsConfig
from gha.avatars.gaussian_head import GaussianSeeds
from gha.capture import Capture
from gha.errors import InputError
from gha.training.avatar_io import RunInfo, describe_subject
from gha.training.evaluation import (
    Candidate,
    Measurement,
    View,
    average,
    evaluate_views,
    held_out_splits,
    spread_views,
)
from gha.training.evaluation_protocol import MEASURES, describe_regions
from gha.training.refinement import PoseRefinement
from gha.training.surface_evaluation import surface_distances

MEAN = torch.tensor([0.5, 0.5])
WHITE = torch.ones(3)


def evaluate_view(candidate, capture, view, settings):
    return next(evaluate_views(candidate, capture, [view], settings))


def measurement(**changes) -> Measurement:
    return replace(Measurement(size=64, background=WHITE, facial_landmarks=66), **changes)


def test_spread_views_takes_all_or_evenly_many_different_ones():
    frames, cameras = [f"f{i}" for i in range(7)], [f"c{i}" for i in range(4)]
    everything = spread_views(frames, cameras)
    assert everything == [View(f, c) for f in frames for c in cameras]
    assert spread_views(frames, cameras, 100) == everything
    for limit in range(1, 28):
        views = spread_views(frames, cameras, limit)
        assert len(set(views)) == limit
        for ids, count in ((frames, 7), (cameras, 4)):
            uses = [sum(name in (v.frame_id, v.camera_id) for v in views) for name in ids]
            assert max(uses) - min(uses) <= 1 or limit < count


def test_held_out_splits(toy_capture):
    splits = held_out_splits(toy_capture.split)
    assert list(splits) == ["held_out_frames", "held_out_cameras", "held_out_both"]
    assert splits["held_out_frames"] == (("0004", "0005"), ("left", "right"))
    assert splits["held_out_cameras"][1] == ("front",)
    without_frames = replace(toy_capture.split, test_frames=())
    assert list(held_out_splits(without_frames)) == ["held_out_cameras"]


def test_the_true_avatar_is_nearly_perfect_and_beats_its_statue(toys, toy_capture):
    result = evaluate_view(Candidate(toys.Avatar(), MEAN), toy_capture, View("0005", "front"), measurement())
    measures = result.measures
    assert measures["head_psnr"] > 30  # what JPEG leaves
    assert measures["head_ssim"] > 0.9
    assert measures["alpha_iou"] == 1.0
    assert measures["mouth_driven_over_frozen"] > 3
    assert measures["eyes_driven_over_frozen"] > 3
    assert measures["decoded_over_bicubic"] > 3
    for box in ("mouth", "eyes"):
        gain = measures[f"{box}_driven_psnr"] - measures[f"{box}_frozen_psnr"]
        assert measures[f"{box}_driven_over_frozen"] == pytest.approx(gain)


def test_a_statue_gains_nothing(toys, toy_capture):
    class Statue(toys.Avatar):
        def __call__(self, code, camera=None):
            return super().__call__(replace(code, expression=MEAN.expand_as(code.expression)), camera)

    measures = evaluate_view(Candidate(Statue(), MEAN), toy_capture, View("0005", "front"), measurement()).measures
    assert measures["mouth_driven_over_frozen"] == 0
    assert measures["eyes_driven_over_frozen"] == 0


def test_the_recorded_background_does_not_count(toys, toy_capture):
    """The picture was filmed before green, which no background of the comparison shows."""
    candidate = Candidate(toys.Avatar(), MEAN)
    for background in (WHITE, torch.zeros(3)):
        result = evaluate_view(candidate, toy_capture, View("0004", "left"), measurement(background=background))
        corner = result.truth[:, 0, 0]
        assert torch.allclose(corner, background, atol=0.02)
        assert result.measures["whole_psnr"] > 28


def test_without_a_face_only_whole_and_foreground_are_measured(toys, toy_capture):
    candidate = Candidate(toys.Avatar(), MEAN)
    result = evaluate_view(candidate, toy_capture, View("0004", "left"), measurement(facial_landmarks=0))
    regions = {name.split("_")[0] for name in result.measures}
    assert regions == {"whole", "foreground", "alpha", "decoded"}
    assert result.frozen is None


def test_head_leaves_the_neck_out(toys, toy_capture):
    class NeckLess(toys.Avatar):
        def __call__(self, code, camera=None):
            posed = super().__call__(code, camera)
            opacities = posed.gaussians.opacities.clone()
            opacities[..., 1] = 0
            return replace(posed, gaussians=replace(posed.gaussians, opacities=opacities))

    full, cut = (
        evaluate_view(Candidate(avatar, MEAN), toy_capture, View("0004", "left"), measurement()).measures
        for avatar in (toys.Avatar(), NeckLess())
    )
    assert full["foreground_psnr"] > 35
    assert cut["foreground_psnr"] < 20
    assert cut["head_psnr"] > cut["foreground_psnr"] + 6


def test_learned_pose_corrections_apply_to_training_frames_only(toys, toy_capture):
    poses = PoseRefinement(toy_capture.split.train_frames)
    with torch.no_grad():
        poses.delta.weight[:, 3] = 0.02  # shifts training frames by 2 cm
    tracked, corrected = Candidate(toys.Avatar(), MEAN), Candidate(toys.Avatar(), MEAN, poses)

    def whole_psnr(candidate, frame_id):
        return evaluate_view(candidate, toy_capture, View(frame_id, "front"), measurement()).measures["whole_psnr"]

    assert whole_psnr(corrected, "0000") < whole_psnr(tracked, "0000") - 3
    assert whole_psnr(corrected, "0005") == whole_psnr(tracked, "0005")


def test_perceptual_distance_sees_the_region_only(toys, toy_capture):
    class Counter:
        name = "lpips_test"

        def __call__(self, prediction, truth):
            return ((prediction - truth).abs() > 0).float().mean((1, 2, 3))

    result = evaluate_view(
        Candidate(toys.Avatar(), MEAN), toy_capture, View("0004", "left"), measurement(perceptual=Counter())
    )
    measures = result.measures
    assert 0 < measures["head_lpips_test"] < measures["foreground_lpips_test"] < measures["whole_lpips_test"]


@pytest.mark.cuda
def test_a_gpu_measures_the_same(toys, toy_capture):
    view, poses = View("0000", "left"), PoseRefinement(toy_capture.split.train_frames)
    on_cpu = evaluate_view(Candidate(toys.Avatar(), MEAN, poses), toy_capture, view, measurement())
    on_gpu = evaluate_view(
        Candidate(toys.Avatar(), MEAN.cuda(), poses.cuda()), toy_capture, view, measurement(background=WHITE.cuda())
    )
    assert on_gpu.measures == pytest.approx(on_cpu.measures, abs=0.05)


def test_views_come_back_in_order(toys, toy_capture):
    views = spread_views(toy_capture.frame_ids, toy_capture.camera_ids)
    results = evaluate_views(Candidate(toys.Avatar(), MEAN), toy_capture, views, measurement(facial_landmarks=0))
    assert [result.view for result in results] == views


def test_average_counts_only_images_that_have_a_figure():
    assert average([{"a": 1.0, "b": 5.0}, {"a": 3.0}]) == {
        "a": {"mean": 2.0, "images": 2},
        "b": {"mean": 5.0, "images": 1},
    }


def test_surface_distance_in_millimetres(toys, toy_capture):
    candidate = Candidate(toys.MeshAvatar(0.52), MEAN)
    for frame in surface_distances(candidate, toy_capture, ["0004", "0005"]):
        assert frame["surface_median_mm"] == pytest.approx(2.0, abs=0.02)
        assert frame["surface_90_percent_mm"] == pytest.approx(2.0, abs=0.02)


@pytest.fixture
def trained(monkeypatch, toys, toy_capture, tmp_path):
    """Makes the app find a toy where it loads a run; returns the run's folder."""
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)

    def use(avatar, method="gaussian_head"):
        info = RunInfo(method, 7, tmp_path / "run", describe_subject(toy_capture, (64, 64)))
        monkeypatch.setattr(app, "load_avatar", lambda run, device: (avatar, info))
        return tmp_path / "run"

    return use


def test_report_spells_out_its_protocol(trained, toys):
    run = trained(toys.Avatar())
    config = load_config(
        app.EvaluationConfig, None, [f"run={run}", "perceptual=none", "max_images=2", "contact_images=3", "device=cpu"]
    )
    output = app.evaluate(config)
    assert output == run / "evaluation"
    report = json.loads((output / "evaluation.json").read_text())
    assert report["protocol"]["resolution"] == [64, 64]
    assert report["protocol"]["perceptual"].startswith("off")
    assert set(report["protocol"]["regions"]) == {"whole", "foreground", "head", "mouth", "eyes"}
    frames = report["splits"]["held_out_frames"]
    assert (frames["measured"], frames["available"], frames["frames"], frames["cameras"]) == (2, 4, 2, 2)
    assert len(frames["images"]) == 2
    expected = np.mean([entry["head_psnr"] for entry in frames["images"]])
    assert frames["figures"]["head_psnr"]["mean"] == pytest.approx(expected)
    sheet = np.asarray(Image.open(output / "contact_sheet.png"))
    assert sheet.shape == (3 * 320, 4 * 320, 3)


def test_mesh_runs_also_report_surface_distances(trained, toys):
    run = trained(toys.MeshAvatar(0.5), "mesh_head")
    config = app.EvaluationConfig(str(run), perceptual="none", device="cpu", contact_images=0, max_images=1)
    report = json.loads((app.evaluate(config) / "evaluation.json").read_text())
    surface = report["splits"]["surface"]
    assert surface["held_out"] is True
    assert surface["figures"]["surface_median_mm"]["mean"] == pytest.approx(0.0, abs=0.01)
    assert "decoded_over_bicubic" not in report["splits"]["held_out_frames"]["figures"]
    assert any("surface_median_mm" in line for line in app.summary_lines(report))


def test_the_report_says_in_which_form_the_avatar_was_measured(trained, toys):
    torch.manual_seed(0)
    means = 0.3 * torch.randn(50, 3)
    seeds = GaussianSeeds(means, torch.randn(50, 128), torch.full((50,), 0.2), means[:9])
    head = GaussianHead(GaussianHeadConfig(), FieldsConfig(), len(toys.names), seeds).eval()
    run, reports = trained(head), []
    for playback in (False, True):
        settings = app.EvaluationConfig(
            str(run), playback=playback, splits=["held_out_both"], perceptual="none", contact_images=0, device="cpu"
        )
        reports.append(json.loads((app.evaluate(settings) / "evaluation.json").read_text()))
    assert [report["playback"] for report in reports] == [False, True]
    figures = [report["splits"]["held_out_both"]["figures"]["whole_psnr"]["mean"] for report in reports]
    assert figures[0] == pytest.approx(figures[1], abs=1e-3)


def test_every_figure_has_a_definition(trained, toys):
    run = trained(toys.Avatar())
    config = app.EvaluationConfig(str(run), perceptual="none", device="cpu", contact_images=0, max_images=1)
    report = json.loads((app.evaluate(config) / "evaluation.json").read_text())
    endings = [name.rsplit("}", 1)[-1].lstrip("*") for name in MEASURES]
    for figure in report["splits"]["held_out_both"]["figures"]:
        assert any(figure.endswith(ending) for ending in endings), figure


def test_regions_are_described_with_their_landmarks():
    assert "48..65" in describe_regions(66)["mouth"]
    assert "48..67" in describe_regions(68)["mouth"]
    assert set(describe_regions(0)) == {"whole", "foreground"}


def test_mistakes_are_named(trained, toys, toy_capture_folder, toy_capture):
    run = trained(toys.Avatar())
    with pytest.raises(InputError, match=r"splits: found \['test'\], expected names among"):
        app.evaluate(app.EvaluationConfig(str(run), splits=["test"], device="cpu"))
    with pytest.raises(InputError, match="expected three numbers"):
        app.evaluate(app.EvaluationConfig(str(run), background=[1.0], device="cpu"))
    capture = replace_split(toy_capture, replace(toy_capture.split, test_frames=(), test_cameras=()))
    with pytest.raises(InputError, match="nothing held out for"):
        app.choose_views(capture, ["held_out_frames"], 0)


def replace_split(capture, split):
    return Capture(capture.root, replace(capture.info, split=split), capture.frame_ids, capture.camera_ids)


def test_a_capture_with_other_expressions_is_refused(trained, toys, toy_capture, monkeypatch):
    run = trained(toys.Avatar())
    other = replace(describe_subject(toy_capture, (64, 64)), expression_names=["smile", "frown"])
    info = RunInfo("gaussian_head", 7, run, other)
    monkeypatch.setattr(app, "load_avatar", lambda path, device: (toys.Avatar(), info))
    with pytest.raises(InputError, match=r"found 2 expressions \(jawOpen, eyeBlink .*expected the 2 \(smile, frown"):
        app.evaluate(app.EvaluationConfig(str(run), device="cpu"))


def test_preset_loads():
    path = Path(__file__).resolve().parents[2] / "config" / "evaluate_demo.yaml"
    assert load_config(app.EvaluationConfig, path).perceptual == "none"
