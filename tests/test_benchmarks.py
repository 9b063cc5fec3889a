"""The benchmark command measures every part, and its baseline has the original's sizes."""

import json
import os
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
import torch

from gha.avatars import render_avatar

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = ROOT / "benchmarks"
PHASES = ("data", "generate", "splat", "decode", "losses", "optimiser")
PARAMETERS = {
    "exp_color": 129_568,
    "pose_color": 33_376,
    "exp_deform": 310_787,
    "pose_deform": 87_798,
    "exp_attributes": 232_200,
    "pose_attributes": 42_424,
}


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def measured(tmp_path, *options):
    """Rows and printed table of a tiny run of the command."""
    report = tmp_path / "report.json"
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--device", "cpu", "--resolution", "64"]
    command += ["--gaussians", "300", "--repeats", "1", "--warmup", "1", "--workers", "1", "--threads", "1"]
    command += ["--json", str(report), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    return json.loads(report.read_text()), done.stdout


def test_every_part_takes_time(tmp_path):
    report, printed = measured(tmp_path, "--precision", "fp32", "bf16")
    rows = report["rows"]
    assert all(row["median_ms"] > 0 for row in rows), rows
    measured_parts = {row["part"] for row in rows}
    assert measured_parts == {
        *("generate", "splat forward", "splat forward + backward", "decode", "frame", "loader"),
        *("training iteration", "training without data"),
        *(f"training: {phase}" for phase in PHASES),
    }
    compared = {row["part"] for row in rows if row["what"] == "original's data flow"}
    assert compared == measured_parts - {"splat forward", "splat forward + backward"}
    assert {row["what"] for row in rows if row["part"] == "splat forward"} == {"numba", "torch"}
    assert {(row["what"], row["precision"]) for row in rows if row["part"] == "decode"} >= {
        (name, precision) for name in ("default", "preset original", "light decoder") for precision in ("fp32", "bf16")
    }
    assert len([line for line in printed.splitlines() if line.startswith("|")]) == 2 + len(rows)
    assert report["commit"]
    for what in {row["what"] for row in rows if row["part"] == "training without data"}:
        times = {row["part"]: row["median_ms"] for row in rows if row["what"] == what}
        phases = sum(times[f"training: {phase}"] for phase in PHASES)
        assert phases == pytest.approx(times["training iteration"], rel=1e-3)  # one repeat: median of sum = sum
        assert times["training without data"] == pytest.approx(phases - times["training: data"], rel=1e-3)


def test_baseline_has_the_parameters_of_the_original(benchmark_module):
    baseline = benchmark_module("baseline")
    networks = benchmark_module("baseline_networks")
    scene = benchmark_module("scene").Scene(200, 64, torch.device("cpu"))
    generator = baseline.Generator(scene)
    assert {name: count(mlp) for name, mlp in generator.mlps.items()} == PARAMETERS
    assert count(generator) - sum(PARAMETERS.values()) == 139 * scene.count
    assert tuple(generator.landmarks.shape) == (424, 3)
    assert count(networks.Upsampler()) == 322_659
    perceptual = networks.PerceptualNetwork()
    assert count(perceptual.net) == 14_714_688  # VGG-16 without its classifier
    assert count(perceptual.lins) == 1_472
    assert not any(parameter.requires_grad for parameter in perceptual.parameters())


def test_skip_layers_are_where_the_original_has_them(benchmark_module):
    networks = benchmark_module("baseline_networks")
    inputs = {
        name: [layer.in_channels for layer in networks.PointMLP(w).layers] for name, w in networks.HEAD_MLPS.items()
    }
    assert inputs["exp_deform"] == [91, 256, 256, 347, 256, 256]
    assert inputs["exp_color"] == [192, 256, 448]
    assert inputs["pose_color"] == [182, 310]
    assert inputs["exp_attributes"] == [192, 256, 448, 256]


def test_baseline_and_library_agree(benchmark_module):
    """The same Gaussians and shapes come out of both, so that their times compare."""
    baseline, library = benchmark_module("baseline"), benchmark_module("library")
    scene = benchmark_module("scene").Scene(300, 64, torch.device("cpu"))
    head, trainer = library.build_head(scene, "preset original"), baseline.Trainer(scene, "auto")
    with torch.no_grad():
        # Without what their random networks add, both must pose the cloud alike.
        for name in ("expression_deform", "pose_deform"):
            getattr(head.fields, name).last_layer.weight.zero_()
        for network in (head.expression_attributes, head.pose_attributes):
            network.last_layer.weight.zero_()
            network.last_layer.bias.zero_()
        for name in ("exp_deform", "pose_deform", "exp_attributes", "pose_attributes"):
            trainer.generator.mlps[name].layers[-1].weight.zero_()
            trainer.generator.mlps[name].layers[-1].bias.zero_()
        ours, theirs = head(scene.code).gaussians, trainer.generator(scene.code)
    for name in ("means", "scales", "opacities"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), atol=1e-5, rtol=1e-4)
    alignment = (ours.quats * theirs.quats).sum(-1).abs()  # a quaternion and its negative turn alike
    torch.testing.assert_close(alignment, torch.ones_like(alignment), atol=1e-4, rtol=0)
    assert ours.features.shape == theirs.features.shape == (1, 300, 32)
    picture = render_avatar(head, scene.code[0], scene.camera, torch.ones(3)).rgb
    assert picture.shape == baseline.render_frame(trainer).shape == (1, 3, 64, 64)


def test_decoders_of_baseline_and_preset_do_the_same_arithmetic(benchmark_module):
    networks, library = benchmark_module("baseline_networks"), benchmark_module("library")
    floor, scene = benchmark_module("floor"), benchmark_module("scene").Scene(2, 256, torch.device("cpu"))
    features, alpha = scene.splats
    decoder = library.build_head(scene, "preset original").decoder
    upsampler = networks.Upsampler()
    with torch.no_grad():
        for theirs, ours in zip(upsampler.parameters(), decoder.parameters(), strict=True):
            theirs.copy_(ours)
        color, alpha_out = decoder(features, alpha)
        torch.testing.assert_close(upsampler(features + 1 - alpha), color + 1 - alpha_out, atol=1e-4, rtol=0)
    flop = floor.count_flop(lambda: upsampler(features))
    assert flop * 64 == pytest.approx(560e9, rel=0.01)  # at 2048² from 256²


def test_the_cloud_is_a_head_in_the_picture(benchmark_module):
    scene = benchmark_module("scene").Scene(5000, 256, torch.device("cpu"))
    world = scene.code.to_world(scene.means[None])
    pixels, depth = scene.camera.project(world)
    assert (depth > 0.2).all()
    assert (pixels > 0).all()
    assert (pixels < 256).all()
    height = pixels[..., 1].max() - pixels[..., 1].min()
    assert 0.5 * 256 < height < 0.8 * 256
    shared = benchmark_module("baseline").FAR
    distance = (scene.means[:, None] - scene.landmarks).square().sum(-1).amin(1)
    assert 0.2 < (distance < shared).float().mean() < 0.6, "expression moves the front of the head, pose the rest"


def test_table_compares_with_the_original(benchmark_module):
    rows = benchmark_module("rows")
    ours = rows.Row("decode", "default", "fp32", 2048, None, 4.0, floor_ms=0.7)
    theirs = rows.Row("decode", rows.ORIGINAL, "fp32", 2048, None, 26.4)
    alone = rows.Row("splat forward", "numba", "fp32", 512, 1000, 123.4)
    lines = rows.table([ours, theirs, alone]).splitlines()
    assert lines[2] == "| decode | default | fp32 | 2048² | - | 4 | 0.7 | - | - | 6.6 |"
    assert lines[3] == "| decode | original's data flow | fp32 | 2048² | - | 26.4 | - | - | - | - |"
    assert lines[4] == "| splat forward | numba | fp32 | 512² | 1000 | 123 | - | - | - | - |"


def test_floor_is_arithmetic_or_traffic_of_a_known_device(benchmark_module, monkeypatch):
    floor, device = benchmark_module("floor"), torch.device("cpu")
    assert floor.floor_ms(device, 560e9) is None
    assert floor.training_floor_ms(device, 2048, 150_000) is None
    monkeypatch.setattr(floor, "known_name", lambda _: "H200")
    assert floor.floor_ms(device, 560e9, floor.decoder_traffic(2048)) == pytest.approx(0.71, abs=0.01)
    assert floor.floor_ms(device, 56e9, floor.decoder_traffic(2048)) == pytest.approx(0.44, abs=0.01)
    assert floor.training_floor_ms(device, 2048, 150_000) == 8.0
    assert floor.training_floor_ms(device, 1024, 150_000) is None


def test_clock_refuses_moments_that_are_missing_or_out_of_order(benchmark_module):
    clock = benchmark_module("timing").Clock(torch.device("cpu"))
    for name in ("start", "decode", "splat"):
        clock.mark(name)
    with pytest.raises(RuntimeError, match="nothing marked losses"):
        clock.intervals_ms(("splat", "losses"))
    with pytest.raises(RuntimeError, match="not in the order splat, decode"):
        clock.intervals_ms(("splat", "decode"))


def test_phases_are_those_of_known_work(benchmark_module):
    """Modules that sleep, forward and backward, for times that can be told apart."""
    timing = benchmark_module("timing")

    class Sleep(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, seconds):
            time.sleep(seconds)
            ctx.seconds = seconds
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            time.sleep(2 * ctx.seconds)
            return gradient, None

    class Part(torch.nn.Module):
        def __init__(self, seconds):
            super().__init__()
            self.seconds = seconds
            self.weight = torch.nn.Parameter(torch.ones(()))

        def forward(self, x):
            return Sleep.apply(self.weight * x, self.seconds)

    generate, decode = Part(0.02), Part(0.04)
    hooks = timing.PhaseHooks(generate, decode, outputs=lambda x: [x])

    def step(clock):
        hooks.clock = clock
        time.sleep(0.01)
        splats = Sleep.apply(generate(torch.ones(2)), 0.03)
        loss = Sleep.apply(decode(splats), 0.05).sum()
        clock.mark("losses")
        loss.backward()
        clock.mark("generate_backward")
        time.sleep(0.015)
        clock.mark("optimiser")

    phases = timing.measure_training(timing.Stopwatch(torch.device("cpu"), 1, 1), step).phases_ms
    expected = {"data": 10, "generate": 60, "splat": 90, "decode": 120, "losses": 150, "optimiser": 15}
    for name, least in expected.items():
        # Time ascribed to the wrong phase is missing from another.
        assert phases[name] > least - 0.5, (name, phases)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resolution", "66"], "expected a multiple of 4 from 64 on, found 66"),
        (["--repeats", "0"], "expected a number from 1 on, found 0"),
    ],
)
def test_sizes_that_cannot_be_measured_are_refused(options, message, benchmark_module, capsys):
    parser = benchmark_module("run").build_parser()
    with pytest.raises(SystemExit):
        parser.parse_args(options)
    assert message in capsys.readouterr().err


def test_the_exchange_of_gradients_is_timed_as_often_as_it_is_divided_by(benchmark_module, monkeypatch):
    scaling, times = benchmark_module("scaling"), []
    monkeypatch.setattr(scaling, "average_gradients", lambda *_: times.append(1) or time.sleep(0.01))
    weight = torch.nn.Parameter(torch.zeros(3))
    stage = types.SimpleNamespace(optimizers={"adam": torch.optim.Adam([weight])})
    milliseconds, scalars = scaling.time_averaging(stage, None, torch.device("cpu"))
    assert len(times) == 1 + scaling.AVERAGINGS
    assert milliseconds >= 10
    assert scalars == 3


def test_scaling_is_measured_for_every_number_of_processes(tmp_path):
    report = tmp_path / "report.json"
    command = [sys.executable, str(BENCHMARKS / "scaling.py"), "--device", "cpu", "--processes", "1", "2"]
    command += ["--resolution", "64", "--gaussians", "300", "--steps", "2", "--warmup", "1", "--no-perceptual"]
    done = subprocess.run([*command, "--json", str(report)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(report.read_text())["rows"]
    assert [row["processes"] for row in rows] == [1, 2]
    for row in rows:
        assert row["samples_per_s"] == pytest.approx(1e3 * row["processes"] / row["ms_per_step"])
    assert rows[0]["scalars"] == rows[1]["scalars"] > 300 * 100
    assert rows[0]["averaging_ms"] < rows[1]["averaging_ms"]
    assert len([line for line in done.stdout.splitlines() if line.startswith("|")]) == 4
