"""Reading the pickles of face models without running what they contain.

A pickle is a program. This reader lets it build plain containers, numpy arrays, sparse matrices of scipy, and stand-ins
for the arrays of chumpy; a name of anything else ends the reading.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from gha.errors import InputError

MAX_BYTES = 2 * 2**30


class ChumpyArray:
    """Stands in for an array of chumpy, of which only the state is kept."""

    def __init__(self, *values: Any, **state: Any) -> None:
        self.values = values
        self.state: dict[str, Any] = state

    def __setstate__(self, state: Any) -> None:
        self.state = dict(state) if isinstance(state, dict) else {}

    def array(self) -> np.ndarray:
        """Its numbers: those of ``Ch`` objects lie under "x"; selections of others are resolved."""
        state = self.state
        if "x" in state:
            return as_array(state["x"])
        if "a" in state and "idxs" in state:
            shape = state.get("preferred_shape")
            chosen = as_array(state["a"]).ravel()[np.asarray(state["idxs"], dtype=np.int64)]
            return chosen.reshape(shape) if shape is not None else chosen
        raise InputError(f"found a chumpy object of {sorted(map(str, state))}, expected an array or a selection of one")


class SparseMatrix(ChumpyArray):
    """Stands in for a compressed sparse matrix of scipy, whose classes would run code of their own."""

    def array(self) -> np.ndarray:
        """The matrix with its zeros."""
        from scipy.sparse import csc_matrix, csr_matrix

        kind = {"csc": csc_matrix, "csr": csr_matrix}[self.state.get("format", self.layout)]
        parts = tuple(as_array(self.state[key]) for key in ("data", "indices", "indptr"))
        return np.asarray(kind(parts, shape=tuple(self.state.get("_shape", self.state.get("shape")))).toarray())

    layout = "csc"


class RowMatrix(SparseMatrix):
    """A sparse matrix by rows."""

    layout = "csr"


def as_array(value: Any) -> np.ndarray:
    """An array, a stand-in, or a list of numbers as an array of numbers."""
    array = value.array() if isinstance(value, ChumpyArray) else np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise InputError(f"found values of type {array.dtype}, expected numbers")
    return array


def _latin_bytes(text: str, encoding: str) -> bytes:
    """What ``_codecs.encode`` does in pickles of bytes that old protocols wrote."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"found encoding {encoding!r}, expected latin1")
    return text.encode("latin1")


def _plain_object(*arguments: Any) -> Any:
    """``copy_reg._reconstructor`` for the stand-ins only."""
    if not arguments or arguments[0] not in (ChumpyArray, SparseMatrix, RowMatrix):
        raise pickle.UnpicklingError("found an object of a class that face models do not need")
    return arguments[0]()


def _admitted() -> dict[tuple[str, str], Any]:
    """Every name that a pickle may use, and what it gets."""
    from numpy._core import multiarray

    names: dict[tuple[str, str], Any] = {
        ("_codecs", "encode"): _latin_bytes,
        ("copy_reg", "_reconstructor"): _plain_object,
        ("copyreg", "_reconstructor"): _plain_object,
        ("__builtin__", "object"): object,
        ("builtins", "object"): object,
        ("collections", "OrderedDict"): dict,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        names[module, "_reconstruct"] = multiarray._reconstruct
        names[module, "scalar"] = multiarray.scalar
    for module in ("scipy.sparse.csc", "scipy.sparse._csc"):
        names[module, "csc_matrix"] = SparseMatrix
    for module in ("scipy.sparse.csr", "scipy.sparse._csr"):
        names[module, "csr_matrix"] = RowMatrix
    for module, kind in (("chumpy.ch", "Ch"), ("chumpy.reordering", "Select"), ("chumpy", "Ch")):
        names[module, kind] = ChumpyArray
    return names


class _Restricted(pickle.Unpickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, encoding="latin1")
        self._names = _admitted()

    def find_class(self, module: str, name: str) -> Any:
        """The few names that are admitted."""
        if (module, name) not in self._names:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which reading a face model never needs")
        return self._names[module, name]


def read_restricted_pickle(path: str | Path) -> Any:
    """The content of a pickle, or of an npy file that holds one object, of plain values and arrays.

    Raises:
        InputError: the file is damaged, too large, or asks for anything but arrays; nothing of it was run.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: file not found")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path}: found {path.stat().st_size} bytes, expected at most {MAX_BYTES}")
    file = io.BytesIO(path.read_bytes())
    try:
        if file.getbuffer()[:6] == np.lib.format.MAGIC_PREFIX:
            return _read_object_array(file)
        return _Restricted(file).load()
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    # A damaged pickle can make its reader raise nearly anything.
    except Exception as error:
        raise InputError(
            f"{path}: refused ({error}); expected a pickle of plain values, numpy and chumpy arrays"
        ) from error


def _read_object_array(file: io.BytesIO) -> Any:
    """The object of an npy file that ``numpy.save`` made of a dictionary; arrays of numbers as they are."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if not dtype.hasobject:
        file.seek(0)
        return np.load(file, allow_pickle=False)
    array = _Restricted(file).load()
    return array.item() if shape == () else array
