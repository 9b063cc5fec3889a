"""Fitting a parametric face model to 2D landmarks of one or many views."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gha.errors import InputError
from gha.faces import FaceModel, HeadCode
from gha.geometry.rotations import matrix_to_axis_angle

from .fitting_config import FittingConfig
from .fitting_contour import Tracks
from .fitting_equations import Estimate, Problem, chunks, find_residuals
from .fitting_solver import Stage, minimise
from .fitting_start import Start, find_start
from .fitting_views import JAW_LINE, LANDMARKS, HeadInViews, Views

RAYLEIGH_MEDIAN = 1.1774  # length of a vector of two normal numbers that half of them exceed
# Residuals that count for half, relative to the configured ones, in the order of the stages: outliers are sorted out
# while the rest is already close.
PATIENCE = (4.0, 2.0, 1.0)


@dataclass(frozen=True)
class Fit:
    """A face model in T frames.

    Attributes:
        code: expression [T, E], pose [T, 6], scale [T, 1], identity [T, I], float32.
        landmarks: in world space [T, 68, 3].
        vertices: of the face region in world space [T, R, 3].
        chosen: projected landmarks in pixels, on the jaw line where each view sees its outline [T, V, 68, 2].
        residuals: distances of the detections from these in pixels [T, V, 68]; NaN where nothing was detected.
        decimetres: the same as lengths on the face; along the jaw line shortened by the slack.
        start: where fitting began.
        stages: how it went on.
        noise: standard deviation of the detections found, in decimetres.
    """

    code: HeadCode
    landmarks: Tensor
    vertices: Tensor
    chosen: Tensor
    residuals: Tensor
    decimetres: Tensor
    start: Start
    stages: tuple[Stage, ...]
    noise: float


def fit_face(
    model: FaceModel,
    views: Views,
    config: FittingConfig | None = None,
    seconds: Tensor | None = None,
    watch: Callable[[str], None] | None = None,
) -> Fit:
    """Find identity and scale of a person, and expression and pose in every frame.

    Placed by similarity alignment first (any orientation and unit of the rig will do), then by Levenberg and
    Marquardt's method on the landmarks alone: poses; everything for some of the frames; all frames with identity and
    scale as found.

    Args:
        model: the face model.
        views: detections and cameras of T frames.
        config: weights and caps.
        seconds: from each frame's predecessor in its sequence to it [T], inf where there is none; None: no frame has.
        watch: called with the name of each stage before it begins.

    Raises:
        InputError: no frame has enough detections to place a head.
    """
    with _one_thread():
        return _fit_face(model, views, config or FittingConfig(), seconds, watch)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch on one thread.

    The operations are many and too small to share: on several threads they wait for each other, and ten times as long
    where other programs use the cores as well.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _fit_face(
    model: FaceModel,
    views: Views,
    config: FittingConfig,
    seconds: Tensor | None,
    watch: Callable[[str], None] | None,
) -> Fit:
    tracks = Tracks.of(model)
    points = model.at_vertices(tracks.ids)
    if config.landmark_bias > 0:
        points = points.with_offsets(JAW_LINE.stop, LANDMARKS, config.landmark_bias)
    identity = torch.zeros(len(points.identity), dtype=torch.float64)
    limits = model.expression_range
    rest = torch.clamp(torch.zeros_like(limits.low), limits.low, limits.high)
    neutral = points(identity, rest)[:LANDMARKS]
    start = find_start(views, neutral, config.scale)
    if not start.placed.any():
        raise InputError(
            f"landmarks: found no frame of {views.frames} in which a view has 8 or more landmarks off the jaw line; "
            "expected detections of one face"
        )
    # One camera cannot tell how large a head is.
    config = config if start.known_scale else replace(config, scale=float(start.pose.scale))
    ties = torch.zeros(views.frames) if seconds is None else 1 / seconds
    problem = Problem(
        views, points, tracks, limits, config, ties.double(), HeadInViews.of(views, start.pose).decimetres_per_pixel(),
        1.0, config.outlier_scale, float(start.pose.scale),
    )  # fmt: skip
    estimate = Estimate(identity, rest.expand(views.frames, -1).clone(), start.pose)
    estimate, stages, problem = _run(problem, estimate, start.placed, watch or (lambda name: None))
    return _finish(model, problem, estimate, start, stages)


def _run(
    problem: Problem, estimate: Estimate, placed: Tensor, watch: Callable[[str], None]
) -> tuple[Estimate, tuple[Stage, ...], Problem]:
    """The stages: some frames with what they share, then all."""
    stages = []
    some = _spread(placed, problem.config.shared_frames)
    part = replace(problem.of_frames(some), ties=torch.zeros(len(some), dtype=torch.float64))
    few = estimate.of_frames(some)
    for name, free, patience in (
        ("poses", (False, False), PATIENCE[0]),
        ("identity and scale, coarse", (True, True), PATIENCE[1]),
        ("identity and scale", (True, True), PATIENCE[2]),
    ):
        watch(name)
        part = _with_noise(part, few, patience)
        few, stage = minimise(part, few, name, free, problem.config.max_iterations)
        stages.append(stage)
    estimate = _spread_out(estimate, few, some)
    for name, free, patience in (("all poses", False, PATIENCE[0]), ("all frames", True, PATIENCE[2])):
        watch(name)
        problem = replace(_with_noise(problem, estimate, patience), noise=part.noise)
        estimate, stage = minimise(problem, estimate, name, (free, False), problem.config.max_iterations)
        stages.append(stage)
    return estimate, tuple(stages), problem


def _spread(placed: Tensor, count: int) -> Tensor:
    """At most ``count`` indices of frames that have detections, evenly spread."""
    known = torch.nonzero(placed).flatten()
    if len(known) <= count:
        return known
    return known[torch.linspace(0, len(known) - 1, count).round().long()]


def _spread_out(estimate: Estimate, few: Estimate, some: Tensor) -> Estimate:
    """All frames with identity and scale of the few, and their expressions and poses where they were among them."""
    expression, rotation = estimate.expression.clone(), estimate.pose.rotation.clone()
    # Placed with another scale, heads keep their distance from the cameras relative to their size roughly; the next
    # stage finds the rest.
    translation = estimate.pose.translation.clone()
    expression[some], rotation[some], translation[some] = few.expression, few.pose.rotation, few.pose.translation
    return Estimate(few.identity, expression, replace(few.pose, rotation=rotation, translation=translation))


def _with_noise(problem: Problem, at: Estimate, patience: float) -> Problem:
    """The problem with the noise that the residuals show, and with lengths as the heads lie now."""
    problem = replace(problem, lengths=HeadInViews.of(problem.views, at.pose).decimetres_per_pixel())
    lengths = []
    for c in chunks(at):
        part = problem.of_frames(c)
        residuals = find_residuals(part, at.pose.of_frames(c), problem.points(at.identity, at.expression[c]))
        lengths.append(residuals.decimetres.norm(dim=-1)[residuals.weight > 0])
    found = torch.cat(lengths)
    noise = float(found.median()) / RAYLEIGH_MEDIAN if len(found) else 0.0
    return replace(
        problem, noise=max(noise, problem.config.noise_floor), outliers=patience * problem.config.outlier_scale
    )


def _finish(model: FaceModel, problem: Problem, at: Estimate, start: Start, stages: tuple[Stage, ...]) -> Fit:
    """Everything evaluated once at the result."""
    region, marks = (model.at_vertices(ids) for ids in (model.face_region, model.landmarks))
    identity = at.identity[: model.identity_size]
    landmarks, vertices, chosen, pixels, decimetres = [], [], [], [], []
    for c in chunks(at):
        part, pose = problem.of_frames(c), at.pose.of_frames(c)
        points = problem.points(at.identity, at.expression[c])
        residuals = find_residuals(part, pose, points)
        unseen = residuals.weight <= 0
        pixels.append(residuals.pixels.norm(dim=-1).masked_fill(unseen, torch.nan))
        decimetres.append(residuals.decimetres.norm(dim=-1).masked_fill(unseen, torch.nan))
        chosen.append(residuals.pixels + part.views.points)
        # Offsets belong to the detector; what is written belongs to the model.
        landmarks.append(pose.to_world(marks(identity, at.expression[c])))
        vertices.append(pose.to_world(region(identity, at.expression[c])).float())
    frames = len(at.expression)
    code = HeadCode(
        expression=at.expression.float(),
        pose=torch.cat([matrix_to_axis_angle(at.pose.rotation), at.pose.translation], 1).float(),
        scale=at.pose.scale.float().expand(frames, 1),
        identity=identity.float().expand(frames, -1),
    )
    return Fit(
        code, torch.cat(landmarks).float(), torch.cat(vertices), torch.cat(chosen).float(), torch.cat(pixels).float(),
        torch.cat(decimetres).float(), start, stages, problem.noise,
    )  # fmt: skip
