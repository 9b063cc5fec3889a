"""Both sides of the comparison of quality against training time learn, and its figures are those of its curves."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_heads import SMALL_GAUSSIANS, SMALL_HEAD

from gha.apps.config import load_config
from gha.apps.train import train_mesh
from gha.apps.training_config import MeshRunConfig
from gha.avatars.transfer import gaussian_head_from_mesh, seed_gaussians
from gha.capture.synthetic import CaptureRecipe, make_capture
from gha.errors import InputError
from gha.faces.registry import load_face_model
from gha.training.avatar_io import load_avatar

PRESETS = Path(__file__).parents[1] / "config"
NO_BODY = ["head.fields.body=false", "head.fields.pose_deform_scale=0.3", "head.fields.color_activation=original"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A capture and two trained mesh heads, one of them as the original's."""
    folder = tmp_path_factory.mktemp("time_to_quality")
    recipe = CaptureRecipe(frames=6, cameras=4, resolution=64, held_out=0.34, held_out_cameras=1)
    make_capture(load_face_model("procedural", texture_size=256, hair_strands=300), folder / "capture", recipe)
    keys = [f"runs={folder}", f"data.capture={folder / 'capture'}", "device=cpu", "data.resolution=64", *SMALL_HEAD]
    for name, more in {"ours": [], "original": NO_BODY}.items():
        config = PRESETS / "train_meshhead_demo.yaml"
        train_mesh(load_config(MeshRunConfig, config, [*keys, f"name={name}", "loop.steps=80", *more]))
    return folder


@pytest.fixture
def curves(benchmark_module):
    """The module, and a maker of curves of one value."""
    module = benchmark_module("quality_curves")

    def curve(*points):
        return [module.Point(s, i, dict.fromkeys(module.FIGURES, v)) for i, (s, v) in enumerate(points)]

    return module, curve


def test_seconds_to_reach_are_those_of_lines_between_points(curves):
    module, curve = curves
    rising = curve((10, 20.0), (20, 24.0), (40, 25.0))
    assert module.seconds_to_reach(rising, "head_psnr", 21.0) == pytest.approx(12.5)
    assert module.seconds_to_reach(rising, "head_psnr", 24.0) == pytest.approx(20)
    assert module.seconds_to_reach(rising, "head_psnr", 24.25) == pytest.approx(25)
    assert module.seconds_to_reach(rising, "head_psnr", 25.0) == pytest.approx(40)
    assert module.seconds_to_reach(rising, "head_psnr", 25.01) is None
    assert module.seconds_to_reach(rising, "head_psnr", 19.0) == 10, "an upper bound"
    falling_back = curve((0, 20.0), (10, 22.0), (20, 21.0), (30, 23.0))
    assert module.seconds_to_reach(falling_back, "head_psnr", 21.5) == pytest.approx(7.5), "the first time"
    assert module.seconds_to_reach(falling_back, "head_psnr", 22.5) == pytest.approx(27.5)


def test_values_between_points_are_those_of_lines(curves):
    module, curve = curves
    rising = curve((10, 20.0), (20, 24.0), (40, 25.0))
    values = [module.value_at(rising, "head_ssim", seconds) for seconds in (0, 10, 15, 30, 40, 99)]
    assert values == pytest.approx([20, 20, 22, 24.5, 25, 25])


def test_the_table_compares_with_the_baselines_end(curves):
    module, curve = curves
    baseline, library = curve((100, 20.0), (400, 26.0)), curve((10, 18.0), (50, 26.0), (300, 30.0))
    row = module.compare_curves(library, baseline)["head_psnr"]
    assert row == {
        "baseline_final": 26.0,
        "baseline_seconds": 400,
        "library_seconds": 50,
        "times_faster": 8,
        "library_then": 30.0,
        "library_final": 30.0,
    }
    table = module.comparison_table(library, baseline).splitlines()
    assert table[2] == "| head PSNR, dB | 26.00 | 400.0 | 50.0 | 8.0 | 30.00 | 30.00 |"
    never = module.comparison_table(curve((10, 18.0), (50, 20.0)), baseline).splitlines()
    assert never[2] == "| head PSNR, dB | 26.00 | 400.0 | never | - | 20.00 | 20.00 |"
    at_once = module.comparison_table(curve((10, 26.5), (50, 27.0)), baseline).splitlines()
    assert at_once[2] == "| head PSNR, dB | 26.00 | 400.0 | <= 10.0 | >= 40.0 | 27.00 | 27.00 |"


def test_sides_of_several_commands_come_together_and_other_comparisons_do_not(curves, tmp_path):
    module, curve = curves
    path, common = tmp_path / "report.json", {"capture": "a", "size": (64, 64)}
    module.Report(path, common).write("baseline", {"commit": "1"}, curve((1, 20.0), (9, 24.0)))
    assert "reached" not in json.loads(path.read_text())
    module.Report(path, common).write("library", {"commit": "2"}, curve((1, 21.0), (3, 25.0)))
    content = json.loads(path.read_text())
    assert [content["sides"][side]["commit"] for side in ("baseline", "library")] == ["1", "2"]
    assert content["reached"]["head_psnr"]["library_seconds"] == pytest.approx(2.5)
    assert module.Report(path, common).curves()["baseline"] == curve((1, 20.0), (9, 24.0))
    with pytest.raises(InputError, match=r"another comparison \(capture: found 'a', expected 'b'\)"):
        module.Report(path, {**common, "capture": "b"})
    path.write_text("[]")
    with pytest.raises(InputError, match="expected a file that this command wrote"):
        module.Report(path, common)


def test_sides_may_be_measured_at_a_time(curves, tmp_path):
    module, curve = curves
    path = tmp_path / "report.json"
    one, other = module.Report(path, {}), module.Report(path, {})
    one.write("baseline", {}, curve((1, 20.0)))
    other.write("library", {}, curve((1, 21.0)))
    one.write("baseline", {}, curve((1, 20.0), (9, 24.0)))
    assert {side: len(points) for side, points in module.Report(path, {}).curves().items()} == {
        "baseline": 2,
        "library": 1,
    }


def test_an_interrupted_comparison_says_where_its_points_are(benchmark_module, monkeypatch, capsys, tmp_path):
    module = benchmark_module("time_to_quality")

    def interrupt(choices):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "prepare", interrupt)
    options = ["--capture", "a", "--mesh-run", "b", "--config", "c", "--output", str(tmp_path)]
    assert module.main(options) == 130
    assert f"points so far are in {tmp_path}/time_to_quality.json" in capsys.readouterr().err


def test_a_side_that_was_cut_short_is_not_shown_as_if_it_had_ended(curves, benchmark_module, tmp_path, capsys):
    module, curve = curves
    report = module.Report(tmp_path / "report.json", {})
    report.write("library", {"complete": True}, curve((1, 20.0), (9, 24.0)))
    report.write("baseline", {"complete": False}, curve((1, 20.0), (5, 21.0)))
    benchmark_module("time_to_quality").show(report, tmp_path)
    assert "baseline: training was cut short at 5.0 s" in capsys.readouterr().out
    report.write("baseline", {"complete": True}, curve((1, 20.0), (9, 23.0)))
    benchmark_module("time_to_quality").show(report, tmp_path)
    assert "cut short" not in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--steps", "--views"])
def test_a_count_below_nothing_is_refused(option, benchmark_module, capsys):
    """With so many steps a training would never end."""
    with pytest.raises(SystemExit):
        benchmark_module("time_to_quality").main(["--capture", "x", "--mesh-run", "x", "--config", "x", option, "-5"])
    assert f"{option}: expected 0 or more, found -5" in capsys.readouterr().err


def test_the_chart_has_every_curve(curves, benchmark_module):
    _, curve = curves
    chart = benchmark_module("quality_chart")
    rising = curve((1, 20.0), (9, 24.0))
    drawn = [np.asarray(chart.draw_curves(x)) for x in ({"library": rising}, {"library": rising, "baseline": rising})]
    blue, orange = (
        [int((picture == np.array(colour)).all(-1).sum()) for picture in drawn]
        for colour in ((0x21, 0x66, 0xAC), (0xE0, 0x82, 0x14))
    )
    assert blue[0] > 100
    assert orange[0] == 0 < orange[1]


def test_the_clock_stands_still_while_it_is_stopped(benchmark_module, monkeypatch):
    module = benchmark_module("held_out_quality")
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    clock = module.TrainingClock(torch.device("cpu"))
    now[0] += 5
    with clock.stopped() as seconds:
        now[0] += 60
    now[0] += 2
    assert seconds == 5
    assert clock.seconds == 7


def test_points_come_at_once_at_intervals_and_at_the_end(benchmark_module, monkeypatch):
    module = benchmark_module("held_out_quality")
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    figures = dict.fromkeys(benchmark_module("quality_curves").FIGURES, 1.0)
    kept = []

    def measure(candidate):
        now[0] += 1000
        return figures

    recorder = module.CurveRecorder(
        module.TrainingClock(torch.device("cpu")), 10, measure, lambda curve, last: kept.append((len(curve), last))
    )
    for step in range(1, 9):
        now[0] += 4
        recorder(step, lambda: None, last=step == 8)
    assert [(point.seconds, point.step) for point in recorder.curve] == [(4, 1), (12, 3), (20, 5), (32, 8)]
    assert kept == [(1, False), (2, False), (3, False), (4, True)]
    figures["head_ssim"] = float("nan")
    with pytest.raises(InputError, match="no number for head_ssim"):
        recorder(9, lambda: None, last=True)


def test_the_baseline_starts_where_the_library_starts(folder, benchmark_module):
    """With nothing but what both do alike, seeds and networks of a mesh head give the same Gaussians."""
    config = load_config(
        benchmark_module("quality_sides").GaussianRunConfig,
        PRESETS / "train_gaussianhead_demo.yaml",
        ["data.capture=x", *SMALL_GAUSSIANS],
    ).head
    mesh_head, info = load_avatar(folder / "original" / "mesh")
    lips = list(range(48, 66))
    baseline = benchmark_module("baseline_training").baseline_from_mesh(
        mesh_head, seed_gaussians(mesh_head, lips, config), config
    )
    head = gaussian_head_from_mesh(mesh_head, lips, config, info.subject.expression_size)
    with torch.no_grad():
        head.latents.zero_()
        for network in (head.expression_attributes, head.pose_attributes):
            network.last_layer.weight.zero_()
            network.last_layer.bias.zero_()
        for name in ("exp_attributes", "pose_attributes"):
            baseline.generator.mlps[name].layers[-1].weight.zero_()
            baseline.generator.mlps[name].layers[-1].bias.zero_()
        code = info.subject.code(0.5 * torch.randn(info.subject.expression_size))
        batched = type(code)(code.expression[None], code.pose[None], code.scale[None])
        ours, theirs = head.eval()(batched).gaussians, baseline(batched).gaussians
    for name in ("means", "scales", "opacities", "features"):
        torch.testing.assert_close(getattr(theirs, name), getattr(ours, name), atol=2e-5, rtol=1e-4)


def test_published_rates_are_constant_and_those_of_a_preset_fall(folder, benchmark_module):
    training = benchmark_module("baseline_training")
    config = load_config(
        benchmark_module("quality_sides").GaussianRunConfig, PRESETS / "train_gaussianhead_best2048.yaml"
    )
    preset = training.Settings.of_preset(config.training, config.loop.final_learning_rate_factor)
    assert (preset.means, preset.opacities) == (
        config.training.means_learning_rate,
        config.training.opacities_learning_rate,
    )
    assert preset.zoom == (1.0, 1.0)
    mesh_head, _ = load_avatar(folder / "ours" / "mesh")
    config.head.transfer_edge_mm = 30
    head = training.baseline_from_mesh(mesh_head, seed_gaussians(mesh_head, [], config.head), config.head)
    for settings, left in ((preset, 0.03), (training.PUBLISHED, 1.0)):
        trainer = training.CaptureTrainer(head, ["0"], settings, None)
        rates = []
        for share in (0.0, 0.5, 1.0):
            trainer.set_rates(share)
            rates.append([group["lr"] for group in trainer.optimizer.param_groups])
        assert rates[0] == [
            *(settings.networks, settings.decoder, settings.means, settings.features),
            *(settings.quats, settings.scales, settings.opacities, settings.poses),
        ]
        assert rates[1] == pytest.approx([rate * (1 + left) / 2 for rate in rates[0]])
        assert rates[2] == pytest.approx([rate * left for rate in rates[0]])


def test_the_baseline_trains_for_its_seconds_or_its_steps(benchmark_module, monkeypatch):
    training, quality = benchmark_module("baseline_training"), benchmark_module("held_out_quality")
    now = [0.0]
    monkeypatch.setattr(quality.time, "perf_counter", lambda: now[0])

    class Trainer:
        def __init__(self):
            self.shares = []

        def step(self, frame, share):
            self.shares.append(share)
            now[0] += 3

    def frames():
        while True:
            now[0] += 1
            yield None

    def trained(length):
        trainer, seen = Trainer(), []
        clock = quality.TrainingClock(torch.device("cpu"))
        training.train_baseline(trainer, frames(), length, clock, lambda *watched: seen.append(watched))
        return trainer.shares, seen

    shares, seen = trained(training.Length(seconds=10))
    assert shares == pytest.approx([0, 0.4, 0.8])
    assert seen == [(1, 1, False), (2, 2, False), (3, 3, True)]
    shares, seen = trained(training.Length(seconds=10, steps=4))
    assert shares == pytest.approx([0, 0.25, 0.5, 0.75])
    assert [last for *_, last in seen] == [False, False, False, True]


def test_both_sides_improve_and_their_report_is_one(folder, benchmark_module, capsys):
    main, output = benchmark_module("time_to_quality").main, folder / "compared"
    common = ["--capture", str(folder / "capture"), "--mesh-run", str(folder / "ours" / "mesh"), "--views", "4"]
    common += ["--config", str(PRESETS / "train_gaussianhead_demo.yaml"), "--every", "4", "--output", str(output)]
    keys = [
        *SMALL_GAUSSIANS,
        "device=cpu",
        "data.resolution=64",
        "data.views_per_frame=1",
        "loop.steps=120",
        "head.face_edge_mm=0",
    ]
    keys += ["training.window=0", "training.decoder_learning_rate=3e-3", "loop.preview_every=0"]
    assert main([*common, "--sides", "baseline", "--steps", "60", *keys]) == 0
    assert main([*common, *keys, "--sides", "library"]) == 0
    report = json.loads((output / "time_to_quality.json").read_text())
    for side, steps in (("baseline", 60), ("library", 120)):
        record = report["sides"][side]
        first, last = record["curve"][0], record["curve"][-1]
        assert record["complete"]
        assert (first["step"], last["step"]) == (1, steps)
        assert last["seconds"] > first["seconds"] > 0
        assert last["figures"]["head_psnr"] > first["figures"]["head_psnr"] + 1.5, side
        assert record["commit"]
    gaussians = [report["sides"][side]["gaussians"] for side in ("baseline", "library")]
    assert gaussians[0] == gaussians[1]
    assert (
        report["reached"]["head_psnr"]["baseline_final"]
        == report["sides"]["baseline"]["curve"][-1]["figures"]["head_psnr"]
    )
    printed = capsys.readouterr().out
    assert "| times faster |" in printed
    assert Image.open(output / "time_to_quality.png").size[1] == 320
    assert main([*common, *keys, "--sides", "library"]) == 1, "a run that has begun is not measured"
    assert "found a run, expected none" in capsys.readouterr().err
    before = (output / "time_to_quality.json").read_text()
    assert main([*common, "--steps", "1", *keys, "--sides", "baseline"]) == 1, "nor is a whole curve replaced"
    assert "found the whole curve of the baseline, expected none" in capsys.readouterr().err
    assert main([*common, "--steps", "1", *keys, "--sides", "baseline", "library"]) == 1
    assert (output / "time_to_quality.json").read_text() == before, "nor is the other side trained in vain"
    assert main([*common, *keys, "--sides"]) == 0, "shows what there is"
    assert "| times faster |" in capsys.readouterr().out
