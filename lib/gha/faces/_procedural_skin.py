"""Where the vertices of the head skin lie: guide rings shrunk onto the sculpture, lids, lips and mouth cavity."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.sparse import csr_matrix, diags

from ._procedural_distance import march, project
from ._procedural_grid import COLUMNS, EYE_LAYERS, LIP_LAYERS, MOUTH_SKIN_LAYERS, ROWS, HeadGrid
from ._procedural_sculpture import EYE_CENTRE, EYE_RADIUS, HEAD

# Row, then the front (y, z), side (y, z, half width) and back (y, z) of the ring: one row per named height.
GUIDE = np.array(
    [
        [0, -1.80, -0.42, -1.76, -0.93, 0.56, -1.62, -1.50],
        [14, -1.50, -0.36, -1.40, -0.87, 0.50, -1.10, -1.38],
        [25, -1.28, -0.18, -1.04, -0.78, 0.52, -0.75, -1.37],
        [33, -1.18, 0.08, -0.90, -0.75, 0.55, -0.58, -1.40],
        [40, -1.10, 0.24, -0.78, -0.70, 0.60, -0.45, -1.45],
        [45, -1.00, 0.30, -0.68, -0.68, 0.64, -0.38, -1.49],
        [50, -0.88, 0.30, -0.58, -0.66, 0.67, -0.30, -1.52],
        [60, -0.67, 0.33, -0.42, -0.65, 0.70, -0.15, -1.57],
        [70, -0.505, 0.33, -0.30, -0.65, 0.72, -0.05, -1.61],
        [73, -0.480, 0.33, -0.26, -0.65, 0.72, -0.02, -1.61],
        [83, -0.405, 0.33, -0.19, -0.65, 0.73, 0.04, -1.62],
        [87, -0.340, 0.33, -0.155, -0.65, 0.73, 0.07, -1.63],
        [94, -0.17, 0.30, -0.10, -0.65, 0.735, 0.12, -1.64],
        [103, 0.00, 0.26, 0.03, -0.65, 0.745, 0.22, -1.645],
        [112, 0.19, 0.27, 0.18, -0.65, 0.75, 0.34, -1.64],
        [119, 0.36, 0.27, 0.32, -0.65, 0.755, 0.46, -1.62],
        [128, 0.66, 0.17, 0.58, -0.66, 0.715, 0.66, -1.53],
        [136, 0.91, -0.08, 0.83, -0.68, 0.56, 0.86, -1.36],
        [143, 1.06, -0.36, 1.02, -0.70, 0.32, 1.02, -1.10],
        [147, 1.105, -0.60, 1.10, -0.72, 0.11, 1.10, -0.86],
    ]
)
COLUMN_DEGREES = ((0, 0), (5, 6.3), (18, 23.5), (31, 43.5), (40, 62), (50, 92), (60, 131), (72, 180))
CROWN = (0.0, 1.11, -0.73)
INNER_CANTHUS = np.array([-0.152, -0.026])  # (x, y) from the centre of the left eye
OUTER_CANTHUS = np.array([0.146, 0.012])
LID_HEIGHTS = (0.067, 0.046)  # upper and lower lid above and below the line between the corners
MOUTH_CORNER = (0.246, -0.674)
# Half of each lip curve as (x, y) from the middle to the corner.
UPPER_BORDER = ((0, -0.594), (0.03, -0.586), (0.062, -0.581), (0.12, -0.599), (0.19, -0.637), MOUTH_CORNER)
LOWER_BORDER = ((0, -0.778), (0.06, -0.775), (0.12, -0.762), (0.18, -0.735), (0.225, -0.704), MOUTH_CORNER)
CONTACT = ((0, -0.674), (0.05, -0.671), (0.10, -0.671), (0.16, -0.675), (0.21, -0.676), MOUTH_CORNER)
LIP_ARC = np.radians([52, -78])  # directions of the surface's cross-section at the border and at the contact line
LIP_DEPTHS = (0.075, 0.095)  # of the rounded section of upper and lower lip
DETAIL_CENTRE, DETAIL_SIZE, DETAIL_PULL = np.array([0.0, -0.45, 0.37]), np.array([0.10, 0.045, 0.09]), 4.0  # nostrils
# Height above or below the contact line and depth behind it, along the inside of the lips.
VESTIBULE = ((0.010, 0.014), (0.035, 0.030), (0.075, 0.042), (0.115, 0.055), (0.140, 0.085))
CAVITY_CENTRE, CAVITY_RADII = np.array([0.0, -0.68, -0.08]), np.array([0.33, 0.25, 0.40])


def _column_angles() -> np.ndarray:
    """Longitude [COLUMNS] of each column in radians, columns -COLUMNS/2 .. counted as negative."""
    columns, degrees = np.array(COLUMN_DEGREES).T
    half = PchipInterpolator(columns, degrees)(np.arange(COLUMNS // 2 + 1))
    return np.radians(np.concatenate([half, -half[-2:0:-1]]))


def _guide_surface() -> np.ndarray:
    """First guess [ROWS, COLUMNS, 3] of the grid."""
    rows = PchipInterpolator(GUIDE[:, 0], GUIDE[:, 1:])(np.arange(ROWS))
    front_y, front_z, side_y, side_z, width, back_y, back_z = rows.T[:, :, None]
    cosine, sine = np.cos(_column_angles())[None], np.sin(_column_angles())[None]
    front, back = np.maximum(cosine, 0), np.maximum(-cosine, 0)
    y = side_y + (front_y - side_y) * front**1.3 + (back_y - side_y) * back**1.3
    z = side_z + (front_z - side_z) * front + (back_z - side_z) * back
    return np.stack([width * sine, y, z], axis=-1)


def _shrink(points: np.ndarray) -> np.ndarray:
    """Points [N, 3] pulled onto the sculpture along rays from inside the head or neck."""
    inside = np.zeros_like(points)
    inside[:, 1] = np.clip(points[:, 1] * 0.85, -3, 0.45)
    inside[:, 2] = np.where(points[:, 1] < -1.2, -0.8, -0.62)
    directions = points - inside
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return project(march(points, directions, HEAD, 12), HEAD, 2)


def _resample(curve: np.ndarray, count: int) -> np.ndarray:
    """``count`` points evenly spaced along a polyline [K, D]."""
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    at = np.linspace(0, length[-1], count)
    return np.stack([np.interp(at, length, curve[:, k]) for k in range(curve.shape[1])], axis=1)


def _onto_front(points: np.ndarray) -> np.ndarray:
    """The front surface point [N, 3] behind each (x, y) of ``points`` [N, 2]."""
    start = np.concatenate([points, np.full((len(points), 1), 0.55)], axis=1)
    return march(start, np.tile([0.0, 0.0, 1.0], (len(start), 1)), HEAD, 40)


def lid_curves(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower lid edge [count, 2] from the outer to the inner corner, from the centre of the left eye."""
    s = np.linspace(0, 1, 200)
    line = OUTER_CANTHUS + s[:, None] * (INNER_CANTHUS - OUTER_CANTHUS)
    upper, lower = line.copy(), line.copy()
    upper[:, 1] += LID_HEIGHTS[0] * np.sin(np.pi * s**1.12) ** 0.85
    lower[:, 1] -= LID_HEIGHTS[1] * np.sin(np.pi * s**0.88) ** 0.9
    return _resample(upper, count), _resample(lower, count)


def _left_eye(points: np.ndarray, ids: np.ndarray) -> None:
    """Place the lids of the left eye; rings of ``ids`` [layers, n], outermost already placed."""
    n = ids.shape[1]
    upper, lower = lid_curves(n // 2 + 1)
    rim = _onto_front(np.concatenate([upper[:-1], lower[::-1][:-1]]) + EYE_CENTRE[:2])
    edge = points[ids[0]]
    for layer in range(1, EYE_LAYERS):
        t = 1 - (1 - layer / (EYE_LAYERS - 1)) ** 1.4
        points[ids[layer]] = edge * (1 - t) + rim * t
    outward = rim - EYE_CENTRE
    radius = np.linalg.norm(outward, axis=1, keepdims=True)
    outward /= radius
    middle = outward.mean(0) / np.linalg.norm(outward.mean(0))
    for k, (shrink, spread) in enumerate([(0.75, 0.0), (1.25, 0.0), (1.35, 0.12), (1.5, 0.35)]):
        direction = outward + spread * (outward - middle)
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        target = radius + shrink * (EYE_RADIUS - 0.001 - radius) if k == 0 else EYE_RADIUS - 0.012 * shrink
        points[ids[EYE_LAYERS + k]] = EYE_CENTRE + direction * target


def _closed_curve(upper: tuple, lower: tuple, n: int) -> np.ndarray:
    """Ring [n, 2] from the corner on +x over the upper curve and back below."""
    halves = []
    for half in (upper, lower):
        x, y = np.array(half).T
        fine = np.linspace(-x[-1], x[-1], 400)
        curve = np.stack([fine, PchipInterpolator(x, y)(np.abs(fine))], axis=1)
        halves.append(_resample(curve, n // 2 + 1))
    return np.concatenate([halves[0][::-1][:-1], halves[1][:-1]])


def _lip_section(border: np.ndarray, contact: np.ndarray, depth: np.ndarray, q: float) -> np.ndarray:
    """Points [n, 3] at a fraction of the way from the border of a lip to the contact line, along an arc."""
    start, end = LIP_ARC
    angle = start + q * (end - start)
    along = (np.sin(start) - np.sin(angle)) / (np.sin(start) - np.sin(end))
    at = border * (1 - along) + contact * along
    rise = depth * (np.cos(angle) - np.cos(start))
    last = depth * (np.cos(end) - np.cos(start))
    at[:, 2] = border[:, 2] + rise + (contact[:, 2] - border[:, 2] - last) * q**2
    return at


def _mouth(points: np.ndarray, ids: np.ndarray, pole: int) -> None:
    """Place lips and mouth cavity; rings of ``ids`` [layers, n], outermost already placed."""
    n = ids.shape[1]
    border = _onto_front(_closed_curve(UPPER_BORDER, LOWER_BORDER, n))
    contact_xy = _closed_curve(CONTACT, CONTACT, n)
    is_upper = np.arange(n) < n / 2
    middle = np.sqrt(np.clip(1 - (contact_xy[:, 0] / MOUTH_CORNER[0]) ** 2, 0, 1))
    depth = np.where(is_upper, LIP_DEPTHS[0], LIP_DEPTHS[1]) * middle**0.8
    recess = 0.006 + depth * (np.cos(LIP_ARC[0]) - np.cos(LIP_ARC[1]))
    mirror_image = -np.arange(n) % n  # the same place on the other lip
    meeting = (border[:, 2] - recess + border[mirror_image, 2] - recess[mirror_image]) / 2
    contact = np.concatenate([contact_xy, meeting[:, None]], axis=1)
    skin = MOUTH_SKIN_LAYERS - 1
    for layer in range(1, MOUTH_SKIN_LAYERS):
        points[ids[layer]] = points[ids[0]] * (1 - layer / skin) + border * layer / skin
    for k in range(1, LIP_LAYERS + 1):
        points[ids[skin + k]] = _lip_section(border, contact, depth, k / LIP_LAYERS)
    inner = ids[skin + LIP_LAYERS + 1 :]
    vertical = np.where(is_upper, 1.0, -1.0) * (0.15 + 0.85 * middle)
    for ring, (height, back) in zip(inner, VESTIBULE, strict=False):
        points[ring] = contact + np.stack([0 * middle, height * vertical, -back * (0.4 + 0.6 * middle)], axis=1)
    around = 2 * np.pi * np.arange(n) / n
    for ring, polar in zip(
        inner[len(VESTIBULE) :], np.radians(np.linspace(72, 168, len(inner) - len(VESTIBULE))), strict=True
    ):
        wall = [np.cos(around) * np.sin(polar), np.sin(around) * np.sin(polar), np.full(n, np.cos(polar))]
        points[ring] = CAVITY_CENTRE + np.stack(wall, axis=1) * CAVITY_RADII
    points[pole] = CAVITY_CENTRE - [0, 0, CAVITY_RADII[2]]


def neighbour_mean(head: HeadGrid) -> csr_matrix:
    """Sparse matrix [V, V] that averages each vertex's neighbours along quad edges."""
    a = head.quads[:, [0, 1, 2, 3]].ravel()
    b = head.quads[:, [1, 2, 3, 0]].ravel()
    proper = a != b
    a, b = a[proper], b[proper]
    links = csr_matrix((np.ones(len(a) * 2), (np.concatenate([a, b]), np.concatenate([b, a]))), (head.count,) * 2)
    links.data[:] = 1
    return diags(1 / np.maximum(np.asarray(links.sum(1)).ravel(), 1)) @ links


def _symmetrise(points: np.ndarray, head: HeadGrid) -> np.ndarray:
    return (points + points[head.mirror] * [-1, 1, 1]) / 2


def _relax(points: np.ndarray, head: HeadGrid, fixed: np.ndarray, rounds: int) -> np.ndarray:
    """Spread free vertices evenly along the surface by smoothing and projecting in turn."""
    mean, free = neighbour_mean(head), ~fixed
    for _ in range(rounds):
        away = ((np.abs(points - DETAIL_CENTRE) / DETAIL_SIZE) ** 2).sum(1)
        pull = (1 + DETAIL_PULL * np.exp(-away / 2))[:, None]
        moved = points + 0.6 * ((mean @ (points * pull)) / (mean @ pull) - points)
        points = points.copy()
        points[free] = project(moved[free], HEAD, 1)
        points = _symmetrise(points, head)
    return points


def build_skin(head: HeadGrid) -> np.ndarray:
    """Neutral positions [V, 3] of the head skin in sculpting space, mirror symmetric."""
    guide = _guide_surface()
    points = np.zeros((head.count, 3))
    on_grid = head.grid >= 0
    points[head.grid[on_grid]] = _shrink(guide[on_grid])
    points[head.crown] = project(np.array([CROWN]), HEAD, 3)[0]
    _left_eye(points, head.left_eye.vertices)
    inner = head.left_eye.vertices[1:]
    points[head.mirror[inner]] = points[inner] * [-1, 1, 1]
    _mouth(points, head.mouth.vertices, head.mouth_pole)
    fixed = np.zeros(head.count, dtype=bool)
    fixed[head.mouth.vertices[MOUTH_SKIN_LAYERS - 1 :]] = True
    fixed[head.mouth_pole] = fixed[head.crown] = True
    for eye in (head.left_eye, head.right_eye):
        fixed[eye.vertices[EYE_LAYERS - 1 :]] = True
    fixed[head.grid[0]] = True
    free = ~fixed
    points = _symmetrise(points, head)
    points[free] = project(points[free], HEAD, 2)
    points = _relax(points, head, fixed, 25)
    _tuck_neck(points, head)
    for eye in (head.left_eye, head.right_eye):
        _fold_lids(points, eye.vertices)
    return _symmetrise(points, head)


def _tuck_neck(points: np.ndarray, head: HeadGrid) -> None:
    """Narrow the lowest part of the neck, which the shirt hides."""
    low = np.clip((-1.48 - points[:, 1]) / 0.25, 0, 1) ** 1.5 * (np.arange(head.count) <= head.grid.max())
    axis = np.array([0.0, 0.0, -0.92])
    points += (low * 0.22)[:, None] * (axis - points) * [1, 0, 1]


def _fold_lids(points: np.ndarray, ids: np.ndarray) -> None:
    """Cut the crease of the upper lid and a faint one below the eye, along the rings of vertices ``ids``."""
    skin = ids[:EYE_LAYERS]
    rim = points[skin[-1]]
    distance = np.linalg.norm(points[skin] - rim, axis=2)
    along = np.arange(ids.shape[1]) / ids.shape[1]
    upper = np.sin(2 * np.pi * along)  # 1 in the middle of the upper lid, -1 in the middle of the lower
    for side, crease, strength in ((1, 0.038, 1.0), (-1, 0.060, 0.5)):
        fade = np.sqrt(np.clip(side * upper, 0, 1)) * strength
        # One distance for a whole ring keeps the crease along the mesh.
        ring = (distance * fade).sum(1) / fade.sum()
        depth = 0.010 * np.exp(-(((ring - crease - 0.030) / 0.022) ** 2))
        depth -= 0.014 * np.exp(-(((ring - crease) / 0.011) ** 2))
        points[skin[:-1], 2] += (depth[:, None] * fade)[:-1]
