"""Heads small enough to test in milliseconds."""

from gha.avatars import GaussianHeadConfig, MeshHeadConfig
from gha.avatars.fields import FieldsConfig, LayerSizes
from gha.networks import DecoderConfig

EXPRESSIONS = 4


def mesh_config(**changes):
    fields = FieldsConfig(
        feature_size=6,
        color_size=5,
        expression_color=LayerSizes(8, 2),
        pose_color=LayerSizes(8, 1),
        expression_deform=LayerSizes(8, 3),
        pose_deform=LayerSizes(8, 2),
    )
    defaults = dict(
        bounds=[[-1.5, 1.5]] * 3, edge_mm=30.0, geometry=LayerSizes(32, 3), fields=fields, sphere_radius=0.95
    )
    return MeshHeadConfig(**(defaults | changes))


def gaussian_config(**changes):
    defaults = dict(
        expression_attributes=LayerSizes(8, 3),
        pose_attributes=LayerSizes(8, 2),
        mouth_points=20,
        decoder=DecoderConfig(capacity=2),
    )
    return GaussianHeadConfig(**(defaults | changes))
