"""Stage 2: Gaussians that carry features, moved, shaped and coloured by expression and pose, and decoded.

Gaussian Head Avatar (CVPR 2024), section 3.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from gha.faces.code import HeadCode
from gha.geometry import Camera
from gha.geometry.rotations import axis_angle_to_quaternion, quaternion_multiply
from gha.limits import Limit, at_least, limited, zero_or_at_least
from gha.networks import DecoderConfig, LayerSizes, SuperResolutionDecoder
from gha.rendering import Gaussians

from .fields import Condition, FieldsConfig, HeadFields, no_activation, sigmoid_rgb
from .posed import Posed

ATTRIBUTE_SIZES = (3, 4, 1)  # log-scale, quaternion, opacity logit


@limited(
    attributes_scale=at_least(0),
    initial_opacity=Limit("more than 0 and less than 1", lambda value, _: 0 < value < 1),
    mouth_points=at_least(0),
    transfer_edge_mm=zero_or_at_least(0.5),
    face_edge_mm=zero_or_at_least(0.5),
)
@dataclass
class GaussianHeadConfig:
    """Sizes and options of the Gaussian head; the networks shared with stage 1 keep their sizes from there."""

    expression_attributes: LayerSizes = field(default_factory=lambda: LayerSizes(256, 3))
    """Change of scale, rotation and opacity from feature and expression."""
    pose_attributes: LayerSizes = field(default_factory=lambda: LayerSizes(128, 2))
    """Change of scale, rotation and opacity from feature and pose."""
    attributes_scale: float = 0.2
    """Factor on what the attribute networks add."""
    initial_opacity: float = 0.3
    """Opacity of every Gaussian at the start."""
    mouth_points: int = 3000
    """Points sown between the lips, where the mesh has no surface."""
    transfer_edge_mm: float = 0.0
    """Edge in millimetres of the lattice whose surface vertices become Gaussians; 0: half of stage 1's edge."""
    face_edge_mm: float = 0.0
    """The same where expressions move the surface, which may deserve more Gaussians; 0: no difference."""
    latents: bool = True
    """Every Gaussian has channels of its own for the decoder, on top of what the networks give all Gaussians. Without
    them (the original) neighbours tell the decoder nearly the same, and it adds little detail in a short run."""
    scale_with_head: bool = True
    """Multiply Gaussian scales by the head's scale (needed wherever the world is not in decimetres)."""
    learn_landmarks: bool = False
    """Learn the landmarks that divide expression from pose, instead of keeping those of stage 1."""
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    """The super-resolution decoder."""


@dataclass(frozen=True)
class GaussianSeeds:
    """What a Gaussian head starts from.

    Attributes:
        means: canonical positions [N, 3] in decimetres.
        features: [N, feature_size] before tanh.
        scales: linear standard deviations [N] in decimetres.
        landmarks: neutral landmarks [L, 3].
    """

    means: Tensor
    features: Tensor
    scales: Tensor
    landmarks: Tensor


class GaussianHead(nn.Module):
    """The Gaussian avatar of stage 2.

    Args:
        config: sizes and options.
        fields: sizes of the networks shared with stage 1.
        expression_size: E, number of expression coefficients.
        seeds: initial Gaussians.
    """

    upscale = SuperResolutionDecoder.upscale

    def __init__(
        self, config: GaussianHeadConfig, fields: FieldsConfig, expression_size: int, seeds: GaussianSeeds
    ) -> None:
        super().__init__()
        self.config = config
        self.fields = HeadFields(expression_size, fields)
        outputs = sum(ATTRIBUTE_SIZES)
        feature_size = fields.feature_size
        self.expression_attributes = self.fields.build(feature_size, config.expression_attributes, outputs, True)
        self.pose_attributes = self.fields.build(feature_size, config.pose_attributes, outputs, False)
        self.decoder = SuperResolutionDecoder(fields.color_size, config.decoder)

        count = len(seeds.means)
        self.means = nn.Parameter(seeds.means.detach().clone())
        self.features = nn.Parameter(seeds.features.detach().clone())
        self.log_scales = nn.Parameter(seeds.scales.detach().log()[:, None].repeat(1, 3))
        self.quats = nn.Parameter(torch.tensor([1.0, 0, 0, 0]).to(seeds.means).repeat(count, 1))
        logit = math.log(config.initial_opacity / (1 - config.initial_opacity))
        self.opacity_logits = nn.Parameter(torch.full_like(seeds.scales, logit))
        self.latents = nn.Parameter(_noise(count, fields.color_size - 3).to(seeds.means)) if config.latents else None
        self.neutral_landmarks = nn.Parameter(seeds.landmarks.detach().clone(), requires_grad=config.learn_landmarks)

    def forward(self, code: HeadCode, camera: Camera | None = None) -> Posed:
        """Gaussians in world space for codes with leading dimension B; features are over no background yet."""
        fields = self.fields
        condition = fields.condition(code.expression, code.pose)
        features = torch.tanh(self.features)
        # Blend weights change too little with the means to be worth a gradient through the nearest landmark.
        weights = fields.blend_weights(
            self.means.detach(),
            self.neutral_landmarks if self.config.learn_landmarks else self.neutral_landmarks.detach(),
        )
        activation = no_activation if fields.config.color_activation == "original" else sigmoid_rgb
        colors = fields.blended_color(weights, features, condition, activation)
        if self.latents is not None:
            colors = torch.cat([colors[..., :3], colors[..., 3:] + self.latents], dim=-1)
        change = self.config.attributes_scale * self._attributes(weights, features, condition)
        log_scale, quat, opacity = change.split(ATTRIBUTE_SIZES, dim=-1)
        means, quats = self._to_world(weights, condition, normalize(self.quats + quat, dim=-1), code)
        return Posed(
            gaussians=Gaussians(
                means=means,
                quats=quats,
                scales=torch.exp(self.log_scales + log_scale) * self._world_scale(code),
                opacities=torch.sigmoid(self.opacity_logits + opacity[..., 0]),
                features=colors,
            )
        )

    def landmarks(self, code: HeadCode) -> Tensor:
        """Neutral landmarks moved by the expression [B, L, 3], canonical decimetres."""
        fields, neutral = self.fields, self.neutral_landmarks
        condition = fields.condition(code.expression, code.pose)
        return neutral + fields.expression_displacement(fields.encode_positions(neutral), condition)

    def _attributes(self, weights: Tensor, features: Tensor, condition: Condition) -> Tensor:
        return self.fields.blend(
            weights,
            lambda ids: self.expression_attributes(features[ids], condition.expression),
            lambda ids: self.pose_attributes(features[ids], condition.pose),
        )

    def _to_world(self, weights: Tensor, condition: Condition, quats: Tensor, code: HeadCode) -> tuple[Tensor, Tensor]:
        """Displaced means, and canonical quaternions [..., N, 4], in world space."""
        fields = self.fields
        encoded = fields.encode_positions(self.means)
        points = self.means + fields.blend(
            weights,
            lambda ids: fields.expression_displacement(encoded[ids], condition),
            lambda ids: fields.pose_displacement(encoded[ids], condition),
        )
        if fields.neck is None:
            head = axis_angle_to_quaternion(code.pose[..., None, :3])
            return code.to_world(points), quaternion_multiply(head.expand_as(quats), quats)
        share = fields.neck.head_share(self.means, encoded)
        return fields.neck.to_world(points, share, code), fields.neck.rotate(quats, share, code)

    def _world_scale(self, code: HeadCode) -> Tensor:
        scale = code.scale[..., None, :]
        return scale if self.config.scale_with_head else torch.ones_like(scale)

    def decode(self, features: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """Splatted features [B, C, h, w] over black and alpha [B, 1, h, w] to premultiplied colour and alpha, 4x."""
        return self.decoder(features, alpha)


def _noise(count: int, channels: int) -> Tensor:
    """Latents [count, channels] to start from: different, so that the decoder can tell neighbours apart at once."""
    return 0.3 * torch.randn(count, channels, generator=torch.Generator().manual_seed(0))
