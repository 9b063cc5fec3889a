"""Fits against the truth of generated detections, and the ways in which fitters fail."""

import math
from dataclasses import replace

import pytest
import torch
from face_detections import NOISE, make_scene, moved_cameras, outlines, small_head

from gha.errors import InputError
from gha.faces import FaceModel, load_face_model
from gha.geometry import Camera
from gha.geometry.rotations import axis_angle_to_matrix
from gha.preprocessing.fitting import fit_face
from gha.preprocessing.fitting_config import FittingConfig
from gha.preprocessing.fitting_views import Views

FIXED = FittingConfig(contour="fixed")  # the detections of most tests are the model's own vertices


@pytest.fixture(scope="module")
def scene():
    return make_scene()


@pytest.fixture(scope="module")
def fit(scene):
    return fit_face(scene.model, Views.of(scene.detect(), scene.cameras), FIXED)


def inner_error(scene, fit):
    """Root mean square distance of fitted landmarks off the jaw line from the true pixels."""
    return (fit.chosen - scene.pixels)[:, :, 17:].norm(dim=-1).square().mean().sqrt()


def test_the_face_is_found_far_below_the_noise(scene, fit):
    assert inner_error(scene, fit) < 0.5 * NOISE
    assert scene.millimetres(fit.vertices).mean() < 0.6
    assert (fit.landmarks - scene.landmarks).norm(dim=-1).mean() * 1000 < 0.6
    assert all(stage.ended != "iteration cap" for stage in fit.stages)
    torch.testing.assert_close(fit.code.scale, torch.full((8, 1), 0.1), rtol=0.01, atol=0)


def test_expressions_are_recovered(scene, fit):
    names = scene.model.expression_names
    for name, bound in (("jawOpen", 0.03), ("mouthSmileLeft", 0.06), ("browDownRight", 0.08), ("eyeBlinkLeft", 0.08)):
        index = names.index(name)
        assert (fit.code.expression - scene.expression)[:, index].abs().mean() < bound, name
    assert (fit.code.expression >= 0).all()
    assert (fit.code.expression <= 1).all()


def test_identity_and_scale_are_shared(fit):
    assert (fit.code.identity == fit.code.identity[0]).all()
    assert (fit.code.scale == fit.code.scale[0]).all()


def test_code_landmarks_and_vertices_agree(scene, fit):
    model, code = scene.model, fit.code
    for ids, found in ((model.landmarks, fit.landmarks), (model.face_region, fit.vertices)):
        points = model.at_vertices(ids)(code.identity, code.expression).float()
        torch.testing.assert_close(code.to_world(points), found, atol=1e-5, rtol=0)


def test_noise_and_residuals_are_what_was_put_in(scene, fit):
    length = 1 / (3.25 * 1024 * 0.1) * 1.15  # decimetres of a pixel: depth / (focal length * scale)
    assert 0.8 < fit.noise / (NOISE * length) < 1.3
    assert 0.8 < float(fit.residuals.nanmedian()) / (NOISE * math.sqrt(2 * math.log(2))) < 1.25
    assert torch.isnan(fit.residuals).all(-1).any()  # views without a face


@pytest.mark.parametrize(
    ("turn", "scale", "shift"),
    [
        ((0.0, 0.0, math.pi), 1000.0, (300.0, -200.0, 50.0)),  # upside down, millimetres
        ((math.pi / 2, 0.0, 0.0), 1.0, (0.0, 0.0, 3.0)),  # z up
        ((0.9, -2.1, 1.4), 0.03, (-1.0, 2.0, 0.5)),
        ((0.0, math.pi, 0.0), 10.0, (0.0, 0.0, 0.0)),  # from behind
    ],
)
def test_any_orientation_and_unit_of_the_rig_converges(scene, fit, turn, scale, shift):
    rotation, shift = axis_angle_to_matrix(torch.tensor(turn).double()), torch.tensor(shift).double()
    cameras = moved_cameras(scene.cameras, rotation, scale, shift)
    moved = fit_face(scene.model, Views.of(scene.detect(), cameras), FIXED)
    expected = scale * fit.vertices.double() @ rotation.T + shift
    error = (moved.vertices - expected).norm(dim=-1) / scale * 1000
    assert error.mean() < 0.1  # millimetres
    torch.testing.assert_close(moved.code.expression, fit.code.expression, atol=0.02, rtol=0)
    torch.testing.assert_close(moved.code.scale, scale * fit.code.scale, rtol=2e-3, atol=0)


def test_outliers_change_little(scene):
    clean = fit_face(scene.model, Views.of(scene.detect(outliers=0.0, missing=0.0), scene.cameras), FIXED)
    wild = fit_face(scene.model, Views.of(scene.detect(outliers=0.25, missing=0.0), scene.cameras), FIXED)
    assert (clean.vertices - wild.vertices).norm(dim=-1).mean() * 1000 < 0.6


def test_confidence_is_a_weight(scene):
    """One camera lies consistently; the less it is believed, the less it matters, and 0 is silence."""
    errors = []
    for confidence in (1.0, 0.05, 0.0):
        detections = scene.detect(outliers=0.0, missing=0.0)[:, :2].clone()
        detections[:, 0, :, :2] += 4.0
        detections[:, 0, :, 2] = confidence
        fit = fit_face(scene.model, Views.of(detections, scene.cameras[:2]), FIXED)
        # Believed as much as the other one, it moves the head sideways between the two.
        errors.append(float((fit.chosen[:, 1] - scene.pixels[:, 1])[:, 17:].norm(dim=-1).mean()))
    assert errors[0] > errors[1]
    detections[:, 0, :, :2] = torch.nan
    silent = fit_face(scene.model, Views.of(detections, scene.cameras[:2]), FIXED)
    torch.testing.assert_close(silent.vertices, fit.vertices)


def test_a_frame_without_detection_follows_its_neighbours():
    scene = make_scene(frames=6, cameras=4)
    detections = scene.detect(outliers=0.0, missing=0.0)
    detections[3] = 0
    seconds = torch.full((6,), 0.04)
    seconds[0] = torch.inf
    fit = fit_face(scene.model, Views.of(detections, scene.cameras), FIXED, seconds)
    assert fit.start.placed.tolist() == [True, True, True, False, True, True]
    assert torch.isnan(fit.residuals[3]).all()
    between = (fit.code.pose[2] + fit.code.pose[4]) / 2
    assert (fit.code.pose[3] - between).abs().max() < 0.02
    assert torch.isfinite(fit.vertices).all()


def test_nothing_detected_is_refused():
    scene = make_scene(frames=3, cameras=3)
    with pytest.raises(InputError, match="found no frame of 3"):
        fit_face(scene.model, Views.of(torch.zeros(3, 3, 68, 3), scene.cameras), FIXED)


@pytest.mark.parametrize("roll", [0.0, 180.0, 77.0])
def test_one_camera(scene, roll):
    """The scale is that of metres, the projection is right, whichever way up the camera was held."""
    camera = scene.cameras[3:4].to(dtype=torch.float64)
    angle = axis_angle_to_matrix(torch.tensor([0.0, 0.0, math.radians(roll)]).double())
    w2c = camera.w2c.clone()
    w2c[:, :3] = angle @ w2c[:, :3]
    rolled = Camera(w2c, camera.K, camera.width, camera.height)
    pixels, _ = rolled.project(scene.landmarks[:, None].double())
    detections = torch.cat([pixels + NOISE * torch.randn(pixels.shape), torch.ones(*pixels.shape[:-1], 1)], -1)
    fit = fit_face(scene.model, Views.of(detections, rolled), FIXED)
    assert not fit.start.known_scale
    torch.testing.assert_close(fit.code.scale, torch.full((8, 1), 0.1))
    assert (fit.chosen - pixels)[:, :, 17:].norm(dim=-1).square().mean().sqrt() < 1.2 * NOISE
    # The shape is right to millimetres once depth, which one camera hardly tells, is taken out.
    middle = fit.vertices.mean(1, keepdim=True), scene.vertices.mean(1, keepdim=True)
    assert ((fit.vertices - middle[0]) - (scene.vertices - middle[1])).norm(dim=-1).mean() * 1000 < 5.0


def test_the_scale_can_be_given(scene):
    fit = fit_face(scene.model, Views.of(scene.detect(), scene.cameras), replace(FIXED, scale=0.104))
    torch.testing.assert_close(fit.code.scale, torch.full((8, 1), 0.104), rtol=1e-4, atol=0)


def test_frames_beyond_the_shared_ones_are_fitted_as_well(scene, fit):
    few = fit_face(scene.model, Views.of(scene.detect(), scene.cameras), replace(FIXED, shared_frames=3))
    assert scene.millimetres(few.vertices).mean() < 2 * scene.millimetres(fit.vertices).mean() + 0.2


@pytest.mark.parametrize("kind", ["bfm", "flame"])
def test_models_of_components_are_fitted(tmp_path, kind, request):
    import sys

    sys.path.insert(0, str(request.config.rootpath / "tests" / "faces"))
    from face_files import write_bfm, write_flame

    path = tmp_path / "BFM09_model_info.mat"
    model = load_face_model(write_bfm(path) and path if kind == "bfm" else write_flame(tmp_path))
    base = make_scene(frames=4, cameras=4)
    generator = torch.Generator().manual_seed(2)
    identity = 0.7 * torch.randn(model.identity_size, generator=generator)
    expression = 0.5 * torch.randn(4, len(model.expression_names), generator=generator)
    expression = expression * model.expression_range.spread.float()
    codes = [base.stage.code(index) for index in range(4)]

    def posed(ids):
        points = model.at_vertices(ids)(identity, expression).float()
        return torch.stack([code.to_world(one) for code, one in zip(codes, points, strict=True)])

    pixels, _ = base.cameras.project(posed(model.landmarks)[:, None])
    detections = torch.cat([pixels + torch.randn(pixels.shape, generator=generator), 0 * pixels[..., :1] + 1], -1)
    fit = fit_face(model, Views.of(detections, base.cameras), FIXED)
    assert (fit.vertices - posed(model.face_region)).norm(dim=-1).mean() * 1000 < 1.5
    assert (fit.chosen - pixels)[:, :, 17:].norm(dim=-1).square().mean().sqrt() < 1.0


# Defect D22 of the original: no iteration cap, the whole mesh at every step, no temporal term, fixed jaw line.


def test_iterations_are_capped_and_the_cap_is_told(scene):
    views = Views.of(scene.detect(), scene.cameras)
    fit = fit_face(scene.model, views, replace(FIXED, max_iterations=1, tolerance=1e-12))
    assert all(stage.iterations <= 1 for stage in fit.stages)
    assert any(stage.ended == "iteration cap" for stage in fit.stages)


def test_costs_never_rise(fit):
    for stage in fit.stages:
        assert all(later < earlier for earlier, later in zip(stage.costs, stage.costs[1:], strict=False))


def test_the_whole_mesh_is_evaluated_once_at_most(scene, monkeypatch):
    head, asked = small_head(), []
    monkeypatch.setattr(type(head), "vertices", lambda *_: pytest.fail("the whole mesh was evaluated"))
    found = type(head).at_vertices
    monkeypatch.setattr(type(head), "at_vertices", lambda self, ids: _Counted(found(self, ids), asked))
    fit_face(head, Views.of(scene.detect()[:2], scene.cameras), FIXED)
    large = [count for count in asked if count > 500]
    assert len(large) <= 2  # tracks on the neutral face, vertices at the end
    assert len(asked) > 10


class _Counted:
    """Face points that note how many were evaluated."""

    def __init__(self, points, asked):
        self._points, self._asked = points, asked
        self.identity = points.identity

    def __call__(self, *code):
        self._asked.append(len(self._points.rest))
        return self._points(*code)

    def derivatives(self, *code):
        self._asked.append(len(self._points.rest))
        return self._points.derivatives(*code)


def test_neighbouring_frames_steady_each_other(scene):
    """A head that holds still for ten frames at 25 per second, detected with much noise."""
    pixels = scene.pixels[2:3, :4].expand(10, -1, -1, -1)
    detections = scene.detect(noise=4.0, outliers=0.0, missing=0.0, pixels=pixels)
    seconds = torch.full((10,), 0.04)
    seconds[0] = torch.inf
    jitter = {}
    for weight in (0.0, 1.0, 30.0):
        config = replace(FIXED, temporal_weight=weight)
        fit = fit_face(scene.model, Views.of(detections, scene.cameras[:4]), config, seconds)
        jitter[weight] = fit.code.expression.diff(dim=0).abs().mean(), fit.vertices.diff(dim=0).norm(dim=-1).mean()
    assert jitter[1.0][0] < 0.5 * jitter[0.0][0]
    assert jitter[30.0][0] < 0.2 * jitter[0.0][0]
    assert jitter[30.0][1] < 0.8 * jitter[0.0][1]


def test_ties_do_not_reach_across_sequences():
    scene = make_scene(frames=4, cameras=4)
    detections = scene.detect(outliers=0.0, missing=0.0)
    apart = torch.tensor([torch.inf, torch.inf, torch.inf, torch.inf])
    tied = torch.tensor([torch.inf, 0.001, 0.001, 0.001])
    one = fit_face(scene.model, Views.of(detections, scene.cameras), FIXED, apart)
    none = fit_face(scene.model, Views.of(detections, scene.cameras), FIXED)
    torch.testing.assert_close(one.vertices, none.vertices)
    strong = fit_face(scene.model, Views.of(detections, scene.cameras), FIXED, tied)
    assert strong.code.expression.diff(dim=0).abs().mean() < 0.8 * none.code.expression.diff(dim=0).abs().mean()


def test_a_jaw_line_on_the_outline_slides_with_the_camera():
    scene = make_scene(frames=6, cameras=5)
    pixels = outlines(scene)
    assert (pixels - scene.pixels)[:, :, :17].norm(dim=-1).mean() > 5.0  # so it does matter
    detections = scene.detect(outliers=0.0, missing=0.0, pixels=pixels)
    errors = {}
    for contour in ("sliding", "fixed"):
        # Without robustness, which would hide what does not fit.
        config = FittingConfig(contour=contour, contour_weight=1.0, outlier_scale=50.0)
        fit = fit_face(scene.model, Views.of(detections, scene.cameras), config)
        errors[contour] = float(scene.millimetres(fit.vertices).mean())
    assert errors["sliding"] < 0.7 * errors["fixed"]


def test_the_jaw_line_can_be_left_out(scene):
    detections = scene.detect(outliers=0.0, missing=0.0)
    detections[:, :, :17, :2] += 200.0
    fit = fit_face(scene.model, Views.of(detections, scene.cameras), FittingConfig(contour="off"))
    assert scene.millimetres(fit.vertices).mean() < 1.0
    assert torch.isnan(fit.residuals[:, :, :17]).all()


def test_face_models_name_what_fitting_needs():
    assert {"at_vertices", "vertices", "appearance"} == FaceModel.__abstractmethods__


def test_a_photographic_head(shared_data):
    """ICT-FaceKit: a linear model of fifty identity coefficients."""
    model = load_face_model(shared_data / "ict_head", kind="ict", base="mean", hair_style=None)
    scene = make_scene(frames=6, cameras=8, model=model)
    fit = fit_face(model, Views.of(scene.detect(), scene.cameras), FIXED)
    assert inner_error(scene, fit) < 0.6 * NOISE
    assert scene.millimetres(fit.vertices).mean() < 1.0


def test_a_detector_that_means_other_points_does_not_become_an_expression():
    """Every landmark lies a few millimetres beside the model's, in all frames in the same way."""
    scene = make_scene(frames=8, cameras=5)
    model, stage = scene.model, scene.stage
    beside = 0.03 * torch.randn(68, 3, generator=torch.Generator().manual_seed(1))
    codes = [stage.code(index) for index in range(8)]
    points = model.at_vertices(model.landmarks)
    marks = [code.to_world(points(stage.identity, code.expression).float() + beside) for code in codes]
    pixels, _ = scene.cameras.project(torch.stack(marks)[:, None])
    detections = scene.detect(outliers=0.0, missing=0.0, pixels=pixels)
    error = {}
    for bias in (0.0, 0.03):
        fit = fit_face(model, Views.of(detections, scene.cameras), replace(FIXED, landmark_bias=bias))
        assert fit.code.identity.shape == (8, model.identity_size)
        error[bias] = (fit.code.expression - scene.expression).abs().mean(), fit.decimetres.nanmedian()
    assert error[0.03][0] < 0.8 * error[0.0][0]
    assert error[0.03][1] < 0.7 * error[0.0][1]
