"""FLAME 2020 and 2023, from the files that its users own; read without running their pickles.

Reference: Li et al., Learning a model of facial shape and expression from 4D scans, 2017. Lengths are metres; shape
directions 0 to 299 are identity, 300 to 399 expression; joints are root, neck, jaw, left and right eye.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gha.errors import InputError
from gha.geometry.rotations import axis_angle_to_matrix

from ._flame_landmarks import read_landmarks
from ._plain import facing_outwards, plain_appearance
from .face_model import Appearance, FaceModel
from .face_points import CoefficientRange, FacePoints
from .restricted_pickle import as_array, read_restricted_pickle

IDENTITY_DIRECTIONS = 300
MODEL_FILES = ("flame2023.pkl", "generic_model.pkl", "flame2023_no_jaw.pkl", "flame2020.pkl")
MASK_FILE = "FLAME_masks.pkl"
JAW, EYES = 2, (3, 4)
ROTATIONS = tuple(f"{joint}_{axis}" for joint in ("jaw", "eyeLeft", "eyeRight") for axis in "XYZ")
JAW_SPREAD, EYE_SPREAD = (0.15, 0.04, 0.03), 0.15  # radians
DECIMETRES = 10.0  # per metre


class FlameHead(FaceModel):
    """A FLAME head. The expression vector is expression coefficients, then jaw and eyes as axis-angle; the neck is 0.

    The landmarks, which lie within triangles, are 68 more vertices after those of the model.

    Args:
        path: folder with ``flame2023.pkl`` or ``generic_model.pkl`` and the landmarks (``landmark_embedding.npy``), or
            the path of the model, beside which the landmarks lie. ``FLAME_masks.pkl`` tells the face from the rest.
        identities: identity coefficients to use, at most 300.
        expressions: expression coefficients to use, at most 100.
    """

    version = "1"

    def __init__(self, path: str | Path, identities: int = 100, expressions: int = 50) -> None:
        model = _find_model(Path(path))
        arrays = _read(model)
        # "versions w/ jaw rotation" of 2023 and the model of 2020 differ in numbers only.
        self.name = model.stem
        landmarks = read_landmarks(model.parent, arrays.triangles)
        arrays = arrays.with_points(*landmarks)
        count = len(arrays.template)
        region = _face_region(model.parent / MASK_FILE, arrays, count - 68)
        origin = arrays.template[region].mean(0)
        directions = arrays.directions * DECIMETRES
        self.identity_size = min(identities, IDENTITY_DIRECTIONS, directions.shape[2])
        shown = directions[:, :, IDENTITY_DIRECTIONS : IDENTITY_DIRECTIONS + expressions]
        used = np.concatenate([directions[:, :, : self.identity_size], shown], axis=2)
        self._joints = torch.from_numpy((arrays.regressor @ arrays.template - origin) * DECIMETRES)
        self._joint_basis = torch.from_numpy(np.einsum("jv,vck->kjc", arrays.regressor, used))
        self._neutral = torch.from_numpy((arrays.template - origin) * DECIMETRES)
        self._basis = torch.from_numpy(np.ascontiguousarray(used.transpose(2, 0, 1)))
        # Of the nine rotations the neck keeps still, those of jaw and eyes remain: columns 9 to 35.
        self._correctives = torch.from_numpy(arrays.correctives[:, :, 9:] * DECIMETRES)
        self._weights = torch.from_numpy(arrays.weights)
        self.expression_names = tuple(f"expression_{i:03d}" for i in range(shown.shape[2])) + ROTATIONS
        self.triangles = torch.from_numpy(facing_outwards(arrays.template, arrays.triangles))
        self.landmarks = torch.arange(count - 68, count)
        self.face_region = torch.from_numpy(region)
        self.head_weights = torch.from_numpy(1 - arrays.weights[:, 0]).float()
        self.neck_pivot = self._joints[1].float()

    @property
    def expression_range(self) -> CoefficientRange:
        """Normally distributed; the jaw about half as wide as it opens."""
        return CoefficientRange.normal([1.0] * (len(self.expression_names) - 9) + [*JAW_SPREAD, *[EYE_SPREAD] * 6])

    def vertices(self, identity: Tensor, expression: Tensor) -> Tensor:
        """Canonical vertices [..., V + 68, 3] for identity [..., I] and expression [..., E]."""
        return self.at_vertices(torch.arange(len(self._neutral)))(identity, expression).to(identity)

    def at_vertices(self, ids: Tensor) -> FacePoints:
        """The model at some vertices [P]."""
        size, rotations = self.identity_size, len(ROTATIONS)
        count = len(self.expression_names)
        basis, joints = self._basis[:, ids], self._joint_basis
        still = [torch.zeros(rotations, *shape[1:], dtype=torch.float64) for shape in (basis.shape, joints.shape)]
        skinning = _Skinning(self._correctives[ids], self._weights[ids])
        return FacePoints(
            self._neutral[ids],
            basis[:size],
            torch.cat([basis[size:], still[0]]),
            self._joints,
            joints[:size],
            torch.cat([joints[size:], still[1]]),
            tuple(range(count - rotations, count)),
            skinning.turn,
        )

    def appearance(self, identity: Tensor, seed: int) -> Appearance:
        """One colour."""
        return plain_appearance(self.triangles.numpy())


@dataclass(frozen=True)
class _Skinning:
    """Linear blend skinning of jaw and eyes, and what corrects it.

    Attributes:
        correctives: displacement [P, 3, 27] by the entries of their rotation matrices minus the identity.
        weights: of the five joints [P, 5].
    """

    correctives: Tensor
    weights: Tensor

    def turn(self, points: Tensor, joints: Tensor, expression: Tensor) -> Tensor:
        """Points [..., P, 3] with jaw and eyes turned about joints [..., 5, 3]."""
        angles = expression[..., -len(ROTATIONS) :].unflatten(-1, (3, 3))
        change = axis_angle_to_matrix(angles) - torch.eye(3, dtype=points.dtype)
        corrected = points + torch.einsum("pck,...k->...pc", self.correctives, change.flatten(-3))
        turned = corrected
        for index, joint in enumerate((JAW, *EYES)):
            arm = corrected - joints[..., None, joint, :]
            turned = turned + self.weights[:, joint, None] * (arm @ change[..., index, :, :].mT)
        return turned


@dataclass(frozen=True)
class _FlameArrays:
    """The model file as float64 arrays.

    Attributes:
        template: [V, 3].
        directions: [V, 3, 400].
        correctives: [V, 3, 36].
        regressor: [5, V].
        weights: [V, 5].
        triangles: [F, 3].
    """

    template: np.ndarray
    directions: np.ndarray
    correctives: np.ndarray
    regressor: np.ndarray
    weights: np.ndarray
    triangles: np.ndarray

    def with_points(self, triangles: np.ndarray, shares: np.ndarray) -> _FlameArrays:
        """The same with points within triangles [N], at barycentric shares [N, 3], as further vertices."""
        corners = self.triangles[triangles]

        def extended(array: np.ndarray) -> np.ndarray:
            inside = (array[corners] * shares.reshape(*shares.shape, *[1] * (array.ndim - 1))).sum(1)
            return np.concatenate([array, inside])

        names = ("template", "directions", "correctives", "weights")
        template, directions, correctives, weights = (extended(getattr(self, name)) for name in names)
        regressor = np.pad(self.regressor, ((0, 0), (0, len(corners))))
        return _FlameArrays(template, directions, correctives, regressor, weights, self.triangles)


def _find_model(path: Path) -> Path:
    if path.is_file():
        return path
    found = [path / name for name in MODEL_FILES if (path / name).is_file()]
    if not found:
        raise InputError(f"{path}: found no FLAME model, expected one of {', '.join(MODEL_FILES)}")
    return found[0]


def _read(path: Path) -> _FlameArrays:
    content = read_restricted_pickle(path)
    keys = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "f")
    if not isinstance(content, dict) or any(key not in content for key in keys):
        found = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise InputError(f"{path}: found {found}, expected a FLAME model with {', '.join(keys)}")
    values = dict(zip(keys, (_numbers(content[key], f"{path}: {key}") for key in keys), strict=True))
    count = len(values["v_template"])
    correctives = values["posedirs"].reshape(count, 3, -1) if values["posedirs"].size == count * 108 else None
    expected = {
        "v_template": (count, 3),
        "shapedirs": (count, 3, max(IDENTITY_DIRECTIONS + 1, values["shapedirs"].shape[-1])),
        "J_regressor": (5, count),
        "weights": (count, 5),
        "f": (len(values["f"]), 3),
    }
    for key, shape in expected.items():
        if values[key].shape != shape:
            raise InputError(f"{path}: {key} has shape {list(values[key].shape)}, expected {list(shape)}")
    if correctives is None:
        raise InputError(f"{path}: posedirs has shape {list(values['posedirs'].shape)}, expected {[count, 3, 36]}")
    triangles = values["f"].astype(np.int64)
    if triangles.min() < 0 or triangles.max() >= count:
        raise InputError(f"{path}: f holds vertices {triangles.min()} to {triangles.max()}, expected 0 to {count - 1}")
    return _FlameArrays(
        values["v_template"], values["shapedirs"], correctives, values["J_regressor"], values["weights"], triangles
    )


def _numbers(value: Any, what: str) -> np.ndarray:
    try:
        array = as_array(value).astype(np.float64)
    except InputError as error:
        raise InputError(f"{what}: {error}") from error
    if not np.isfinite(array).all():
        raise InputError(f"{what}: found NaN or infinite values, expected finite numbers")
    return array


def _face_region(path: Path, arrays: _FlameArrays, count: int) -> np.ndarray:
    """Ids of the face: as the mask file says, else the front of the head from the eyebrows' height to the chin."""
    if path.is_file():
        masks = read_restricted_pickle(path)
        if not isinstance(masks, dict) or "face" not in masks:
            raise InputError(f'{path}: found no mask "face", expected masks by name')
        ids = np.unique(as_array(masks["face"]).astype(np.int64))
        if len(ids) == 0 or ids[0] < 0 or ids[-1] >= count:
            raise InputError(f"{path}: mask face names vertices beyond 0 to {count - 1}")
        return ids
    landmarks = arrays.template[count:]
    top = 2 * landmarks[17:27, 1].mean() - landmarks[36:48, 1].mean()
    y, z = arrays.template[:count, 1:].T
    inside = (y > landmarks[8, 1] - 0.005) & (y < top) & (z > landmarks[[0, 16], 2].mean())
    # Eyeballs follow their joints entirely.
    inside &= arrays.weights[:count, 3:].sum(1) < 0.5
    return np.flatnonzero(inside)
