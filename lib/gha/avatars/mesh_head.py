"""Stage 1: a head as the zero level of a signed distance network on a tetrahedral lattice, with colour and motion.

Gaussian Head Avatar (CVPR 2024), section 3.2. The neutral surface is extracted by marching tetrahedra; expression
moves and colours it near facial landmarks, head pose elsewhere; a similarity transform places it in the world.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from gha.faces.code import HeadCode
from gha.geometry import (
    Camera,
    Neighbours,
    SurfaceTracker,
    TetrahedralLattice,
    extract_sparse,
    interpolate_at_zero,
    mean_square,
)
from gha.limits import Limit, above, at_least, between, limited, numbers
from gha.networks import MLP, LayerSizes, encoded_size

from .division import Division
from .fields import Condition, FieldsConfig, HeadFields, sigmoid_rgb
from .posed import Mesh, Posed
from .surface_layout import CrossedEdges, SurfaceLayout

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
    search_relaxes_after=at_least(0),
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
    search_relaxes_after: int = 0
    """The interval doubles after twice as many training steps, again after four times as many, and so on, because the
    surface moves ever less; 0: it stays."""
    full_search_interval: int = 20
    """The whole lattice is searched at every so many searches; in between only the surroundings of the last surface."""

    def search_interval_at(self, step: int) -> int:
        """The interval around a training step."""
        if not self.search_relaxes_after:
            return self.search_interval
        return self.search_interval << max(0, (step // self.search_relaxes_after).bit_length() - 1)


_SLACK = 0.25
"""Lattice edges by which the surface may move between two searches without a vertex needing another network."""


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
class MeshHeadAuxiliaries:
    """What the losses of stage 1 need besides pictures.

    Attributes:
        landmarks: neutral landmarks moved by the expression [B, L, 3], canonical decimetres.
        landmark_distance: signed distance at the neutral landmarks [L].
        displacement_energy: mean squared displacement by both networks, relative to the largest by expression.
        canonical_vertices: deformed vertices before the similarity transform [B, N, 3].
        neighbours: which of them are neighbours.
    """

    landmarks: Tensor
    landmark_distance: Tensor
    displacement_energy: Tensor
    canonical_vertices: Tensor
    neighbours: Neighbours


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
        self._found: tuple[CrossedEdges, SurfaceLayout] | None = None
        self._still: tuple[list[tuple[int, int]], tuple[CrossedEdges, SurfaceLayout]] | None = None

    def signed_distance(self, positions: Tensor) -> Tensor:
        """Signed distance [M] at canonical positions [M, 3], positive outside; not exactly a distance."""
        return self.geometry(self.fields.encode_positions(positions))[..., 0]

    def lattice(self, edge_mm: float) -> TetrahedralLattice:
        """A lattice over the head's bounds, on the head's device."""
        return TetrahedralLattice(self.config.bounds, edge_mm / 100, self.neutral_landmarks.device)

    def neutral_surface(self, lattice: TetrahedralLattice | None = None) -> NeutralSurface:
        """Extract the neutral surface anew, differentiable with respect to the geometry network.

        Args:
            lattice: another lattice than that of training, for example a finer one for the Gaussian head.

        Raises:
            TrainingError: the signed distance has one sign everywhere.
        """
        crossed, layout = self._find(self.lattice(self.config.edge_mm) if lattice is None else lattice)
        surface = interpolate_at_zero(self._values(crossed.positions, crossed.encoded), layout.edges)
        return NeutralSurface(surface[:, 1:4], surface[:, 4:], layout.triangles)

    def _values(self, positions: Tensor, encoded: Tensor) -> Tensor:
        """Signed distance, vertex with its offset, and feature [M, 1 + 3 + feature_size] at positions [M, 3]."""
        feature_size = self.config.fields.feature_size
        distance, others = self.geometry(encoded).split([1, 3 + feature_size], dim=-1)
        offset, features = torch.tanh(others).split([3, feature_size], dim=-1)
        reach = self.config.offset_fraction * self.config.edge_mm / 100  # decimetres
        return torch.cat([distance, torch.add(positions, offset, alpha=reach), features], dim=-1)

    @torch.no_grad()
    def search(self, anew: bool = False) -> None:
        """Find the lattice edges that the surface crosses, for all training steps until the next search.

        Sizes of what the head computes change with it. Evaluation searches by itself.

        Args:
            anew: in the whole lattice, as the first search does, instead of near the surface of the last one.

        Raises:
            TrainingError: the signed distance has one sign everywhere.
        """
        device = self.neutral_landmarks.device
        if anew or self._tracker is None or self._tracker.lattice.device != device:
            self._tracker = SurfaceTracker(self.lattice(self.config.edge_mm), self.config.full_search_interval)
        crossed = CrossedEdges.of(self._tracker.extract(self.signed_distance), self.fields)
        kept = self.config.search_interval > 1 or self.config.search_relaxes_after > 0
        slack = _SLACK * self.config.edge_mm / 100 if kept else 0.0
        self._found = crossed, self._lay_out(crossed, self.neutral_landmarks, slack)

    @torch.no_grad()
    def _find(self, lattice: TetrahedralLattice) -> tuple[CrossedEdges, SurfaceLayout]:
        """The surface as it is, without landmarks before it."""
        crossed = CrossedEdges.of(extract_sparse(lattice, self.signed_distance), self.fields)
        return crossed, self._lay_out(crossed, self.neutral_landmarks[:0], slack=0.0)

    def _find_again(self) -> tuple[CrossedEdges, SurfaceLayout]:
        """The surface as it is, searched for only after parameters have changed: the frames of a sequence share it."""
        parameters = [*self.geometry.parameters(), self.neutral_landmarks]
        versions = [(parameter.data_ptr(), parameter._version) for parameter in parameters]
        if self._still is None or self._still[0] != versions:
            with torch.inference_mode(False):
                self._still = versions, self._find(self.lattice(self.config.edge_mm))
        return self._still[1]

    def _lay_out(self, crossed: CrossedEdges, landmarks: Tensor, slack: float) -> SurfaceLayout:
        values = self._values_at(crossed, landmarks)
        return SurfaceLayout.of(crossed, values, self.neutral_landmarks, self.fields, slack)

    def _values_at(self, crossed: CrossedEdges, landmarks: Tensor) -> Tensor:
        """Values of the geometry network [M + L, 1 + 3 + feature_size] at lattice vertices, then at landmarks."""
        encoded = torch.cat([crossed.encoded, self.fields.encode_positions(landmarks)])
        return self._values(torch.cat([crossed.positions, landmarks]), encoded)

    def forward(self, code: HeadCode, camera: Camera | None = None) -> Posed:
        """Pose the head for codes with leading dimension B.

        In training mode auxiliaries are computed as well, and of the colours only the RGB that is compared.
        """
        if self.training and self._found is None:
            self.search()
        # The learned landmarks ride along with the surface, as points that only the expression moves: one pass of
        # each network serves both.
        landmarks = self.neutral_landmarks if self.training else self.neutral_landmarks[:0]
        crossed, layout = self._found if self.training else self._find_again()
        values = self._values_at(crossed, landmarks)
        sdf, points, features = self._interpolate(values, layout, landmarks)
        division = layout.division.with_leading(len(landmarks))
        weights = self.fields.blend_weights(division.mixed_part(points), self.neutral_landmarks, layout.nearest)
        condition = self.fields.condition(code.expression, code.pose)
        encoded_points = self.fields.encode_positions(points)
        displacement = self._displacement(points, encoded_points, division, weights, condition)

        sizes = [len(landmarks), len(points) - len(landmarks)]
        moved_landmarks, vertices = (points + displacement).split(sizes, dim=-2)
        colors = self._colors(features, layout.division.skipping(len(landmarks)), weights, condition)
        auxiliaries = None
        if self.training:
            energy = 3 * mean_square(displacement.split(sizes, dim=-2)[1]) / self.config.fields.deform_scale**2
            auxiliaries = MeshHeadAuxiliaries(
                moved_landmarks, sdf[: len(landmarks), 0], energy, vertices, layout.neighbours
            )
        world = self._to_world(vertices, *(x[len(landmarks) :] for x in (points, encoded_points)), code)
        return Posed(mesh=Mesh(world, layout.triangles, colors), auxiliaries=auxiliaries)

    def _to_world(self, vertices: Tensor, neutral: Tensor, encoded: Tensor, code: HeadCode) -> Tensor:
        """Deformed vertices [B, N, 3] in world space; their share of the head is that of the neutral ones [N, 3]."""
        neck = self.fields.neck
        if neck is None:
            return code.to_world(vertices)
        return neck.to_world(vertices, neck.head_share(neutral, encoded), code)

    def _interpolate(self, values: Tensor, layout: SurfaceLayout, landmarks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Signed distance [L + N, 1], position and feature of landmarks [L, 3] and of surface vertices.

        Args:
            values: at the ends of crossed edges, then at the landmarks.
            layout: of the surface.
            landmarks: where the last rows of ``values`` are.
        """
        sdf, points, features = interpolate_at_zero(values, layout.edges).split([1, 3, values.shape[1] - 4], dim=-1)
        if not self.config.landmark_offset:
            points = torch.cat([landmarks, points[len(landmarks) :]])
        return sdf, points, features

    def _colors(self, features: Tensor, division: Division, weights: Tensor, condition: Condition) -> Tensor:
        """Colours [B, N, C] from features [N, feature_size]; while training, the three that are compared."""
        fields, count = self.fields, 3 if self.training else self.config.fields.color_size
        activation = torch.sigmoid if self.training or fields.config.color_activation == "original" else sigmoid_rgb
        leading, trailing = division.parts(features)
        by_expression = fields.expression_color(leading, condition.expression)[..., :count]
        by_pose = fields.pose_color(trailing, condition.pose)[..., :count]
        return division.blend(weights, activation(by_expression), activation(by_pose))

    def _displacement(
        self, points: Tensor, encoded: Tensor, division: Division, weights: Tensor, condition: Condition
    ) -> Tensor:
        """Displacement [B, N, 3] by both networks of neutral points [N, 3] with their positional encoding."""
        fields = self.fields
        leading, trailing = division.parts(encoded)
        by_expression = fields.expression_displacement(leading, condition)
        if self.config.pose_deform_input == "deformed":
            still = by_expression.new_zeros(*by_expression.shape[:-2], division.mixed + division.far, 3)
            moved = (points + division.blend(weights, by_expression, still))[..., division.near :, :]
            trailing = fields.encode_positions(moved)
        return division.blend(weights, by_expression, fields.pose_displacement(trailing, condition))

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
