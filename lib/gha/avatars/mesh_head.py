"""Stage 1: a head as the zero level of a signed distance network on a tetrahedral lattice, with colour and motion.

Gaussian Head Avatar (CVPR 2024), section 3.2. The neutral surface is extracted by marching tetrahedra; expression
moves and colours it near facial landmarks, head pose elsewhere; a similarity transform places it in the world.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from gha.faces.code import HeadCode
from gha.geometry import (
    ActiveTetrahedra,
    Camera,
    SurfaceTopology,
    SurfaceTracker,
    TetrahedralLattice,
    extract_sparse,
    interpolate_on_edges,
    marching_tetrahedra,
)
from gha.limits import Limit, above, at_least, between, limited, numbers
from gha.networks import MLP, LayerSizes, encoded_size

from .fields import Condition, FieldsConfig, HeadFields, sigmoid_rgb
from .posed import Mesh, Posed

_BOX = Limit(
    "[[x0, x1], [y0, y1], [z0, z1]] with the lower number first",
    lambda value, _: len(value) == 3 and all(len(side) == 2 and side[0] < side[1] for side in value),
)


@limited(
    bounds=_BOX,
    edge_mm=between(0.5, 100),
    offset_fraction=between(0, 0.5),
    sphere_center=numbers(3),
    sphere_radius=above(0),
    search_interval=at_least(1),
    full_search_interval=at_least(1),
)
@dataclass
class MeshHeadConfig:
    """Sizes and options of the mesh head."""

    bounds: list[list[float]] = field(default_factory=lambda: [[-1.6, 1.6], [-1.7, 1.8], [-2.5, 1.0]])
    """Box that holds head and shoulders in canonical decimetres: [[x0, x1], [y0, y1], [z0, z1]]."""
    edge_mm: float = 6.8
    """Edge length of the tetrahedral lattice in millimetres."""
    geometry: LayerSizes = field(default_factory=lambda: LayerSizes(256, 5))
    """Hidden layers of the network that gives signed distance, vertex offset and feature."""
    fields: FieldsConfig = field(default_factory=FieldsConfig)
    """Networks shared with the Gaussian head."""
    offset_fraction: float = 0.1
    """Largest offset of a lattice vertex as a fraction of the edge."""
    sphere_center: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    """The surface starts as a sphere: centre in canonical decimetres."""
    sphere_radius: float = 1.0
    """Radius of that sphere in decimetres."""
    pose_deform_input: Literal["neutral", "deformed"] = "neutral"
    """Positions the pose displacement sees: "neutral" (paper) or "deformed" by expression (released code)."""
    landmark_offset: bool = True
    """Landmarks compared with tracked ones start from the neutral ones moved by the vertex offset of the geometry
    network (released code), or, when off, from the neutral ones themselves (paper)."""
    search_interval: int = 1
    """Training steps for which the lattice edges that the surface crosses are kept before they are searched again.
    Above 1 is faster, and exact as long as the surface stays on the same edges."""
    full_search_interval: int = 20
    """The whole lattice is searched at every so many searches; in between only the surroundings of the last surface."""


@dataclass(frozen=True)
class NeutralSurface:
    """The surface before expression and pose.

    Attributes:
        vertices: canonical positions [N, 3] in decimetres.
        features: [N, feature_size] in (-1, 1).
        triangles: int64 [F, 3].
    """

    vertices: Tensor
    features: Tensor
    triangles: Tensor


@dataclass(frozen=True)
class _CrossedEdges:
    """Lattice vertices at the ends of edges that the surface crosses, and how its vertices and triangles follow."""

    positions: Tensor  # [M, 3]
    topology: SurfaceTopology

    @classmethod
    def of(cls, lattice: TetrahedralLattice, signed_distance: Callable[[Tensor], Tensor]) -> _CrossedEdges:
        """Search the whole lattice."""
        return cls.from_active(extract_sparse(lattice, signed_distance))

    @classmethod
    def from_active(cls, active: ActiveTetrahedra) -> _CrossedEdges:
        """Triangulate inside the tetrahedra that a search found."""
        return cls(active.vertices, marching_tetrahedra(active.sdf, active.tets))


@dataclass(frozen=True)
class MeshHeadAuxiliaries:
    """What the losses of stage 1 need besides pictures.

    Attributes:
        landmarks: neutral landmarks moved by the expression [B, L, 3], canonical decimetres.
        landmark_distance: signed distance at the neutral landmarks [L].
        displacement_energy: mean squared displacement of both networks, relative to their scale.
        canonical_vertices: deformed vertices before the similarity transform [B, N, 3].
    """

    landmarks: Tensor
    landmark_distance: Tensor
    displacement_energy: Tensor
    canonical_vertices: Tensor


class MeshHead(nn.Module):
    """The mesh avatar of stage 1.

    Args:
        config: sizes and options.
        expression_size: E, number of expression coefficients.
        landmarks: initial neutral landmarks [L, 3], canonical decimetres; they are learned.
    """

    upscale = 1

    def __init__(self, config: MeshHeadConfig, expression_size: int, landmarks: Tensor) -> None:
        super().__init__()
        self.config = config
        self.fields = HeadFields(expression_size, config.fields)
        position_size = encoded_size(3, config.fields.frequencies)
        # Outputs: signed distance, vertex offset, feature.
        self.geometry = MLP(position_size, config.geometry.hidden(), 4 + config.fields.feature_size)
        self.neutral_landmarks = nn.Parameter(landmarks.detach().clone())
        self._tracker: SurfaceTracker | None = None
        self._crossed: _CrossedEdges | None = None
        self._age = 0

    def signed_distance(self, positions: Tensor) -> Tensor:
        """Signed distance [M] at canonical positions [M, 3], positive outside; not exactly a distance."""
        return self.geometry(self.fields.encode_positions(positions))[..., 0]

    def offset(self, raw: Tensor) -> Tensor:
        """Vertex offset in decimetres from the network's raw offset channels [..., 3]."""
        return torch.tanh(raw) * (self.config.offset_fraction * self.config.edge_mm / 100)

    def lattice(self, edge_mm: float) -> TetrahedralLattice:
        """A lattice over the head's bounds, on the head's device."""
        return TetrahedralLattice(self.config.bounds, edge_mm / 100, self.neutral_landmarks.device)

    def neutral_surface(self, lattice: TetrahedralLattice | None = None) -> NeutralSurface:
        """Extract the neutral surface, differentiable with respect to the geometry network.

        Args:
            lattice: another lattice than that of training, for example a finer one for the Gaussian head.

        Raises:
            TrainingError: the signed distance has one sign everywhere.
        """
        crossed = self._search() if lattice is None else _CrossedEdges.of(lattice, self.signed_distance)
        return self._surface(crossed, self.geometry(self.fields.encode_positions(crossed.positions)))

    def _surface(self, crossed: _CrossedEdges, raw: Tensor) -> NeutralSurface:
        """Interpolate the network's raw output [M, 4 + feature_size] at the ends of crossed edges."""
        values = torch.cat([crossed.positions + self.offset(raw[:, 1:4]), torch.tanh(raw[:, 4:])], dim=-1)
        values = interpolate_on_edges(values, raw[:, 0], crossed.topology.edges)
        return NeutralSurface(values[:, :3], values[:, 3:], crossed.topology.triangles)

    def _search(self) -> _CrossedEdges:
        """Crossed edges: while training, of a search some steps ago near the surface before; otherwise exact."""
        if not self.training:
            return _CrossedEdges.of(self.lattice(self.config.edge_mm), self.signed_distance)
        device = self.neutral_landmarks.device
        if self._tracker is None or self._tracker.lattice.device != device:
            self._tracker = SurfaceTracker(self.lattice(self.config.edge_mm), self.config.full_search_interval)
            self._crossed, self._age = None, 0
        if self._crossed is None or self._age >= self.config.search_interval:
            self._crossed, self._age = _CrossedEdges.from_active(self._tracker.extract(self.signed_distance)), 0
        self._age += 1
        return self._crossed

    def forward(self, code: HeadCode, camera: Camera | None = None) -> Posed:
        """Pose the head for codes with leading dimension B; auxiliaries are computed in training mode only."""
        crossed = self._search()
        # The learned landmarks ride along with the surface, as points that only the expression moves: one pass of
        # each network serves both.
        landmarks = self.neutral_landmarks if self.training else self.neutral_landmarks[:0]
        raw = self.geometry(self.fields.encode_positions(torch.cat([crossed.positions, landmarks])))
        raw, landmark_raw = raw.split([len(crossed.positions), len(landmarks)])
        surface = self._surface(crossed, raw)
        start = landmarks + self.offset(landmark_raw[:, 1:4]) if self.config.landmark_offset else landmarks
        points = torch.cat([surface.vertices, start])
        weights = self.fields.blend_weights(surface.vertices, self.neutral_landmarks)
        condition = self.fields.condition(code.expression, code.pose)
        displacement = self._displacement(points, torch.cat([weights, weights.new_ones(len(landmarks))]), condition)

        count = len(surface.vertices)
        vertices, moved_landmarks = (points + displacement).split([count, len(landmarks)], dim=-2)
        colors = self.fields.blended_color(weights, surface.features, condition, self._color_activation)
        auxiliaries = None
        if self.training:
            energy = (displacement[..., :count, :] / self.config.fields.deform_scale).square().sum(-1).mean()
            auxiliaries = MeshHeadAuxiliaries(moved_landmarks, landmark_raw[:, 0], energy, vertices)
        world = self._to_world(vertices, surface.vertices, code)
        return Posed(mesh=Mesh(world, surface.triangles, colors), auxiliaries=auxiliaries)

    def _to_world(self, vertices: Tensor, neutral: Tensor, code: HeadCode) -> Tensor:
        """Deformed vertices [B, N, 3] in world space; their share of the head is that of the neutral ones [N, 3]."""
        neck = self.fields.neck
        if neck is None:
            return code.to_world(vertices)
        return neck.to_world(vertices, neck.head_share(neutral, self.fields.encode_positions(neutral)), code)

    def _color_activation(self, raw: Tensor) -> Tensor:
        return torch.sigmoid(raw) if self.config.fields.color_activation == "original" else sigmoid_rgb(raw)

    def _displacement(self, vertices: Tensor, weights: Tensor, condition: Condition) -> Tensor:
        """Displacement [B, N, 3] of neutral vertices [N, 3] by both networks."""
        fields = self.fields
        encoded = fields.encode_positions(vertices)

        def by_expression(ids: Tensor) -> Tensor:
            return fields.expression_displacement(encoded[ids], condition)

        def by_pose(ids: Tensor) -> Tensor:
            if self.config.pose_deform_input == "neutral":
                return fields.pose_displacement(encoded[ids], condition)
            moved = vertices[ids] + weights[ids, None] * by_expression(ids)
            return fields.pose_displacement(fields.encode_positions(moved), condition)

        return fields.blend(weights, by_expression, by_pose)

    def decode(self, features: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """Rendered colours [B, C, h, w] over black: the first three channels are the picture."""
        return features[:, :3], alpha


def initialize_sphere(head: MeshHead, steps: int = 300, points: int = 8192, seed: int = 0) -> float:
    """Train the geometry network to the signed distance of the configured sphere.

    Returns:
        Root mean square error of the last step, decimetres.
    """
    device = head.neutral_landmarks.device
    generator = torch.Generator().manual_seed(seed)
    low, high = torch.tensor(head.config.bounds).unbind(-1)
    center = torch.tensor(head.config.sphere_center)
    optimizer = torch.optim.Adam(head.geometry.parameters(), lr=1e-3)
    loss = torch.zeros(())
    for _ in range(steps):
        positions = low + (high - low) * torch.rand(points, 3, generator=generator)
        target = (positions - center).norm(dim=-1) - head.config.sphere_radius
        loss = (head.signed_distance(positions.to(device)) - target.to(device)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item() ** 0.5
