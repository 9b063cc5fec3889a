"""The least-squares problem of fitting, linearised: one block of normal equations per frame, and what frames share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gha.faces.face_points import CoefficientRange, FacePoints
from gha.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle

from .fitting_config import FittingConfig
from .fitting_contour import Tracks
from .fitting_views import JAW_LINE, LANDMARKS, HeadInViews, Pose, Views

CHUNK = 32  # frames linearised at a time: memory
# How far things drift in a second (standard deviations): expression in units of its spread, radians, decimetres.
EXPRESSION_DRIFT, TURN_DRIFT, SHIFT_DRIFT = 3.0, 0.25, 0.25
SCALE_SPREAD = 0.3  # of the logarithm about the initial scale: keeps it from degenerating, weighs next to nothing


@dataclass(frozen=True)
class Estimate:
    """All that is being found: identity [I], expression [T, E], poses of T frames."""

    identity: Tensor
    expression: Tensor
    pose: Pose

    def moved(self, frames: Tensor, shared: Tensor) -> Estimate:
        """After steps of frames [T, E + 6] (expression, rotation, translation) and of identity and scale [I + 1]."""
        count = self.expression.shape[1]
        turn = axis_angle_to_matrix(frames[:, count : count + 3])
        pose = Pose(
            self.pose.rotation @ turn,
            self.pose.translation + self.pose.scale * frames[:, count + 3 :],
            self.pose.scale * shared[-1].exp(),
        )
        return Estimate(self.identity + shared[:-1], self.expression + frames[:, :count], pose)

    def of_frames(self, index: Tensor | slice) -> Estimate:
        """Some of the frames."""
        return replace(self, expression=self.expression[index], pose=self.pose.of_frames(index))


@dataclass(frozen=True)
class Problem:
    """What is minimised.

    Attributes:
        views: detections and cameras.
        points: the face model at landmarks and tracks.
        tracks: which of these are which landmarks.
        limits: of the expression coefficients.
        config: weights.
        ties: of each frame to the one before it, 1 / seconds between them, 0 for none [T].
        lengths: decimetres that a pixel of each view is long on the head [T, V], as the head lay before the stage.
        noise: standard deviation of detections in decimetres.
        outliers: residual that counts for half, in standard deviations.
        first_scale: the scale at the start.
    """

    views: Views
    points: FacePoints
    tracks: Tracks
    limits: CoefficientRange
    config: FittingConfig
    ties: Tensor
    lengths: Tensor
    noise: float
    outliers: float
    first_scale: float

    def of_frames(self, index: Tensor | slice) -> Problem:
        """The data of some frames; ties are left as they are."""
        return replace(self, views=self.views.of_frames(index), lengths=self.lengths[index])

    def tie_strengths(self) -> Tensor:
        """What holds the steps of a frame to those of the one before [T, E + 6]; 0 for the first of a sequence."""
        drift = torch.cat([EXPRESSION_DRIFT * self.limits.spread, torch.tensor([TURN_DRIFT] * 3 + [SHIFT_DRIFT] * 3)])
        return self.config.temporal_weight * self.ties[:, None] / drift.double() ** 2


@dataclass(frozen=True)
class Residuals:
    """Differences between projections and detections.

    Attributes:
        chosen: which point each view shows as each landmark [T, V, 68].
        decimetres: [T, V, 68, 2], along the jaw line shortened by the slack.
        weight: confidence times what kind of landmark it is [T, V, 68].
        by_point: derivative of ``decimetres`` by canonical points [T, V, 68, 2, 3], or None.
        pixels: plain differences [T, V, 68, 2].
    """

    chosen: Tensor
    decimetres: Tensor
    weight: Tensor
    by_point: Tensor | None
    pixels: Tensor


def find_residuals(
    problem: Problem, pose: Pose, points: Tensor, chosen: Tensor | None = None, linearise: bool = False
) -> Residuals:
    """Residuals of canonical points [T, P, 3]; ``chosen`` keeps an earlier choice of places on the jaw line."""
    views, config = problem.views, problem.config
    head = HeadInViews.of(views, pose)
    if chosen is None:
        shape = (*views.confidence.shape[:2], LANDMARKS)
        sliding = config.contour == "sliding"
        chosen = problem.tracks.choose(points, head) if sliding else torch.arange(LANDMARKS).expand(shape)
    frame = torch.arange(len(points))[:, None, None]
    seen = head.see(points[frame, chosen])
    away = seen.pixels - views.points
    length = problem.lengths[..., None, None]
    kind = torch.ones(LANDMARKS, dtype=torch.float64)
    kind[JAW_LINE] = 0.0 if config.contour == "off" else config.contour_weight
    weight = views.confidence * kind * seen.in_front
    slack = _slack(seen.pixels[:, :, JAW_LINE], config.contour_slack)
    decimetres = away * length
    decimetres = torch.cat(
        [(slack @ decimetres[:, :, JAW_LINE, :, None])[..., 0], decimetres[:, :, JAW_LINE.stop :]], 2
    )
    by_point = None
    if linearise:
        by_point = seen.derivatives() * length[..., None]
        by_point = torch.cat([slack @ by_point[:, :, JAW_LINE], by_point[:, :, JAW_LINE.stop :]], 2)
    return Residuals(chosen, decimetres, weight, by_point, away)


def _slack(jaw: Tensor, along: float) -> Tensor:
    """Matrices [T, V, 17, 2, 2] that shorten vectors along the projected jaw line [T, V, 17, 2]."""
    tangent = torch.cat([jaw[:, :, :1], jaw[:, :, :-1]], 2) - torch.cat([jaw[:, :, 1:], jaw[:, :, -1:]], 2)
    tangent = torch.nn.functional.normalize(tangent, dim=-1)
    return torch.eye(2, dtype=torch.float64) - (1 - along) * tangent[..., :, None] * tangent[..., None, :]


def robust_cost(problem: Problem, residuals: Residuals) -> tuple[Tensor, Tensor]:
    """Cost of each frame [T], and the weights of iteratively reweighted least squares [T, V, 68]."""
    square = residuals.decimetres.square().sum(-1) / problem.noise**2
    damped = 1 + square / problem.outliers**2
    return (residuals.weight * square / damped).sum((1, 2)), residuals.weight / damped**2 / problem.noise**2


@dataclass(frozen=True)
class Equations:
    """Normal equations ``[[A, B], [B^T, C]] [d, s] = -[g, h]``, without what ties frames to each other.

    Attributes:
        own: A of each frame [T, D, D], D = E + 6.
        mixed: B [T, D, S], S = I + 1; S = 0 where nothing shared is sought.
        shared: C [S, S].
        slope: g [T, D].
        shared_slope: h [S].
        chosen: places on the jaw line that the equations hold for [T, V, 68].
        cost: of the data and the priors, ties included.
    """

    own: Tensor
    mixed: Tensor
    shared: Tensor
    slope: Tensor
    shared_slope: Tensor
    chosen: Tensor
    cost: float


def linearise(problem: Problem, at: Estimate, with_shared: bool, with_expression: bool = True) -> Equations:
    """Equations about an estimate; ``with_shared`` for identity and scale too.

    Without ``with_expression`` those of the expression are not filled in, which saves most of the time.
    """
    kinds = with_shared, with_expression or with_shared
    parts = [_linearise_some(problem.of_frames(c), at.of_frames(c), *kinds) for c in chunks(at)]
    own, mixed, shared, slope, shared_slope, chosen, cost = zip(*parts, strict=True)
    own, slope = torch.cat(own), torch.cat(slope)
    count = at.expression.shape[1]
    strength = problem.config.expression_weight / problem.limits.spread**2
    own.diagonal(dim1=1, dim2=2)[:, :count] += strength
    slope[:, :count] += strength * at.expression
    held = problem.tie_strengths()
    step = step_between(at)
    slope += held * step
    slope[:-1] -= held[1:] * step[1:]
    total, total_slope = sum(shared), sum(shared_slope)
    if with_shared:
        strengths, values = _shared_prior(problem, at)
        total, total_slope = total + strengths.diag(), total_slope + strengths * values
    return Equations(
        own, torch.cat(mixed), total, slope, total_slope, torch.cat(chosen),
        float(sum(cost)) + prior_cost(problem, at, with_shared),
    )  # fmt: skip


def cost_of(problem: Problem, at: Estimate, chosen: Tensor, with_shared: bool) -> float:
    """The cost that :func:`linearise` gives, at another estimate with the same places on the jaw line."""
    total = 0.0
    for c in chunks(at):
        part = problem.of_frames(c)
        points = problem.points(at.identity, at.expression[c])
        cost, _ = robust_cost(part, find_residuals(part, at.pose.of_frames(c), points, chosen[c]))
        total += float(cost.sum())
    return total + prior_cost(problem, at, with_shared)


def chunks(at: Estimate) -> Iterator[slice]:
    """Frames in portions."""
    for start in range(0, len(at.expression), CHUNK):
        yield slice(start, start + CHUNK)


def prior_cost(problem: Problem, at: Estimate, with_shared: bool) -> float:
    """Cost of unlikely coefficients and of changes between frames."""
    config = problem.config
    cost = config.expression_weight * (at.expression / problem.limits.spread).square().sum()
    cost = cost + (problem.tie_strengths() * step_between(at).square()).sum()
    if with_shared:
        strengths, values = _shared_prior(problem, at)
        cost = cost + (strengths * values.square()).sum()
    return float(cost)


def _shared_prior(problem: Problem, at: Estimate) -> tuple[Tensor, Tensor]:
    """Strengths [S] and arguments [S] of the quadratic priors on identity and the logarithm of the scale."""
    # A detector errs in the same way in all frames: however many there are, they say of a shape what one does.
    strength = problem.config.identity_weight * problem.views.frames
    strengths = torch.full((len(at.identity) + 1,), strength, dtype=torch.float64)
    strengths[-1] = 1e12 if problem.config.scale > 0 else 1 / SCALE_SPREAD**2
    return strengths, torch.cat([at.identity, (at.pose.scale / problem.first_scale).log()[None]])


def step_between(at: Estimate) -> Tensor:
    """From each frame's predecessor to it [T, E + 6]: expression, rotation, translation in decimetres; first 0."""
    rotation, translation = at.pose.rotation, at.pose.translation
    step = torch.cat(
        [
            at.expression[1:] - at.expression[:-1],
            matrix_to_axis_angle(rotation[:-1].mT @ rotation[1:]),
            (translation[1:] - translation[:-1]) / at.pose.scale,
        ],
        dim=1,
    )
    return torch.cat([torch.zeros_like(step[:1]) if len(step) else step.new_zeros(1, step.shape[1]), step])


def _linearise_some(problem: Problem, at: Estimate, with_shared: bool, with_expression: bool) -> tuple[Tensor, ...]:
    if with_expression:
        points, by_identity, by_expression = problem.points.derivatives(at.identity, at.expression)
    else:
        points = problem.points(at.identity, at.expression)
        by_identity = by_expression = points.new_zeros(1, 1, 1, at.expression.shape[1])
    residuals = find_residuals(problem, at.pose, points, linearise=True)
    cost, weight = robust_cost(problem, residuals)
    information, pull = _gather(residuals, weight, points.shape[1])
    columns = _columns(at, points, by_identity, by_expression, with_shared)
    used = information.abs().amax((0, 2, 3)) > 0
    columns, information, pull = columns[:, used], information[:, used], pull[:, used]
    weighted = (information @ columns).flatten(1, 2)
    columns = columns.flatten(1, 2)
    normal = columns.mT @ weighted
    slope = (columns.mT @ pull.flatten(1, 2)[..., None])[..., 0]
    own = at.expression.shape[1] + 6
    return (
        normal[:, :own, :own], normal[:, :own, own:], normal[:, own:, own:].sum(0), slope[:, :own],
        slope[:, own:].sum(0), residuals.chosen, cost.sum(),
    )  # fmt: skip


def _gather(residuals: Residuals, weight: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """What all views together say of each point: information [T, P, 3, 3] and slope [T, P, 3]."""
    scaled = weight[..., None, None] * residuals.by_point
    information = (scaled.mT @ residuals.by_point).flatten(-2)
    pull = (scaled.mT @ residuals.decimetres[..., None])[..., 0]
    both = torch.cat([information, pull], dim=-1)
    frames = len(both)
    places = residuals.chosen + count * torch.arange(frames)[:, None, None]
    gathered = torch.zeros(frames * count, 12, dtype=torch.float64)
    gathered = gathered.index_add(0, places.flatten(), both.flatten(0, 2)).unflatten(0, (frames, count))
    return gathered[..., :9].unflatten(-1, (3, 3)), gathered[..., 9:]


def _columns(at: Estimate, points: Tensor, by_identity: Tensor, by_expression: Tensor, with_shared: bool) -> Tensor:
    """Derivatives of canonical points as the rig sees them [T, P, 3, D + S]."""
    shape = points.shape
    zero = torch.zeros_like(points[..., 0])
    x, y, z = points.unbind(-1)
    turn = torch.stack([zero, z, -y, -z, zero, x, y, -x, zero], -1).unflatten(-1, (3, 3))
    shift = at.pose.rotation.mT[:, None].expand(*shape, 3)
    parts = [by_expression.expand(*shape, -1), turn, shift]
    if with_shared:
        parts += [by_identity.expand(*shape, -1), points[..., None]]
    return torch.cat(parts, dim=-1)
