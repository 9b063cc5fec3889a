"""A small stand-in for a download of ICT-FaceKit: the same files, few of them."""

import json

import numpy as np


def write_obj(path, vertices, mesh=None):
    """Vertices, and with ``mesh`` (arrays as in the packed form) texture coordinates, materials and triangles."""
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices]
    if mesh is not None:
        lines += [f"vt {u:.6f} {v:.6f}" for u, v in mesh["uvs"]]
        for index, name in enumerate(mesh["material_names"]):
            chosen = mesh["triangle_material"] == index
            lines.append(f"usemtl {name}")
            pairs = np.stack([mesh["triangles"][chosen], mesh["triangle_uvs"][chosen]], -1) + 1
            lines += ["f " + " ".join(f"{v}/{t}" for v, t in triangle) for triangle in pairs.tolist()]
    path.write_text("\n".join(lines) + "\n")


def write_folder(folder, packed, identities=2, expressions=("jawOpen", "eyeLookUp_L", "browInnerUp_R")):
    """The download's files made from a packed model."""
    neutral = packed["neutral"]
    write_obj(folder / "generic_neutral_mesh.obj", neutral, packed)
    for i in range(identities):
        offset = packed["identity_basis"][i] * packed["identity_scale"][i]
        write_obj(folder / f"identity{i:03d}.obj", neutral + offset)
    names = list(packed["expression_names"])
    for name in expressions:
        offset = packed["expression_basis"][names.index(name)] * packed["expression_scale"][names.index(name)]
        write_obj(folder / f"{name}.obj", neutral + offset)
    indices = {"idx_to_landmark_verts": packed["landmarks_68"].tolist()}
    (folder / "vertex_indices.json").write_text(json.dumps(indices))


def toy_model(rng):
    """A packed model of a few vertices: every array has its place, no anatomy."""
    vertices = 80
    triangles = rng.integers(0, vertices, (40, 3)).astype(np.int32)
    return {
        "neutral": rng.normal(size=(vertices, 3)).astype(np.float32),
        "identity_basis": rng.integers(-99, 99, (2, vertices, 3)).astype(np.int16),
        "identity_scale": np.array([0.01, 0.02], np.float32),
        "expression_basis": rng.integers(-99, 99, (3, vertices, 3)).astype(np.int16),
        "expression_scale": np.array([0.01, 0.02, 0.03], np.float32),
        "expression_names": np.array(["browInnerUp_R", "eyeLookUp_L", "jawOpen"]),
        "triangles": triangles,
        "triangle_uvs": triangles % 50,
        "uvs": rng.random((50, 2)).astype(np.float32),
        "triangle_material": np.repeat([0, 1], 20).astype(np.uint8),
        "material_names": np.array(["M_Face", "M_Teeth"]),
        "landmarks_68": np.arange(68, dtype=np.int32),
    }
