"""ICT-FaceKit as a face model (needs the model, which its user downloads)."""

import numpy as np
import pytest
import torch
from ict_folder import write_folder

from gha.errors import InputError
from gha.faces import load_face_model
from gha.faces.ict import IctHead


@pytest.fixture(scope="module")
def packed_file(shared_data):
    path = shared_data / "ict_head" / "ict_head.npz"
    if not path.is_file():
        pytest.skip("the packed ICT-FaceKit model is not here")
    return path


@pytest.fixture(scope="module")
def head(packed_file):
    return IctHead(packed_file)


def pose(head, **coefficients):
    """Vertices of the base person with some expressions."""
    expression = torch.zeros(len(head.expression_names))
    for name, value in coefficients.items():
        expression[head.expression_names.index(name)] = value
    return head.vertices(torch.zeros(head.identity_size), expression)


def test_shapes_and_indices(head):
    vertices = pose(head)
    count = len(vertices)
    appearance = head.appearance(torch.zeros(head.identity_size), 0)
    assert head.identity_size == 50
    assert len(head.expression_names) == 57
    assert head.triangles.max() < count
    assert head.head_weights.shape == (count,)
    assert head.landmarks.shape == (68,)
    assert len(appearance.triangle_materials) == len(appearance.triangle_uvs) == len(head.triangles)
    assert appearance.triangle_materials.max() < len(appearance.materials)
    assert appearance.uvs.min() >= 0
    assert appearance.uvs.max() <= 1


def test_canonical_space(packed_file):
    """Decimetres, origin at the mean of the face region of the mean identity, x to the subject's left."""
    mean = IctHead(packed_file, base="mean", hair_style=None)
    vertices = pose(mean)
    assert vertices[mean.face_region].mean(0).abs().max() < 1e-4
    landmarks = vertices[mean.landmarks]
    assert landmarks[42:48, 0].min() > 0.1 > -0.1 > landmarks[36:42, 0].max()
    assert landmarks[27:31, 1].min() > landmarks[8, 1] + 0.5
    assert 1.0 < landmarks[16, 0] - landmarks[0, 0] < 1.8


def test_weights_bend_the_neck_only(head):
    vertices = pose(head)
    weights = head.head_weights
    assert (weights[head.face_region] > 0.95).float().mean() > 0.97
    assert (weights[head.landmarks] > 0.999).all()
    assert (weights[vertices[:, 1] < -1.9] == 0).all()
    assert (weights[vertices[:, 1] > 0] == 1).all()


def test_jaw_and_lids_move_their_landmarks(head):
    neutral = pose(head)[head.landmarks]
    opened = pose(head, jawOpen=1.0)[head.landmarks]
    assert (opened - neutral)[8, 1] < -0.2
    assert (opened - neutral)[27].norm() < 0.01
    closed = pose(head, eyeBlink_L=1.0)[head.landmarks]
    gap = lambda points, upper, lower: (points[upper] - points[lower])[..., 1]
    assert gap(closed, 43, 47) < 0.4 * gap(neutral, 43, 47)
    assert torch.allclose(gap(closed, 37, 41), gap(neutral, 37, 41), atol=1e-3)


@pytest.mark.parametrize(
    ("name", "eye", "axis", "sign"),
    [
        ("eyeLookOut_L", 0, 0, 1), ("eyeLookIn_L", 0, 0, -1), ("eyeLookUp_L", 0, 1, 1), ("eyeLookDown_L", 0, 1, -1),
        ("eyeLookOut_R", 1, 0, -1), ("eyeLookIn_R", 1, 0, 1), ("eyeLookUp_R", 1, 1, 1), ("eyeLookDown_R", 1, 1, -1),
    ],
)  # fmt: skip
def test_gaze_turns_the_eyeball_about_its_centre(head, name, eye, axis, sign):
    ids = head._eyes[eye].vertices
    centre = head._eyes[eye].centre
    rest, turned = pose(head)[ids] - centre, pose(head, **{name: 1.0})[ids] - centre
    front = rest[:, 2].argmax()
    assert (turned - rest)[front, axis] * sign > 0.04
    assert torch.allclose(turned.norm(dim=1), rest.norm(dim=1), atol=1e-5)
    other = head._eyes[1 - eye].vertices
    assert torch.allclose(pose(head)[other], pose(head, **{name: 1.0})[other])


def test_hair_and_lashes_follow_the_skin_and_the_shirt_does_not(head):
    moved = pose(head, browInnerUp_L=1.0, jawOpen=1.0) - pose(head)
    appearance = head.appearance(torch.zeros(head.identity_size), 0)
    names = [material.name for material in appearance.materials]
    of = lambda name: head.triangles[torch.from_numpy(appearance.triangle_materials == names.index(name))].unique()
    assert moved[of("cloth")].norm(dim=1).max() == 0
    assert moved[of("brows")].norm(dim=1).max() > 0.01
    assert moved[of("lashes")].norm(dim=1).max() > 0
    identity = torch.zeros(head.identity_size)
    identity[0] = 2.0
    other = head.vertices(identity, torch.zeros(len(head.expression_names)))
    assert (other - pose(head))[of("hair")].norm(dim=1).mean() > 0.01


def test_vertices_are_differentiable_and_batched(head):
    identity = torch.zeros(2, head.identity_size, requires_grad=True)
    expression = torch.full((2, len(head.expression_names)), 0.1, requires_grad=True)
    vertices = head.vertices(identity, expression)
    assert vertices.shape[0] == 2
    assert torch.allclose(vertices[0], vertices[1])
    assert torch.allclose(vertices[0], head.vertices(identity[0], expression[0]), atol=1e-6)
    vertices[:, head.landmarks].square().sum().backward()
    assert (identity.grad.abs().sum(0) > 0).all()
    assert expression.grad[:, head.expression_names.index("jawOpen")].abs().min() > 0


def test_appearance_is_repeatable_and_varies_with_the_seed(head):
    identity = torch.zeros(head.identity_size)
    one, same, other = (head.appearance(identity, seed) for seed in (1, 1, 2))
    for a, b, c in zip(one.materials, same.materials, other.materials, strict=True):
        assert np.array_equal(a.texture, b.texture)
        if a.name in ("skin", "hair", "cloth"):
            assert not np.array_equal(a.texture, c.texture)


def test_a_downloaded_folder_gives_the_same_head(packed_file, tmp_path):
    with np.load(packed_file) as file:
        packed = dict(file)
    write_folder(tmp_path, packed)
    from_folder = load_face_model(tmp_path, hair_style=None)
    reference = IctHead(packed_file, base="mean", hair_style=None)
    assert from_folder.expression_names == ("browInnerUp_R", "eyeLookUp_L", "jawOpen")
    expression = torch.tensor([0.5, 0.7, 0.9])
    full = torch.zeros(len(reference.expression_names))
    for name, value in zip(from_folder.expression_names, expression, strict=True):
        full[reference.expression_names.index(name)] = value
    identity = torch.zeros(50)
    identity[:2] = torch.tensor([1.0, -0.5])
    drawn = from_folder.vertices(identity[:2], expression)[: len(packed["neutral"])]
    expected = reference.vertices(identity, full)[: len(packed["neutral"])]
    assert torch.allclose(drawn, expected, atol=2e-5)
    assert from_folder.appearance(identity[:2], 0).materials[0].name == "skin"


def test_choices_are_checked(packed_file, tmp_path):
    with pytest.raises(InputError, match="hair style 'mohawk'"):
        IctHead(packed_file, hair_style="mohawk")
    with pytest.raises(InputError, match="base 'median', expected mean or scan"):
        IctHead(packed_file, base="median")
