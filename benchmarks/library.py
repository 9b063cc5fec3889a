"""The library's avatars as they are timed: presets built on a scene, as trained and in their forms for playback."""

from __future__ import annotations

import logging
from dataclasses import replace

import torch
from scene import EXPRESSIONS, Scene

from gha.avatars import (
    GaussianHead,
    GaussianHeadConfig,
    PlaybackHead,
    PlaybackOptions,
    prepare_for_playback,
)
from gha.avatars.acceleration import CompileMode
from gha.avatars.fields import FieldsConfig
from gha.avatars.gaussian_head import GaussianSeeds
from gha.errors import InputError
from gha.networks import ORIGINAL_DECODER, DecoderConfig, SuperResolutionDecoder
from gha.rendering.gaussian_rendering import BACKENDS, render_gaussians

logger = logging.getLogger(__name__)

PRESETS: dict[str, tuple[FieldsConfig, GaussianHeadConfig]] = {
    "default": (FieldsConfig(), GaussianHeadConfig()),
    "bilinear decoder": (FieldsConfig(), GaussianHeadConfig(decoder=DecoderConfig(upsampling="bilinear"))),
    "preset original": (
        FieldsConfig(body=False, pose_deform_scale=0.3, color_activation="original"),
        GaussianHeadConfig(latents=False, decoder=ORIGINAL_DECODER),
    ),
    "light decoder": (FieldsConfig(), GaussianHeadConfig(decoder=DecoderConfig(upsampling="light"))),
}
DECODERS = {name: head.decoder for name, (_, head) in PRESETS.items()}
FORMS: dict[str, tuple[CompileMode, bool]] = {
    "playback": ("off", True),
    "playback without graphs": ("off", False),
    "compiled": ("default", True),
    "compiled without graphs": ("default", False),
    "autotuned": ("max-autotune-no-cudagraphs", True),
}
"""How playback is accelerated: compilation, and whether kernels are launched as CUDA graphs."""


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


def build_playback(head: GaussianHead, form: str, precision: str) -> PlaybackHead:
    """A head in one of its forms for playback: all in float32 ("fp32"), or as on a GPU ("bf16")."""
    torch.compiler.reset()  # PyTorch gives up on functions that it has compiled for too many heads
    options = PlaybackOptions.fast("cpu" if precision == "fp32" else "cuda")
    compile_mode, graph = FORMS[form]
    return prepare_for_playback(head, replace(options, compile=compile_mode, graph=graph))


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
