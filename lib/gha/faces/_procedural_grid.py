"""Topology of the head skin: a longitude-latitude grid with rings of vertices around the eyes and the mouth."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

COLUMNS = 144  # around the head; column 0 is the front midline, columns grow towards the subject's left
ROWS = 148  # rings from the neck (row 0) to the crown (row ROWS - 1), closed by one pole vertex
MOUTH_BLOCK = (-23, 23, 50, 70)  # first and last column, first and last row replaced by rings
EYE_BLOCK = (5, 31, 94, 112)  # of the subject's left eye; mirrored for the right
EYE_LAYERS = 17  # rings from the edge of the eye block (0) to the lid rim (last)
EYE_INNER_LAYERS = 4  # rings from the lid rim back along the eyeball
MOUTH_SKIN_LAYERS = 7  # rings from the edge of the mouth block (0) to the border of the red of the lips (last)
LIP_LAYERS = 7  # further rings to the line where the lips meet
MOUTH_INNER_LAYERS = 12  # further rings behind the lips and along the cavity, closed by one pole vertex


@dataclass
class Rings:
    """Concentric rings of vertices around an opening.

    Attributes:
        vertices: vertex ids [layers, n]; layer 0 is the edge of the block. Index 0 is the corner on the
            block's +x side, index n / 2 the corner on its -x side, the upper half lies between them.
        uvs: layout coordinates [layers, n, 2] in columns and rows.
    """

    vertices: np.ndarray
    uvs: np.ndarray


@dataclass
class HeadGrid:
    """Vertices and quads of the head skin.

    Attributes:
        grid: vertex ids [ROWS, COLUMNS], -1 inside the blocks.
        crown: id of the pole vertex.
        mouth, left_eye, right_eye: rings.
        mouth_pole: id of the vertex that closes the mouth cavity.
        count: number of vertices.
        mirror: id of each vertex's mirror image in x.
        quads: [Q, 4] counter-clockwise from outside; the last two ids of a triangle are equal.
        quad_uvs: layout coordinates [Q, 4, 2] of the corners, in columns (x) and rows (y).
    """

    grid: np.ndarray
    crown: int
    mouth: Rings
    left_eye: Rings
    right_eye: Rings
    mouth_pole: int
    count: int
    mirror: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    quads: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), dtype=np.int64))
    quad_uvs: np.ndarray = field(default_factory=lambda: np.zeros((0, 4, 2)))


def block_boundary(block: tuple[int, int, int, int]) -> np.ndarray:
    """Columns and rows [n, 2] around a block, from the middle of its +x side over the top and back below."""
    first, last, bottom, top = block
    middle = (bottom + top) // 2
    right_up = [(last, r) for r in range(middle, top)]
    across_top = [(c, top) for c in range(last, first, -1)]
    left_down = [(first, r) for r in range(top, bottom, -1)]
    across_bottom = [(c, bottom) for c in range(first, last)]
    return np.array(right_up + across_top + left_down + across_bottom + [(last, r) for r in range(bottom, middle)])


def mirror_block(block: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """The block on the other side of the midline."""
    return -block[1], -block[0], block[2], block[3]


def _ring_layout(boundary: np.ndarray, layers: int, opening: tuple[float, float]) -> np.ndarray:
    """Layout coordinates [layers, n, 2] that shrink from the block's edge to a flat opening (half sizes)."""
    centre = (boundary.max(0) + boundary.min(0)) / 2
    angle = np.linspace(0, 2 * np.pi, len(boundary), endpoint=False)
    inner = centre + np.stack([opening[0] * np.cos(angle), opening[1] * np.sin(angle)], axis=1)
    blend = np.linspace(0, 1, layers)[:, None, None]
    return boundary * (1 - blend) + inner * blend


def _make_rings(
    grid: np.ndarray, block: tuple[int, int, int, int], layers: int, opening: tuple[float, float], start: int
) -> tuple[Rings, int]:
    boundary = block_boundary(block)
    n = len(boundary)
    outer = grid[boundary[:, 1], boundary[:, 0] % COLUMNS]
    inner = start + np.arange((layers - 1) * n).reshape(layers - 1, n)
    return Rings(np.concatenate([outer[None], inner]), _ring_layout(boundary, layers, opening)), start + inner.size


def _mirror_ring(ids: np.ndarray) -> np.ndarray:
    """Ring ids reordered as seen in a mirror: corner 0 becomes corner n / 2, upper stays upper."""
    n = ids.shape[-1]
    return ids[..., (n // 2 - np.arange(n)) % n]


def build_grid() -> HeadGrid:
    """Vertex ids, quads, layout and mirror map of the head skin."""
    grid = -np.ones((ROWS, COLUMNS), dtype=np.int64)
    keep = np.ones((ROWS, COLUMNS), dtype=bool)
    for first, last, bottom, top in (MOUTH_BLOCK, EYE_BLOCK, mirror_block(EYE_BLOCK)):
        keep[bottom + 1 : top, np.arange(first + 1, last) % COLUMNS] = False
    grid[keep] = np.arange(keep.sum())
    count = int(keep.sum())
    eye_layers = EYE_LAYERS + EYE_INNER_LAYERS
    mouth_layers = MOUTH_SKIN_LAYERS + LIP_LAYERS + MOUTH_INNER_LAYERS
    mouth, count = _make_rings(grid, MOUTH_BLOCK, mouth_layers, (8.0, 0.5), count)
    left, count = _make_rings(grid, EYE_BLOCK, eye_layers, (5.0, 1.5), count)
    right, count = _make_rings(grid, mirror_block(EYE_BLOCK), eye_layers, (5.0, 1.5), count)
    head = HeadGrid(grid, count, mouth, left, right, count + 1, count + 2)
    head.mirror = _mirror_map(head)
    head.quads, head.quad_uvs = _quads(head, keep)
    return head


def _mirror_map(head: HeadGrid) -> np.ndarray:
    mirror = np.arange(head.count)
    inside = head.grid >= 0
    mirrored = head.grid[:, (-np.arange(COLUMNS)) % COLUMNS]
    mirror[head.grid[inside]] = mirrored[inside]
    mirror[head.mouth.vertices[1:]] = _mirror_ring(head.mouth.vertices[1:])
    mirror[head.left_eye.vertices[1:]] = _mirror_ring(head.right_eye.vertices[1:])
    mirror[head.right_eye.vertices[1:]] = _mirror_ring(head.left_eye.vertices[1:])
    return mirror


def _quads(head: HeadGrid, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quads of grid, rings and poles; each starts so that its diagonal 0-2 is mirror symmetric."""
    quads, uvs = [], []
    blocks = (MOUTH_BLOCK, EYE_BLOCK, mirror_block(EYE_BLOCK))
    for row in range(ROWS - 1):
        for c in range(-COLUMNS // 2, COLUMNS // 2):
            if any(a <= c < b and lo <= row < hi for a, b, lo, hi in blocks):
                continue
            corners = [(c, row), (c + 1, row), (c + 1, row + 1), (c, row + 1)]
            if c < 0:
                corners = corners[1:] + corners[:1]
            quads.append([head.grid[r, k % COLUMNS] for k, r in corners])
            uvs.append(corners)
    for c in range(-COLUMNS // 2, COLUMNS // 2):
        a, b = head.grid[ROWS - 1, c % COLUMNS], head.grid[ROWS - 1, (c + 1) % COLUMNS]
        quads.append([a, b, head.crown, head.crown])
        uvs.append([(c, ROWS - 1), (c + 1, ROWS - 1), (c + 0.5, ROWS), (c + 0.5, ROWS)])
    parts = [_ring_quads(r) for r in (head.mouth, head.left_eye, head.right_eye)]
    last, last_uv = head.mouth.vertices[-1], head.mouth.uvs[-1]
    following = np.roll(np.arange(len(last)), -1)
    pole = np.full_like(last, head.mouth_pole)
    centre = np.broadcast_to(last_uv.mean(0), last_uv.shape)
    parts.append(
        (
            np.stack([last, last[following], pole, pole], axis=1),
            np.stack([last_uv, last_uv[following], centre, centre], axis=1),
        )
    )
    all_quads = [np.array(quads)] + [p[0] for p in parts]
    all_uvs = [np.array(uvs, dtype=float)] + [p[1] for p in parts]
    return np.concatenate(all_quads), np.concatenate(all_uvs)


def _ring_quads(rings: Rings) -> tuple[np.ndarray, np.ndarray]:
    """Quads between consecutive rings, diagonals mirror symmetric about the vertical through the opening."""
    layers, n = rings.vertices.shape
    following = np.roll(np.arange(n), -1)
    quads, uvs = [], []
    for layer in range(layers - 1):
        corner = [(layer, np.arange(n)), (layer, following), (layer + 1, following), (layer + 1, np.arange(n))]
        ids = np.stack([rings.vertices[k, i] for k, i in corner], axis=1)
        layout = np.stack([rings.uvs[k, i] for k, i in corner], axis=1)
        right_side = (np.arange(n) + 0.5 < n / 4) | (np.arange(n) + 0.5 > 3 * n / 4)
        ids[right_side] = np.roll(ids[right_side], -1, axis=1)
        layout[right_side] = np.roll(layout[right_side], -1, axis=1)
        quads.append(ids)
        uvs.append(layout)
    return np.concatenate(quads), np.concatenate(uvs)


def split_quads(quads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Triangles [F, 3] of quads and, for each corner, its index [F, 3] into the flattened quad corners."""
    corner = np.arange(len(quads) * 4).reshape(-1, 4)
    first, second = [0, 1, 2], [0, 2, 3]
    triangles = np.concatenate([quads[:, first], quads[:, second]])
    corners = np.concatenate([corner[:, first], corner[:, second]])
    proper = (triangles[:, 1] != triangles[:, 2]) & (triangles[:, 0] != triangles[:, 2])
    return triangles[proper], corners[proper]
