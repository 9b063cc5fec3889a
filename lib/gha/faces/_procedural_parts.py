"""The parts beside the skin: eyeballs, teeth, gums, tongue, ears and shirt, each a small textured mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._procedural_sculpture import EYE_CENTRE, EYE_RADIUS

IRIS_RADIUS = 0.060
TOOTH_WIDTHS = (0.086, 0.066, 0.076, 0.070, 0.068, 0.098, 0.095)  # from the middle backwards
UPPER_TEETH = {"y": -0.640, "height": 0.115, "front": 0.275, "half_width": 0.265, "depth": 0.46}
LOWER_TEETH = {"y": -0.732, "height": 0.100, "front": 0.238, "half_width": 0.245, "depth": 0.43}


@dataclass(frozen=True)
class Part:
    """One mesh of the head.

    Attributes:
        name: unique.
        material: name of the material.
        vertices: [V, 3] in sculpting space.
        triangles: [F, 3], counter-clockwise from outside.
        uvs: [U, 2].
        triangle_uvs: [F, 3] into ``uvs``.
    """

    name: str
    material: str
    vertices: np.ndarray
    triangles: np.ndarray
    uvs: np.ndarray
    triangle_uvs: np.ndarray


def sheet_triangles(rows: int, columns: int, closed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of a sheet of vertices [rows, columns] and of its texture corners [rows, columns (+ 1 if closed)].

    Counter-clockwise where columns run to the right and rows upwards.
    """
    cells = columns if closed else columns - 1
    row, column = (a.ravel() for a in np.meshgrid(np.arange(rows - 1), np.arange(cells), indexing="ij"))

    def corner_ids(width: int, wrap: int) -> np.ndarray:
        right = (column + 1) % wrap
        a, b = row * width + column, row * width + right
        c, d = (row + 1) * width + right, (row + 1) * width + column
        return np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])

    return corner_ids(columns, columns), corner_ids(cells + 1, cells + 1)


def sheet(name: str, material: str, points: np.ndarray, closed: bool, box: tuple[float, float, float, float]) -> Part:
    """A part from a sheet of points [rows, columns, 3]; its texture fills ``box`` (u0, v0, u1, v1)."""
    rows, columns = points.shape[:2]
    triangles, corners = sheet_triangles(rows, columns, closed)
    u = np.linspace(box[0], box[2], columns + closed)
    v = np.linspace(box[1], box[3], rows)
    uvs = np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2)
    return _outward(_without_slivers(Part(name, material, points.reshape(-1, 3), triangles, uvs, corners)))


def _outward(part: Part) -> Part:
    """The part with its triangles counter-clockwise from outside: with positive volume about its middle."""
    corners = part.vertices[part.triangles] - part.vertices.mean(0)
    if np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) >= 0:
        return part
    flipped, flipped_uvs = part.triangles[:, ::-1].copy(), part.triangle_uvs[:, ::-1].copy()
    return Part(part.name, part.material, part.vertices, flipped, part.uvs, flipped_uvs)


def _without_slivers(part: Part) -> Part:
    """Drop triangles without area (at poles)."""
    corners = part.vertices[part.triangles]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    keep = area > 1e-9
    return Part(part.name, part.material, part.vertices, part.triangles[keep], part.uvs, part.triangle_uvs[keep])


def mirrored(part: Part, name: str) -> Part:
    """The part on the other side of the midline."""
    return Part(
        name,
        part.material,
        part.vertices * [-1, 1, 1],
        part.triangles[:, ::-1].copy(),
        part.uvs,
        part.triangle_uvs[:, ::-1].copy(),
    )


def eyeball(name: str, side: int) -> Part:
    """An eyeball with a bulging cornea, looking along +z; polar texture around the pupil (see ``eye_radius``)."""
    polar = np.concatenate([np.linspace(0.02, 0.62, 18), np.linspace(0.70, 2.2, 14)])
    around = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    bulge = 0.010 * np.clip(1 - (polar / 0.56) ** 2, 0, None) ** 1.5
    radius = EYE_RADIUS + bulge
    ring = np.stack([np.cos(around), np.sin(around)], axis=1)
    flat = (radius * np.sin(polar))[:, None, None] * ring[None]
    depth = np.broadcast_to((radius * np.cos(polar))[:, None, None], (*flat.shape[:2], 1))
    points = np.concatenate([flat, depth], axis=2).reshape(-1, 3)
    middle = np.array([[0, 0, EYE_RADIUS + 0.010]])
    uvs = 0.5 + eye_texture_radius(polar)[:, None, None] * ring[None]
    vertices = np.concatenate([middle, points]) + EYE_CENTRE * [side, 1, 1]
    n = len(around)
    inner, _ = sheet_triangles(len(polar), n, closed=True)
    fan = np.stack([np.zeros(n, dtype=np.int64), 1 + np.arange(n), 1 + (np.arange(n) + 1) % n], axis=1)
    triangles = np.concatenate([fan, inner[:, ::-1] + 1])
    all_uvs = np.concatenate([[[0.5, 0.5]], uvs.reshape(-1, 2)])
    return Part(name, "eye", vertices, triangles, all_uvs, triangles)


def eye_texture_radius(polar: np.ndarray) -> np.ndarray:
    """Distance from the texture's centre at an angle from the optical axis; the front gets most of the texture."""
    return 0.49 * (polar / 2.2) ** 0.7


def _arch(t: np.ndarray, half_width: float, front: float, depth: float) -> tuple[np.ndarray, np.ndarray]:
    """Dental arch: positions [N, 2] (x, z) at distance ``t`` from the middle, and unit tangents [N, 2]."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 2001)
    curve = np.stack([half_width * np.sin(angle), front - depth * (1 - np.abs(np.cos(angle)) ** 0.8)], axis=1)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    length -= length[-1] / 2
    position = np.stack([np.interp(t, length, curve[:, k]) for k in range(2)], axis=1)
    behind = np.stack([np.interp(t - 1e-3, length, curve[:, k]) for k in range(2)], axis=1)
    ahead = np.stack([np.interp(t + 1e-3, length, curve[:, k]) for k in range(2)], axis=1)
    tangent = ahead - behind
    return position, tangent / np.linalg.norm(tangent, axis=1, keepdims=True)


def teeth(name: str, y: float, height: float, front: float, half_width: float, depth: float, up: int) -> list[Part]:
    """A row of separate rounded teeth; ``up`` is +1 when their roots point upwards."""
    widths = np.array(TOOTH_WIDTHS) * (1.0 if up > 0 else 0.86)
    starts = np.concatenate([[0], np.cumsum(widths)[:-1]])
    parts = []
    for index, (width, start) in enumerate(zip(widths, starts, strict=True)):
        for side in (1, -1):
            position, tangent = _arch(np.array([side * (start + width / 2)]), half_width, front, depth)
            shape = _tooth_shape(width, height * (1.0, 0.88, 1.0, 0.85, 0.8, 0.75, 0.7)[index], index, up)
            axis, outward = tangent[0], np.array([-tangent[0, 1], tangent[0, 0]])
            x = position[0, 0] + shape[..., 0] * axis[0] + shape[..., 2] * outward[0]
            z = position[0, 1] + shape[..., 0] * axis[1] + shape[..., 2] * outward[1]
            edge = y + up * (height - height * (1.0, 0.88, 1.0, 0.85, 0.8, 0.75, 0.7)[index]) / 2
            points = np.stack([x, edge + shape[..., 1], z], axis=-1)
            parts.append(sheet(f"{name}_{index}_{side}", "teeth", points, True, (0.0, 0.0, 0.5, 1.0)))
    return parts


def _tooth_shape(width: float, height: float, index: int, up: int) -> np.ndarray:
    """A rounded box [rows, columns, 3]: x along the arch, y up, z outwards; rows from bottom to top."""
    thickness = (0.045, 0.045, 0.055, 0.07, 0.07, 0.095, 0.095)[index]
    latitude = np.linspace(-np.pi / 2 + 0.02, np.pi / 2 - 0.02, 9)
    longitude = np.linspace(0, 2 * np.pi, 14, endpoint=False)

    def power(value: np.ndarray, exponent: float) -> np.ndarray:
        return np.sign(value) * np.abs(value) ** exponent

    ring = power(np.cos(latitude), 0.45)[:, None]
    at = power(np.sin(latitude), 0.6)[:, None] + 0 * longitude
    taper = 1 - 0.12 * (1 + up * at) / 2
    wedge = 0.75 + 0.25 * (1 + up * at) / 2
    x = 0.525 * width * ring * power(np.cos(longitude), 0.6) * taper
    z = -0.5 * thickness * ring * power(np.sin(longitude), 0.6) * wedge
    return np.stack([x, 0.5 * height * at, z], axis=-1)


def gum(name: str, y: float, front: float, half_width: float, depth: float, up: int) -> Part:
    """A tube along the roots of a row of teeth."""
    t = np.linspace(-0.52, 0.52, 40)
    position, tangent = _arch(t, half_width, front, depth)
    around = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    outward = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    radial = 0.042 * np.cos(around)
    x = position[:, 0, None] + outward[:, 0, None] * radial
    z = position[:, 1, None] + outward[:, 1, None] * radial
    scallop = 0.006 * np.cos(t / 0.078 * 2 * np.pi)[:, None] * up
    height = y + scallop + 0.065 * np.sin(around)[None]
    points = np.stack([x, np.broadcast_to(height, x.shape), z], axis=-1)
    return sheet(name, "mouth", points.swapaxes(0, 1)[::-1].swapaxes(0, 1), True, (0.0, 0.0, 0.45, 0.45))


def tongue() -> Part:
    """A flattened ellipsoid with a groove, resting behind the lower teeth."""
    latitude = np.linspace(-np.pi / 2 + 0.03, np.pi / 2 - 0.03, 18)
    longitude = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    # The poles lie at the tip and at the root, so that rows run along the tongue.
    along = -np.sin(latitude)[:, None] + 0 * longitude
    ring = np.sqrt(np.cos(latitude))[:, None]
    x, y = 0.17 * ring * np.cos(longitude), 0.075 * ring * np.sin(longitude)
    y = y - 0.018 * np.exp(-((x / 0.05) ** 2)) * (np.sin(longitude) > 0) + 0.05 * (1 - along**2)
    points = np.stack([x, y - 0.79, 0.27 * along - 0.07], axis=-1)
    return sheet("tongue", "mouth", points, True, (0.5, 0.0, 1.0, 0.45))


def jaw_parts() -> tuple[list[Part], list[Part]]:
    """Parts that stay with the skull and parts that move with the jaw."""
    upper = teeth("upper_tooth", **UPPER_TEETH, up=1)
    lower = teeth("lower_tooth", **LOWER_TEETH, up=-1)
    gums = [
        gum(name, set_["y"] + up * 0.095, set_["front"], set_["half_width"], set_["depth"], up)
        for name, set_, up in (("upper_gum", UPPER_TEETH, 1), ("lower_gum", LOWER_TEETH, -1))
    ]
    return [*upper, gums[0]], [*lower, gums[1], tongue()]
