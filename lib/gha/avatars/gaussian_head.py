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
from gha.limits import Limit, at_least, limited, zero_or_between
from gha.networks import DecoderConfig, LayerSizes, SuperResolutionDecoder, build_decoder
from gha.rendering import Gaussians

from .division import Division
from .fields import FieldsConfig, HeadFields, no_activation, sigmoid_rgb
from .posed import Posed

ATTRIBUTE_SIZES = (3, 4, 1)  # log-scale, quaternion, opacity logit
PER_GAUSSIAN = ("means", "features", "log_scales", "quats", "opacity_logits", "latents")

_SLACK = 0.03
"""Decimetres by which means may move, once arranged, before a Gaussian misses a network that should move it too. Shares
fade to zero, so what the few that move farther miss is little."""

_NECK_SLACK = 0.2
"""Decimetres by which the neck may shift, once Gaussians are arranged, before one that should bend does not."""


@limited(
    attributes_scale=at_least(0),
    initial_opacity=Limit("more than 0 and less than 1", lambda value, _: 0 < value < 1),
    mouth_points=at_least(0),
    transfer_edge_mm=zero_or_between(0.5, 100),
    face_edge_mm=zero_or_between(0.5, 100),
    body_edge_mm=zero_or_between(0.5, 100),
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
    body_edge_mm: float = 0.0
    """The same below the neck, which is more than half of the surface and may do with fewer; 0: no difference."""
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


@dataclass(frozen=True)
class _Arrangement:
    """Which networks move which Gaussians.

    Attributes:
        order: ids [N] of the Gaussians in the order of the division; None: they lie in it.
        division: how many of them expression moves, or pose, or both.
        nearest: landmark [mixed] nearest to each of those that both move.
        in_neck: ids of those that may be in the neck; None: all.
        head_share: what all others have [N], one above the neck and zero below; None as ``in_neck``.
    """

    order: Tensor | None
    division: Division
    nearest: Tensor
    in_neck: Tensor | None = None
    head_share: Tensor | None = None

    def sorted(self, values: Tensor) -> Tensor:
        """Rows [N, C] of Gaussians, in the order of the division."""
        return values if self.order is None else values[self.order]

    def unsorted(self, values: Tensor) -> Tensor:
        """Rows [..., N, C] in the order of the division, in that of the Gaussians."""
        return values if self.order is None else values[..., self.order.argsort(), :]


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
        self.decoder = build_decoder(fields.color_size, config.decoder)

        count = len(seeds.means)
        self.means = nn.Parameter(seeds.means.detach().clone())
        self.features = nn.Parameter(seeds.features.detach().clone())
        self.log_scales = nn.Parameter(seeds.scales.detach().log()[:, None].repeat(1, 3))
        self.quats = nn.Parameter(torch.tensor([1.0, 0, 0, 0]).to(seeds.means).repeat(count, 1))
        logit = math.log(config.initial_opacity / (1 - config.initial_opacity))
        self.opacity_logits = nn.Parameter(torch.full_like(seeds.scales, logit))
        self.latents = nn.Parameter(_noise(count, fields.color_size - 3).to(seeds.means)) if config.latents else None
        self.neutral_landmarks = nn.Parameter(seeds.landmarks.detach().clone(), requires_grad=config.learn_landmarks)
        self._arranged: _Arrangement | None = None

    def per_gaussian(self) -> dict[str, nn.Parameter]:
        """Parameters with one row per Gaussian."""
        return {name: getattr(self, name) for name in PER_GAUSSIAN if getattr(self, name) is not None}

    @torch.no_grad()
    def arrange(self) -> Tensor:
        """Sort the Gaussians by the networks that move them, so that training need not ask at every step.

        Their means may then move a little until the head must be arranged again. Evaluation always asks.

        Returns:
            The order [N] in which the Gaussians of before lie now; whoever keeps rows for them sorts those too.
        """
        order, division, nearest = self.fields.divide(self.means, self.neutral_landmarks, _SLACK)
        for parameter in self.per_gaussian().values():
            parameter.copy_(parameter[order])
        self._arranged = _Arrangement(None, division, nearest, *self._neck_part())
        return order

    def _neck_part(self) -> tuple[Tensor | None, Tensor | None]:
        """Ids of the Gaussians in the neck or near it, and the head's share [N] in all others."""
        neck = self.fields.neck
        if neck is None:
            return None, None
        above = neck.above(self.means, self.fields.encode_positions(self.means))
        return (above.abs() < 0.5 * neck.config.length + _NECK_SLACK).nonzero()[:, 0], (above > 0).to(above)

    def _arrangement(self) -> _Arrangement:
        """While training, as :meth:`arrange` left it; otherwise exact."""
        if self.training and self._arranged is not None:
            return self._arranged
        return _Arrangement(*self.fields.divide(self.means, self.neutral_landmarks, 0.0))

    def forward(self, code: HeadCode, camera: Camera | None = None) -> Posed:
        """Gaussians in world space for codes with leading dimension B; features are over no background yet."""
        arrangement, encoded = self._arrangement(), self.fields.encode_positions(self.means)
        color, change, displacement = self._blended(code, encoded, arrangement)
        if self.latents is not None:
            color = torch.cat([color[..., :3], color[..., 3:] + self.latents], dim=-1)
        log_scale, quat, opacity = (self.config.attributes_scale * change).split(ATTRIBUTE_SIZES, dim=-1)
        means, quats = self._to_world(
            self.means + displacement,
            normalize(self.quats + quat, dim=-1),
            head_share=self._head_share(encoded, arrangement),
            code=code,
        )
        return Posed(
            gaussians=Gaussians(
                means=means,
                quats=quats,
                scales=torch.exp(self.log_scales + log_scale) * self._world_scale(code),
                opacities=torch.sigmoid(self.opacity_logits + opacity[..., 0]),
                features=color,
            )
        )

    def _blended(self, code: HeadCode, encoded: Tensor, arrangement: _Arrangement) -> tuple[Tensor, Tensor, Tensor]:
        """What the networks make of an expression and a pose, each near or far from the landmarks.

        Args:
            code: with leading dimension B.
            encoded: positional encoding of the means [N, .].
            arrangement: which networks move which Gaussians.

        Returns:
            Colours [B, N, color_size], change of the attributes [B, N, 8], displacement [B, N, 3] in decimetres.
        """
        fields = self.fields
        condition = fields.condition(code.expression, code.pose)
        expression, pose = condition.expression, condition.pose
        activation = no_activation if fields.config.color_activation == "original" else sigmoid_rgb
        near, far = arrangement.division.parts(arrangement.sorted(torch.tanh(self.features)))
        near_encoded, far_encoded = arrangement.division.parts(arrangement.sorted(encoded))
        by_expression = [
            activation(fields.expression_color(near, expression)),
            self.expression_attributes(near, expression),
            fields.expression_displacement(near_encoded, condition),
        ]
        by_pose = [
            activation(fields.pose_color(far, pose)),
            self.pose_attributes(far, pose),
            fields.pose_displacement(far_encoded, condition),
        ]
        blended = arrangement.division.blend(
            self._mixed_weights(arrangement), torch.cat(by_expression, dim=-1), torch.cat(by_pose, dim=-1)
        )
        sizes = [fields.config.color_size, sum(ATTRIBUTE_SIZES), 3]
        return arrangement.unsorted(blended).split(sizes, dim=-1)

    def _mixed_weights(self, arrangement: _Arrangement) -> Tensor:
        """Share of expression [mixed] at the Gaussians that both networks move."""
        landmarks = self.neutral_landmarks
        # Weights change too little with the means to be worth a gradient through the nearest landmark.
        landmarks = landmarks if self.config.learn_landmarks else landmarks.detach()
        mixed = arrangement.division.mixed_part(arrangement.sorted(self.means.detach()))
        return self.fields.blend_weights(mixed, landmarks, arrangement.nearest)

    def landmarks(self, code: HeadCode) -> Tensor:
        """Neutral landmarks moved by the expression [B, L, 3], canonical decimetres."""
        fields, neutral = self.fields, self.neutral_landmarks
        condition = fields.condition(code.expression, code.pose)
        return neutral + fields.expression_displacement(fields.encode_positions(neutral), condition)

    def _head_share(self, encoded: Tensor, arrangement: _Arrangement) -> Tensor | None:
        """Share of the head [N] in the motion of every Gaussian; None where there is no body."""
        neck, part = self.fields.neck, arrangement.in_neck
        if neck is None or part is None:
            return None if neck is None else neck.head_share(self.means, encoded)
        of_part = neck.head_share(self.means.index_select(0, part), encoded.index_select(0, part))
        return arrangement.head_share.index_copy(0, part, of_part)

    def _to_world(
        self, points: Tensor, quats: Tensor, head_share: Tensor | None, code: HeadCode
    ) -> tuple[Tensor, Tensor]:
        """Displaced canonical points [B, N, 3] and quaternions [B, N, 4] in world space."""
        neck = self.fields.neck
        if neck is None:
            head = axis_angle_to_quaternion(code.pose[..., None, :3])
            return code.to_world(points), quaternion_multiply(head.expand_as(quats), quats)
        return neck.to_world(points, head_share, code), neck.rotate(quats, head_share, code)

    def _world_scale(self, code: HeadCode) -> Tensor:
        scale = code.scale[..., None, :]
        return scale if self.config.scale_with_head else torch.ones_like(scale)

    def decode(self, features: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """Splatted features [B, C, h, w] over black and alpha [B, 1, h, w] to premultiplied colour and alpha, 4x."""
        return self.decoder(features, alpha)


def _noise(count: int, channels: int) -> Tensor:
    """Latents [count, channels] to start from: different, so that the decoder can tell neighbours apart at once."""
    return 0.3 * torch.randn(count, channels, generator=torch.Generator().manual_seed(0))
