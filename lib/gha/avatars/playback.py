"""A trained Gaussian avatar in a form for playback: all that does not depend on the code is done beforehand.

The form is an avatar like any other and gives the same pictures up to rounding. Gaussians are sorted into those that
only expression moves, those that both move and those that only pose moves; blend weights, features, encodings, shares
of the neck and the products of networks with them are kept. It does not follow later changes of the avatar.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from gha.faces.code import HeadCode
from gha.geometry import Camera
from gha.geometry.rotations import axis_angle_to_quaternion, quaternion_multiply
from gha.geometry.similarity import canonical_to_world
from gha.networks.playback_decoder import PlaybackDecoder
from gha.networks.playback_networks import build_playback_networks
from gha.networks.positional_encoding import plain_positional_encoding
from gha.rendering import Gaussians

from .acceleration import Compiled, CompileMode, Replayed
from .fields import no_activation, sigmoid_rgb
from .gaussian_head import ATTRIBUTE_SIZES, GaussianHead
from .neck import turn_between
from .posed import Posed

Precision = Literal["float32", "float16", "bfloat16"]


@dataclass(frozen=True)
class PlaybackOptions:
    """How playback computes.

    Attributes:
        networks: precision of what the head's networks compute inside; positions, sums and results are float32.
        decoder: the same of the decoder.
        compile: whether PyTorch compiles what lies before and after splatting.
        graph: whether kernels are launched as CUDA graphs; nothing changes on the CPU.
    """

    networks: Precision = "float32"
    decoder: Precision = "float32"
    compile: CompileMode = "off"
    graph: bool = True

    @classmethod
    def fast(cls, device: torch.device | str, compile: CompileMode = "off") -> PlaybackOptions:
        """The fastest that shows no difference: half precision on a GPU, float32 on a CPU, where half is no faster."""
        if torch.device(device).type != "cuda":
            return cls(compile=compile)
        return cls("float16", "bfloat16", compile)


class PlaybackHead(nn.Module):
    """A Gaussian head that is driven but no longer trained; use :func:`prepare_for_playback`.

    Args:
        head: the trained head, on the device of playback.
        options: how to compute.
    """

    upscale = GaussianHead.upscale

    def __init__(self, head: GaussianHead, options: PlaybackOptions) -> None:
        super().__init__()
        self.options = options
        self.head_config, self.fields_config = head.config, head.fields.config
        self.decoder = PlaybackDecoder(head.decoder, getattr(torch, options.decoder))
        order, self.division, nearest = head.fields.divide(head.means, head.neutral_landmarks, slack=0.0)
        means = head.means[order]
        weights = head.fields.blend_weights(self.division.mixed_part(means), head.neutral_landmarks, nearest)
        self.register_buffer("means", means)
        self.register_buffer("weights", weights[:, None])
        for name in ("quats", "log_scales", "opacity_logits", "latents"):
            value = getattr(head, name)
            self.register_buffer(name, None if value is None else value[order])
        self._keep_neck(head, means)
        self._keep_networks(head, means, torch.tanh(head.features[order]))
        compiled = Compiled(self.pose, options.compile), Compiled(self.decoder, options.compile)
        self._pose, self._decode = (Replayed(function, options.graph) for function in compiled)

    def _keep_neck(self, head: GaussianHead, means: Tensor) -> None:
        neck = head.fields.neck
        share = None if neck is None else neck.head_share(means, head.fields.encode_positions(means))[:, None]
        self.register_buffer("head_share", share)
        self.register_buffer("body_pose", None if neck is None else neck.body_pose.clone())

    def _keep_networks(self, head: GaussianHead, means: Tensor, features: Tensor) -> None:
        """Networks of colour, attributes and displacement, each over the points that it matters to."""
        fields, dtype = head.fields, getattr(torch, self.options.networks)
        of_expression = fields.expression_color, head.expression_attributes, fields.expression_deform
        of_pose = fields.pose_color, head.pose_attributes, fields.pose_deform
        inputs = [self.division.parts(x) for x in (features, features, fields.encode_positions(means))]
        self.by_expression, self.by_pose = (
            build_playback_networks(networks, [x[part] for x in inputs], dtype)
            for part, networks in enumerate((of_expression, of_pose))
        )

    def forward(self, code: HeadCode, camera: Camera | None = None) -> Posed:
        """Gaussians in world space for codes with leading dimension B, in the order of the division."""
        return Posed(gaussians=Gaussians(*self._pose(code.expression, code.pose, code.scale)))

    @torch.no_grad()
    def decode(self, features: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """Splatted features [B, C, h, w] over black and alpha [B, 1, h, w] to premultiplied colour and alpha, 4x."""
        return self._decode(features, alpha)

    @torch.no_grad()
    def pose(self, expression: Tensor, pose: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Means, quats, scales, opacities and features of :class:`Gaussians` for expressions [B, E], poses, scales."""
        encoded = plain_positional_encoding(pose, self.fields_config.frequencies)
        if self.fields_config.pose_in_expression_networks:
            expression = torch.cat([expression, encoded], dim=-1)
        color, change, displacement = self._blended(expression, encoded)
        if self.latents is not None:
            color = torch.cat([color[..., :3], color[..., 3:] + self.latents], dim=-1)
        log_scale, quat, opacity = (self.head_config.attributes_scale * change).split(ATTRIBUTE_SIZES, dim=-1)
        means, quats = self._to_world(
            self.means + displacement, normalize(self.quats + quat, dim=-1), pose=pose, scale=scale
        )
        scales = torch.exp(self.log_scales + log_scale)
        if self.head_config.scale_with_head:
            scales = scales * scale[..., None, :]
        return means, quats, scales, torch.sigmoid(self.opacity_logits + opacity[..., 0]), color

    def _blended(self, expression: Tensor, pose: Tensor) -> list[Tensor]:
        """Colours [B, N, C], changes of attributes [B, N, 8] and displacements [B, N, 3] of networks' conditions."""
        config = self.fields_config
        colored = no_activation if config.color_activation == "original" else sigmoid_rgb
        bounded = torch.tanh if config.bounded_deformation else no_activation
        near_color, near_change, near_shift = self.by_expression(expression)
        far_color, far_change, far_shift = self.by_pose(pose)
        return [
            self._blend(colored(near_color), colored(far_color)),
            self._blend(near_change, far_change),
            self._blend(config.deform_scale * bounded(near_shift), config.pose_deform_scale * bounded(far_shift)),
        ]

    def _blend(self, by_expression: Tensor, by_pose: Tensor) -> Tensor:
        """The same as :meth:`Division.blend`, in operators that a compiler can follow."""
        near, mixed = self.division.near, self.division.mixed
        both = torch.lerp(by_pose[:, :mixed], by_expression[:, near:], self.weights)
        return torch.cat([by_expression[:, :near], both, by_pose[:, mixed:]], dim=1)

    def _to_world(self, points: Tensor, quats: Tensor, pose: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Displaced canonical points [B, N, 3] and quaternions [B, N, 4] in world space."""
        by_head, turn = canonical_to_world(points, pose, scale), axis_angle_to_quaternion(pose[..., None, :3])
        if self.head_share is None:
            return by_head, quaternion_multiply(turn.expand_as(quats), quats)
        body_pose = self.body_pose.expand_as(pose)
        by_body, body_turn = (
            canonical_to_world(points, body_pose, scale),
            axis_angle_to_quaternion(body_pose[..., None, :3]),
        )
        turn = turn_between(body_turn, turn, self.head_share)
        return torch.lerp(by_body, by_head, self.head_share), quaternion_multiply(turn, quats)


@torch.no_grad()
def prepare_for_playback(head: GaussianHead, options: PlaybackOptions | None = None) -> PlaybackHead:
    """A trained head in a form that poses and decodes faster.

    Args:
        head: the trained head, on the device of playback; it is left as it is.
        options: how to compute; None: as :meth:`PlaybackOptions.fast` says for the head's device.
    """
    options = options or PlaybackOptions.fast(head.means.device)
    return PlaybackHead(head, replace(options, graph=options.graph and head.means.is_cuda)).eval()
