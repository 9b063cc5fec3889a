"""Readers of BFM 2009 and FLAME, on stand-ins with the keys and shapes of the real files."""

import numpy as np
import pytest
import torch
from face_files import flame_content, write_bfm, write_flame

from gha.errors import InputError
from gha.faces import load_face_model
from gha.geometry.rotations import axis_angle_to_matrix


@pytest.fixture(scope="module")
def flame(tmp_path_factory):
    return load_face_model(write_flame(tmp_path_factory.mktemp("flame")))


def test_bfm_counts_from_one_and_is_centred(tmp_path):
    content = write_bfm(tmp_path / "BFM09_model_info.mat")
    model = load_face_model(tmp_path / "BFM09_model_info.mat")
    mean = content["meanshape"].reshape(-1, 3)
    code = torch.zeros(model.identity_size), torch.zeros(len(model.expression_names))
    np.testing.assert_allclose(model.vertices(*code), mean - mean.mean(0), atol=1e-6)
    assert model.landmarks.tolist() == list(range(68))
    code[1][2] = 2.0
    moved = model.vertices(*code).numpy() - (mean - mean.mean(0))
    np.testing.assert_allclose(moved, 2 * content["exBase"][:, 2].reshape(-1, 3), atol=1e-6)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"exBase": None}, "expected 'exBase'"),
        ({"idBase": np.zeros((5, 2))}, "idBase has shape .*expected [0-9]+ rows"),
        ({"keypoints": np.arange(1, 60)}, "keypoints has shape .*expected 68"),
        ({"keypoints": np.arange(68)}, "keypoints holds vertex numbers beyond 1"),
        ({"meanshape": np.full((1, 300), np.nan)}, "meanshape is no array of finite numbers"),
    ],
)
def test_bfm_that_is_wrong_is_refused_by_name(tmp_path, changed, message):
    path = tmp_path / "BFM09_model_info.mat"
    write_bfm(path, **changed)
    with pytest.raises(InputError, match=message) as error:
        load_face_model(path)
    assert str(path) in str(error.value)


def test_bfm_that_is_no_matlab_file(tmp_path):
    (tmp_path / "BFM09_model_info.mat").write_bytes(b"nothing of the kind, but long enough to look into" * 9)
    with pytest.raises(InputError, match="not a readable MATLAB file"):
        load_face_model(tmp_path / "BFM09_model_info.mat")


def test_flame_jaw_turns_about_its_joint(flame):
    content = flame_content(chumpy=False)
    code = torch.zeros(flame.identity_size).double(), torch.zeros(len(flame.expression_names)).double()
    neutral = flame.vertices(*code)[:-68]
    angle = torch.tensor([0.3, 0.05, -0.1]).double()
    code[1][flame.expression_names.index("jaw_X") :][:3] = angle
    opened = flame.vertices(*code)[:-68].numpy()
    # Written out: correctives, then the jaw's share of a rotation about the regressed joint.
    rotation = axis_angle_to_matrix(angle)
    feature = np.zeros(36)
    feature[9:18] = (rotation - torch.eye(3)).numpy().ravel()
    corrected = neutral.numpy() + 10 * content["posedirs"] @ feature
    joint = (content["J_regressor"] @ neutral.numpy())[2]
    share = content["weights"][:, 2:3]
    expected = (1 - share) * corrected + share * ((corrected - joint) @ rotation.numpy().T + joint)
    np.testing.assert_allclose(opened, expected, atol=1e-6)
    assert np.abs(opened - neutral.numpy()).max() > 0.1


def test_flame_joints_follow_the_shape(flame):
    content = flame_content(chumpy=False)
    identity = torch.randn(flame.identity_size).double()
    still = torch.zeros(len(flame.expression_names)).double()
    points = flame.at_vertices(flame.landmarks)
    _, joints = points._at_rest(identity, still)
    expected = content["J_regressor"] @ flame.vertices(identity, still)[:-68].numpy()
    np.testing.assert_allclose(joints, expected, atol=1e-5)


def test_flame_landmarks_lie_within_triangles(flame):
    content = flame_content(chumpy=False)
    neutral = flame.vertices(torch.zeros(flame.identity_size), torch.zeros(len(flame.expression_names))).numpy()
    corners = neutral[content["f"][:68].astype(int)]
    np.testing.assert_allclose(neutral[-68:], np.einsum("nkc,k->nc", corners, [0.8, 0.1, 0.1]), atol=1e-6)
    assert flame.expression_names[:2] == ("expression_000", "expression_001")
    assert len(flame.expression_names) == 50 + 9


def test_flame_reads_the_jaw_line_of_the_front(tmp_path):
    write_flame(tmp_path)
    parts = {
        "dynamic_lmk_faces_idx": np.stack([np.arange(17), np.zeros(17, int)]),
        "dynamic_lmk_bary_coords": np.tile([0.8, 0.1, 0.1], (2, 17, 1)),
        "static_lmk_faces_idx": np.arange(17, 68),
        "static_lmk_bary_coords": np.tile([0.8, 0.1, 0.1], (51, 1)),
    }
    whole = load_face_model(tmp_path)
    np.save(tmp_path / "landmark_embedding.npy", parts, allow_pickle=True)
    code = torch.zeros(100), torch.zeros(59)
    torch.testing.assert_close(load_face_model(tmp_path).vertices(*code), whole.vertices(*code))


def test_flame_mask_names_the_face(tmp_path):
    import pickle

    write_flame(tmp_path)
    (tmp_path / "FLAME_masks.pkl").write_bytes(pickle.dumps({"face": np.arange(100, 160)}, protocol=2))
    assert load_face_model(tmp_path).face_region.tolist() == list(range(100, 160))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("weights"), "expected a FLAME model with"),
        (lambda c: c.update(weights=np.zeros((3, 5))), r"weights has shape \[3, 5\]"),
        (lambda c: c.update(posedirs=np.zeros((3, 3, 36))), "posedirs has shape"),
        (lambda c: c.update(v_template=np.full_like(c["v_template"], np.nan)), "v_template: found NaN"),
        (lambda c: c.update(f=c["f"] + 10**6), "f holds vertices"),
        (lambda c: c.update(shapedirs="text"), "shapedirs: found values of type"),
    ],
)
def test_flame_that_is_wrong_is_refused_by_name(tmp_path, change, message):
    content = flame_content(chumpy=False)
    change(content)
    write_flame(tmp_path, content)
    with pytest.raises(InputError, match=message) as error:
        load_face_model(tmp_path)
    assert "generic_model.pkl" in str(error.value)


def test_flame_without_landmarks_or_model(tmp_path):
    with pytest.raises(InputError, match="found no FLAME model"):
        load_face_model(tmp_path, kind="flame")
    write_flame(tmp_path)
    (tmp_path / "landmark_embedding.npy").unlink()
    with pytest.raises(InputError, match=r"expected landmark_embedding\.npy"):
        load_face_model(tmp_path)
