"""Time every part of a frame and of a training iteration, beside the original's data flow, in one run.

    python benchmarks/run.py --device cuda --json benchmarks/results/speed_cuda.json
    python benchmarks/run.py --device cpu --resolution 256 --gaussians 2000 --repeats 5 --parts generate splat decode

Parts: generate (code to posed Gaussians), splat (every back end that works on the device, forward and with backward),
decode (every decoder), frame (code to picture without gradients), train (an iteration, split into data, generate,
splat, decode, losses, optimiser, forward and backward of each together), loader (samples a second). "x original" is
how much faster a row is than the original's data flow at the same sizes, measured in the same run. What is matched
between the two and what is not: FAIRNESS.md.

Times are medians: CUDA events on a GPU, each run from an idle device; the processor's clock elsewhere.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import shlex
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numba
import torch
from library import FORMS, PRESETS
from parts_inference import Bench, decode_rows, frame_rows, generate_rows, splat_rows
from parts_training import loader_rows, training_rows
from provenance import commit, processor
from rows import Row, table
from scene import Scene
from timing import Stopwatch

from gha.capture import open_capture
from gha.errors import GhaError
from gha.files import write_atomically

PARTS = {
    "generate": generate_rows,
    "splat": splat_rows,
    "decode": decode_rows,
    "frame": frame_rows,
    "train": training_rows,
    "loader": loader_rows,
}


def build_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=tuple(PARTS), default=list(PARTS), metavar="PART", help="which")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda, cuda:1")
    parser.add_argument("--resolution", type=_resolution, default=2048, help="side in pixels, a multiple of 4")
    parser.add_argument("--gaussians", type=_positive, default=150_000, help="number of Gaussians")
    parser.add_argument(
        "--precision", nargs="+", choices=("fp32", "bf16"), default=["fp32"], help="of our decoder; playback: of all"
    )
    parser.add_argument(
        "--presets", nargs="+", choices=tuple(PRESETS), default=list(PRESETS), metavar="PRESET", help="of avatars"
    )
    parser.add_argument(
        "--forms", nargs="*", choices=tuple(FORMS), default=["playback"], metavar="FORM", help="of avatars for playback"
    )
    parser.add_argument("--backends", nargs="+", default=[], help="of splatting alone; default: all that work here")
    parser.add_argument("--repeats", type=_positive, default=50, help="measurements of which the median is taken")
    parser.add_argument("--warmup", type=_positive, default=10, help="runs before them")
    parser.add_argument("--workers", type=_positive, default=min(16, os.cpu_count() or 1), help="threads of our loader")
    parser.add_argument(
        "--capture", type=Path, help="recording that our loader reads too; its pictures must be of --resolution"
    )
    parser.add_argument("--threads", type=_positive, default=torch.get_num_threads(), help="threads of arithmetic")
    parser.add_argument("--json", type=Path, help="file to write everything to")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, found {value}")
    return value


def _resolution(text: str) -> int:
    value = _positive(text)
    if value < 64 or value % 4:
        raise argparse.ArgumentTypeError(f"expected a multiple of 4 from 64 on, found {value}")
    return value


def _check_capture(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuse a recording that the loader's rows could not be about."""
    if arguments.capture is None:
        return
    try:
        capture = open_capture(arguments.capture)
        height, width = capture.resolution(capture.camera_ids[0])
    except GhaError as error:
        parser.error(str(error))
    if (height, width) != (arguments.resolution, arguments.resolution):
        parser.error(f"{arguments.capture}: found pictures of {width} x {height}, expected --resolution squared")


def describe(arguments: argparse.Namespace, device: torch.device) -> dict:
    """Where and how the figures were measured."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": arguments.threads,
        "torch": torch.__version__,
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "TF32 in convolutions": torch.backends.cudnn.allow_tf32 if device.type == "cuda" else None,
        "commit": commit(),
        "command": shlex.join(["python", *sys.argv]),
        "date": datetime.now(UTC).date().isoformat(),
        "repeats": arguments.repeats,
        "warmup": arguments.warmup,
    }


def measure(arguments: argparse.Namespace, device: torch.device) -> list[Row]:
    """All parts that were asked for; says on stderr which one is running."""
    bench = Bench(
        scene=Scene(arguments.gaussians, arguments.resolution, device),
        stopwatch=Stopwatch(device, arguments.repeats, arguments.warmup),
        precisions=tuple(arguments.precision),
        presets=tuple(arguments.presets),
        forms=tuple(arguments.forms),
        backends=tuple(arguments.backends),
        workers=arguments.workers,
        capture=arguments.capture,
    )
    rows: list[Row] = []
    for part in arguments.parts:
        torch.manual_seed(0)
        for row in PARTS[part](bench):
            rows.append(row)
            print(f"{row.part}, {row.what}, {row.precision}: {row.median_ms:.3f} ms", file=sys.stderr, flush=True)
    return rows


def main() -> None:
    """Print the table; write it to a file on request."""
    parser = build_parser()
    arguments = parser.parse_args()
    _check_capture(parser, arguments)
    logging.basicConfig(format="%(message)s")
    torch.set_num_threads(arguments.threads)
    numba.set_num_threads(min(arguments.threads, numba.config.NUMBA_NUM_THREADS))
    torch.backends.cudnn.benchmark = True  # for both sides; the training command does so too
    device = torch.device(arguments.device)
    setting = describe(arguments, device)
    rows = measure(arguments, device)
    host_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # of KiB, as Linux counts
    print(", ".join(f"{name} {value}" for name, value in setting.items() if value is not None), "\n")
    print(table(rows))
    print(f"\npeak memory of the process {host_gib:.2f} GiB")
    if arguments.json is not None:
        report = {**setting, "process_peak_gib": host_gib, "rows": [asdict(row) for row in rows]}
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(arguments.json, json.dumps(report, indent=2) + "\n")
        print(f"written to {arguments.json}")


if __name__ == "__main__":
    main()
