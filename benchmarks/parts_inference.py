"""Parts of a frame and the whole of it, without gradients (splatting also with them)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from baseline import Generator, Trainer, render_frame
from baseline_networks import Upsampler
from floor import count_flop, decoder_traffic, floor_ms
from library import DECODERS, build_head, build_playback, set_precision, working_backends
from rows import ORIGINAL, Row
from scene import UPSCALE, Scene
from timing import Stopwatch
from torch import Tensor

from gha.avatars import AvatarImage, FramePlayer, GaussianHead, PlaybackHead, render_avatar
from gha.faces.code import HeadCode
from gha.geometry import Camera
from gha.rendering import Gaussians, RenderOptions, render_gaussians

logger = logging.getLogger(__name__)

SPLAT_OPTIONS = RenderOptions(alpha_cap=0.999)  # gsplat's, so that all back ends draw the same
Decode = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Draw = Callable[[HeadCode, Camera, Tensor], AvatarImage]
SPLAT_INPUTS = ("means", "quats", "scales", "opacities", "features")


@dataclass(frozen=True)
class Bench:
    """What all parts are measured with.

    Attributes:
        scene: Gaussians, codes, camera, sizes.
        stopwatch: how often, and where.
        precisions: of the library's decoder: "fp32", "bf16".
        presets: of avatars, by name.
        forms: for playback, by name, beside what was trained.
        backends: of splatting alone, by name; empty: all that work on the device.
        workers: threads of the library's loader.
        capture: recording that it reads beside those made for the purpose, or None.
    """

    scene: Scene
    stopwatch: Stopwatch
    precisions: tuple[str, ...]
    presets: tuple[str, ...]
    forms: tuple[str, ...]
    backends: tuple[str, ...]
    workers: int
    capture: Path | None = None

    def playbacks(self, head: GaussianHead, name: str) -> Iterator[tuple[str, str, PlaybackHead]]:
        """Label, precision and head of every form for playback that is asked for, one after the other."""
        for form in self.forms:
            for precision in self.precisions:
                yield f"{name}, {form}", precision, build_playback(head, form, precision)

    def sizes(self) -> tuple[int, int]:
        """Resolution and number of Gaussians."""
        return self.scene.resolution, self.scene.count


@torch.no_grad()
def generate_rows(bench: Bench) -> Iterator[Row]:
    """From a code to posed Gaussians."""
    scene, code = bench.scene, bench.scene.code
    for name in (*bench.presets, ORIGINAL):
        head = Generator(scene) if name == ORIGINAL else build_head(scene, name)
        floor = floor_ms(scene.device, count_flop(lambda head=head: head(code)))
        measured = bench.stopwatch.measure(lambda head=head: head(code))
        yield Row.of("generate", name, "fp32", *bench.sizes(), measured, floor)
        for label, precision, played in () if name == ORIGINAL else bench.playbacks(head, name):
            measured = bench.stopwatch.measure(lambda played=played: played(code))
            yield Row.of("generate", label, precision, *bench.sizes(), measured, floor)


def splat_rows(bench: Bench) -> Iterator[Row]:
    """From posed Gaussians to 32 channels and alpha; the back ends in turn, on the same Gaussians."""
    scene = bench.scene
    camera = scene.coarse_camera
    with torch.no_grad():
        gaussians = build_head(scene, "default")(scene.code).gaussians
    for backend in bench.backends or working_backends(scene):
        stopwatch = bench.stopwatch
        if backend == "torch":
            # The reference is slower by orders of magnitude; a few runs say so.
            stopwatch = replace(stopwatch, repeats=min(3, stopwatch.repeats), warmup=1)
        try:
            forward, both = _splatting(gaussians, camera, backend)
            for part, work in (("splat forward", forward), ("splat forward + backward", both)):
                measured = stopwatch.measure(work)
                yield Row.of(part, backend, "fp32", scene.resolution // UPSCALE, scene.count, measured)
        except torch.OutOfMemoryError as error:
            logger.warning("back end %s is not measured further: %s", backend, error)


def _splatting(gaussians: Gaussians, camera: Camera, backend: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """Work to time: forward without gradients; forward, and backward from random gradients to all inputs."""
    inputs = [getattr(gaussians, name).detach().clone().requires_grad_() for name in SPLAT_INPUTS]
    wanted = Gaussians(**dict(zip(SPLAT_INPUTS, inputs, strict=True)))
    drawn = render_gaussians(gaussians, camera, None, backend, SPLAT_OPTIONS)
    gradients = torch.randn_like(drawn.features), torch.randn_like(drawn.alpha)

    def forward() -> None:
        with torch.no_grad():
            render_gaussians(gaussians, camera, None, backend, SPLAT_OPTIONS)

    def both() -> None:
        image = render_gaussians(wanted, camera, None, backend, SPLAT_OPTIONS)
        torch.autograd.grad((image.features, image.alpha), inputs, gradients)

    return forward, both


@torch.no_grad()
def decode_rows(bench: Bench) -> Iterator[Row]:
    """From feature splats to a picture."""
    scene = bench.scene
    features, alpha = scene.splats
    for name in bench.presets:
        head = build_head(scene, name)
        floor = _decoder_floor(bench, lambda head=head: head.decode(features, alpha), name)
        for label, precision, decode in _decoders(bench, head, name):
            measured = bench.stopwatch.measure(lambda decode=decode: decode(features, alpha))
            yield Row.of("decode", label, precision, scene.resolution, None, measured, floor)
    over_white, upsampler = features + (1 - alpha), Upsampler().to(scene.device)
    floor = _decoder_floor(bench, lambda: upsampler(over_white), ORIGINAL)
    measured = bench.stopwatch.measure(lambda: upsampler(over_white))
    yield Row.of("decode", ORIGINAL, "fp32", scene.resolution, None, measured, floor)


def _decoders(bench: Bench, head: GaussianHead, name: str) -> Iterator[tuple[str, str, Decode]]:
    """Label, precision and function of every way to decode: as trained, and in the forms for playback."""
    for precision in bench.precisions:
        trained = build_head(bench.scene, name)
        set_precision(trained.decoder, precision, bench.scene.device)
        yield name, precision, trained.decode
    for label, precision, played in bench.playbacks(head, name):
        yield label, precision, played.decode


def _decoder_floor(bench: Bench, work: Callable[[], object], name: str) -> float | None:
    bilinear = name == ORIGINAL or DECODERS[name].upsampling == "bilinear"
    traffic = decoder_traffic(bench.scene.resolution) if bilinear else 0.0
    return floor_ms(bench.scene.device, count_flop(work), traffic)


@torch.no_grad()
def frame_rows(bench: Bench) -> Iterator[Row]:
    """From a code to a picture, with the back end the library chooses; the floor leaves splatting out."""
    scene = bench.scene
    code, white = scene.code[0], torch.ones(3, device=scene.device)
    features, alpha = scene.splats
    for name in bench.presets:
        head = build_head(scene, name)
        generate = floor_ms(scene.device, count_flop(lambda head=head: head(scene.code)))
        decode = _decoder_floor(bench, lambda head=head: head.decode(features, alpha), name)
        floor = None if generate is None or decode is None else generate + decode
        for label, precision, draw in _painters(bench, head, name):
            measured = bench.stopwatch.measure(lambda draw=draw: draw(code, scene.camera, white))
            yield Row.of("frame", label, precision, *bench.sizes(), measured, floor, per_second=True)
    trainer = Trainer(scene, "auto")
    measured = bench.stopwatch.measure(lambda: render_frame(trainer))
    yield Row.of("frame", ORIGINAL, "fp32", *bench.sizes(), measured, per_second=True)


def _painters(bench: Bench, head: GaussianHead, name: str) -> Iterator[tuple[str, str, Draw]]:
    """The same as :func:`_decoders` for whole pictures."""
    side = bench.scene.resolution
    for precision in bench.precisions:
        trained = build_head(bench.scene, name)
        set_precision(trained.decoder, precision, bench.scene.device)
        yield name, precision, partial(render_avatar, trained)
    for label, precision, played in bench.playbacks(head, name):
        yield label, precision, FramePlayer(played, side, side)
