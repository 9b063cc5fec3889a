"""A raw recording in miniature, as a rig would deliver it: for tests, measurements, and trying the commands.

The same folders and files as a NeRSemble download, of either version: mp4 at 73 frames per second of the built-in head
in front of a textured, unevenly lit wall on which it throws a shadow, with the noise of a sensor, portrait pictures, a
picture of the empty stage per camera, calibration, and in version 2 the colours of the cameras. What a real download
lacks is kept beside it: true masks, codes and landmarks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from tqdm import tqdm

from gha.capture.film import BLACK, LitSurface, film_image, light_surface
from gha.capture.film_textures import encoding_table, linear_to_srgb, srgb_to_linear
from gha.capture.performance import free_sequence
from gha.capture.synthetic import SCALE, CaptureRecipe, Stage, set_stage
from gha.faces.code import HeadCode
from gha.faces.face_model import FaceModel
from gha.files import open_atomically, write_atomically
from gha.geometry import Camera

from .raw_video import write_video

Version = Literal["v1", "v2"]
FPS = Fraction(73)
TRUTH = "truth"
TO_LINEAR = srgb_to_linear(np.arange(256) / 255)
TO_BYTES = encoding_table()


@dataclass(frozen=True)
class Miniature:
    """What is filmed.

    Attributes:
        version: of the folders.
        identity: folder name of the person.
        person: which person, as in ``CaptureRecipe.identity``.
        sequences: name of each sequence to its number of raw frames.
        cameras: number of cameras.
        width: of the portrait pictures, in pixels.
        height: of the portrait pictures.
        missing_at_end: raw frames that the video of (sequence, index of the camera) lacks at its end.
        noise: standard deviation of the sensor noise at white, sRGB in [0, 255]; a third of it in black.
        colour_variation: how far the cameras' colours are from the truth; 0: not at all.
        shadow: share of the wall's light that the head takes where it throws its shadow.
        speed: how many times as fast as life the head moves, so that a few frames show something.
        seed: of motion, wall, noise and colours.
    """

    version: Version = "v2"
    identity: str = "031"
    person: int = 0
    sequences: Mapping[str, int] = field(
        default_factory=lambda: {"EMO-1-shout+laugh": 13, "EXP-1-head": 10, "EXP-6-tongue-1": 4, "FREE": 10}
    )
    cameras: int = 4
    width: int = 110
    height: int = 160
    missing_at_end: Mapping[tuple[str, int], int] = field(default_factory=dict)
    noise: float = 3.0
    colour_variation: float = 0.09
    shadow: float = 0.35
    speed: float = 8.0
    seed: int = 0

    @property
    def crop(self) -> tuple[int, int, int, int]:
        """Left, top, width and height of the square that the default crop of NeRSemble's pictures corresponds to."""
        side = round(self.width * 2600 / 2200)
        return -((side - self.width) // 2), (self.height - side) // 2, side, side


def write_miniature(root: str | Path, model: FaceModel, recipe: Miniature, progress: bool = False) -> Path:
    """Film ``recipe`` into the folder ``root``, which may hold other people already; returns the folder.

    ``truth/{identity}/`` holds per sequence ``codes.npz`` (expression [T, E], pose [T, 6], scale [T, 1], identity
    [I]), ``landmarks.npy`` [T, 68, 3] and ``vertices.npy`` [T, R, 3] in metres, and per raw frame
    ``{timestep:05d}_{serial}.png``, the coverage of the head as an uncropped picture.
    """
    root = Path(root)
    costume = CaptureRecipe(recipe.person, 3, recipe.cameras, seed=recipe.seed, held_out_cameras=0)
    stage = set_stage(model, costume)
    rig = _Rig(stage, recipe)
    _write_calibration(root, recipe, rig)
    for camera_id, plate in zip(rig.camera_ids, rig.plates(), strict=True):
        path = background_path(root, recipe, camera_id)
        with open_atomically(path) as file:
            Image.fromarray(plate).save(file, "JPEG", quality=95, subsampling=0)
    bar = tqdm(total=sum(recipe.sequences.values()), unit="timestep", disable=not progress)
    for number, (name, count) in enumerate(recipe.sequences.items()):
        _film_sequence(root, stage, rig, recipe, name, _performance(stage, recipe, number, count), bar)
    return root


def video_path(root: Path, recipe: Miniature, sequence: str, camera_id: str) -> Path:
    """Where the video of a camera lies."""
    if recipe.version == "v1":
        return root / f"sequence_{sequence}_part-1" / recipe.identity / sequence / f"cam_{camera_id}.mp4"
    return root / recipe.identity / "sequences" / sequence / "images" / f"cam_{camera_id}.mp4"


def background_path(root: Path, recipe: Miniature, camera_id: str) -> Path:
    """Where the picture of the empty stage lies."""
    if recipe.version == "v1":
        folder = root / "sequence_BACKGROUND_part-1" / recipe.identity / "BACKGROUND"
    else:
        folder = root / recipe.identity / "sequences" / "BACKGROUND"
    return folder / f"image_{camera_id}.jpg"


def truth_path(root: Path, identity: str, sequence: str, name: str) -> Path:
    """Where what a real download lacks lies."""
    return root / TRUTH / identity / sequence / name


class _Rig:
    """Cameras with one K, as NeRSemble has it, the wall as each of them sees it, and what each does to colours."""

    def __init__(self, stage: Stage, recipe: Miniature) -> None:
        left, top, side, _ = recipe.crop
        square = stage.rig.cameras.resize(side, side)
        shared = Camera(square.w2c, square.K.mean(0).expand_as(square.K).clone(), side, side)
        self.cameras = shared.crop(-left, -top, recipe.width, recipe.height)
        self.camera_ids = stage.rig.camera_ids
        self.recipe = recipe
        generator = np.random.default_rng([recipe.seed, 21])
        self.walls = [_wall(generator, recipe.height, recipe.width) for _ in self.camera_ids]
        # The calibration takes a camera's linear colours to true ones; the camera itself does the inverse.
        shift = generator.normal(size=(len(self.camera_ids), 3, 3)) * recipe.colour_variation
        self.corrections = np.round(np.eye(3) + shift * (np.eye(3) + 0.5), 6)
        self._noise = np.random.default_rng([recipe.seed, 22])

    def plates(self) -> list[np.ndarray]:
        """Pictures of the empty stage; the lamps were a little weaker when they were taken."""
        return [self.record(index, 0.98 * wall) for index, wall in enumerate(self.walls)]

    def record(self, index: int, light: np.ndarray) -> np.ndarray:
        """The sRGB bytes [H, W, 3] that a camera makes of linear light [H, W, 3]."""
        if self.recipe.version == "v2":
            light = light @ np.linalg.inv(self.corrections[index]).T
        values = 255 * linear_to_srgb(light)
        sigma = self.recipe.noise * (1 / 3 + 2 / 3 * np.sqrt(values / 255))
        noisy = values + sigma * self._noise.normal(size=values.shape)
        return np.rint(np.clip(noisy, 0, 255)).astype(np.uint8)

    def film(self, index: int, lit: LitSurface, samples: int) -> tuple[np.ndarray, np.ndarray]:
        """A picture uint8 [H, W, 3] in front of the wall, and the coverage uint8 [H, W] of the head."""
        head, alpha = film_image(lit, None, self.cameras[index], backdrop=BLACK, supersample=samples, lens_blur=0.7)
        reach = self.recipe.width / 12
        shadow = ndimage.gaussian_filter(ndimage.shift(alpha / 255, (reach, -reach), order=1), reach / 3)
        behind = self.walls[index] * (1 - self.recipe.shadow * shadow[..., None])
        return self.record(index, TO_LINEAR[head] + (1 - alpha[..., None] / 255) * behind), alpha


def _wall(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Linear light float [H, W, 3] of a wall: paint with stains and a seam, a lamp from one side."""
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    stains = ndimage.gaussian_filter(generator.normal(size=(height, width, 4)), (width / 14, width / 14, 0))
    stains = stains / stains.std()
    grain = ndimage.gaussian_filter(generator.normal(size=(height, width)), 0.8)
    stripes = np.sin(2 * np.pi * (columns * 6 + 0.3 * np.sin(9 * rows)) + generator.uniform(0, 6))
    lamp = np.exp(-((rows - generator.uniform(0, 0.6)) ** 2 + (columns - generator.uniform(0, 0.7)) ** 2) / 0.35)
    paint = generator.uniform(0.45, 0.7) + 0.07 * stains[..., 3:] + 0.03 * stains[..., :3]
    paint = paint + 0.03 * (grain / grain.std())[..., None] + 0.04 * stripes[..., None]
    seam = 1 - 0.5 * np.exp(-(((columns - generator.uniform(0.1, 0.6)) * 60) ** 2))
    return np.clip(srgb_to_linear(np.clip(paint, 0.05, 1)) * (0.35 + 0.75 * lamp * seam)[..., None], 0.0, 1.0)


def _performance(stage: Stage, recipe: Miniature, number: int, count: int) -> HeadCode:
    """Codes [T] of one sequence."""
    fps = float(FPS) / recipe.speed
    seed = recipe.seed * 64 + number
    moves = free_sequence(
        stage.model.expression_names, count / fps, fps, seed, tuple(stage.model.neck_pivot.tolist()), SCALE
    )
    expression, pose = moves.expression[:count], moves.pose[:count]
    if number == 0:
        # As in a real recording, the first frame is at rest.
        expression = expression * torch.linspace(0, 1, count)[:, None].clamp(max=0.5) * 2
    identity = stage.identity.expand(count, -1)
    return HeadCode(expression=expression, pose=pose, scale=torch.full((count, 1), SCALE), identity=identity)


def _film_sequence(
    root: Path, stage: Stage, rig: _Rig, recipe: Miniature, name: str, codes: HeadCode, bar: tqdm
) -> None:
    """Write the videos of one sequence and the truth about it."""
    videos: list[list[np.ndarray]] = [[] for _ in rig.camera_ids]
    landmarks, region = [], []
    for timestep in range(len(codes.pose)):
        vertices = stage.vertices(codes[timestep])
        landmarks.append(vertices[stage.model.landmarks].numpy())
        region.append(vertices[stage.model.face_region].numpy())
        lit = light_surface(stage.surface, vertices.numpy(), SCALE, stage.recipe.lighting)
        for index, camera_id in enumerate(rig.camera_ids):
            picture, alpha = rig.film(index, lit, stage.recipe.samples)
            videos[index].append(picture)
            with open_atomically(truth_path(root, recipe.identity, name, f"{timestep:05d}_{camera_id}.png")) as file:
                Image.fromarray(alpha).save(file, "PNG")
        bar.update(1)
    for index, camera_id in enumerate(rig.camera_ids):
        kept = len(videos[index]) - recipe.missing_at_end.get((name, index), 0)
        write_video(video_path(root, recipe, name, camera_id), videos[index][:kept], FPS)
    arrays = {
        "expression": codes.expression.numpy(),
        "pose": codes.pose.numpy(),
        "scale": codes.scale.numpy(),
        "identity": stage.identity.numpy(),
    }
    with open_atomically(truth_path(root, recipe.identity, name, "codes.npz")) as file:
        np.savez(file, **arrays)
    for what, values in (("landmarks", landmarks), ("vertices", region)):
        with open_atomically(truth_path(root, recipe.identity, name, f"{what}.npy")) as file:
            np.save(file, np.stack(values).astype(np.float32))


def _write_calibration(root: Path, recipe: Miniature, rig: _Rig) -> None:
    """camera_params.json, and in version 2 color_calibration.json."""
    cameras = {
        "world_2_cam": dict(zip(rig.camera_ids, rig.cameras.w2c.double().tolist(), strict=True)),
        "intrinsics": rig.cameras.K[0].double().tolist(),
    }
    if recipe.version == "v1":
        write_atomically(root / "camera_params" / recipe.identity / "camera_params.json", json.dumps(cameras))
        return
    folder = root / recipe.identity / "calibration"
    write_atomically(folder / "camera_params.json", json.dumps(cameras))
    colours: dict[str, Sequence[Sequence[float]]] = dict(zip(rig.camera_ids, rig.corrections.tolist(), strict=True))
    write_atomically(folder / "color_calibration.json", json.dumps(colours))
