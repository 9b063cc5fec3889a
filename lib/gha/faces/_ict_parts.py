"""What ICT-FaceKit lacks to be filmed: lashes, hair and a shirt, hung on its vertices; and how the neck bends."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree

from .hair import HAIR_STYLES, grow_hair, ribbon_triangles, scatter_on_surface

LASH_POINTS = 5  # along one lash
LASHES_PER_CARD = {"upper": 34, "lower": 16}  # a lid has three cards
STRANDS = 15000
STRAND_WIDTH = 0.009
BROW_POINTS, BROW_HAIRS = 4, 420


@dataclass(frozen=True)
class Attachment:
    """Vertices that follow weighted vertices of the model.

    Attributes:
        material: name of its material.
        ids: int64 [N, 3], the vertices followed.
        weights: float32 [N, 3], rows sum to 1.
        offsets: float32 [N, 3], added in decimetres.
        triangles: int64 [T, 3] into the N vertices.
        uvs: float32 [N, 2].
        moves: whether it follows expressions too, or identity only.
        head_weight: 1 moves with the head, 0 stays with the shoulders.
    """

    material: str
    ids: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray
    triangles: np.ndarray
    uvs: np.ndarray
    moves: bool
    head_weight: float


def head_weights(vertices: np.ndarray) -> np.ndarray:
    """Float32 [V]: 1 on the head, 0 on the shoulders, smooth along the neck (tilted: the throat bends lower)."""
    middle = -1.04 - 0.19 * (vertices[:, 2] + 0.86)
    t = np.clip((vertices[:, 1] - middle) / 0.55 + 0.5, 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)


def lashes(vertices: np.ndarray, triangles: np.ndarray, uvs: np.ndarray, triangle_uvs: np.ndarray) -> Attachment:
    """Single lashes drawn along the cards of the model (texture u along the lid, v along the lash).

    Args:
        vertices: [V, 3] in decimetres.
        triangles: [T, 3] of the cards.
        uvs: [U, 2] of the cards.
        triangle_uvs: [T, 3].
    """
    rng = np.random.default_rng(7)
    cards = _connected(triangles)
    heights = np.array([vertices[triangles[card]].reshape(-1, 3)[:, 1].mean() for card in cards])
    parts = []
    for card, height in zip(cards, heights, strict=True):
        count = LASHES_PER_CARD["upper" if height > heights.mean() else "lower"]
        parts.append(_lashes_of_card(triangles[card], uvs, triangle_uvs[card], count, rng))
    ids = np.concatenate([part[0] for part in parts])
    weights = np.concatenate([part[1] for part in parts])
    count = len(ids) // (LASH_POINTS * 2)
    path = (vertices[ids] * weights[..., None]).sum(1).reshape(count, LASH_POINTS, 2, 3)
    along = path[:, -1, 0] - path[:, 0, 0]
    side = np.cross(along, [0.0, 0.35, 1.0])
    side /= np.linalg.norm(side, axis=-1, keepdims=True)
    width = 0.0014 * (1 - np.linspace(0, 1, LASH_POINTS) ** 2 * 0.85)
    offsets = side[:, None, None] * width[None, :, None, None] * np.array([-0.5, 0.5])[None, None, :, None]
    v = np.broadcast_to(np.linspace(1, 0, LASH_POINTS)[None, :, None], (count, LASH_POINTS, 2))
    return Attachment(
        "lashes", ids, weights.astype(np.float32), offsets.reshape(-1, 3).astype(np.float32),
        ribbon_triangles(count, LASH_POINTS), np.stack([np.full_like(v, 0.5), v], -1).reshape(-1, 2).astype(np.float32),
        moves=True, head_weight=1.0,
    )  # fmt: skip


def _connected(triangles: np.ndarray) -> list[np.ndarray]:
    """Triangle ids of each connected part."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    edges = np.concatenate([triangles[:, :2], triangles[:, 1:]])
    size = triangles.max() + 1
    labels = connected_components(coo_matrix((np.ones(len(edges)), tuple(edges.T)), (size, size)), directed=False)[1]
    of_triangle = labels[triangles[:, 0]]
    return [np.flatnonzero(of_triangle == label) for label in np.unique(of_triangle)]


def _lashes_of_card(
    triangles: np.ndarray, uvs: np.ndarray, triangle_uvs: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Followed vertices [n * LASH_POINTS * 2, 3] and weights of the lashes on one card, found in its texture plane."""
    used = uvs[np.unique(triangle_uvs)]
    low, high = used.min(0), used.max(0)
    start = np.linspace(0.07, 0.95, count) + rng.normal(size=count) * 0.006
    lean = (start - 0.5) * 0.06 + rng.normal(size=count) * 0.01
    reach = 0.5 + 0.4 * rng.random(count)
    t = np.linspace(0, 1, LASH_POINTS)
    u = np.clip(start[:, None] + lean[:, None] * t**2, 0.001, 0.999)
    v = np.broadcast_to(t, u.shape) * reach[:, None] * 0.98 + 0.01
    points = low + np.stack([u, v], -1).reshape(-1, 2) * (high - low)
    ids, weights = _locate(points, triangles, uvs[triangle_uvs])
    return ids.repeat(2, axis=0), weights.repeat(2, axis=0)


def _locate(points: np.ndarray, triangles: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and barycentric weights of plane points [N, 2] in the best-fitting triangle (corners [T, 3, 2])."""
    a, b, c = (corners[:, k] for k in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1])
    area = np.where(np.abs(area) < 1e-12, 1e-12, area)
    d = points[:, None] - a[None]
    w1 = (d[..., 0] * (c - a)[:, 1] - d[..., 1] * (c - a)[:, 0]) / area
    w2 = (d[..., 1] * (b - a)[:, 0] - d[..., 0] * (b - a)[:, 1]) / area
    weights = np.stack([1 - w1 - w2, w1, w2], -1)
    best = weights.min(-1).argmax(1)
    chosen = np.clip(weights[np.arange(len(points)), best], 0, None)
    return triangles[best], chosen / chosen.sum(-1, keepdims=True)


HAIRLINE_Z = (-1.91, -1.61, -1.16, -1.08, -0.98, -0.86, -0.55, -0.42, -0.3, -0.22, -0.12, -0.02, 0.19, 0.59)
HAIRLINE_Y = (-0.66, -0.66, -0.52, -0.15, 0.2, 0.38, 0.42, 0.2, -0.02, 0.1, 0.44, 0.7, 0.9, 1.03)


def scalp_density(vertices: np.ndarray) -> np.ndarray:
    """Float [V]: where hair grows, by height above the hairline seen from the side (decimetres, front is +z)."""
    line = np.interp(vertices[:, 2], HAIRLINE_Z, HAIRLINE_Y)
    x, y, z = np.abs(vertices[:, 0]), vertices[:, 1], vertices[:, 2]
    ear = (x > 0.70) & (y < 0.42) & (z > -1.05) & (z < -0.40)
    return np.where(ear, 0.0, np.clip((y - line) / 0.16, 0, 1))


def hair(vertices: np.ndarray, triangles: np.ndarray, style: str, seed: int) -> Attachment:
    """Strands on the scalp; ``triangles`` are those of the outer skin."""
    density = scalp_density(vertices)
    normals = _vertex_normals(vertices, triangles)
    chosen, weights = scatter_on_surface(vertices, triangles, density, STRANDS, seed)
    ids = triangles[chosen]
    roots = (vertices[ids] * weights[..., None]).sum(1)
    normal = (normals[ids] * weights[..., None]).sum(1)
    strands = grow_hair(
        roots,
        normal / np.linalg.norm(normal, axis=1, keepdims=True),
        replace(HAIR_STYLES[style], width=STRAND_WIDTH),
        seed,
    )
    per_strand = strands.offsets.shape[1] * 2
    return Attachment(
        "hair", ids.repeat(per_strand, 0), weights.repeat(per_strand, 0).astype(np.float32),
        strands.offsets.reshape(-1, 3), strands.triangles, strands.uvs, moves=True, head_weight=1.0,
    )  # fmt: skip


def brows(
    vertices: np.ndarray, triangles: np.ndarray, landmarks: np.ndarray, darkness: np.ndarray, seed: int
) -> Attachment:
    """Short hairs where the photograph shows brows.

    Args:
        vertices: [V, 3] in decimetres.
        triangles: of the outer skin.
        landmarks: 68 vertex ids.
        darkness: how much darker than its surroundings the photographed skin is at each vertex [V], 0 to 255.
        seed: of the hairs.
    """
    rng = np.random.default_rng([seed, 8])
    eyes, line = vertices[landmarks[36:48]], vertices[landmarks[17:27]]
    above = (vertices[:, 1] > eyes[:, 1].max() + 0.02) & (vertices[:, 1] < line[:, 1].max() + 0.05)
    across = np.abs(vertices[:, 0]) < np.abs(line[:, 0]).max() + 0.1
    density = np.where(above & across & (vertices[:, 2] > eyes[:, 2].min()), np.clip((darkness - 8) / 30, 0, 1), 0.0)
    normals = _vertex_normals(vertices, triangles)
    chosen, weights = scatter_on_surface(vertices, triangles, density, 2 * BROW_HAIRS, seed)
    ids = triangles[chosen]
    roots = (vertices[ids] * weights[..., None]).sum(1)
    normal = (normals[ids] * weights[..., None]).sum(1)
    side = np.sign(roots[:, :1])
    inner = np.clip(1 - np.abs(roots[:, :1]) / 0.28, 0, 1)
    comb = np.concatenate([side * (1 - 0.6 * inner), 0.25 + 0.9 * inner, -0.35 * (1 - inner)], axis=1)
    comb = comb + rng.normal(size=comb.shape) * 0.18
    comb -= (comb * normal).sum(1, keepdims=True) * normal
    comb /= np.linalg.norm(comb, axis=1, keepdims=True)
    t = np.linspace(0, 1, BROW_POINTS)
    length = rng.uniform(0.035, 0.065, (len(ids), 1, 1))
    path = comb[:, None] * t[None, :, None] * length
    path = path + normal[:, None] * (0.001 + 0.010 * (t - 0.9 * t**2))[None, :, None]
    half = np.cross(comb, normal)[:, None] * (0.0018 * (1 - 0.8 * t**2))[None, :, None] / 2
    offsets = np.stack([path - half, path + half], axis=2).reshape(-1, 3).astype(np.float32)
    v = np.broadcast_to(1 - t[None, :, None], (len(ids), BROW_POINTS, 2))
    u = np.broadcast_to(rng.random((len(ids), 1, 1)), v.shape)
    return Attachment(
        "brows", ids.repeat(BROW_POINTS * 2, 0), weights.repeat(BROW_POINTS * 2, 0).astype(np.float32), offsets,
        ribbon_triangles(len(ids), BROW_POINTS), np.stack([u, v], -1).reshape(-1, 2).astype(np.float32),
        moves=True, head_weight=1.0,
    )  # fmt: skip


def _vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    corners = vertices[triangles]
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(normals, triangles[:, k], face)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


# Rings of the shirt from the collar down: half width, z of front and back, y of the sides, the front and the back.
SHIRT_RINGS = (
    (0.70, -0.17, -1.64, -1.12, -1.34, -1.02),
    (0.96, -0.14, -1.73, -1.19, -1.47, -1.10),
    (1.32, -0.09, -1.83, -1.28, -1.66, -1.24),
    (1.75, 0.09, -1.93, -1.54, -1.94, -1.54),
    (2.02, 0.24, -1.96, -1.99, -2.29, -1.99),
    (2.10, 0.29, -1.96, -2.64, -2.74, -2.64),
    (2.12, 0.29, -1.93, -3.34, -3.34, -3.34),
)
SHIRT_COLUMNS, SHIRT_ROWS = 128, 40


def shirt(vertices: np.ndarray, skin: np.ndarray) -> Attachment:
    """A shirt with a collar band; each vertex follows the nearest vertices of the neck when the identity changes.

    Args:
        vertices: [V, 3] in decimetres.
        skin: vertex ids of the outer skin.
    """
    angle = np.linspace(0, 2 * np.pi, SHIRT_COLUMNS + 1)
    along = np.linspace(0, len(SHIRT_RINGS) - 1, SHIRT_ROWS)
    rings = CubicSpline(np.arange(len(SHIRT_RINGS)), np.array(SHIRT_RINGS))(along)
    cloth = _shirt_rings(rings, angle)
    band = _collar_band(cloth[0], angle)
    points = np.concatenate([band, cloth[2:]])
    rows = len(points)
    v = np.concatenate([np.linspace(1.0, 0.90, len(band)), np.linspace(0.88, 0.0, rows - len(band))])
    u = np.broadcast_to(angle / (2 * np.pi), (rows, SHIRT_COLUMNS + 1))
    index = np.arange(rows * (SHIRT_COLUMNS + 1)).reshape(rows, -1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    triangles = np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])
    points = points.reshape(-1, 3)
    low = skin[vertices[skin, 1] < -0.95]
    distance, near = cKDTree(vertices[low]).query(points, k=3)
    weights = 1 / (distance + 0.1)
    weights /= weights.sum(1, keepdims=True)
    ids = low[near]
    return Attachment(
        "cloth", ids, weights.astype(np.float32),
        (points - (vertices[ids] * weights[..., None]).sum(1)).astype(np.float32), triangles,
        np.stack([u, np.broadcast_to(v[:, None], u.shape)], -1).reshape(-1, 2).astype(np.float32),
        moves=False, head_weight=0.0,
    )  # fmt: skip


def _shirt_rings(rings: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Points [rows, columns, 3] of rounded-box rings; angle 0 is the front, a quarter turn the subject's left."""
    sine, cosine = np.sin(angle), np.cos(angle)
    x = np.sign(sine) * np.abs(sine) ** 0.9
    z = np.sign(cosine) * np.abs(cosine) ** 0.9
    half, front, back, y_side, y_front, y_back = (rings[:, k, None] for k in range(6))
    depth = (front + back) / 2 + (front - back) / 2 * z
    towards = cosine**2 * np.sign(cosine)
    y = y_side + (y_front - y_side) * np.clip(towards, 0, 1) + (y_back - y_side) * np.clip(-towards, 0, 1)
    return np.stack([half * x, y, depth], axis=-1)


def _collar_band(ring: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """A rounded band on the first ring [columns, 3]: points [9, columns, 3] from the inside over the top outwards."""
    turn = np.linspace(-0.3 * np.pi, 1.25 * np.pi, 9)[:, None, None]
    outward = np.stack([np.sin(angle), 0.35 + 0 * angle, np.cos(angle)], axis=-1)
    upward = np.stack([-0.45 * np.sin(angle), np.ones_like(angle), -0.45 * np.cos(angle)], axis=-1)
    return ring[None] + 0.035 * -np.cos(turn) * outward[None] + 0.09 * np.sin(turn) * upward[None]
