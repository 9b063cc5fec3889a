"""Filming a parametric head into a capture on disk: the test bed, the demo, and data of any size with true codes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from gha.errors import InputError
from gha.faces.code import HeadCode
from gha.faces.face_model import FaceModel
from gha.files import open_atomically
from gha.limits import Limit, between, find_violations, limited

from .film import BLACK, Backdrop, FilmSurface, Lighting, LitSurface, compile_kernels, film_image, light_surface
from .info import CaptureInfo, Split
from .performance import FREE, Performance, head_poses, procedural_performance, recorded_performance
from .rig import SERIALS, Rig, held_out_cameras, make_rig
from .writer import CaptureWriter

SMALL = 512  # pixels; up to here an image is filmed with less effort per sample
GENERATOR_VERSION = "4"
SCALE = 0.1  # metres per decimetre
# Posing uses torch's own threads; were every worker to call it at once they would get in each other's way.
_POSING = threading.Lock()
PART = 4  # cameras of one frame that are worth lighting it again
Job = tuple[int, str, list[str]]  # index and id of a frame, cameras that film it
MOUTH_CORNERS = (48, 54)  # of the 68 landmarks; the original's layout leaves them out


@limited(
    identity=between(0, 2**31 - 1),
    frames=between(3, 100_000),
    cameras=between(2, len(SERIALS)),
    resolution=between(16, 16384),
    seed=between(0, 2**31 - 1),
    held_out=Limit("a share of at least 0 and below 1", lambda value, _: 0 <= value < 1),
    held_out_cameras=Limit(
        "at least 0 and fewer than there are cameras", lambda value, recipe: 0 <= value < recipe.cameras
    ),
    exposure_variation=between(0, 2),
    supersample=between(0, 16),
    lens_blur=between(0, 10),
)
@dataclass(frozen=True)
class CaptureRecipe:
    """Everything that determines a synthetic capture besides the face model.

    Attributes:
        identity: 0 is the model's own person, any other number draws one.
        frames: number of timesteps.
        cameras: number of cameras, 2 to 16.
        resolution: side of the images in pixels.
        seed: of performance, rig and colours.
        motion: ``"auto"`` for a procedural performance, or the path of a recorded one.
        held_out: share of the frames in the held-out sequence.
        held_out_cameras: number of cameras held out.
        exposure_variation: standard deviation of exposure between cameras (natural logarithm), 0 for none.
        backdrop: ``"grey"`` or ``"black"``.
        supersample: samples along the side of a pixel; 0 chooses by resolution.
        lens_blur: standard deviation in pixels of the cameras' point spread. The default passes half the contrast at
            0.27 cycles per pixel, as a sharp photograph with a colour-filter sensor does; without it edges alias.
        original: write the layout of the original system to the letter.
    """

    identity: int = 0
    frames: int = 36
    cameras: int = 16
    resolution: int = 256
    seed: int = 0
    motion: str = "auto"
    held_out: float = 0.2
    held_out_cameras: int = 2
    exposure_variation: float = 0.0
    backdrop: str = "grey"
    supersample: int = 0
    lens_blur: float = 0.7
    original: bool = False

    def __post_init__(self) -> None:
        for problem in find_violations(self):
            raise InputError(problem)
        if self.backdrop not in ("grey", "black"):
            raise InputError(f"backdrop: found {self.backdrop!r}, expected grey or black")

    @property
    def samples(self) -> int:
        """Samples along the side of a pixel: more where pixels are few and each holds much."""
        return self.supersample or (3 if self.resolution <= SMALL else 2)

    @property
    def lighting(self) -> Lighting:
        """The lights; shadows are as fine as the resolution can show."""
        return Lighting(shadow_directions=24, shadow_resolution=128) if self.resolution <= SMALL else Lighting()


@dataclass(frozen=True)
class Stage:
    """A face model in costume and the people and cameras around it: what filming one frame needs."""

    model: FaceModel
    surface: FilmSurface
    identity: torch.Tensor
    performance: Performance
    expression: np.ndarray
    rig: Rig
    recipe: CaptureRecipe

    def code(self, frame: int) -> HeadCode:
        """The true driving parameters of one frame; the head turns about its neck."""
        turn, shift = self.performance.turn[frame], self.performance.shift[frame]
        return HeadCode(
            expression=torch.from_numpy(self.expression[frame]),
            pose=head_poses(turn, shift, self.model.neck_pivot, SCALE),
            scale=torch.tensor([SCALE]),
            identity=self.identity,
        )

    def vertices(self, code: HeadCode) -> torch.Tensor:
        """World vertices [V, 3]: the head follows its pose, the shoulders stay, the neck bends between."""
        canonical = self.model.vertices(self.identity, code.expression)
        weights = self.model.head_weights[:, None]
        return weights * code.to_world(canonical) + (1 - weights) * SCALE * canonical


def make_capture(
    model: FaceModel, output: str | Path, recipe: CaptureRecipe, workers: int | None = None, progress: bool = True
) -> Path:
    """Film ``model`` into the folder ``output``; continues where an interrupted run stopped.

    The same recipe gives the same bytes, however many workers film.

    Args:
        model: any parametric head.
        output: folder of the capture.
        recipe: what to film.
        workers: threads; default one per processor core.
        progress: show a progress bar.

    Returns:
        The folder.
    """
    if workers is not None and workers < 1:
        raise InputError(f"workers: found {workers}, expected at least 1")
    workers = workers or os.cpu_count() or 1
    with ThreadPoolExecutor(1, thread_name_prefix="compiling") as pool:
        compiled = pool.submit(compile_kernels)  # while textures are packed, mostly outside the interpreter
        stage = set_stage(model, recipe)
    compiled.result()
    frame_ids = [f"{index:04d}" for index in range(recipe.frames)]
    writer = CaptureWriter(output, _capture_info(stage, frame_ids), original=recipe.original)
    _write_fixed_files(writer, stage, workers)
    missing = {f: [c for c in stage.rig.camera_ids if not writer.is_done(f, c)] for f in frame_ids}
    total = len(frame_ids) * len(stage.rig.camera_ids)
    with tqdm(total=total, unit="image", desc="filming", disable=not progress) as bar:
        bar.update(total - sum(map(len, missing.values())))
        bar.unpause()
        film = _Filming(writer, stage, bar)
        film.run(_jobs([(i, f, missing[f]) for i, f in enumerate(frame_ids) if missing[f]], workers), workers)
    writer.finish()
    return Path(output)


def set_stage(model: FaceModel, recipe: CaptureRecipe) -> Stage:
    """Choose the person, let them act, and set up the cameras."""
    generator = torch.Generator().manual_seed(recipe.identity)
    identity = torch.randn(model.identity_size, generator=generator) * 0.7 if recipe.identity else None
    identity = torch.zeros(model.identity_size) if identity is None else identity
    if recipe.motion == "auto":
        performance = procedural_performance(recipe.frames, recipe.seed, recipe.held_out)
    else:
        performance = recorded_performance(recipe.motion, recipe.frames, recipe.seed, recipe.held_out)
    return Stage(
        model=model,
        surface=FilmSurface.of(model.triangles.numpy(), model.appearance(identity, recipe.identity)),
        identity=identity,
        performance=performance,
        expression=performance.for_model(model.expression_names),
        rig=make_rig(recipe.cameras, recipe.resolution, recipe.seed, recipe.exposure_variation),
        recipe=recipe,
    )


def _capture_info(stage: Stage, frame_ids: list[str]) -> CaptureInfo:
    recipe, sequences, start = stage.recipe, {}, 0
    for name, count in stage.performance.sequences:
        sequences[name] = tuple(frame_ids[start : start + count])
        start += count
    held_out = held_out_cameras(stage.rig.camera_ids, recipe.held_out_cameras)
    return CaptureInfo(
        resolution=(recipe.resolution, recipe.resolution),
        fps=stage.performance.fps,
        split=Split.holding_out(frame_ids, stage.rig.camera_ids, sequences.get(FREE, ()), held_out),
        sequences=sequences,
        expression_names=stage.model.expression_names,
        unit="metre",
        face_model=stage.model.name,
        face_model_version=stage.model.version,
        generator_version=GENERATOR_VERSION,
        recipe={**asdict(recipe), "motion": Path(recipe.motion).name},
    )


def _backdrop(recipe: CaptureRecipe) -> Backdrop:
    return BLACK if recipe.backdrop == "black" else Backdrop()


def _jobs(frames: list[Job], workers: int) -> list[Job]:
    """``frames``, but the last ones in parts, so that all workers end at about the same time."""
    whole = max(0, len(frames) - workers)
    parts = [
        (index, frame_id, camera_ids[first : first + PART])
        for index, frame_id, camera_ids in frames[whole:]
        for first in range(0, len(camera_ids), PART)
    ]
    return frames[:whole] + parts if workers > 1 else frames


def _write_fixed_files(writer: CaptureWriter, stage: Stage, workers: int) -> None:
    """What does not change over time: pictures of the empty stage, and in our layout the visible maps."""
    size = stage.recipe.resolution
    nothing = np.zeros((0, 3), dtype=np.float32)
    bare = replace(stage.surface, triangles=stage.surface.triangles[:0])
    empty = LitSurface(bare, nothing, nothing, nothing[:, 0], SCALE)

    def write(index: int, camera_id: str) -> None:
        gain = tuple(stage.rig.gains[index].tolist())
        rgb, _ = film_image(empty, None, stage.rig.cameras[index], backdrop=_backdrop(stage.recipe), gain=gain)
        writer.write_background(camera_id, rgb)
        if not stage.recipe.original:
            writer.write_visible(camera_id, np.full((size, size), 255, dtype=np.uint8))

    with ThreadPoolExecutor(workers, thread_name_prefix="filming") as pool:
        list(pool.map(write, range(len(stage.rig.camera_ids)), stage.rig.camera_ids))


class _Filming:
    """Threads that film frame after frame into one capture."""

    def __init__(self, writer: CaptureWriter, stage: Stage, bar: tqdm) -> None:
        self._writer, self._stage, self._bar = writer, stage, bar
        self._stopped = threading.Event()

    def run(self, jobs: list[Job], workers: int) -> None:
        """Do the jobs; the first error, or Ctrl-C, ends all threads."""
        with ThreadPoolExecutor(workers, thread_name_prefix="filming") as pool:
            futures = [pool.submit(self._film, *job) for job in jobs]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                # The block waits for what runs: were compiled code still at work when Python ends, it would abort.
                self._stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _film(self, index: int, frame_id: str, camera_ids: list[str]) -> None:
        for _ in _film_frame(self._writer, self._stage, index, frame_id, camera_ids):
            self._bar.update(1)
            if self._stopped.is_set():
                return


def _film_frame(writer: CaptureWriter, stage: Stage, index: int, frame_id: str, camera_ids: list[str]) -> Iterator[str]:
    """Write one frame, camera by camera; first everything small, so that a frame whose pictures exist is complete."""
    with _POSING:
        code = stage.code(index)
        vertices = stage.vertices(code)
    rig, recipe = stage.rig, stage.recipe
    landmarks = vertices[stage.model.landmarks]
    if recipe.original:
        kept = [i for i in range(68) if i not in MOUTH_CORNERS]
        _write_detections(writer.root, stage, frame_id, landmarks)
        landmarks = landmarks[kept]
    writer.write_cameras(frame_id, rig.camera_ids, rig.cameras)
    writer.write_frame_params(frame_id, code, landmarks, vertices[stage.model.face_region])
    lit = light_surface(stage.surface, vertices.numpy(), SCALE, recipe.lighting)
    for camera_id in camera_ids:
        camera = rig.camera_ids.index(camera_id)
        rgb, alpha = film_image(
            lit,
            None,
            rig.cameras[camera],
            lighting=recipe.lighting,
            backdrop=_backdrop(recipe),
            gain=tuple(rig.gains[camera].tolist()),
            supersample=recipe.samples,
            lens_blur=recipe.lens_blur,
        )
        if recipe.original:
            writer.write_visible(camera_id, np.full_like(alpha, 255), frame_id)
        writer.write_image(frame_id, camera_id, rgb, alpha)
        yield camera_id


def _write_detections(root: Path, stage: Stage, frame_id: str, landmarks: torch.Tensor) -> None:
    """The files of a perfect 2D landmark detector: x, y in pixels and a score of 1."""
    pixels, _ = stage.rig.cameras.project(landmarks)
    for camera_id, points in zip(stage.rig.camera_ids, pixels, strict=True):
        detection = np.concatenate([points.numpy(), np.ones((len(points), 1), np.float32)], axis=1)
        path = root / "landmarks" / frame_id / f"lmk_{camera_id}.npy"
        with open_atomically(path, durable=False) as file:
            np.save(file, detection)
