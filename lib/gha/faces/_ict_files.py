"""Reading ICT-FaceKit: the folder of OBJ files as downloaded, or one packed npz of the same arrays.

The model is published at github.com/ICT-VGL/ICT-FaceKit under the MIT licence. Its folder ``FaceXModel`` holds
``generic_neutral_mesh.obj``, ``identity000.obj`` and on, one OBJ per expression, and ``vertex_indices.json``;
lengths are centimetres.
"""

from __future__ import annotations

import itertools
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gha.errors import InputError

NEUTRAL_FILE = "generic_neutral_mesh.obj"
INDEX_FILE = "vertex_indices.json"
LANDMARK_KEY = "idx_to_landmark_verts"


@dataclass(frozen=True)
class IctArrays:
    """The model as arrays, in centimetres.

    Attributes:
        neutral: float32 [V, 3].
        fitted_neutral: float32 [V, 3], the neutral of the person whose skin was photographed, or None.
        identity_basis: float32 [I, V, 3].
        expression_basis: float32 [E, V, 3].
        expression_names: names of the expressions.
        triangles: int64 [F, 3].
        uvs: float32 [U, 2] with UDIM tiles.
        triangle_uvs: int64 [F, 3].
        triangle_material: int64 [F] into ``material_names``.
        material_names: names of the materials.
        landmarks: int64 [68] vertex ids in iBUG order.
    """

    neutral: np.ndarray
    fitted_neutral: np.ndarray | None
    identity_basis: np.ndarray
    expression_basis: np.ndarray
    expression_names: tuple[str, ...]
    triangles: np.ndarray
    uvs: np.ndarray
    triangle_uvs: np.ndarray
    triangle_material: np.ndarray
    material_names: tuple[str, ...]
    landmarks: np.ndarray


def read_ict(path: str | Path) -> IctArrays:
    """Read ``path``: an npz file, or a folder with an ``ict_head.npz`` or with the OBJ files of the download."""
    path = Path(path)
    if path.is_dir():
        for inner in (path / "ict_head.npz", path / "FaceXModel"):
            if inner.exists():
                return read_ict(inner)
        if (path / NEUTRAL_FILE).is_file():
            return _read_folder(path)
        raise InputError(f"{path}: neither ict_head.npz nor {NEUTRAL_FILE} found; expected an ICT-FaceKit folder")
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected an ICT-FaceKit folder or a packed npz")
    return _read_packed(path)


def _read_packed(path: Path) -> IctArrays:
    try:
        with np.load(path, allow_pickle=False) as file:
            a = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: not a packed ICT-FaceKit model ({error})") from error
    needed = {"neutral", "expression_names", "triangles", "uvs", "landmarks_68"}
    needed |= {f"{kind}_{part}" for kind in ("identity", "expression") for part in ("basis", "scale")}
    if missing := needed - set(a):
        raise InputError(f"{path}: arrays {sorted(missing)} are missing; found {sorted(a)}")
    return IctArrays(
        neutral=a["neutral"].astype(np.float32),
        fitted_neutral=a["fitted_neutral"].astype(np.float32) if "fitted_neutral" in a else None,
        identity_basis=a["identity_basis"].astype(np.float32) * a["identity_scale"][:, None, None],
        expression_basis=a["expression_basis"].astype(np.float32) * a["expression_scale"][:, None, None],
        expression_names=tuple(str(name) for name in a["expression_names"]),
        triangles=a["triangles"].astype(np.int64),
        uvs=a["uvs"].astype(np.float32),
        triangle_uvs=a["triangle_uvs"].astype(np.int64),
        triangle_material=a["triangle_material"].astype(np.int64),
        material_names=tuple(str(name) for name in a["material_names"]),
        landmarks=a["landmarks_68"].astype(np.int64),
    )


def _read_folder(folder: Path) -> IctArrays:
    neutral = read_obj(folder / NEUTRAL_FILE)
    others = sorted(path for path in folder.glob("*.obj") if path.name != NEUTRAL_FILE)
    identities = [path for path in others if path.stem.startswith("identity")]
    expressions = [path for path in others if not path.stem.startswith("identity")]
    if not identities or not expressions:
        raise InputError(f"{folder}: found {len(identities)} identity and {len(expressions)} expression OBJ files")
    return IctArrays(
        neutral=neutral.vertices,
        fitted_neutral=None,
        identity_basis=_offsets(identities, neutral.vertices),
        expression_basis=_offsets(expressions, neutral.vertices),
        expression_names=tuple(path.stem for path in expressions),
        triangles=neutral.triangles,
        uvs=neutral.uvs,
        triangle_uvs=neutral.triangle_uvs,
        triangle_material=neutral.triangle_material,
        material_names=neutral.material_names,
        landmarks=_read_landmarks(folder / INDEX_FILE, len(neutral.vertices)),
    )


def _offsets(paths: list[Path], neutral: np.ndarray) -> np.ndarray:
    """Vertices of each file minus the neutral, float32 [len(paths), V, 3]."""
    offsets = np.empty((len(paths), *neutral.shape), dtype=np.float32)
    for index, path in enumerate(paths):
        vertices = read_obj_vertices(path)
        if vertices.shape != neutral.shape:
            raise InputError(f"{path}: found {len(vertices)} vertices, expected the neutral's {len(neutral)}")
        offsets[index] = vertices - neutral
    return offsets


def _read_landmarks(path: Path, vertex_count: int) -> np.ndarray:
    if not path.is_file():
        raise InputError(f"{path}: not found; it holds the 68 landmark vertices and comes with the download")
    ids = np.array(json.loads(path.read_text(encoding="utf-8")).get(LANDMARK_KEY, []), dtype=np.int64)
    if ids.shape != (68,) or ids.max() >= vertex_count:
        raise InputError(f"{path}: {LANDMARK_KEY} must hold 68 ids below {vertex_count}, found {len(ids)}")
    return ids


@dataclass(frozen=True)
class ObjMesh:
    """One OBJ file: ``vertices`` [V, 3], ``uvs`` [U, 2], triangles of both, and the material of each triangle."""

    vertices: np.ndarray
    uvs: np.ndarray
    triangles: np.ndarray
    triangle_uvs: np.ndarray
    triangle_material: np.ndarray
    material_names: tuple[str, ...]


def read_obj_vertices(path: Path) -> np.ndarray:
    """Only the vertices of an OBJ file, float32 [V, 3]."""
    with open(path, encoding="utf-8") as file:
        return _numbers([line for line in file if line.startswith("v ")], 3, path)


def read_obj(path: Path) -> ObjMesh:
    """An OBJ file with texture coordinates and materials; polygons become fans of triangles."""
    lines = path.read_text(encoding="utf-8").splitlines()
    names: list[str] = []
    corners: list[list[str]] = []
    materials: list[int] = []
    current = 0
    for line in lines:
        if line.startswith("usemtl "):
            name = line.split(maxsplit=1)[1].strip()
            if name not in names:
                names.append(name)
            current = names.index(name)
        elif line.startswith("f "):
            polygon = line.split()[1:]
            for second, third in itertools.pairwise(polygon[1:]):
                corners.append([polygon[0], second, third])
                materials.append(current)
    if not corners:
        raise InputError(f"{path}: no polygons found")
    flat = [corner.split("/") for triangle in corners for corner in triangle]
    if any(len(corner) < 2 or not corner[1] for corner in flat):
        raise InputError(f"{path}: polygons without texture coordinates; expected 'f vertex/texture ...'")
    ids = np.array([[int(corner[0]), int(corner[1])] for corner in flat], dtype=np.int64).reshape(-1, 3, 2) - 1
    return ObjMesh(
        vertices=_numbers([line for line in lines if line.startswith("v ")], 3, path),
        uvs=_numbers([line for line in lines if line.startswith("vt ")], 2, path),
        triangles=ids[..., 0],
        triangle_uvs=ids[..., 1],
        triangle_material=np.array(materials, dtype=np.int64),
        material_names=tuple(names),
    )


def _numbers(lines: list[str], count: int, path: Path) -> np.ndarray:
    """The first ``count`` numbers of each line, float32 [lines, count]."""
    try:
        return np.array([line.split()[1 : 1 + count] for line in lines], dtype=np.float32).reshape(-1, count)
    except ValueError as error:
        raise InputError(f"{path}: a line is not made of {count} numbers ({error})") from error
