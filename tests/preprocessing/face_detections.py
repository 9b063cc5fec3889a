"""What a landmark detector would say of the built-in head filmed by the synthetic rig, and the truth."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from gha.capture.synthetic import CaptureRecipe, Stage, set_stage
from gha.faces import ProceduralHead
from gha.geometry import Camera
from gha.geometry.similarity import transform

RESOLUTION = 1024
NOISE = 1.5  # pixels


@lru_cache(maxsize=1)
def small_head():
    return ProceduralHead(texture_size=64, hair_strands=50)


@dataclass(frozen=True)
class Scene:
    """T true frames: vertices [T, R, 3], landmarks [T, 68, 3], expression [T, E], and true pixels [T, V, 68, 2]."""

    stage: Stage
    cameras: Camera
    vertices: torch.Tensor
    landmarks: torch.Tensor
    expression: torch.Tensor
    pixels: torch.Tensor

    @property
    def model(self):
        return self.stage.model

    def detect(self, noise=NOISE, outliers=0.05, missing=0.1, seed=0, pixels=None):
        """Detections [T, V, 68, 3] with noise in pixels, shares of wild points and of views without a face."""
        generator = torch.Generator().manual_seed(seed)
        pixels = self.pixels if pixels is None else pixels
        points = pixels + noise * torch.randn(pixels.shape, generator=generator)
        wild = torch.rand(pixels.shape[:-1], generator=generator) < outliers
        points = points + wild[..., None] * 60 * torch.randn(pixels.shape, generator=generator)
        seen = torch.rand(pixels.shape[:2], generator=generator) >= missing
        score = seen[..., None].expand(pixels.shape[:-1]).float()
        return torch.cat([points, score[..., None]], -1)

    def millimetres(self, vertices):
        """Distances of vertices [T, R, 3] from the true ones."""
        return (vertices - self.vertices).norm(dim=-1) * 1000


def make_scene(frames=8, cameras=6, identity=3, model=None, seed=0):
    """Frames sampled over a whole performance."""
    model = model or small_head()
    stage = set_stage(model, CaptureRecipe(identity, frames, cameras, RESOLUTION, seed))
    codes = [stage.code(index) for index in range(frames)]
    landmarks, region = model.at_vertices(model.landmarks), model.at_vertices(model.face_region)

    def posed(points):
        return torch.stack([code.to_world(points(stage.identity, code.expression).float()) for code in codes])

    marks = posed(landmarks)
    pixels, _ = stage.rig.cameras.project(marks[:, None])
    expression = torch.stack([code.expression for code in codes])
    return Scene(stage, stage.rig.cameras, posed(region), marks, expression, pixels)


def moved_cameras(cameras, rotation, scale, shift):
    """The same rig in another world: y = scale * rotation @ x + shift."""
    w2c = cameras.w2c.double().clone()
    w2c[:, :3, 3] *= scale
    w2c[:, :3, :3] = w2c[:, :3, :3] @ rotation.T
    w2c[:, :3, 3] -= transform(shift.expand(len(w2c), 1, 3), w2c[:, :3, :3])[:, 0]
    return Camera(w2c, cameras.K.double(), cameras.width, cameras.height)


def outlines(scene):
    """Pixels [T, V, 68, 2] whose jaw line lies on the outline: the outermost part of the face in its direction.

    Looks at all vertices of the face in front of a landmark, in a strip through it; knows nothing of tracks.
    """
    model = scene.model
    still = torch.zeros(model.identity_size), torch.zeros(len(model.expression_names))
    region, marks = (model.at_vertices(ids)(*still) for ids in (model.face_region, model.landmarks))
    all_pixels, _ = scene.cameras.project(scene.vertices[:, None])
    result = scene.pixels.clone()
    for jaw in range(17):
        chin = jaw in (7, 8, 9)
        middle = scene.landmarks[:, 57] if chin else (scene.landmarks[:, jaw] + scene.landmarks[:, 16 - jaw]) / 2
        middle = scene.cameras.project(middle[:, None, None])[0][:, :, 0]
        own = scene.pixels[:, :, jaw]
        out = torch.nn.functional.normalize(own - middle, dim=-1)
        away = all_pixels - middle[:, :, None]
        along = (away * out[:, :, None]).sum(-1)
        across = (away[..., 0] * out[:, :, None, 1] - away[..., 1] * out[:, :, None, 0]).abs()
        same_side = torch.ones(len(region), dtype=bool) if chin else region[:, 0] * np.sign(jaw - 8) > 0.15
        in_front = (region[:, 2] >= marks[jaw, 2] - 0.02) & (region[:, 1] >= marks[8, 1] - 0.05)
        farthest = along.masked_fill(~((across < 4) & same_side & in_front), -torch.inf).amax(-1)
        further = farthest > ((own - middle) * out).sum(-1)
        result[:, :, jaw] = torch.where(further[..., None], middle + farthest[..., None] * out, own)
    return result
