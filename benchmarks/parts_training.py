"""A training iteration by phases, and the loaders that feed it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import torch
from baseline import Loader, Trainer
from baseline_networks import PerceptualNetwork
from floor import training_floor_ms
from library import build_head
from parts_inference import Bench
from rows import ORIGINAL, Row
from scene import FRAMES, recording
from timing import PHASES, Clock, Measurement, PhaseHooks, measure_training, peak_gib
from torch import Tensor

from gha.avatars import Posed
from gha.capture import FrameLoader, SampleSchedule, open_capture
from gha.rendering import Gaussians
from gha.training.finite import FiniteGate
from gha.training.gaussian_config import GaussianLossWeights, GaussianTrainingConfig
from gha.training.gaussian_stage import GaussianStage
from gha.training.perceptual import PerceptualDistance
from gha.training.refinement import PoseRefinement
from gha.training.update import Update

TRAINING = {
    "default": GaussianTrainingConfig(),
    "bilinear decoder": GaussianTrainingConfig(),
    "preset original": GaussianTrainingConfig(background="white", loss=GaussianLossWeights(alpha=0.0)),
}
CONSTANT_MAPS_ONLY = 1024  # bytes of cache: visible maps that are one value everywhere fit, pictures do not
SAMPLES = 16
LOADER_WARMUP = 3  # times as many before: pictures of the empty stage are decoded once
_UNTIL_RECORDED = 5  # steps after which one has been recorded, if any is
_IN_A_ROW = 8  # steps in the loop that are timed together


def training_rows(bench: Bench) -> Iterator[Row]:
    """Iterations of the library's stage 2 and of the original's, both fed from the same recording."""
    with recording(bench.scene.resolution) as root:
        for preset in TRAINING:
            with _library_products():
                looped = measure_update(bench, preset, root)
                measured = measure_library(bench, preset, root)
            precision = _precision(TRAINING[preset], bench.scene.device)
            floor = training_floor_ms(bench.scene.device, *bench.sizes())
            yield Row.of("training iteration", f"{preset}, in the loop", precision, *bench.sizes(), looped, floor)
            yield from _rows(bench, preset, precision, measured)
        yield from _rows(bench, ORIGINAL, "fp32", measure_original(bench, root))


def _rows(bench: Bench, what: str, precision: str, measured: Measurement) -> Iterator[Row]:
    floor = training_floor_ms(bench.scene.device, *bench.sizes())
    yield Row.of("training iteration", what, precision, *bench.sizes(), measured, floor)
    computed = sum(measured.phases_ms[phase] for phase in PHASES if phase != "data")
    yield Row("training without data", what, precision, *bench.sizes(), computed, floor_ms=floor)
    for phase in PHASES:
        yield Row(f"training: {phase}", what, precision, *bench.sizes(), measured.phases_ms[phase])


def _precision(config: GaussianTrainingConfig, device: torch.device) -> str:
    """What products of matrices and convolutions are rounded to; everything else is fp32."""
    if device.type != "cuda":
        return "fp32"
    return "tf32, bf16" if config.convolution_precision == "bfloat16" else "tf32"


@contextmanager
def _library_products() -> Iterator[None]:
    """Matrix products as the library's training command lets them be computed: in TF32 on a GPU."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def measure_library(bench: Bench, preset: str, root: Path) -> Measurement:
    """The library's step, operation by operation, as ``gha.training.update`` does it."""
    device = bench.scene.device
    stage = _library_stage(bench, preset)
    hooks = PhaseHooks(stage.head, stage.head.decoder, outputs=_tensors)
    gate, steps = FiniteGate(device), count()
    stage.renew(anew=True)

    def step(clock: Clock) -> None:
        hooks.clock = clock
        terms = stage.losses(stage.draw(next(frames), next(steps), device))
        total = torch.stack(list(terms.values())).sum()
        gate.judge(terms, total)
        clock.mark("losses")
        for optimizer in stage.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        total.backward()
        clock.mark("generate_backward")
        for optimizer in stage.optimizers.values():
            optimizer.step()
        clock.mark("optimiser")

    with library_loader(bench, root) as frames:
        return measure_training(bench.stopwatch, step)


def measure_update(bench: Bench, preset: str, root: Path) -> Measurement:
    """The same as the loop does it: where possible recorded once and replayed, and no step waits for the one before."""
    device = bench.scene.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    update, steps = Update(_library_stage(bench, preset), device), count()
    update.renew(anew=True)
    with library_loader(bench, root) as frames:
        for _ in range(_UNTIL_RECORDED):
            update(next(frames), next(steps))
        peak = peak_gib(device)  # a replayed step allocates nothing: its memory was reserved when it was recorded

        def several() -> None:
            for _ in range(_IN_A_ROW):
                update(next(frames), next(steps))

        measured = bench.stopwatch.measure(several)
    total, least = (x / _IN_A_ROW for x in (measured.total_ms, measured.least_ms))
    return Measurement(total, least, {}, peak)


def _library_stage(bench: Bench, preset: str) -> GaussianStage:
    device = bench.scene.device
    poses = PoseRefinement(FRAMES).to(device)
    perceptual = PerceptualDistance(PerceptualNetwork().to(device), "vgg")
    head = build_head(bench.scene, preset).train()
    return GaussianStage(head, TRAINING[preset], poses, None, perceptual, {}, seed=0)


def measure_original(bench: Bench, root: Path) -> Measurement:
    """The original's step."""
    device = bench.scene.device
    trainer = Trainer(bench.scene, "auto")
    hooks = PhaseHooks(trainer.generator, trainer.upsampler, outputs=_tensors)

    def step(clock: Clock) -> None:
        hooks.clock = clock
        loss = trainer.loss(next(samples).to(device))
        clock.mark("losses")
        trainer.optimizer.zero_grad()
        loss.backward()
        clock.mark("generate_backward")
        trainer.optimizer.step()
        clock.mark("optimiser")

    with closing(Loader(root, pin_memory=device.type == "cuda")) as samples:
        return measure_training(bench.stopwatch, step)


def _tensors(output: Posed | Gaussians) -> list[Tensor]:
    gaussians = output.gaussians if isinstance(output, Posed) else output
    return [gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.features]


def library_loader(bench: Bench, root: Path) -> FrameLoader:
    """One view per step, decoded anew each time; only maps that are constant stay in memory."""
    capture = open_capture(root)
    schedule = SampleSchedule(0, capture.frame_ids, capture.camera_ids)
    pin = bench.scene.device.type == "cuda"
    return FrameLoader(capture, schedule, None, 0, bench.workers, CONSTANT_MAPS_ONLY, pin)


def loader_rows(bench: Bench) -> Iterator[Row]:
    """Samples a second, by the processor's clock; nothing else runs meanwhile."""
    with recording(bench.scene.resolution) as root:
        with library_loader(bench, root) as frames:
            yield _loader_row(bench, f"{bench.workers} threads", "uint8", lambda: next(frames))
        with closing(Loader(root, pin_memory=bench.scene.device.type == "cuda")) as samples:
            yield _loader_row(bench, ORIGINAL, "fp32", lambda: next(samples))
    with recording(bench.scene.resolution, original=False) as root, library_loader(bench, root) as frames:
        yield _loader_row(bench, f"{bench.workers} threads, our files", "uint8", lambda: next(frames))
    if bench.capture is not None:
        with library_loader(bench, bench.capture) as frames:
            yield _loader_row(bench, f"{bench.workers} threads, {bench.capture}", "uint8", lambda: next(frames))


def _loader_row(bench: Bench, what: str, precision: str, draw: Callable[[], object]) -> Row:
    """Draws of many samples at a time, so that what was read ahead before the clock started does not matter."""
    samples = max(SAMPLES, 4 * bench.workers)

    def draw_all() -> None:
        for _ in range(samples):
            draw()

    stopwatch = replace(bench.stopwatch, device=torch.device("cpu"), repeats=max(1, bench.stopwatch.repeats // 10))
    measured = replace(stopwatch, warmup=LOADER_WARMUP).measure(draw_all)
    each = replace(measured, total_ms=measured.total_ms / samples, least_ms=measured.least_ms / samples)
    return Row.of("loader", what, precision, bench.scene.resolution, None, each, per_second=True)
