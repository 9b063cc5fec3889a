"""The parts of fitting against closed forms, dense solutions and finite differences."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from face_detections import make_scene

from gha.geometry.rotations import axis_angle_to_matrix
from gha.preprocessing.fitting_config import FittingConfig
from gha.preprocessing.fitting_contour import Tracks
from gha.preprocessing.fitting_equations import Equations, Estimate, Problem, cost_of, linearise
from gha.preprocessing.fitting_solver import _Chain, solve
from gha.preprocessing.fitting_start import align, scaled_orthography, triangulate
from gha.preprocessing.fitting_views import HeadInViews, Pose, Views


@pytest.fixture(scope="module")
def scene():
    return make_scene(frames=3, cameras=4)


@pytest.fixture(scope="module")
def problem(scene):
    views = Views.of(scene.detect(noise=2.0), scene.cameras)
    tracks = Tracks.of(scene.model)
    config = FittingConfig(contour="fixed", contour_slack=1.0)
    limits = scene.model.expression_range
    ties = torch.tensor([0.0, 25.0, 25.0]).double()
    estimate = guess(scene)
    lengths = HeadInViews.of(views, estimate.pose).decimetres_per_pixel()
    points = scene.model.at_vertices(tracks.ids)
    return Problem(views, points, tracks, limits, config, ties, lengths, 0.01, 4.0, 0.1)


def guess(scene):
    generator = torch.Generator().manual_seed(5)
    codes = [scene.stage.code(index) for index in range(3)]
    pose = torch.stack([code.pose for code in codes]).double()
    rotation = axis_angle_to_matrix(pose[:, :3] + 0.02 * torch.randn(3, 3, generator=generator))
    return Estimate(
        0.3 * torch.randn(scene.model.identity_size, generator=generator).double(),
        0.2 + 0.3 * torch.rand(3, len(scene.model.expression_names), generator=generator).double(),
        Pose(rotation, pose[:, 3:], torch.tensor(0.1).double()),
    )


def test_slopes_are_those_of_the_cost(scene, problem):
    at = guess(scene)
    equations = linearise(problem, at, with_shared=True)
    assert equations.cost == pytest.approx(cost_of(problem, at, equations.chosen, True), rel=1e-12)
    size, step = equations.slope.shape[1], 1e-5
    none = torch.zeros(3, size).double(), torch.zeros(len(at.identity) + 1).double()

    def slope(frames, shared):
        ahead, behind = (cost_of(problem, at.moved(s * frames, s * shared), equations.chosen, True) for s in (1, -1))
        return (ahead - behind) / (2 * step) / 2

    # The rotation between tied frames is linearised; half a per cent of its slope is what that costs.
    scale = float(equations.slope.abs().max())
    for frame, column in [(0, 0), (1, 5), (2, 30), (0, size - 6), (1, size - 5), (2, size - 1), (1, size - 2)]:
        move = none[0].clone()
        move[frame, column] = step
        assert slope(move, none[1]) == pytest.approx(float(equations.slope[frame, column]), abs=2e-3 * scale)
    # Identity and scale are sought with frames that are not tied.
    problem = replace(problem, ties=torch.zeros(3).double())
    scale = float(equations.shared_slope.abs().max())
    for column in (0, 3, 10, len(at.identity)):
        move = none[1].clone()
        move[column] = step
        assert slope(none[0], move) == pytest.approx(float(equations.shared_slope[column]), abs=1e-5 * scale)


def test_own_blocks_predict_small_steps(scene, problem):
    """With residuals of 0 the equations are exact to second order: the cost of a step is the quadratic form."""
    at = guess(scene)
    tied = replace(problem, ties=torch.zeros(3).double(), config=replace(problem.config, expression_weight=1e-12))
    points = tied.points(at.identity, at.expression)
    pixels = HeadInViews.of(tied.views, at.pose).see(points[:, :68]).pixels
    exact = replace(tied, views=replace(tied.views, points=pixels))
    equations = linearise(exact, at, with_shared=False)
    step = 1e-4 * torch.randn(equations.slope.shape, generator=torch.Generator().manual_seed(0)).double()
    moved = at.moved(step, torch.zeros(len(at.identity) + 1).double())
    predicted = torch.einsum("ti,tij,tj->", step, equations.own, step)
    assert cost_of(exact, moved, equations.chosen, False) == pytest.approx(float(predicted), rel=1e-2)


def random_equations(rng, frames=5, size=4, shared=3):
    def definite(*shape):
        half = rng.normal(size=(*shape, shape[-1] + 2))
        return half @ half.swapaxes(-1, -2)

    whole = definite(frames, size + shared)
    return Equations(
        *map(
            torch.from_numpy,
            (
                whole[:, :size, :size].copy(),
                whole[:, :size, size:].copy(),
                whole[:, size:, size:].sum(0) + np.eye(shared),
                rng.normal(size=(frames, size)),
                rng.normal(size=shared),
            ),
        ),
        torch.zeros(0),
        0.0,
    )


@pytest.mark.parametrize("tied", [True, False])
def test_the_chain_solves_the_dense_system(tied):
    rng = np.random.default_rng(0)
    equations = random_equations(rng)
    frames, size = equations.slope.shape
    held = rng.uniform(0.5, 2, (frames, size)) * tied
    held[0] = held[3] = 0  # sequences begin
    count = frames * size
    dense = np.zeros((count + 3, count + 3))
    for t in range(frames):
        here = slice(t * size, (t + 1) * size)
        dense[here, here] += equations.own[t].numpy() + np.diag(held[t])
        dense[here, count:] = equations.mixed[t]
        dense[count:, here] = equations.mixed[t].T
        if t + 1 < frames:
            then = slice((t + 1) * size, (t + 2) * size)
            dense[here, here] += np.diag(held[t + 1])
            dense[here, then] -= np.diag(held[t + 1])
            dense[then, here] -= np.diag(held[t + 1])
    dense[count:, count:] = equations.shared
    right = -np.concatenate([equations.slope.numpy().ravel(), equations.shared_slope.numpy()])
    fixed = rng.random((frames, size)) < 0.3
    value = np.where(fixed, rng.normal(size=(frames, size)), 0)
    free = np.concatenate([~fixed.ravel(), np.ones(3, bool)])
    expected = np.concatenate([value.ravel(), np.zeros(3)])
    expected[free] = np.linalg.solve(dense[np.ix_(free, free)], (right - dense @ expected)[free])
    found, shared = _Chain(equations, held, 0.0, size).solve(fixed, value)
    np.testing.assert_allclose(np.concatenate([found.ravel(), shared]), expected, atol=1e-6)


def test_steps_stop_at_bounds(scene, problem):
    at = guess(scene)
    at = replace(at, expression=torch.zeros_like(at.expression))
    equations = linearise(problem, at, with_shared=False)
    steps, shared = solve(problem, equations, at, 1e-3, (True, False))
    inside = at.expression + steps[:, : at.expression.shape[1]]
    assert inside.min() >= 0
    assert inside.max() <= 1
    assert (inside == 0).any()
    assert (inside > 0.01).any()
    assert not shared.any()
    # What stops at 0 would go on downwards: its slope, with the others where they are, points there.
    stopped, _ = solve(problem, equations, at, 1e-3, (False, False))
    assert not stopped[:, : at.expression.shape[1]].any()


def test_similarities_are_found_exactly_and_are_no_mirror_images():
    generator = torch.Generator().manual_seed(1)
    source = torch.randn(68, 3, generator=generator).double()
    rotation = axis_angle_to_matrix(torch.randn(5, 3, generator=generator).double() * 2)
    shift, scale = torch.randn(5, 3, generator=generator).double() * 100, 25.0
    target = scale * source @ rotation.mT + shift[:, None]
    target[:, 7] += 1000.0  # one wild point
    found = align(source, target, torch.ones(5, 68).double())
    torch.testing.assert_close(found[0], rotation, atol=1e-4, rtol=0)
    torch.testing.assert_close(found[1], shift, atol=2e-2, rtol=0)
    torch.testing.assert_close(found[2], torch.full((5,), scale).double(), rtol=1e-3, atol=0)
    mirrored = align(source * torch.tensor([-1.0, 1, 1]), target, torch.ones(5, 68).double())
    torch.testing.assert_close(torch.linalg.det(mirrored[0]), torch.ones(5).double())


def test_triangulation_ignores_wild_views(scene):
    detections = scene.detect(noise=0.0, outliers=0.0, missing=0.0)
    detections[:, 1, 20] += 300.0
    world, certainty = triangulate(Views.of(detections, scene.cameras))
    torch.testing.assert_close(world, scene.landmarks.double(), atol=1e-4, rtol=0)
    assert (certainty > 0).all()
    assert (certainty[:, 20] < certainty[:, 21]).all()


def test_one_view_and_parallel_views_triangulate_nothing(scene):
    detections = scene.detect(noise=0.0, outliers=0.0, missing=0.0)
    alone = detections.clone()
    alone[:, 1:] = 0
    assert not triangulate(Views.of(alone, scene.cameras))[1].any()
    twice = scene.cameras[[0, 0]]
    assert not triangulate(Views.of(detections[:, [0, 0]], twice))[1].any()


def test_scaled_orthography_of_a_distant_head():
    generator = torch.Generator().manual_seed(4)
    neutral = torch.randn(68, 3, generator=generator).double()
    rotation = axis_angle_to_matrix(torch.tensor([0.3, 2.0, 1.0]).double())
    offset = torch.tensor([3.0, -2.0, 200.0]).double()
    local = 0.1 * neutral @ rotation.T + offset
    found, place, depth = scaled_orthography(neutral, local[:, :2] / local[:, 2:], torch.ones(68).double(), 0.1)
    torch.testing.assert_close(found, rotation, atol=3e-2, rtol=0)
    torch.testing.assert_close(place, offset[:2] / offset[2], atol=1e-3, rtol=0)
    assert depth == pytest.approx(200.0, rel=1e-2)


def test_points_behind_a_camera_are_told(scene):
    views = Views.of(scene.detect(), scene.cameras)
    at = guess(scene)
    seen = HeadInViews.of(views, replace(at.pose, translation=at.pose.translation + 1000.0)).see(
        torch.zeros(3, 5, 3).double()
    )
    assert torch.isfinite(seen.pixels).all()
    assert (~seen.in_front).any()


def test_tracks_begin_at_the_landmarks_and_lead_over_the_cheeks(scene):
    tracks = Tracks.of(scene.model)
    assert tracks.ids[:68].tolist() == scene.model.landmarks.tolist()
    assert tracks.jaw[:, 0].tolist() == list(range(17))
    still = torch.zeros(scene.model.identity_size), torch.zeros(len(scene.model.expression_names))
    places = scene.model.at_vertices(tracks.ids)(*still)[tracks.jaw]
    assert (places[:7, -1, 2] > places[:7, 0, 2] + 0.1).all()  # forwards
    assert (places[:7, :, 0] < 0).all()  # on the right side
    assert (places[10:, :, 0] > 0).all()
