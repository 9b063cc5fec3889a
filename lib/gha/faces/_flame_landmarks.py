"""Where the 68 landmarks lie on FLAME: points within triangles, from files that its users own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gha.errors import InputError

from .restricted_pickle import as_array, read_restricted_pickle

FILES = ("landmark_embedding.npy", "landmark_embedding_with_eyes.npy")


def read_landmarks(folder: Path, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Triangle ids [68] and barycentric shares [68, 3] in iBUG order.

    The file holds all 68, or 51 and the jaw line as seen from several directions, of which the first is the front.
    """
    found = [folder / name for name in FILES if (folder / name).is_file()]
    if not found:
        raise InputError(f"{folder}: found no landmarks of FLAME, expected {FILES[0]} beside the model")
    content = read_restricted_pickle(found[0])
    if not isinstance(content, dict):
        raise InputError(f"{found[0]}: found {type(content).__name__}, expected a dictionary of landmarks")
    faces, shares = _full(content) if "full_lmk_faces_idx" in content else _from_parts(content, found[0])
    if faces.shape != (68,) or shares.shape != (68, 3):
        raise InputError(
            f"{found[0]}: found triangles {list(faces.shape)}, shares {list(shares.shape)}, expected [68] and [68, 3]"
        )
    if faces.min() < 0 or faces.max() >= len(triangles):
        raise InputError(f"{found[0]}: names triangles {faces.min()} to {faces.max()}, the model has {len(triangles)}")
    return faces, shares


def _full(content: dict) -> tuple[np.ndarray, np.ndarray]:
    faces = as_array(content["full_lmk_faces_idx"]).reshape(-1).astype(np.int64)
    return faces, as_array(content["full_lmk_bary_coords"]).reshape(-1, 3).astype(np.float64)


def _from_parts(content: dict, path: Path) -> tuple[np.ndarray, np.ndarray]:
    keys = [f"{kind}_lmk_{what}" for kind in ("dynamic", "static") for what in ("faces_idx", "bary_coords")]
    missing = [key for key in keys if key not in content]
    if missing:
        raise InputError(f"{path}: found {sorted(map(str, content))}, expected {missing[0]!r}")
    jaw_faces, jaw_shares, faces, shares = (as_array(content[key]) for key in keys)
    faces = np.concatenate([jaw_faces[0].reshape(-1), faces.reshape(-1)]).astype(np.int64)
    return faces, np.concatenate([jaw_shares[0].reshape(-1, 3), shares.reshape(-1, 3)]).astype(np.float64)
