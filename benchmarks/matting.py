"""How good the built-in matting is, against true mattes of generated captures.

    python benchmarks/matting.py --output benchmarks/results/matting.json

People with hair, filmed by the miniature rig in front of a textured, unevenly lit wall that carries their shadows, with
sensor noise and H.264; extracted through crop and colour calibration, masked by the built-in method, and compared view
by view. A longer side of SIZE pixels; other sizes with --size.
"""

import argparse
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image
from provenance import commit, processor

from gha.capture import open_capture
from gha.faces.registry import load_face_model
from gha.preprocessing.clean_plate import matte_from_plate
from gha.preprocessing.crop import CropWindow
from gha.preprocessing.extraction import ExtractionSettings
from gha.preprocessing.extraction_run import extract_identities
from gha.preprocessing.matting_measures import LEAST_TOLERANCE, TOLERANCE, MatteErrors, matte_errors
from gha.preprocessing.miniature import Miniature, truth_path, write_miniature

STEP = 3


def recipe(person: int, size: int, noise: float, timesteps: int) -> Miniature:
    """One person at a size, in a film of their own."""
    width = round(size / 512 * 440 / 2) * 2
    height = round(width * 3208 / 2200 / 2) * 2
    return Miniature(
        identity=f"{person:03d}", person=person, sequences={"EMO": timesteps, "FREE": 1}, width=width, height=height,
        noise=noise, seed=person,
    )  # fmt: skip


def measure(folder: Path, film: Miniature, size: int, sheet: list[np.ndarray]) -> tuple[list[MatteErrors], float]:
    """Errors of every view of a person, and seconds per view; adds pictures of the first timestep to ``sheet``."""
    settings = ExtractionSettings(crop=film.crop, size=size, frame_step=STEP)
    [extraction] = extract_identities(folder / "raw", folder / "captures", [film.identity], settings, progress=False)
    capture, window, errors, seconds = open_capture(extraction.folder), CropWindow(*film.crop, size), [], 0.0
    for sequence, frames in capture.info.sequences.items():
        for index, frame in enumerate(frames):
            for camera in capture.camera_ids:
                picture = read(extraction.folder / f"images/{frame}/image_{camera}.jpg")
                plate = read(extraction.folder / f"background/image_{camera}.jpg")
                visible = read(extraction.folder / f"visible/visible_{camera}.png")
                name = f"{index * STEP:05d}_{camera}.png"
                truth = window.apply(read(truth_path(folder / "raw", film.identity, sequence, name)))
                start = time.perf_counter()
                alpha = matte_from_plate(picture, plate, visible)
                seconds += time.perf_counter() - start
                truth = np.where(visible > 0, truth, 0)
                errors.append(matte_errors(alpha / 255, truth / 255, visible > 0))
                if index == 0 and camera in capture.camera_ids[:2]:
                    gray = [np.repeat(x[..., None], 3, 2) for x in (alpha, truth)]
                    green = picture * (alpha[..., None] / 255) + np.array([0, 200, 0]) * (1 - alpha[..., None] / 255)
                    sheet.append(np.concatenate([picture, *gray, green.astype(np.uint8)], 1))
    return errors, seconds / len(errors)


def read(path: Path) -> np.ndarray:
    """A picture as it is."""
    with Image.open(path) as opened:
        return np.asarray(opened)


def summary(errors: list[MatteErrors]) -> dict[str, float]:
    """Means and worst cases."""
    values = {key: [asdict(error)[key] for error in errors] for key in asdict(errors[0])}
    means = {f"mean_{key}": round(float(np.mean(found)), 4) for key, found in values.items()}
    worst = {"worst_absolute": max(values["absolute"]), "worst_boundary_f": min(values["boundary_f"])}
    return means | {key: round(value, 4) for key, value in worst.items()}


def main() -> None:
    """Film, mask, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="longer side of the pictures (default 512)")
    parser.add_argument("--people", type=int, nargs="+", default=[0, 3, 7], help="which people (default 0 3 7)")
    parser.add_argument("--noise", type=float, nargs="+", default=[3.0], help="of the sensor, in bytes (default 3)")
    parser.add_argument("--timesteps", type=int, default=4, help="raw timesteps of the longer sequence (default 4)")
    parser.add_argument("--output", type=Path, help="JSON file of the results; a picture goes beside it")
    arguments = parser.parse_args()
    model = load_face_model("procedural", texture_size=2048 if arguments.size > 768 else 1024)
    results, sheet = {}, []
    for noise in arguments.noise:
        for person in arguments.people:
            with tempfile.TemporaryDirectory() as name:
                film = recipe(person, arguments.size, noise, arguments.timesteps)
                write_miniature(Path(name) / "raw", model, film)
                errors, seconds = measure(Path(name), film, arguments.size, sheet)
            results[f"person {person}, noise {noise:g}"] = {"views": len(errors), **summary(errors)} | {
                "seconds_per_view": round(seconds, 2)
            }
            print(f"person {person}, noise {noise:g}:", results[f"person {person}, noise {noise:g}"], flush=True)
    if arguments.output:
        report = {
            "command": f"python benchmarks/matting.py --size {arguments.size}",
            "commit": commit(),
            "machine": f"{processor()}, one thread",
            "measures": "alpha in [0, 1]; absolute: mean over recorded pixels; edge_absolute: over those within four "
            f"tolerances of the true outline; boundary_f: outlines at 0.5, tolerance {TOLERANCE:.4g} of the longer "
            f"side, at least {LEAST_TOLERANCE} pixels",
            "results": results,
        }
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        picture = Image.fromarray(np.concatenate(sheet))
        picture.thumbnail((1200, 4000))
        picture.save(arguments.output.with_suffix(".jpg"), quality=85)


if __name__ == "__main__":
    main()
