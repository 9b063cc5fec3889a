"""What recovering masks and codes costs: an avatar trained on them against one trained on the true ones.

    python benchmarks/recovered_capture.py --output benchmarks/results/recovered_capture.json

One raw recording of the built-in head (videos, textured wall, shadows, sensor noise, colour calibration) is extracted
once. One copy gets the built-in matting and a face model fitted to noisy landmarks, the other the true masks and the
true codes. Both train with the demo's presets, shortened, and the same seed. Both are measured on the held-out
sequence on the same pixels: truth is the picture under the true mask, head, mouth and eyes are found with the true
landmarks and pose; each avatar is driven by the codes of its own capture, for this is what its user would have.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from provenance import commit, processor

from gha.apps.cli import main as gha
from gha.apps.config import load_config
from gha.apps.contact_sheet import contact_row
from gha.apps.evaluate import choose_views
from gha.apps.previews import make_grid
from gha.apps.train import train_gaussian, train_mesh
from gha.apps.training_config import GaussianRunConfig, MeshRunConfig
from gha.capture import Capture, Frame, layout, open_capture
from gha.capture.info import info_to_json, read_info
from gha.faces import HeadCode, load_face_model
from gha.files import write_atomically
from gha.preprocessing.matting_measures import matte_errors
from gha.preprocessing.miniature import FPS, Miniature, write_miniature
from gha.preprocessing.miniature_truth import write_noisy_landmarks, write_true_masks, write_true_tracking
from gha.training.avatar_io import load_avatar
from gha.training.evaluation import Candidate, Measurement, average, evaluate_views

ROOT = Path(__file__).resolve().parents[1]
SIZE = 256
# In fast motion, so that a second of film shows half a minute; every picture that is filmed is used.
FILM = Miniature(
    person=3, sequences={"EMO-1": 30, "EXP-1": 30, "FREE": 12}, cameras=8, width=220, height=320, speed=24.0, seed=3
)


@dataclass(frozen=True)
class Driven(Candidate):
    """An avatar that is driven by codes of another capture than the one it is measured on."""

    codes: Mapping[str, HeadCode] = field(default_factory=dict)

    def code(self, frame: Frame) -> HeadCode:
        """That of the frame in the other capture."""
        return self.codes[frame.frame_id]


def command(*arguments: object) -> float:
    """Run a command of the library; returns its seconds."""
    started = time.monotonic()
    if gha([str(argument) for argument in arguments]):
        raise SystemExit(f"gha {arguments[0]} failed")
    return time.monotonic() - started


def make_captures(folder: Path) -> tuple[dict[str, Capture], dict[str, float]]:
    """One recording as two captures, with true and with recovered masks and codes; and seconds of the commands."""
    model = load_face_model("procedural", texture_size=512)
    raw, recovered, true = folder / "raw", folder / "recovered" / FILM.identity, folder / "true" / FILM.identity
    if not (raw / "filmed").exists():
        write_miniature(raw, model, FILM, progress=True)
        (raw / "filmed").touch()
    extraction = ("--frame-step", 1, "--size", SIZE, "--parallel", 2, "--crop", *FILM.crop)
    seconds = {"extraction": command("preprocess-nersemble", raw, recovered.parent, *extraction)}
    # Fitting knows how fast faces move: the clock of the capture goes by the performance, not by the film.
    path = recovered / layout.CAPTURE_FILE
    info, complete = read_info(path)
    write_atomically(path, info_to_json(replace(info, fps=float(FPS) / FILM.speed), complete))
    if not true.exists():
        shutil.copytree(recovered, true)
        write_true_masks(open_capture(true), raw)
        write_true_tracking(open_capture(true), raw, model)
        write_noisy_landmarks(open_capture(recovered), raw)
    seconds["masks"] = command("remove-background", recovered, "--parallel", 2)
    fit = (recovered, "contour=fixed", "--overwrite", "--report", folder / "fit")
    seconds["fitting"] = command("fit-3dmm", *fit)
    for capture in (recovered, true):
        command("validate", capture)
    return {"true": open_capture(true), "recovered": open_capture(recovered)}, seconds


def train(folder: Path, name: str, capture: Capture, steps: tuple[int, int]) -> Path:
    """Both stages with the demo's presets; returns the run of the second."""
    shared = [f"name={name}", f"runs={folder / 'runs'}", f"data.capture={capture.root}", "device=cpu"]
    mesh = load_config(MeshRunConfig, ROOT / "config/train_meshhead_demo.yaml", [*shared, f"loop.steps={steps[0]}"])
    train_mesh(mesh)
    gaussian = ROOT / "config/train_gaussianhead_demo.yaml"
    return train_gaussian(load_config(GaussianRunConfig, gaussian, [*shared, f"loop.steps={steps[1]}"]))


def measure(run: Path, true: Capture, own: Capture) -> tuple[dict[str, float], list[np.ndarray]]:
    """Figures of an avatar on the held-out sequence, on the pixels of ``true``; and rows of a contact sheet."""
    avatar, info = load_avatar(run)
    frames = true.split.test_frames
    codes = {frame: own.codes([frame])[0] for frame in frames}
    candidate = Driven(avatar, torch.tensor(info.subject.mean_expression), None, codes)
    measurement = Measurement(SIZE, torch.ones(3), len(true.facial_landmarks(frames[0])))
    views = choose_views(true, ["held_out_frames"], 0)["held_out_frames"]
    results = list(evaluate_views(candidate, true, views, measurement))
    figures = average([result.measures for result in results])
    shown = range(2, len(results), len(results) // 3 + 1)  # of different cameras
    rows = [contact_row(own.root.parent.name, results[i]) for i in shown]
    return {name: round(value["mean"], 3) for name, value in figures.items()}, rows


def compare_inputs(captures: Mapping[str, Capture]) -> dict[str, float]:
    """How far recovered masks and codes are from the true ones, over all frames."""
    true, recovered = captures["true"], captures["recovered"]
    mattes = []
    for frame in true.frame_ids:
        for camera in true.camera_ids:
            mine, theirs = (mask(capture, frame, camera) for capture in (recovered, true))
            mattes.append(asdict(matte_errors(mine, theirs)))
    apart = [(recovered.vertices(f) - true.vertices(f)).norm(dim=-1) * 1000 for f in true.frame_ids]
    expressions = recovered.codes().expression - true.codes().expression
    return {
        **{f"mask_{key}": round(float(np.mean([one[key] for one in mattes])), 4) for key in mattes[0]},
        "vertices_mm": round(float(torch.stack(apart).mean()), 3),
        "expression_error": round(float(expressions.abs().mean()), 4),
    }


def mask(capture: Capture, frame: str, camera: str) -> np.ndarray:
    """Alpha [H, W] in [0, 1]."""
    with Image.open(capture.root / f"images/{frame}/mask_{camera}.png") as picture:
        return np.asarray(picture) / 255


def main() -> None:
    """Film, recover, train twice, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs=2, default=[600, 900], help="of both stages (default 600 900)")
    parser.add_argument("--folder", type=Path, help="keeps captures and runs; continues there (default: temporary)")
    parser.add_argument("--output", type=Path, help="JSON file of the results; a picture goes beside it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        captures, seconds = make_captures(folder)
        figures, rows = {}, []
        for name, capture in captures.items():
            started = time.monotonic()
            run = train(folder, name, capture, tuple(arguments.steps))
            seconds[f"training, {name}"] = time.monotonic() - started
            figures[name], pictures = measure(run, captures["true"], capture)
            rows += pictures
        report = json.loads((folder / "fit" / "report.json").read_text())
        inputs = {**compare_inputs(captures), "residual_rms_px": report["residual"]["rms_px"]}
    lost = {key: round(figures["true"][key] - figures["recovered"][key], 3) for key in ("head_psnr", "foreground_psnr")}
    result = {
        "command": f"python benchmarks/recovered_capture.py --steps {arguments.steps[0]} {arguments.steps[1]}",
        "commit": commit(),
        "machine": f"{processor()}, {torch.get_num_threads()} threads",
        "protocol": "held-out sequence, training cameras; truth is the picture under the true mask on white, regions "
        "from true landmarks and poses, for both avatars; each is driven by the codes of its own capture",
        "views": sum(len(captures["true"].split.test_frames) for _ in captures["true"].split.train_cameras),
        "recovered_inputs": inputs,
        "lost_db": lost,
        "figures": figures,
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
    }
    print(json.dumps(result, indent=1))
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        picture = Image.fromarray(make_grid(rows))
        picture.thumbnail((1400, 4000))
        picture.save(arguments.output.with_suffix(".jpg"), quality=85)


if __name__ == "__main__":
    main()
