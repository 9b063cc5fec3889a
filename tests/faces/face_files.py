"""Stand-ins for files of licensed face models: the same keys and shapes, made from the built-in head."""

import pickle
import sys
import types

import numpy as np
import torch
from scipy.io import savemat
from scipy.sparse import csc_matrix
from scipy.spatial import cKDTree

from gha.faces import ProceduralHead

STEP = 30  # every so many vertices of the face region


def small_face():
    """Vertices [V, 3] (68 landmarks first), identity basis [V, 3, 21], expression basis [V, 3, 52], in decimetres."""
    head = ProceduralHead(texture_size=64, hair_strands=50)
    points = head.at_vertices(torch.cat([head.landmarks, head.face_region[::STEP]]))
    identity, expression = (basis.permute(1, 2, 0).numpy() for basis in (points.identity, points.expression))
    moving = np.abs(expression).max((0, 1)) > 0
    return points.rest.numpy(), identity, expression[:, :, moving]


def near_triangles(vertices):
    """One triangle [V, 3] at every vertex, counter-clockwise seen from the front."""
    near = cKDTree(vertices).query(vertices, k=3)[1]
    a, b, c = (vertices[near[:, k]] for k in range(3))
    backwards = np.cross(b - a, c - a)[:, 2] < 0
    near[backwards] = near[backwards][:, [0, 2, 1]]
    return near


def write_bfm(path, offset=(0.3, -0.2, 0.5), **changed):
    """A ``BFM09_model_info.mat`` whose face is not centred."""
    vertices, identity, expression = small_face()
    content = {
        "meanshape": (vertices + offset).reshape(1, -1),
        "idBase": identity.reshape(len(vertices) * 3, -1),
        "exBase": 0.5 * expression.reshape(len(vertices) * 3, -1),
        "tri": near_triangles(vertices) + 1,
        "keypoints": np.arange(1, 69)[None],
    }
    savemat(path, {key: value for key, value in (content | changed).items() if value is not None})
    return content


class Ch:
    """What chumpy pickles: an object whose state holds the numbers."""

    def __init__(self, x):
        self.x = x


def flame_content(chumpy=True):
    """A FLAME model of few vertices in metres: jaw weights, correctives and a regressor that are not zero."""
    vertices, identity, expression = small_face()
    rng = np.random.default_rng(0)
    count = len(vertices)
    directions = np.zeros((count, 3, 400))
    directions[:, :, : identity.shape[2]] = identity
    directions[:, :, 300 : 300 + expression.shape[2]] = 0.5 * expression
    weights = np.zeros((count, 5))
    weights[:, 2] = np.clip((-0.55 - vertices[:, 1]) / 0.3, 0, 1)
    weights[:, 1] = 1 - weights[:, 2]
    regressor = np.zeros((5, count))
    for joint in range(5):
        regressor[joint, rng.choice(count, 4, replace=False)] = 0.25
    wrap = Ch if chumpy else np.asarray
    return {
        "v_template": wrap(vertices * 0.1),
        "shapedirs": wrap(directions * 0.1),
        "posedirs": rng.normal(size=(count, 3, 36)) * 1e-4,
        "J_regressor": csc_matrix(regressor),
        "weights": wrap(weights),
        "f": near_triangles(vertices).astype(np.uint32),
        "kintree_table": np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]]),
        "bs_type": "lrotmin",
    }


def write_flame(folder, content=None, name="generic_model.pkl"):
    """Model and landmarks as a download holds them."""
    module = types.ModuleType("chumpy.ch")
    module.Ch, before = Ch, Ch.__module__
    sys.modules.update({"chumpy": types.ModuleType("chumpy"), "chumpy.ch": module})
    Ch.__module__ = "chumpy.ch"
    try:
        (folder / name).write_bytes(pickle.dumps(flame_content() if content is None else content, protocol=2))
    finally:
        Ch.__module__ = before
        del sys.modules["chumpy"], sys.modules["chumpy.ch"]
    embedding = {
        "full_lmk_faces_idx": np.arange(68)[None],
        "full_lmk_bary_coords": np.tile([0.8, 0.1, 0.1], (1, 68, 1)),
    }
    np.save(folder / "landmark_embedding.npy", embedding, allow_pickle=True)
    return folder
