"""From the trained mesh head to the seeds of the Gaussian head."""

from __future__ import annotations

import torch
from torch import Tensor

from gha.errors import InputError
from gha.geometry import neighbour_distance

from .gaussian_head import GaussianHead, GaussianHeadConfig, GaussianSeeds
from .mesh_head import MeshHead

# tanh saturates to exactly one in float32, and interpolation can round above it: atanh of that is infinite or NaN.
# 0.999 also leaves the feature a gradient to move again.
LARGEST_FEATURE = 0.999

_REST, _FACE, _BODY = range(3)
"""Parts of a head that may have Gaussians of their own spacing."""


def inverse_tanh(features: Tensor) -> Tensor:
    """Inverse of tanh that stays finite for saturated inputs."""
    return torch.atanh(features.clamp(-LARGEST_FEATURE, LARGEST_FEATURE))


def mouth_points(lips: Tensor, count: int, seed: int) -> Tensor:
    """Sow points in a box inside the mouth.

    Args:
        lips: lip landmarks [K, 3], canonical decimetres.
        count: number of points.
        seed: of the random positions.

    Returns:
        [count, 3]: uniform in a box around the lip centre, moved back to the deepest lip point, with 0.8 of the
        lips' half extent.
    """
    center = lips.mean(0)
    half_size = 0.8 * (lips - center).abs().amax(0)
    center = torch.cat([center[:2], lips[:, 2].min()[None]])
    uniform = torch.rand(count, 3, generator=torch.Generator().manual_seed(seed))
    return center + half_size * (2 * uniform.to(lips) - 1)


@torch.no_grad()
def seed_gaussians(mesh_head: MeshHead, lips: list[int], config: GaussianHeadConfig, seed: int = 0) -> GaussianSeeds:
    """Turn the neutral surface of a trained mesh head into Gaussians.

    The surface is extracted on a finer lattice but with the vertex offsets of training, so the Gaussians lie on the
    trained surface.

    Args:
        mesh_head: the trained head.
        lips: indices of the lip landmarks among the neutral landmarks.
        config: of the Gaussian head.
        seed: of the mouth points.
    """
    vertices, surface_features = _surface_points(mesh_head, config)
    landmarks = mesh_head.neutral_landmarks
    extra = mouth_points(landmarks[lips], config.mouth_points, seed) if lips else landmarks.new_zeros(0, 3)
    means = torch.cat([vertices, extra])
    features = torch.cat(
        [inverse_tanh(surface_features), surface_features.new_zeros(len(extra), surface_features.shape[1])]
    )
    if not (torch.isfinite(means).all() and torch.isfinite(features).all()):
        raise InputError("the mesh head gives non-finite vertices or features; use an earlier checkpoint of stage 1")
    return GaussianSeeds(means, features, neighbour_distance(means), landmarks)


def _surface_points(mesh_head: MeshHead, config: GaussianHeadConfig) -> tuple[Tensor, Tensor]:
    """Positions and features on the trained surface, in every part of the head as close together as is asked for."""
    edge_mm = config.transfer_edge_mm or mesh_head.config.edge_mm / 2
    edges = {_REST: edge_mm, _FACE: config.face_edge_mm or edge_mm, _BODY: config.body_edge_mm or edge_mm}
    vertices, features = [], []
    for edge in dict.fromkeys(edges.values()):
        surface = mesh_head.neutral_surface(mesh_head.lattice(edge))
        wanted = torch.tensor([part for part, its_edge in edges.items() if its_edge == edge])
        kept = torch.isin(_parts(mesh_head, surface.vertices), wanted.to(surface.vertices.device))
        vertices.append(surface.vertices[kept])
        features.append(surface.features[kept])
    return torch.cat(vertices), torch.cat(features)


def _parts(mesh_head: MeshHead, points: Tensor) -> Tensor:
    """Part of the head [N] that canonical points [N, 3] belong to: face where expressions move, body below the neck."""
    fields = mesh_head.fields
    face = fields.blend_weights(points, mesh_head.neutral_landmarks) > 0
    body = torch.zeros_like(face)
    if fields.neck is not None:
        body = fields.neck.head_share(points, fields.encode_positions(points)) == 0
    return torch.where(face, _FACE, torch.where(body, _BODY, _REST))


def gaussian_head_from_mesh(
    mesh_head: MeshHead, lips: list[int], config: GaussianHeadConfig, expression_size: int, seed: int = 0
) -> GaussianHead:
    """A Gaussian head on the surface of ``mesh_head``, with its colour and deformation networks."""
    seeds = seed_gaussians(mesh_head, lips, config, seed)
    head = GaussianHead(config, mesh_head.config.fields, expression_size, seeds).to(seeds.means.device)
    head.fields.load_state_dict(mesh_head.fields.state_dict())
    return head
