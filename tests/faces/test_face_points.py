"""A face model at a few vertices: the same positions as the whole, and the derivatives of finite differences."""

import pytest
import torch
from face_files import write_bfm, write_flame

from gha.faces import ProceduralHead, load_face_model

MODELS = ("procedural", "bfm", "flame")


@pytest.fixture(scope="module", params=MODELS)
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "procedural":
        return ProceduralHead(texture_size=64, hair_strands=50)
    if request.param == "bfm":
        write_bfm(folder / "BFM09_model_info.mat")
        return load_face_model(folder / "BFM09_model_info.mat")
    return load_face_model(write_flame(folder))


@pytest.fixture
def some(model):
    ids = torch.cat([model.landmarks, model.face_region[::50]])
    identity = torch.randn(model.identity_size, dtype=torch.float64) * 0.5
    expression = torch.rand(3, len(model.expression_names), dtype=torch.float64) * 0.4
    return ids, identity, expression


def test_points_are_the_vertices(model, some):
    ids, identity, expression = some
    whole = model.vertices(identity.expand(3, -1), expression)[:, ids].double()
    torch.testing.assert_close(model.at_vertices(ids)(identity, expression), whole, atol=1e-6, rtol=0)


def test_derivatives_are_those_of_differences(model, some):
    ids, identity, expression = some
    points = model.at_vertices(ids)
    here, by_identity, by_expression = points.derivatives(identity, expression)
    torch.testing.assert_close(here, points(identity, expression))
    for step in (1e-5,):
        for index in range(len(identity)):
            move = step * torch.nn.functional.one_hot(torch.tensor(index), len(identity))
            slope = (points(identity + move, expression) - points(identity - move, expression)) / (2 * step)
            torch.testing.assert_close(slope, by_identity[..., index].expand_as(slope), atol=1e-5, rtol=0)
        for index in range(expression.shape[1]):
            move = step * torch.nn.functional.one_hot(torch.tensor(index), expression.shape[1])
            slope = (points(identity, expression + move) - points(identity, expression - move)) / (2 * step)
            torch.testing.assert_close(slope, by_expression[..., index].expand_as(slope), atol=1e-5, rtol=0)


def test_canonical_space_is_the_same_for_all(model):
    neutral = model.vertices(torch.zeros(model.identity_size), torch.zeros(len(model.expression_names)))
    assert neutral[model.face_region].mean(0).abs().max() < 0.02  # its origin, in decimetres
    eyes, chin, nose = (neutral[model.landmarks[i]] for i in (slice(36, 48), 8, 30))
    assert (chin - eyes.mean(0))[1] < -0.5
    assert nose[2] > eyes[:, 2].max()
    assert neutral[model.landmarks[45], 0] > 0.2  # the subject's left eye
    corners = neutral[model.triangles]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (normals * (corners.mean(1) - neutral.mean(0))).sum() > 0


def test_ranges_fit_the_kind_of_model(model):
    limits = model.expression_range
    assert len(limits.low) == len(limits.high) == len(limits.spread) == len(model.expression_names)
    bounded = model.name == "procedural"
    assert bool((limits.low == 0).all()) == bounded
    assert bool(torch.isinf(limits.high).all()) != bounded


def test_models_without_textures_have_one_colour(model):
    look = model.appearance(torch.zeros(model.identity_size), 0)
    assert len(look.triangle_uvs) == len(model.triangles) == len(look.triangle_materials)
    assert look.triangle_uvs.max() < len(look.uvs)


def test_eyeballs_and_hair_do_not_qualify():
    head = ProceduralHead(texture_size=64, hair_strands=50)
    for vertex in (head._template.slices["left_eye"].start, len(head.head_weights) - 1):
        with pytest.raises(ValueError, match="skin"):
            head.at_vertices(torch.tensor([vertex]))
