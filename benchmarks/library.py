"""The library's avatars as they are timed: presets built on a scene, decoders in a chosen precision."""

from __future__ import annotations

import logging

import torch
from scene import CHANNELS, EXPRESSIONS, Scene

from gha.avatars import GaussianHead, GaussianHeadConfig
from gha.avatars.fields import FieldsConfig
from gha.avatars.gaussian_head import GaussianSeeds
from gha.errors import InputError
from gha.networks import ORIGINAL_DECODER, DecoderConfig, SuperResolutionDecoder, build_decoder
from gha.rendering.gaussian_rendering import BACKENDS, render_gaussians

logger = logging.getLogger(__name__)

LIGHT_DECODER = DecoderConfig(upsampling="pixel_shuffle")
PRESETS: dict[str, tuple[FieldsConfig, GaussianHeadConfig]] = {
    "default": (FieldsConfig(), GaussianHeadConfig()),
    "preset original": (
        FieldsConfig(body=False, pose_deform_scale=0.3, color_activation="original"),
        GaussianHeadConfig(latents=False, decoder=ORIGINAL_DECODER),
    ),
    "light decoder": (FieldsConfig(), GaussianHeadConfig(decoder=LIGHT_DECODER)),
}
DECODERS = {name: head.decoder for name, (_, head) in PRESETS.items()}


def build_head(scene: Scene, preset: str) -> GaussianHead:
    """A Gaussian head of the released sizes on the scene's cloud, with random features and opacities."""
    fields, config = PRESETS[preset]
    features = torch.randn(scene.count, fields.feature_size, device=scene.device)
    seeds = GaussianSeeds(scene.means, features, scene.scales, scene.landmarks)
    head = GaussianHead(config, fields, EXPRESSIONS, seeds)
    with torch.no_grad():
        head.opacity_logits.copy_(scene.opacity_logits)
    if head.fields.neck is not None:
        head.fields.neck.place(scene.landmarks.cpu(), torch.zeros(6))
    return head.to(scene.device)


def build_decoder(scene: Scene, variant: str, precision: str) -> SuperResolutionDecoder:
    """A decoder alone."""
    decoder = build_decoder(CHANNELS, DECODERS[variant]).to(scene.device)
    set_precision(decoder, precision, scene.device)
    return decoder


def set_precision(decoder: SuperResolutionDecoder, precision: str, device: torch.device) -> None:
    """Let a decoder work as it is ("fp32"), or by autocast with channels last ("bf16")."""
    if precision == "bf16":
        decoder.to(memory_format=torch.channels_last)
        decoder.forward = torch.autocast(device.type, dtype=torch.bfloat16)(decoder.forward)


def working_backends(scene: Scene) -> list[str]:
    """Splatting back ends that draw on the scene's device; says in the log why others do not."""
    tiny = Scene(10, 64, scene.device)
    with torch.no_grad():
        gaussians = build_head(tiny, "default")(tiny.code).gaussians
    working = []
    for backend in BACKENDS:
        try:
            render_gaussians(gaussians, tiny.coarse_camera, backend=backend)
        except (InputError, ImportError, OSError, RuntimeError, AttributeError) as error:
            logger.warning("back end %s is not measured: %s", backend, error)
        else:
            working.append(backend)
    return working
