"""The original's data flow at the original's sizes: eager PyTorch, fp32, one sample at a time.

A restatement for timing, written from a description of the released system and not from its source; it shares with
the library only what the original took from other packages: the rasteriser (any back end of this library), maps
between rotations, cameras. What is matched and what is not: FAIRNESS.md.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from baseline_networks import FEATURE_SIZE, HEAD_MLPS, PerceptualNetwork, PointMLP, Upsampler, encode
from PIL import Image
from scene import CAMERAS, FRAMES, UPSCALE, Scene
from torch import Tensor, nn
from torch.nn.functional import interpolate, l1_loss, normalize

from gha.faces.code import HeadCode
from gha.geometry import Camera, axis_angle_to_matrix, matrix_to_quaternion, quaternion_to_matrix
from gha.rendering import Gaussians, RenderOptions, render_gaussians

NEAR, FAR = 0.1, 0.25  # squared decimetres
DEFORM_SCALE, ATTRIBUTES_SCALE = 0.3, 0.2
ZOOM = (0.8, 1.25)
PERCEPTUAL_WEIGHT, PERCEPTUAL_WINDOW = 0.1, 512
OPTIONS = RenderOptions(near=0.2)


class Cloud(Protocol):
    """What Gaussians start from: canonical, decimetres, all on one device.

    Attributes:
        means: [N, 3].
        scales: standard deviations [N].
        opacity_logits: [N].
        landmarks: neutral landmarks [L, 3].
    """

    means: Tensor
    scales: Tensor
    opacity_logits: Tensor
    landmarks: Tensor


class Generator(nn.Module):
    """The Gaussians of the second stage, posed sample by sample through six MLPs.

    Args:
        cloud: what the Gaussians start from.
        widths: of the MLPs, by name as in :data:`HEAD_MLPS`.
        feature_size: channels that every Gaussian hands to the MLPs of colour and attributes; random at first.
    """

    def __init__(
        self, cloud: Cloud, widths: Mapping[str, Sequence[int]] = HEAD_MLPS, feature_size: int = FEATURE_SIZE
    ) -> None:
        super().__init__()
        count = len(cloud.means)
        self.xyz = nn.Parameter(cloud.means.clone())
        self.feature = nn.Parameter(torch.randn(count, feature_size))
        self.scales = nn.Parameter(cloud.scales.log()[:, None].repeat(1, 3))
        self.rotation = nn.Parameter(torch.tensor([1.0, 0, 0, 0]).repeat(count, 1))
        self.opacity = nn.Parameter(cloud.opacity_logits[:, None].clone())
        self.register_buffer("landmarks", cloud.landmarks.clone())
        self.mlps = nn.ModuleDict(
            {name: PointMLP(sizes, bounded=name.endswith("deform")) for name, sizes in widths.items()}
        )
        with torch.no_grad():
            # The original starts from trained ones, which move the head by millimetres.
            for name in ("exp_deform", "pose_deform"):
                self.mlps[name].layers[-1].weight.mul_(0.01)
                self.mlps[name].layers[-1].bias.zero_()
        self.to(cloud.means.device)

    def forward(self, code: HeadCode) -> Gaussians:
        """Gaussians [B, N] in world space for expressions [B, E], poses [B, 6] and scales [B, 1]."""
        samples = [self._sample(code.expression[i], code.pose[i], code.scale[i]) for i in range(len(code.pose))]
        names = ("means", "quats", "scales", "opacities", "features")
        return Gaussians(**{name: torch.stack([getattr(s, name) for s in samples]) for name in names})

    def _sample(self, expression: Tensor, pose: Tensor, scale: Tensor) -> Gaussians:
        distance = self._squared_distance()
        weight = ((FAR - distance) / (FAR - NEAR)).clamp(0, 1)[:, None]
        near, far = (distance < FAR).nonzero()[:, 0], (distance > NEAR).nonzero()[:, 0]
        feature, position, pose_code = torch.tanh(self.feature), encode(self.xyz), encode(pose)

        def blended(kind: str, inputs: Tensor) -> Tensor:
            of_expression = self._evaluate(f"exp_{kind}", inputs[near], expression)
            of_pose = self._evaluate(f"pose_{kind}", inputs[far], pose_code)
            out = self.xyz.new_zeros(len(inputs), of_pose.shape[1])
            return out.index_add(0, near, weight[near] * of_expression).index_add(0, far, (1 - weight[far]) * of_pose)

        color, change = blended("color", feature), ATTRIBUTES_SCALE * blended("attributes", feature)
        xyz = self.xyz + DEFORM_SCALE * blended("deform", position)
        rotation = axis_angle_to_matrix(pose[:3])
        quats = normalize(self.rotation + change[:, 3:7], dim=-1)
        return Gaussians(
            means=(scale * xyz) @ rotation.T + pose[3:],
            quats=matrix_to_quaternion(rotation @ quaternion_to_matrix(quats)),
            scales=scale * torch.exp(self.scales + change[:, :3]),
            opacities=torch.sigmoid(self.opacity + change[:, 7:])[:, 0],
            features=color,
        )

    def _squared_distance(self) -> Tensor:
        """To the nearest landmark [N], anew for every sample; differentiable."""
        with torch.no_grad():
            nearest = torch.cdist(self.xyz, self.landmarks).argmin(dim=1)
        return (self.xyz - self.landmarks[nearest]).square().sum(-1)

    def _evaluate(self, name: str, points: Tensor, condition: Tensor) -> Tensor:
        """One MLP on points [M, C], every one with its own copy of the condition [P]; returns [M, .]."""
        copies = condition[:, None].expand(-1, len(points))
        return self.mlps[name](torch.cat([points.T, copies])[None])[0].T


def splat(gaussians: Gaussians, camera: Camera, backend: str) -> Tensor:
    """Feature images [B, 32, h, w] over ones in all channels, one call of the rasteriser per sample."""
    white = torch.ones(gaussians.features.shape[-1], device=gaussians.means.device)
    fields = ("means", "quats", "scales", "opacities", "features")
    images = []
    for index in range(len(gaussians.means)):
        sample = Gaussians(**{name: getattr(gaussians, name)[index] for name in fields})
        images.append(render_gaussians(sample, camera[index], white, backend, OPTIONS).features)
    return torch.stack(images)


class Sample(NamedTuple):
    """What one training step sees, [1, ., H, W] at full and at a quarter of the size."""

    image: Tensor
    mask: Tensor
    visible: Tensor
    image_coarse: Tensor
    mask_coarse: Tensor
    visible_coarse: Tensor

    def to(self, device: torch.device) -> Sample:
        """Move everything."""
        return Sample(*(x.to(device) for x in self))


class Loader(Iterator[Sample]):
    """Random samples of a recording: three full JPEG files each, decoded by one thread, one sample ahead.

    Args:
        root: folder of the recording.
        pin_memory: page-locked tensors.
    """

    def __init__(self, root: Path, pin_memory: bool) -> None:
        self._root, self._pin = root, pin_memory
        self._random = random.Random(0)
        self._pool = ThreadPoolExecutor(1)
        self._next: Future[Sample] = self._pool.submit(self._read)

    def __next__(self) -> Sample:
        sample = self._next.result()
        self._next = self._pool.submit(self._read)
        return sample

    def close(self) -> None:
        """Stop the thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _read(self) -> Sample:
        folder, camera = self._root / "images" / self._random.choice(FRAMES), self._random.choice(CAMERAS)
        image, mask, visible = (_decode(folder / f"{kind}_{camera}.jpg") for kind in ("image", "mask", "visible"))
        mask, visible = (_unit(x[:1]) for x in (mask, visible))  # three equal channels
        image = _unit(image).mul_(mask).add_(1 - mask)
        full = (image[None], mask[None], visible[None])
        sample = Sample(*full, *(interpolate(x, scale_factor=1 / UPSCALE) for x in full))
        return Sample(*(x.pin_memory() for x in sample)) if self._pin else sample


def _decode(path: Path) -> Tensor:
    """RGB uint8 [3, H, W]."""
    with Image.open(path) as picture:
        return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)


def _unit(picture: Tensor) -> Tensor:
    """From uint8 to floats in [0, 1], contiguous."""
    return picture.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


@dataclass(frozen=True)
class Augmented:
    """Feature images, pictures and visible maps after the random zoom."""

    features: Tensor
    image: Tensor
    visible: Tensor


def zoom(features: Tensor, sample: Sample, factors: tuple[float, float] = ZOOM) -> Augmented:
    """Rescale by a random factor of a range, nearest neighbour; then a random window, or a white canvas."""
    side = features.shape[-1]
    least, most = factors
    new = int(side * (least + (most - least) * torch.rand(()).item()))
    left, top = (int(torch.randint(0, abs(side - new) + 1, ())) for _ in range(2))

    def rescaled(x: Tensor, factor: int) -> Tensor:
        x = interpolate(x, (factor * new, factor * new))
        part = min(new, side)
        rows, columns = (slice(factor * first, factor * (first + part)) for first in (top, left))
        if new >= side:
            return x[..., rows, columns]
        canvas = x.new_ones(*x.shape[:2], factor * side, factor * side)
        canvas[..., rows, columns] = x
        return canvas

    return Augmented(rescaled(features, 1), rescaled(sample.image, UPSCALE), rescaled(sample.visible, UPSCALE))


class Trainer(nn.Module):
    """The second stage of training: generator, rasteriser, super-resolution, three losses, Adam.

    Args:
        scene: what the Gaussians start from, and the size of the pictures.
        backend: of the rasteriser.
    """

    def __init__(self, scene: Scene, backend: str) -> None:
        super().__init__()
        self.scene, self.backend = scene, backend
        self.generator, self.upsampler = Generator(scene), Upsampler().to(scene.device)
        self.perceptual = PerceptualNetwork().to(scene.device)
        self.delta_poses = nn.Parameter(torch.zeros(len(FRAMES), 6, device=scene.device))
        self.optimizer = torch.optim.Adam(self._groups())

    def _groups(self) -> list[dict]:
        generator = self.generator
        rates = [
            (1e-4, [*self.upsampler.parameters(), *generator.mlps.parameters()]),
            (1e-5, [generator.xyz, generator.feature, generator.rotation, self.delta_poses]),
            (3e-5, [generator.scales]),
            (1e-4, [generator.opacity]),
        ]
        return [{"params": parameters, "lr": rate} for rate, parameters in rates]

    def loss(self, sample: Sample) -> Tensor:
        """L1 of the decoded and of the coarse picture and the perceptual distance on a random window."""
        code = replace(self.scene.code, pose=self.scene.code.pose + self.delta_poses[:1])
        features = splat(self.generator(code), self.scene.coarse_camera, self.backend)
        return compare(features, self.upsampler, sample, ZOOM, self.perceptual)


def compare(
    features: Tensor,
    upsampler: nn.Module,
    sample: Sample,
    factors: tuple[float, float],
    perceptual: Callable[[Tensor, Tensor], Tensor] | None,
) -> Tensor:
    """The loss of feature images [1, C, h, w] over ones: decode them, compare before and after.

    Args:
        features: see :func:`splat`.
        upsampler: to RGB [1, 3, 4h, 4w].
        sample: the truth.
        factors: range of the random zoom.
        perceptual: distance of two pictures, given a random window of the decoded one; None: without.
    """
    view = zoom(features, sample, factors)
    decoded = upsampler(view.features)
    fine = l1_loss(decoded * view.visible, view.image * view.visible)
    coarse = l1_loss(features[:, :3] * sample.visible_coarse, sample.image_coarse * sample.visible_coarse)
    if perceptual is None:
        return fine + coarse
    side = min(PERCEPTUAL_WINDOW, decoded.shape[-1])
    top, left = (int(torch.randint(0, decoded.shape[-1] - side + 1, ())) for _ in range(2))
    window = (..., slice(top, top + side), slice(left, left + side))
    pair = [(x * view.visible)[window] for x in (decoded, view.image)]
    return fine + coarse + PERCEPTUAL_WEIGHT * perceptual(*pair).mean()


@torch.no_grad()
def render_frame(trainer: Trainer) -> Tensor:
    """The picture [1, 3, H, W] of the scene's code: generate, splat, decode."""
    gaussians = trainer.generator(trainer.scene.code)
    return trainer.upsampler(splat(gaussians, trainer.scene.coarse_camera, trainer.backend))
