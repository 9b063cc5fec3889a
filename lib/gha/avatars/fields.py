"""The four networks both heads share: colour and deformation, by expression near the face and by pose elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from gha.geometry import blend_weights, nearest_index
from gha.limits import Limit, at_least, between, limited
from gha.networks import MLP, LayerSizes, encoded_size, initialize_near_zero, positional_encoding

from .division import Division
from .neck import Neck, NeckConfig


@limited(
    feature_size=at_least(1),
    color_size=at_least(3),
    frequencies=between(0, 16),
    deform_scale=at_least(0),
    pose_deform_scale=at_least(0),
    blend_near=at_least(0),
    blend_far=Limit("more than blend_near", lambda value, config: value > config.blend_near),
)
@dataclass
class FieldsConfig:
    """Sizes of the networks that both heads share, and how expression and pose divide the head."""

    feature_size: int = 128
    """Channels of the feature every surface point carries."""
    color_size: int = 32
    """Channels that are splatted or rasterised; the first three are RGB."""
    frequencies: int = 4
    """Octaves of the positional encodings of positions and poses."""
    expression_color: LayerSizes = field(default_factory=lambda: LayerSizes(256, 2))
    """Colour from feature and expression."""
    pose_color: LayerSizes = field(default_factory=lambda: LayerSizes(128, 1))
    """Colour from feature and pose."""
    expression_deform: LayerSizes = field(default_factory=lambda: LayerSizes(256, 5))
    """Displacement from position and expression."""
    pose_deform: LayerSizes = field(default_factory=lambda: LayerSizes(256, 2))
    """Displacement from position and pose."""
    deform_scale: float = 0.3
    """Largest displacement per axis by expression, decimetres."""
    pose_deform_scale: float = 0.05
    """Largest displacement per axis by pose, decimetres; the original's is 0.3, for want of a body."""
    bounded_deformation: bool = True
    """Bound displacements by tanh; without the bound, wide jaw openings are not capped at deform_scale."""
    body: bool = True
    """The shoulders stay with the body when the head turns; off (the original): everything turns with the head."""
    neck: NeckConfig = field(default_factory=NeckConfig)
    """Where the head ends and the body begins."""
    blend_near: float = 0.1
    """Distance to the nearest landmark at which expression starts to fade (unit: see ``blend_metric``)."""
    blend_far: float = 0.25
    """Distance at which only pose is left."""
    blend_metric: Literal["squared_distance", "distance"] = "squared_distance"
    """"squared_distance", squared decimetres (released code), or "distance", decimetres (paper)."""
    color_activation: Literal["sigmoid_rgb", "original"] = "sigmoid_rgb"
    """"sigmoid_rgb": RGB in [0, 1] in both stages. "original": all channels in the first stage, none in the second,
    which makes the second stage learn colour anew."""
    pose_in_expression_networks: bool = False
    """Also hand the head pose to the expression networks (for light that is fixed in the world)."""


@dataclass(frozen=True)
class Condition:
    """Network inputs derived from a head code, without the dimension of points.

    Attributes:
        expression: [..., E], plus the encoded pose where the expression networks take it.
        pose: encoded pose [..., P].
    """

    expression: Tensor
    pose: Tensor


class HeadFields(nn.Module):
    """Colour and deformation fields of a head in canonical space (decimetres).

    Args:
        expression_size: E, number of expression coefficients.
        config: sizes and options.
    """

    def __init__(self, expression_size: int, config: FieldsConfig) -> None:
        super().__init__()
        self.config = config
        position_size = encoded_size(3, config.frequencies)
        self.pose_size = encoded_size(6, config.frequencies)
        self.expression_size = expression_size + (self.pose_size if config.pose_in_expression_networks else 0)
        self.expression_color = self.build(config.feature_size, config.expression_color, config.color_size, True)
        self.pose_color = self.build(config.feature_size, config.pose_color, config.color_size, False)
        self.expression_deform = self.build(position_size, config.expression_deform, 3, True)
        self.pose_deform = self.build(position_size, config.pose_deform, 3, False)
        for network in (self.expression_deform, self.pose_deform):
            initialize_near_zero(network)
        self.neck = Neck(config.frequencies, config.neck) if config.body else None

    def build(self, inputs: int, sizes: LayerSizes, outputs: int, by_expression: bool) -> MLP:
        """A network over points that is conditioned on expression or on pose."""
        condition = self.expression_size if by_expression else self.pose_size
        return MLP(inputs, sizes.hidden(), outputs, condition)

    def condition(self, expression: Tensor, pose: Tensor) -> Condition:
        """Encode expression [..., E] and pose [..., 6] once for all points."""
        encoded = positional_encoding(pose, self.config.frequencies)
        if self.config.pose_in_expression_networks:
            expression = torch.cat([expression, encoded], dim=-1)
        return Condition(expression, encoded)

    def blend_weights(self, points: Tensor, landmarks: Tensor, nearest: Tensor | None = None) -> Tensor:
        """Share of expression [N] in [0, 1] at canonical points [N, 3]; pose has the rest.

        ``nearest`` [N] names the landmark nearest to each point, where that is known.
        """
        config = self.config
        squared = config.blend_metric == "squared_distance"
        return blend_weights(points, landmarks, config.blend_near, config.blend_far, squared, nearest)

    @torch.no_grad()
    def divide(self, points: Tensor, landmarks: Tensor, slack: float) -> tuple[Tensor, Division, Tensor]:
        """Sort points by the networks that matter to them.

        Args:
            points: canonical [N, 3].
            landmarks: canonical [L, 3].
            slack: decimetres by which points may move without changing the network that they are moved by alone.

        Returns:
            Point ids [N] in the order of the division, the division, and the landmark [mixed] nearest to each point
            that both networks move.
        """
        config = self.config
        nearest = nearest_index(points, landmarks)
        distance = (points - landmarks[nearest]).norm(dim=-1)
        power = 0.5 if config.blend_metric == "squared_distance" else 1.0
        part = (distance > config.blend_near**power - slack).int() + (distance >= config.blend_far**power + slack)
        order = part.argsort(stable=True)
        division = Division(*torch.bincount(part, minlength=3).tolist())
        return order, division, nearest[order[division.near : division.near + division.mixed]]

    def expression_displacement(self, encoded: Tensor, condition: Condition) -> Tensor:
        """Displacement [..., N, 3] in decimetres of points with a positional encoding [..., N, .]."""
        return self._displacement(self.expression_deform(encoded, condition.expression), self.config.deform_scale)

    def pose_displacement(self, encoded: Tensor, condition: Condition) -> Tensor:
        """Displacement [..., N, 3] in decimetres of points with a positional encoding [..., N, .]."""
        return self._displacement(self.pose_deform(encoded, condition.pose), self.config.pose_deform_scale)

    def _displacement(self, raw: Tensor, scale: float) -> Tensor:
        return scale * (torch.tanh(raw) if self.config.bounded_deformation else raw)

    def encode_positions(self, points: Tensor) -> Tensor:
        """Positional encoding of canonical points [..., 3]."""
        return positional_encoding(points, self.config.frequencies)


def sigmoid_rgb(raw: Tensor) -> Tensor:
    """Sigmoid on the first three of [..., C] channels; the others pass."""
    return torch.cat([torch.sigmoid(raw[..., :3]), raw[..., 3:]], dim=-1)


def no_activation(raw: Tensor) -> Tensor:
    """The identity."""
    return raw
