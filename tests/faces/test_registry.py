"""Face models by name."""

import pytest

from gha.errors import InputError
from gha.faces import ProceduralHead, load_face_model


def test_procedural_head_by_name_with_options():
    model = load_face_model("procedural", texture_size=64, hair_strands=5)
    assert isinstance(model, ProceduralHead)
    assert model.texture_size == 64


def test_unknown_model_is_named():
    with pytest.raises(InputError, match="found 'no_such_head'"):
        load_face_model("no_such_head")
