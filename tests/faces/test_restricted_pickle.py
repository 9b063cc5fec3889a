"""A pickle is a program; of face models only the arrays come through."""

import os
import pickle
import subprocess

import numpy as np
import pytest
from scipy.sparse import csc_matrix, csr_matrix

from gha.errors import InputError
from gha.faces.restricted_pickle import as_array, read_restricted_pickle


class Attack:
    """Calls something when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("function", [os.system, eval, subprocess.check_output, getattr])
def test_nothing_of_a_malicious_file_is_run(tmp_path, function, protocol):
    trace = tmp_path / "trace"
    arguments = {
        os.system: (f"touch {trace}",),
        eval: (f"open({str(trace)!r}, 'w')",),
        subprocess.check_output: (["touch", str(trace)],),
        getattr: ("", "join"),
    }[function]
    path = tmp_path / "generic_model.pkl"
    content = {"v_template": np.zeros((3, 3)), "shapedirs": Attack(function, *arguments)}
    path.write_bytes(pickle.dumps(content, protocol))
    with pytest.raises(InputError, match="never needs") as error:
        read_restricted_pickle(path)
    assert str(path) in str(error.value)
    assert not trace.exists()
    # The same file does run in the usual reader, so the test would notice.
    pickle.loads(path.read_bytes())
    assert trace.exists() or function is getattr


def test_a_malicious_npy_file_is_refused(tmp_path):
    trace = tmp_path / "trace"
    path = tmp_path / "landmark_embedding.npy"
    np.save(path, {"full_lmk_faces_idx": Attack(os.system, f"touch {trace}")}, allow_pickle=True)
    with pytest.raises(InputError, match="system"):
        read_restricted_pickle(path)
    assert not trace.exists()


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_plain_content_comes_through(tmp_path, protocol):
    matrix = np.array([[0, 1.5, 0], [2, 0, 3]])
    content = {
        "numbers": matrix,
        "fortran": np.asfortranarray(matrix),
        "columns": csc_matrix(matrix),
        "rows": csr_matrix(matrix),
        "one": np.float64(4.5),
        "words": ["a", ("b", None)],
    }
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    found = read_restricted_pickle(path)
    for key in ("numbers", "fortran", "columns", "rows"):
        np.testing.assert_array_equal(as_array(found[key]), matrix)
    assert found["one"] == 4.5
    assert found["words"] == ["a", ("b", None)]


@pytest.mark.parametrize("content", [b"", b"\x80\x02garbage", b"not a pickle", pickle.dumps({"a": 1})[:-3]])
def test_damaged_files_are_named(tmp_path, content):
    path = tmp_path / "model.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.pkl: refused"):
        read_restricted_pickle(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.pkl: file not found"):
        read_restricted_pickle(tmp_path / "nowhere.pkl")
