"""How far pictures of playback are from those of the trained avatar in float32, over a sequence of codes.

    python benchmarks/playback_fidelity.py --run runs/NAME/gaussian [--capture FOLDER] [--views 60] [--json FILE]
    python benchmarks/playback_fidelity.py --untrained --resolution 2048 --gaussians 150000

With a run: its held-out views (all views where nothing is held out), with errors against the reference and PSNR of
both against the truth over the head. "lost dB" is what playback loses of it; the command fails above 0.1 dB. Untrained:
the presets of the library with random weights on the benchmark's cloud, its code varied; there is no truth.

Errors are absolute differences of RGB in [0, 1] after clamping, over all pixels of all views.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path

import torch
from library import PRESETS, build_head
from provenance import commit, processor
from scene import Scene
from torch import Tensor

from gha.avatars import (
    AvatarImage,
    FramePlayer,
    GaussianHead,
    PlaybackHead,
    PlaybackOptions,
    prepare_for_playback,
    render_avatar,
)
from gha.capture import open_capture
from gha.errors import InputError
from gha.faces.code import HeadCode
from gha.files import write_atomically
from gha.geometry import Camera
from gha.training.avatar_io import load_avatar
from gha.training.evaluation import Candidate, find_regions, held_out_splits, read_view, spread_views
from gha.training.metrics import psnr

ALLOWED_LOSS = 0.1  # dB
PRECISIONS = ("float32/float32", "float16/float16", "float16/bfloat16", "bfloat16/bfloat16")  # of networks and decoder
HEADINGS = ("avatar", "networks", "decoder", "compile", "first s", "max", "mean", "PSNR to fp32", "PSNR", "lost dB")


@dataclass(frozen=True)
class Sample:
    """One picture to draw; truth [3, H, W] and where it counts [1, H, W] only where they are known."""

    code: HeadCode
    camera: Camera
    truth: Tensor | None = None
    region: Tensor | None = None


@dataclass(frozen=True)
class Fidelity:
    """What a form of playback does to the pictures of an avatar."""

    avatar: str
    networks: str
    decoder: str
    compile: str
    first_seconds: float
    largest_error: float
    mean_error: float
    psnr_to_reference: float
    psnr: float | None
    lost_db: float | None


Samples = Callable[[], Iterator[Sample]]


def build_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, help="folder of a run's Gaussian stage")
    source.add_argument("--untrained", action="store_true", help="presets with random weights instead of a run")
    parser.add_argument("--capture", help="folder of its recording, where it is no longer where it was trained")
    parser.add_argument("--views", type=int, default=30, help="pictures to compare")
    parser.add_argument("--resolution", type=int, default=2048, help="of pictures of untrained avatars")
    parser.add_argument("--gaussians", type=int, default=150_000, help="of untrained avatars")
    parser.add_argument(
        "--presets",
        nargs="+",
        choices=tuple(PRESETS),
        default=list(PRESETS),
        metavar="PRESET",
        help="untrained avatars",
    )
    parser.add_argument(
        "--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS, help="of networks and of decoder"
    )
    parser.add_argument("--compile", default="off", choices=("off", "default", "max-autotune-no-cudagraphs"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    return parser


def samples_of_run(arguments: argparse.Namespace, device: torch.device) -> tuple[GaussianHead, Samples]:
    """The head of a run, and what yields its views."""
    head, info = load_avatar(arguments.run, device)
    if not isinstance(head, GaussianHead):
        raise InputError(f"{arguments.run}: found a {info.method}, expected a Gaussian head")
    capture = open_capture(arguments.capture or info.subject.capture)
    candidate = Candidate(head, torch.tensor(info.subject.mean_expression, device=device), info.poses)
    splits = held_out_splits(capture.split) or {"all": (capture.frame_ids, capture.camera_ids)}
    frames, cameras = splits.get("held_out_frames") or next(iter(splits.values()))
    white = torch.ones(3, 1, 1, device=device)

    def samples() -> Iterator[Sample]:
        for view in spread_views(frames, cameras, arguments.views):
            frame = read_view(capture, view, max(info.subject.resolution), head.upscale).to(device)
            regions = find_regions(frame, info.subject.facial_landmarks)
            truth = (frame.image * frame.mask + (1 - frame.mask) * white)[0]
            yield Sample(candidate.code(frame), frame.camera, truth, regions.get("head", regions["foreground"]))

    return head, samples


def samples_of_scene(scene: Scene, count: int) -> Iterator[Sample]:
    """The scene's view with expressions and poses about its own."""
    generator = torch.Generator().manual_seed(7)
    code = scene.code[0].to("cpu")
    for _ in range(count):
        expression = code.expression + 0.3 * torch.randn(code.expression.shape, generator=generator)
        pose = code.pose + 0.05 * torch.randn(6, generator=generator)
        yield Sample(replace(code, expression=expression, pose=pose).to(scene.device), scene.camera)


def untrained_head(scene: Scene, preset: str) -> GaussianHead:
    """A preset whose decoder and displacements are not silent."""
    torch.manual_seed(0)
    head = build_head(scene, preset)
    with torch.no_grad():
        head.decoder.output.weight.normal_(std=0.05)
        for network in (head.fields.expression_deform, head.fields.pose_deform):
            network.last_layer.weight.mul_(30)
    return head


@torch.no_grad()
def compare(name: str, head: GaussianHead, samples: Samples, options: PlaybackOptions) -> Fidelity:
    """Draw every sample both ways."""
    torch.compiler.reset()  # PyTorch gives up on functions that it has compiled for too many heads
    draw = painter(prepare_for_playback(head, options))
    white = torch.ones(3, device=head.means.device)
    errors, scores, seconds = [], [], []
    for sample in samples():
        reference = render_avatar(head, sample.code, sample.camera, white).rgb[0].clamp(0, 1)
        start = time.perf_counter()
        picture = draw(sample.code, sample.camera, white).rgb[0].clamp(0, 1)
        error = (picture - reference).abs().double()
        errors.append([error.max().item(), error.mean().item(), error.square().mean().item()])
        seconds.append(time.perf_counter() - start)
        if sample.truth is not None:
            scores.append([psnr(x, sample.truth, sample.region).item() for x in (reference, picture)])
    means = torch.tensor(errors, dtype=torch.float64).mean(0)
    of_reference, of_playback = torch.tensor(scores).mean(0).tolist() if scores else (None, None)
    return Fidelity(
        avatar=name,
        networks=options.networks,
        decoder=options.decoder,
        compile=options.compile,
        first_seconds=seconds[0],
        largest_error=max(error[0] for error in errors),
        mean_error=means[1].item(),
        psnr_to_reference=-10 * means[2].clamp_min(1e-30).log10().item(),
        psnr=of_playback,
        lost_db=of_reference - of_playback if scores else None,
    )


def painter(played: PlaybackHead) -> Callable[[HeadCode, Camera, Tensor], AvatarImage]:
    """What draws a head, with a player for every size of pictures."""

    @cache
    def player(width: int, height: int) -> FramePlayer:
        return FramePlayer(played, width, height)

    return lambda code, camera, background: player(camera.width, camera.height)(code, camera, background)


def measure(arguments: argparse.Namespace, device: torch.device) -> Iterator[Fidelity]:
    """All precisions, of the run or of all presets."""
    if arguments.run:
        avatars = {str(arguments.run): samples_of_run(arguments, device)}
    else:
        scene = Scene(arguments.gaussians, arguments.resolution, device)
        samples = partial(samples_of_scene, scene, arguments.views)
        avatars = {name: (untrained_head(scene, name), samples) for name in arguments.presets}
    for name, (head, samples) in avatars.items():
        for precisions in arguments.precisions:
            yield compare(name, head, samples, PlaybackOptions(*precisions.split("/"), arguments.compile))


def line(row: Fidelity) -> str:
    """One row of the table."""
    cells = [row.avatar, row.networks, row.decoder, row.compile, f"{row.first_seconds:.1f}"]
    cells += [f"{row.largest_error:.2e}", f"{row.mean_error:.2e}", f"{row.psnr_to_reference:.1f}"]
    cells += ["-", "-"] if row.lost_db is None else [f"{row.psnr:.2f}", f"{row.lost_db:.4f}"]
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Print the table; 1 where playback loses too much."""
    arguments = build_parser().parse_args()
    device = torch.device(arguments.device)
    print(f"| {' | '.join(HEADINGS)} |\n|{' --- |' * len(HEADINGS)}")
    rows = []
    for row in measure(arguments, device):
        rows.append(row)
        print(line(row), flush=True)
    if arguments.json:
        report = {
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
            "torch": torch.__version__,
            "commit": commit(),
            "command": shlex.join(["python", *sys.argv]),
            "rows": [asdict(row) for row in rows],
        }
        write_atomically(arguments.json, json.dumps(report, indent=2) + "\n")
    failed = [row for row in rows if row.lost_db is not None and row.lost_db > ALLOWED_LOSS]
    if failed:
        print(f"{len(failed)} of {len(rows)} forms lose more than {ALLOWED_LOSS} dB", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
