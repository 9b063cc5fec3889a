"""The Basel Face Model 2009 as cut and extended for fitting: ``BFM09_model_info.mat``, which its users own.

That file is made from the licensed ``01_MorphableModel.mat`` and the expression basis ``Exp_Pca.bin``: 35,709 vertices
of the front of the face, 80 identity and 64 expression components in units of their standard deviations, decimetres.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gha.errors import InputError

from ._plain import facing_outwards, plain_appearance
from .face_model import Appearance, FaceModel
from .face_points import CoefficientRange, FacePoints

EXPECTED = "a BFM09_model_info.mat with meanshape, idBase, exBase, tri and keypoints"


class BaselFace(FaceModel):
    """The face of a ``BFM09_model_info.mat``; linear, its expressions are principal components.

    Args:
        path: the file.
    """

    name = "bfm09"
    version = "1"

    def __init__(self, path: str | Path) -> None:
        arrays = _read(Path(path))
        mean = arrays["meanshape"].reshape(-1, 3)
        # Its origin is the mean of all vertices, which are all of the face.
        self._neutral = torch.from_numpy(mean - mean.mean(0)).float()
        self._identity, self._expression = (
            torch.from_numpy(np.ascontiguousarray(arrays[key].T)).float().unflatten(1, (-1, 3))
            for key in ("idBase", "exBase")
        )
        self.identity_size = len(self._identity)
        self.expression_names = tuple(f"expression_{index:03d}" for index in range(len(self._expression)))
        # MATLAB counts from 1.
        triangles = arrays["tri"].astype(np.int64) - 1
        self.triangles = torch.from_numpy(facing_outwards(mean, triangles))
        self.landmarks = torch.from_numpy(arrays["keypoints"].reshape(-1).astype(np.int64) - 1)
        self.face_region = torch.arange(len(mean))
        self.head_weights = torch.ones(len(mean))
        self.neck_pivot = torch.tensor([0.0, -0.9, -1.0])

    @property
    def expression_range(self) -> CoefficientRange:
        """Normally distributed, in units of their standard deviations."""
        return CoefficientRange.normal([1.0] * len(self.expression_names))

    def vertices(self, identity: Tensor, expression: Tensor) -> Tensor:
        """Canonical vertices [..., V, 3] for identity [..., I] and expression [..., E]."""
        offsets = identity @ self._identity.to(identity).flatten(1) + expression @ self._expression.to(
            identity
        ).flatten(1)
        return self._neutral.to(identity) + offsets.unflatten(-1, (-1, 3))

    def at_vertices(self, ids: Tensor) -> FacePoints:
        """The model at some vertices [P]."""
        return FacePoints.linear(self._neutral[ids], self._identity[:, ids], self._expression[:, ids])

    def appearance(self, identity: Tensor, seed: int) -> Appearance:
        """One colour."""
        return plain_appearance(self.triangles.numpy())


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of the file, float64, checked against each other."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content: dict[str, Any] = loadmat(path)
    except (ValueError, TypeError, KeyError, OSError, NotImplementedError, MatReadError) as error:
        raise InputError(f"{path}: not a readable MATLAB file ({error}); expected {EXPECTED}") from error
    arrays = {}
    for key in ("meanshape", "idBase", "exBase", "tri", "keypoints"):
        if key not in content:
            found = sorted(name for name in content if not name.startswith("__"))
            raise InputError(f"{path}: found {found}, expected {key!r}; this should be {EXPECTED}")
        array = content[key]
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise InputError(f"{path}: {key} is no array of finite numbers; expected {EXPECTED}")
        arrays[key] = array.astype(np.float64)
    rows = arrays["meanshape"].size
    for key, fits, expected in (
        ("meanshape", rows % 3 == 0 and rows >= 204, "3 numbers for each vertex"),
        ("idBase", arrays["idBase"].ndim == 2 and len(arrays["idBase"]) == rows, f"{rows} rows"),
        ("exBase", arrays["exBase"].ndim == 2 and len(arrays["exBase"]) == rows, f"{rows} rows"),
        ("tri", arrays["tri"].ndim == 2 and arrays["tri"].shape[1] == 3, "3 columns"),
        ("keypoints", arrays["keypoints"].size == 68, "68 vertex numbers"),
    ):
        if not fits:
            raise InputError(f"{path}: {key} has shape {list(arrays[key].shape)}, expected {expected}")
    for key in ("tri", "keypoints"):
        if arrays[key].min() < 1 or arrays[key].max() > rows // 3:
            raise InputError(f"{path}: {key} holds vertex numbers beyond 1 to {rows // 3}")
    return arrays
