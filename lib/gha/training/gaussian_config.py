"""What can be set about the training of the Gaussian head."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from gha.limits import Limit, at_least, between, limited


@limited(at_least(0), perceptual_size=at_least(16))
@dataclass
class GaussianLossWeights:
    """Weights of the terms of stage 2."""

    fine: float = 1.0
    """Decoded colour, L1."""
    fine_squared: float = 0.0
    """Decoded colour, squared error: soft where an outline is uncertain, which L1 makes hard; 0: off."""
    coarse: float = 1.0
    """Colour channels of the splats before decoding, L1."""
    alpha: float = 0.5
    """Decoded and coarse alpha against the mask, L1."""
    ssim: float = 0.0
    """One minus SSIM of the decoded colour; 0: off."""
    features: float = 0.0
    """Further weight of colour errors in the boxes around mouth and eyes, which are few of the pixels and most of what
    an expression changes; 0: they count like all others."""
    landmarks: float = 0.0
    """Neutral landmarks moved by the expression against tracked landmarks, squared decimetres, as in stage 1 without
    ``landmark_offset``; 0: off. Worth something where tracking is more exact than a pixel."""
    perceptual: float = 0.1
    """LPIPS (VGG) on a random part of the decoded picture; needs the package lpips and its weights."""
    perceptual_size: int = 512
    """Side in pixels of that part."""


@limited(
    at_least(0),
    zoom=Limit("two numbers from 0.1 to 10, the lower first", lambda z, _: len(z) == 2 and 0.1 <= z[0] <= z[1] <= 10),
    window=Limit("0, or a multiple of 4 from 16 on", lambda size, _: size == 0 or (size >= 16 and size % 4 == 0)),
    face_windows=between(0, 1),
)
@dataclass
class GaussianTrainingConfig:
    """How the Gaussian head learns; every parameter group has its own learning rate."""

    learning_rate: float = 1e-4
    """Networks of the head."""
    decoder_learning_rate: float = 1e-4
    """The super-resolution decoder."""
    means_learning_rate: float = 1e-5
    """Positions (decimetres)."""
    features_learning_rate: float = 1e-5
    """Features before tanh."""
    latents_learning_rate: float = 1e-3
    """Channels that a Gaussian has of its own for the decoder."""
    quats_learning_rate: float = 1e-5
    """Quaternions."""
    scales_learning_rate: float = 3e-5
    """Logarithms of scales."""
    opacities_learning_rate: float = 1e-4
    """Logits of opacities."""
    pose_learning_rate: float = 1e-5
    """Per-frame corrections of the head pose; 0: poses are taken as tracked."""
    zoom: list[float] = field(default_factory=lambda: [0.8, 1.25])
    """Range of the random magnification."""
    window: int = 0
    """Side in pixels of the random square the decoder is trained on; 0: the whole picture."""
    face_windows: float = 0.0
    """Share of the windows that are laid about a random landmark of the face, where most of what moves is."""
    convolution_precision: Literal["bfloat16", "float32"] = "bfloat16"
    """Of the convolutions of the decoder and of the perceptual network on a GPU; weights, colours and losses stay in
    float32, as all is on a CPU."""
    background: Literal["random", "white"] = "random"
    """What truth and prediction are composited over: "random" colour in every step, or "white"."""
    require_perceptual: bool = False
    """Stop if the perceptual term cannot be computed, instead of training without it."""
    loss: GaussianLossWeights = field(default_factory=GaussianLossWeights)
    """Weights of the loss terms."""
