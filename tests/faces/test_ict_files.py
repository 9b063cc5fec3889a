"""Reading ICT-FaceKit files: the download's folder and the packed form give the same arrays; wrong files are named."""

import json

import numpy as np
import pytest
from ict_folder import toy_model, write_folder, write_obj

from gha.errors import InputError
from gha.faces._ict_files import read_ict, read_obj
from gha.faces.ict import IctHead


@pytest.fixture
def packed():
    return toy_model(np.random.default_rng(0))


@pytest.fixture
def folder(tmp_path, packed):
    write_folder(tmp_path, packed)
    return tmp_path


def test_folder_and_packed_form_agree(folder, packed, tmp_path):
    np.savez(tmp_path / "model.npz", **packed)
    from_obj, from_npz = read_ict(folder), read_ict(tmp_path / "model.npz")
    for name in ("neutral", "identity_basis", "expression_basis", "uvs"):
        assert np.allclose(getattr(from_obj, name), getattr(from_npz, name), atol=3e-6), name
    for name in ("triangles", "triangle_uvs", "triangle_material", "landmarks"):
        assert np.array_equal(getattr(from_obj, name), getattr(from_npz, name)), name
    assert from_obj.expression_names == from_npz.expression_names
    assert from_obj.material_names == from_npz.material_names
    assert from_obj.fitted_neutral is None


def test_the_folder_may_be_named_by_its_parent(folder, packed):
    (folder / "FaceXModel").mkdir()
    for path in [*folder.glob("*.obj"), *folder.glob("*.json")]:
        path.rename(folder / "FaceXModel" / path.name)
    assert read_ict(folder).neutral.shape == (80, 3)


def test_polygons_become_fans(tmp_path):
    text = "".join(f"v {i} 0 0\nvt 0 0.{i}\n" for i in range(5))
    (tmp_path / "a.obj").write_text(text + "usemtl x\nf 1/1 2/2 3/3 4/4 5/5\nusemtl y\nf 1/1/1 2/2/1 3/3/1\n")
    mesh = read_obj(tmp_path / "a.obj")
    assert mesh.triangles.tolist() == [[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 1, 2]]
    assert mesh.triangle_material.tolist() == [0, 0, 0, 1]
    assert mesh.material_names == ("x", "y")


def test_what_is_not_a_model_is_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_ict(tmp_path / "absent.npz")
    with pytest.raises(InputError, match=r"neither ict_head.npz nor generic_neutral_mesh.obj found"):
        read_ict(tmp_path)
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(InputError, match="not a packed ICT-FaceKit model"):
        read_ict(tmp_path / "text.npz")
    for content in (b"", b"PK\x03\x04 cut off"):
        (tmp_path / "damaged.npz").write_bytes(content)
        with pytest.raises(InputError, match=r"damaged.npz: not a packed ICT-FaceKit model"):
            read_ict(tmp_path / "damaged.npz")
    np.savez(tmp_path / "few.npz", neutral=np.zeros((3, 3)))
    with pytest.raises(InputError, match=r"arrays \['expression_basis'.* are missing; found \['neutral'\]"):
        read_ict(tmp_path / "few.npz")


def test_damaged_folders_are_named(folder, packed):
    write_obj(folder / "jawOpen.obj", packed["neutral"][:-1])
    with pytest.raises(InputError, match=r"jawOpen.obj: found 79 vertices, expected the neutral's 80"):
        read_ict(folder)
    (folder / "jawOpen.obj").write_text("v 1 2 x\n")
    with pytest.raises(InputError, match=r"jawOpen.obj: a line is not made of 3 numbers"):
        read_ict(folder)
    (folder / "jawOpen.obj").unlink()
    (folder / "vertex_indices.json").write_text(json.dumps({"idx_to_landmark_verts": [1, 2]}))
    with pytest.raises(InputError, match="must hold 68 ids below 80, found 2"):
        read_ict(folder)
    (folder / "vertex_indices.json").unlink()
    with pytest.raises(InputError, match=r"vertex_indices.json: not found"):
        read_ict(folder)
    for path in folder.glob("identity*.obj"):
        path.unlink()
    with pytest.raises(InputError, match="found 0 identity and 2 expression OBJ files"):
        read_ict(folder)


def test_meshes_without_what_is_needed_are_named(tmp_path):
    (tmp_path / "a.obj").write_text("v 0 0 0\n")
    with pytest.raises(InputError, match="no polygons"):
        read_obj(tmp_path / "a.obj")
    (tmp_path / "a.obj").write_text("v 0 0 0\nf 1 1 1\n")
    with pytest.raises(InputError, match="without texture coordinates"):
        read_obj(tmp_path / "a.obj")


def test_a_model_without_the_known_materials_is_refused(folder):
    with pytest.raises(InputError, match=r"materials \['M_BackHead', .* not found; found \['M_Face', 'M_Teeth'\]"):
        IctHead(folder)
