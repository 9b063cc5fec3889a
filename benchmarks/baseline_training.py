"""The baseline, trained on a capture: it starts where the library's Gaussian head starts, on a trained mesh head.

Data flow, networks and losses are those of ``baseline``: eager, fp32, one sample at a time, the whole picture. What is
matched in a comparison of quality and what is not: FAIRNESS.md.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from baseline import DEFORM_SCALE, ZOOM, Generator, Sample, compare, splat
from baseline_networks import HEAD_MLPS, Upsampler
from held_out_quality import TrainingClock
from scene import UPSCALE
from torch import Tensor, nn
from torch.nn.functional import interpolate

from gha.avatars.gaussian_head import GaussianHeadConfig, GaussianSeeds
from gha.avatars.mesh_head import MeshHead
from gha.avatars.posed import Posed
from gha.avatars.rendering import coarse_camera
from gha.capture import Frame
from gha.errors import InputError
from gha.faces.code import HeadCode
from gha.geometry import Camera
from gha.networks import MLP
from gha.training.gaussian_config import GaussianTrainingConfig
from gha.training.optimizers import cosine_decay
from gha.training.perceptual import PerceptualDistance

_OCTAVES = 4  # of the baseline's positional encoding
_FROM_MESH = {
    "exp_color": "expression_color",
    "pose_color": "pose_color",
    "exp_deform": "expression_deform",
    "pose_deform": "pose_deform",
}


@dataclass(frozen=True)
class Settings:
    """How the baseline learns.

    Attributes:
        networks: learning rate of the six MLPs; then those of the other parameter groups.
        final_factor: fraction of the rates that is left in the end, along a cosine; 1: constant.
        eps: of Adam.
        zoom: range of the random magnification.
    """

    networks: float = 1e-4
    decoder: float = 1e-4
    means: float = 1e-5
    features: float = 1e-5
    quats: float = 1e-5
    scales: float = 3e-5
    opacities: float = 1e-4
    poses: float = 1e-5
    final_factor: float = 1.0
    eps: float = 1e-8
    zoom: tuple[float, float] = ZOOM

    @classmethod
    def of_preset(cls, config: GaussianTrainingConfig, final_factor: float) -> Settings:
        """What the library's preset has for the same groups, with the library's eps and the preset's zoom."""
        return cls(
            networks=config.learning_rate,
            decoder=config.decoder_learning_rate,
            means=config.means_learning_rate,
            features=config.features_learning_rate,
            quats=config.quats_learning_rate,
            scales=config.scales_learning_rate,
            opacities=config.opacities_learning_rate,
            poses=config.pose_learning_rate,
            final_factor=final_factor,
            eps=1e-15,
            zoom=(config.zoom[0], config.zoom[1]),
        )


PUBLISHED = Settings()
"""Rates of the released code: constant, for hundreds of thousands of steps."""


@dataclass(frozen=True)
class _Seeds:
    """Seeds of the library as a cloud of the baseline."""

    means: Tensor
    scales: Tensor
    opacity_logits: Tensor
    landmarks: Tensor


class BaselineHead(nn.Module):
    """Generator and super-resolution as the avatar that the library's evaluation knows; it paints over white only.

    Args:
        generator: the Gaussians.
        upsampler: the decoder.
    """

    upscale = UPSCALE

    def __init__(self, generator: Generator, upsampler: Upsampler) -> None:
        super().__init__()
        self.generator, self.upsampler = generator, upsampler

    def forward(self, code: HeadCode, camera: Camera | None = None) -> Posed:
        """Gaussians in world space for codes with leading dimension B."""
        return Posed(gaussians=self.generator(code))

    def decode(self, features: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """From features [B, C, h, w] over black and alpha [B, 1, h, w] to premultiplied colour and alpha.

        Over white, the colour is what the baseline paints; alpha is that of the splats, enlarged.
        """
        enlarged = interpolate(alpha, scale_factor=UPSCALE, mode="bilinear", align_corners=False)
        return self.upsampler(features + (1 - alpha)) - (1 - enlarged), enlarged


@torch.no_grad()
def baseline_from_mesh(mesh_head: MeshHead, seeds: GaussianSeeds, config: GaussianHeadConfig) -> BaselineHead:
    """The baseline on the seeds of the library's Gaussian head, with the networks of its mesh head.

    Networks have the sizes they have there, the two for attributes those of the release. As in the original, colour
    loses its sigmoid, and what turned with the body turns with the head.

    Args:
        mesh_head: trained.
        seeds: from it.
        config: of the library's head; for the opacity to start from.
    """
    fields = mesh_head.fields
    if fields.config.frequencies != _OCTAVES or fields.config.pose_in_expression_networks:
        raise InputError(
            f"the mesh head has fields.frequencies {fields.config.frequencies} and fields.pose_in_expression_networks "
            f"{fields.config.pose_in_expression_networks}; the baseline knows {_OCTAVES} and False only"
        )
    networks = {name: getattr(fields, theirs) for name, theirs in _FROM_MESH.items()}
    widths = {name: _widths(network) for name, network in networks.items()}
    for kind in ("exp", "pose"):
        widths[f"{kind}_attributes"] = (widths[f"{kind}_color"][0], *HEAD_MLPS[f"{kind}_attributes"][1:])
    logit = math.log(config.initial_opacity / (1 - config.initial_opacity))
    cloud = _Seeds(seeds.means, seeds.scales, torch.full_like(seeds.scales, logit), seeds.landmarks)
    generator = Generator(cloud, widths, seeds.features.shape[-1])
    generator.feature.copy_(seeds.features)
    for name, network in networks.items():
        for ours, theirs in zip(generator.mlps[name].layers, network.layers, strict=True):
            ours.weight.copy_(theirs.weight[..., None])
            ours.bias.copy_(theirs.bias)
    reaches = {"exp_deform": fields.config.deform_scale, "pose_deform": fields.config.pose_deform_scale}
    for name, reach in reaches.items():
        # The same small displacements, whatever the largest may be.
        for parameter in generator.mlps[name].layers[-1].parameters():
            parameter.mul_(reach / DEFORM_SCALE)
    return BaselineHead(generator, Upsampler(fields.config.color_size)).to(seeds.means.device)


def _widths(network: MLP) -> tuple[int, ...]:
    inputs = network.input_size + network.condition_size
    return (inputs, *(layer.out_features for layer in network.layers))


class CaptureTrainer:
    """Changes the baseline by one step of Adam at a time.

    Args:
        head: what learns.
        frames: training frames; each has a pose correction of its own.
        settings: rates.
        perceptual: LPIPS, or None to train without.
    """

    def __init__(
        self, head: BaselineHead, frames: Sequence[str], settings: Settings, perceptual: PerceptualDistance | None
    ) -> None:
        self.head, self.settings, self.perceptual = head, settings, perceptual
        self._rows = {name: row for row, name in enumerate(frames)}
        generator = head.generator
        self.delta_poses = nn.Parameter(torch.zeros(len(frames), 6, device=generator.xyz.device))
        groups = [
            (settings.networks, generator.mlps.parameters()),
            (settings.decoder, head.upsampler.parameters()),
            (settings.means, [generator.xyz]),
            (settings.features, [generator.feature]),
            (settings.quats, [generator.rotation]),
            (settings.scales, [generator.scales]),
            (settings.opacities, [generator.opacity]),
            (settings.poses, [self.delta_poses]),
        ]
        self._rates = [rate for rate, _ in groups]
        self.optimizer = torch.optim.Adam([{"params": list(p), "lr": r} for r, p in groups], eps=settings.eps)

    def step(self, frame: Frame, share: float) -> None:
        """Learn from one view [1, 1] of the host, ``share`` of the training being over."""
        self.set_rates(share)
        loss = self.loss(frame.to(self.delta_poses.device))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def set_rates(self, share: float) -> None:
        """Learning rates after a share in [0, 1] of the training: a cosine, as of the library."""
        factor = cosine_decay(share, self.settings.final_factor)
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor

    def loss(self, frame: Frame) -> Tensor:
        """The loss of one view [1, 1] on the device."""
        row = self._rows[frame.frame_id[0]]
        code = replace(frame.code, pose=frame.code.pose + self.delta_poses[row : row + 1])
        # Its views are what the baseline calls a batch, of one here.
        features = splat(self.head.generator(code), coarse_camera(frame.camera, UPSCALE)[0], "auto")
        return compare(features, self.head.upsampler, sample_of(frame), self.settings.zoom, self.perceptual)

    def describe(self) -> dict[str, Any]:
        """What a report says of it, JSON types only."""
        return {
            "settings": asdict(self.settings),
            "gaussians": len(self.head.generator.xyz),
            "parameters_of_networks": sum(p.numel() for p in self.head.generator.mlps.parameters())
            + sum(p.numel() for p in self.head.upsampler.parameters()),
        }


def sample_of(frame: Frame) -> Sample:
    """One view [1, 1] as the baseline sees it: over white, and coarse by nearest neighbour."""
    image, mask, visible = (x[:, 0] for x in (frame.image, frame.mask, frame.visible))
    full = (image * mask + (1 - mask), mask, visible)
    return Sample(*full, *(interpolate(x, scale_factor=1 / UPSCALE) for x in full))


@dataclass(frozen=True)
class Length:
    """How long the baseline trains: so many steps, or else so many seconds."""

    seconds: float
    steps: int = 0

    def share(self, step: int, seconds: float) -> float:
        """How much of it is over after ``step`` steps and ``seconds``; 1 or more: all."""
        return step / self.steps if self.steps else seconds / self.seconds


def train_baseline(
    trainer: CaptureTrainer,
    frames: Iterator[Frame],
    length: Length,
    clock: TrainingClock,
    watch: Callable[[int, float, bool], None],
) -> None:
    """Train.

    Args:
        trainer: what learns.
        frames: one view [1, 1] of the host for every step.
        length: of the training.
        clock: of the training.
        watch: called after every step with the steps so far, the seconds of them that were spent waiting for frames,
            and whether this was the last.
    """
    step, waited = 0, 0.0
    share = length.share(step, clock.seconds)
    while share < 1:
        start = time.perf_counter()
        frame = next(frames)
        waited += time.perf_counter() - start
        trainer.step(frame, share)
        step += 1
        share = length.share(step, clock.seconds)
        watch(step, waited, share >= 1)
