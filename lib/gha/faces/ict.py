"""ICT-FaceKit as a face model: photographed skin, moving eyes, lashes, hair and a shirt.

The model itself is downloaded by the user (MIT licence, github.com/ICT-VGL/ICT-FaceKit).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gha.errors import InputError
from gha.geometry.rotations import axis_angle_to_matrix

from ._ict_files import IctArrays, read_ict
from ._ict_parts import Attachment, brows, hair, head_weights, lashes, scalp_density, shirt
from ._ict_skin import EYE_IRIS_DEGREES, EYE_IRIS_RADIUS, ict_materials, paint_on_texture, photographed_darkness
from .face_model import Appearance, FaceModel
from .face_points import FacePoints
from .hair import HAIR_STYLES

FACE_VERTICES = 9409  # the first vertices of the model are the outer skin of face, ears and front of the neck
SKIN_VERTICES = 11248  # and these all of the outer skin
GAZE_DEGREES = {"Up": 25.0, "Down": 28.0, "In": 32.0, "Out": 32.0}
# Which material each part of the model is drawn with; parts that are not named (tear film, card lashes) are not drawn.
DRAWN = {
    "M_Face": "face",
    "M_BackHead": "back",
    "M_Teeth": "teeth",
    "M_GumsTongue": "gums",
    "M_ScleraLeft": "eye",
    "M_ScleraRight": "eye",
}
MATERIAL_ORDER = ("face", "back", "teeth", "gums", "eye", "lashes", "brows", "hair", "cloth")


class IctHead(FaceModel):
    """A head of ICT-FaceKit.

    Args:
        path: folder of the download, or the packed npz; textures (``skin_face.png``, ``skin_backhead.png``,
            ``eye.png``) are looked for beside them, else colours are plain.
        base: ``"scan"`` starts from the person whose skin was photographed, ``"mean"`` from the mean identity;
            None takes the scan where the file holds it.
        hair_style: key of ``HAIR_STYLES``, or None for a shaved head.
        seed: of the arrangement of hair.
    """

    name = "ict_facekit"

    def __init__(
        self, path: str | Path, base: str | None = None, hair_style: str | None = "swept", seed: int = 0
    ) -> None:
        arrays = read_ict(path)
        base = base or ("mean" if arrays.fitted_neutral is None else "scan")
        _check(arrays, base, hair_style)
        self.version = f"1-{base}-{hair_style or 'shaved'}-{seed}"
        self.textures = Path(path) if Path(path).is_dir() else Path(path).parent
        self.identity_size = len(arrays.identity_basis)
        self.expression_names = arrays.expression_names
        # Canonical decimetres; the origin belongs to the mean identity, whichever person is the base.
        face = _face_region(arrays)
        origin = arrays.neutral[face].mean(0)
        neutral = arrays.neutral if base == "mean" else arrays.fitted_neutral
        self._neutral = _tensor((neutral - origin) * 0.1)
        self._identity = _tensor(arrays.identity_basis * 0.1)
        self._expression = _tensor(arrays.expression_basis * 0.1)
        self.face_region = torch.from_numpy(face)
        self.landmarks = torch.from_numpy(arrays.landmarks)
        self.neck_pivot = torch.tensor([0.0, -0.84, -1.02])
        self._eyes = [self._eye(arrays, side) for side in ("Left", "Right")]
        self._dress(arrays, hair_style, seed)

    def _eye(self, arrays: IctArrays, side: str) -> Eye:
        ids = _vertices_of(arrays, f"M_Sclera{side}")
        names = self.expression_names
        gaze = [(way, names.index(n)) for way in GAZE_DEGREES if (n := f"eyeLook{way}_{side[0]}") in names]
        return Eye(
            torch.from_numpy(ids), _sphere_centre(self._neutral[ids]), tuple(gaze), 1.0 if side == "Left" else -1.0
        )

    def _dress(self, arrays: IctArrays, hair_style: str | None, seed: int) -> None:
        """Add what the model lacks, and lay out triangles, texture coordinates and materials."""
        neutral = self._neutral.numpy()
        skin = np.isin(arrays.triangle_material, [arrays.material_names.index(n) for n in ("M_Face", "M_BackHead")])
        outer = arrays.triangles[skin & (arrays.triangles < SKIN_VERTICES).all(1)]
        attachments = [shirt(neutral, np.unique(outer))]
        if "M_EyeLashes" in arrays.material_names:
            card = arrays.triangle_material == arrays.material_names.index("M_EyeLashes")
            attachments.append(lashes(neutral, arrays.triangles[card], arrays.uvs, arrays.triangle_uvs[card]))
        darkness = photographed_darkness(self.textures, _vertex_uvs(arrays, "M_Face"))
        if darkness is not None:
            attachments.append(brows(neutral, outer, arrays.landmarks, darkness, seed))
        if hair_style is not None:
            attachments.append(hair(neutral, outer, hair_style, seed))
        self._follow = [(a.moves, torch.from_numpy(a.ids), _tensor(a.weights), _tensor(a.offsets)) for a in attachments]
        weights = [np.full(len(a.ids), a.head_weight, np.float32) for a in attachments]
        self.head_weights = torch.from_numpy(np.concatenate([head_weights(neutral), *weights]))
        triangles, self._corner_uvs, self._triangle_materials = _lay_out(arrays, self._eyes, neutral, attachments)
        self.triangles = torch.from_numpy(triangles)
        density = scalp_density(neutral) if hair_style is not None else np.zeros(len(neutral))
        self._scalp = {}
        for name in ("face", "back"):
            drawn = self._triangle_materials == MATERIAL_ORDER.index(name)
            self._scalp[name] = paint_on_texture(self._corner_uvs[drawn], density[triangles[drawn]])

    def vertices(self, identity: Tensor, expression: Tensor) -> Tensor:
        """Canonical vertices [..., V, 3] for identity [..., I] and expression [..., E]."""
        still = self._neutral.to(identity) + _blend(identity, self._identity)
        still, posed = torch.broadcast_tensors(still, still + _blend(expression, self._expression))
        posed = self._turn_eyes(still, posed, expression)
        parts = [posed]
        for moves, ids, weights, offsets in self._follow:
            followed = (posed if moves else still)[..., ids.to(posed.device), :]
            parts.append((followed * weights.to(posed)[..., None]).sum(-2) + offsets.to(posed))
        return torch.cat(parts, dim=-2)

    def at_vertices(self, ids: Tensor) -> FacePoints:
        """The model at some vertices [P] of its outer skin."""
        if (ids >= SKIN_VERTICES).any():
            raise ValueError(f"expected vertices of the outer skin, below {SKIN_VERTICES}, found {int(ids.max())}")
        return FacePoints.linear(self._neutral[ids], self._identity[:, ids], self._expression[:, ids])

    def _turn_eyes(self, still: Tensor, posed: Tensor, expression: Tensor) -> Tensor:
        """Turn the eyeballs about their centres: the expressions of the model move only the lids."""
        posed = posed.clone()
        for eye in self._eyes:
            ids = eye.vertices.to(posed.device)
            centre = (still[..., ids, :] - self._neutral.to(posed)[ids]).mean(-2) + eye.centre.to(posed)
            rotation = axis_angle_to_matrix(eye.axis_angle(expression).expand_as(centre))
            posed[..., ids, :] = (posed[..., ids, :] - centre[..., None, :]) @ rotation.mT + centre[..., None, :]
        return posed

    def appearance(self, identity: Tensor, seed: int) -> Appearance:
        """Textures and materials; the photographed skin is the same for every identity, ``seed`` varies colours."""
        materials = ict_materials(self.textures, self._scalp, seed)
        count = len(self._corner_uvs)
        return Appearance(
            uvs=self._corner_uvs.reshape(-1, 2),
            triangle_uvs=np.arange(count * 3).reshape(count, 3),
            triangle_materials=self._triangle_materials,
            materials=tuple(materials[name] for name in MATERIAL_ORDER),
        )


@dataclass(frozen=True)
class Eye:
    """One eyeball: its vertices, centre [3] in the neutral, (direction, expression) pairs, and the side it is on."""

    vertices: Tensor
    centre: Tensor
    gaze: tuple[tuple[str, int], ...]
    side: float

    def axis_angle(self, expression: Tensor) -> Tensor:
        """Rotation [..., 3] of the eyeball for expression [..., E]."""
        turn = {"Up": (-1.0, 0.0), "Down": (1.0, 0.0), "In": (0.0, -self.side), "Out": (0.0, self.side)}
        pitch, yaw = torch.zeros_like(expression[..., 0]), torch.zeros_like(expression[..., 0])
        for way, index in self.gaze:
            angle = math.radians(GAZE_DEGREES[way]) * expression[..., index]
            pitch, yaw = pitch + turn[way][0] * angle, yaw + turn[way][1] * angle
        return torch.stack([pitch, yaw, torch.zeros_like(yaw)], dim=-1)


def _check(arrays: IctArrays, base: str, hair_style: str | None) -> None:
    if base not in ("mean", "scan") or (base == "scan" and arrays.fitted_neutral is None):
        offered = "mean" if arrays.fitted_neutral is None else "mean or scan"
        raise InputError(f"ICT head: found base {base!r}, expected {offered}")
    if hair_style is not None and hair_style not in HAIR_STYLES:
        raise InputError(f"ICT head: found hair style {hair_style!r}, expected one of {sorted(HAIR_STYLES)}")
    missing = set(DRAWN) - set(arrays.material_names)
    if missing:
        raise InputError(f"ICT head: materials {sorted(missing)} not found; found {list(arrays.material_names)}")


def _blend(coefficients: Tensor, basis: Tensor) -> Tensor:
    """Offsets [..., V, 3] of coefficients [..., K] with a basis [K, V, 3]."""
    return (coefficients @ basis.to(coefficients).flatten(1)).unflatten(-1, (-1, 3))


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def _vertices_of(arrays: IctArrays, material: str) -> np.ndarray:
    """Vertex ids of one material, sorted."""
    return np.unique(arrays.triangles[arrays.triangle_material == arrays.material_names.index(material)])


def _vertex_uvs(arrays: IctArrays, material: str) -> np.ndarray:
    """Texture coordinates [V, 2] of the vertices of one material, 0 elsewhere."""
    uvs = np.zeros((len(arrays.neutral), 2), dtype=np.float32)
    drawn = arrays.triangle_material == arrays.material_names.index(material)
    uvs[arrays.triangles[drawn]] = arrays.uvs[arrays.triangle_uvs[drawn]]
    return uvs


def _face_region(arrays: IctArrays) -> np.ndarray:
    """Ids of the outer skin from the ears forward and above the throat, sorted."""
    vertices = arrays.neutral
    ids = _vertices_of(arrays, "M_Face")
    ids = ids[ids < FACE_VERTICES]
    chin = vertices[arrays.landmarks[8], 1]
    eyes = vertices[arrays.landmarks[36:48]].mean(0)
    kept = (vertices[ids, 1] > chin - 1.5) & (vertices[ids, 2] > eyes[2] - 9.0)
    return ids[kept]


def _sphere_centre(points: Tensor) -> Tensor:
    """Centre [3] of the sphere that fits points [N, 3] best."""
    matrix = torch.cat([2 * points, torch.ones_like(points[:, :1])], dim=1).double()
    return torch.linalg.lstsq(matrix, (points.double() ** 2).sum(1, keepdim=True)).solution[:3, 0].float()


def _lay_out(
    arrays: IctArrays, eyes: Sequence[Eye], neutral: np.ndarray, attachments: Sequence[Attachment]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triangles [F, 3], texture coordinates of their corners [F, 3, 2], and indices into MATERIAL_ORDER [F]."""
    drawn = {arrays.material_names.index(name): MATERIAL_ORDER.index(to) for name, to in DRAWN.items()}
    kept = np.isin(arrays.triangle_material, list(drawn))
    triangles = [arrays.triangles[kept]]
    materials = [np.array([drawn[m] for m in arrays.triangle_material[kept]])]
    corners = arrays.uvs[arrays.triangle_uvs[kept]]
    corners -= np.floor(corners.mean(1, keepdims=True))  # UDIM tiles
    polar = np.zeros((len(neutral), 2), dtype=np.float32)
    for eye in eyes:
        polar[eye.vertices.numpy()] = _polar_uvs(neutral[eye.vertices.numpy()] - eye.centre.numpy())
    is_eye = materials[0] == MATERIAL_ORDER.index("eye")
    corners[is_eye] = polar[triangles[0][is_eye]]
    uvs = [corners]
    first = len(neutral)
    for part in attachments:
        triangles.append(part.triangles + first)
        uvs.append(part.uvs[part.triangles])
        materials.append(np.full(len(part.triangles), MATERIAL_ORDER.index(part.material)))
        first += len(part.ids)
    return np.concatenate(triangles), np.concatenate(uvs).astype(np.float32), np.concatenate(materials)


def _polar_uvs(offsets: np.ndarray) -> np.ndarray:
    """Texture coordinates [N, 2] of directions from the eyeball centre: radius grows with the angle from +z."""
    flat = np.linalg.norm(offsets[:, :2], axis=1)
    degrees = np.degrees(np.arctan2(flat, offsets[:, 2]))
    radius = np.minimum(degrees / EYE_IRIS_DEGREES * EYE_IRIS_RADIUS, 0.46)
    return 0.5 + offsets[:, :2] / np.maximum(flat, 1e-9)[:, None] * radius[:, None]
