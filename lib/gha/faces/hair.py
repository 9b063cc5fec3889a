"""Hair for any head: strands as thin two-sided ribbons that are combed over the scalp, and their texture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

POINTS = 7  # points along a strand; a ribbon has twice as many vertices


@dataclass(frozen=True)
class HairStyle:
    """How strands lie on the scalp; lengths in decimetres.

    Attributes:
        name: key in ``HAIR_STYLES``.
        comb: ``"back"``, ``"side"`` (a parting on the subject's left) or ``"whorl"`` (away from the crown).
        length: of the longest strands.
        height: thickness of the hair above the scalp on top of the head; half of it at the sides.
        wave: sideways amplitude of waves along a strand.
        disorder: random deviation of the combing direction, 0 sleek to 1 tousled.
        width: of one ribbon at its root.
    """

    name: str
    comb: str
    length: float
    height: float
    wave: float
    disorder: float
    width: float = 0.016


HAIR_STYLES = {
    style.name: style
    for style in (
        HairStyle("crop", "whorl", length=0.24, height=0.05, wave=0.0, disorder=0.35, width=0.012),
        HairStyle("swept", "back", length=0.70, height=0.09, wave=0.01, disorder=0.15),
        HairStyle("parted", "side", length=0.62, height=0.09, wave=0.01, disorder=0.15),
        HairStyle("wavy", "side", length=0.60, height=0.11, wave=0.025, disorder=0.35),
    )
}


@dataclass(frozen=True)
class Strands:
    """Ribbons of N strands with P points each; vertex ``(n * P + p) * 2 + side``.

    Attributes:
        offsets: float32 [N, P, 2, 3], vertices relative to the strand's root.
        triangles: int64 [N * (P - 1) * 2, 3] into the N * P * 2 vertices.
        uvs: float32 [N * P * 2, 2]: u is one random value per strand, v falls from 1 at the root to 0 at the tip.
    """

    offsets: np.ndarray
    triangles: np.ndarray
    uvs: np.ndarray

    def vertices(self, roots: np.ndarray) -> np.ndarray:
        """All ribbon vertices [N * P * 2, 3] for roots [N, 3]."""
        return (self.offsets + roots[:, None, None]).reshape(-1, 3)


def scatter_on_surface(
    vertices: np.ndarray, triangles: np.ndarray, density: np.ndarray, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Random points on a surface.

    Args:
        vertices: [V, 3].
        triangles: [F, 3].
        density: relative number of points per area at each vertex [V]; 0 grows nothing.
        count: number of points.
        seed: of the random numbers.

    Returns:
        Triangle ids [count] and barycentric weights [count, 3].
    """
    rng = np.random.default_rng(seed)
    corners = vertices[triangles]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    cumulative = np.cumsum(area * density[triangles].min(1))
    chosen = np.searchsorted(cumulative, (np.arange(count) + rng.random(count)) / count * cumulative[-1])
    root, second = np.sqrt(rng.random(count)), rng.random(count)
    return np.minimum(chosen, len(triangles) - 1), np.stack([1 - root, root * (1 - second), root * second], axis=1)


def _comb_direction(points: np.ndarray, comb: str, centre: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Direction [N, 3] in which hair at ``points`` is combed; not yet tangential."""
    x, y, z = ((points - centre) / size).T
    still = np.zeros_like(x)
    if comb == "whorl":
        away = np.stack([x, y - 0.9, z + 0.45], axis=1)
        return away + 0.35 * np.stack([-z, still, x], axis=1)
    down = np.stack([still, still - 1, -0.15 - 0.9 * np.clip(z + 0.2, 0, 1)], axis=1)
    if comb == "back":
        top = np.stack([0.25 * x, still + 0.2, still - 1], axis=1)
    else:
        parting = np.tanh((x - 0.35) / 0.06)
        top = np.stack([parting, still + 0.1, still - 0.55], axis=1)
    fall = np.clip((0.50 - y) / 0.5, 0, 1)[:, None]
    return top * (1 - fall) + down * fall


def _locks(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Smooth random vectors [N, 3]: neighbouring strands stray together, as locks do."""
    total = np.zeros_like(points)
    for wavelength in (0.5, 0.22, 0.1):
        wave = rng.normal(size=(3, 3)) * 2 * np.pi / wavelength / 2
        total += np.sin(points @ wave + rng.random(3) * 6.28) * wavelength**0.35
    return total


def grow_hair(
    roots: np.ndarray,
    normals: np.ndarray,
    style: HairStyle,
    seed: int,
    growth: np.ndarray | None = None,
    thickness: float = 1.0,
) -> Strands:
    """Strands of a hair style on any scalp.

    Args:
        roots: where strands begin [N, 3], in decimetres, y up, z out of the face.
        normals: of the scalp at the roots [N, 3].
        style: how they lie.
        seed: of the random numbers.
        growth: factor on the length of each strand [N], for example smaller at the hairline; default 1.
        thickness: factor on the width of all ribbons; more strands need less to cover the scalp.
    """
    rng = np.random.default_rng(seed)
    count = len(roots)
    low, high = roots.min(0), roots.max(0)
    centre, size = (low + high) / 2, (high - low) / 2
    up = (roots[:, 1] - centre[1]) / size[1]
    growth = np.ones(count) if growth is None else growth
    # Most of them near the top: where they are few, the sky shows through between them.
    heights = style.height * (0.15 + 0.85 * rng.random(count) ** 0.5)
    heights *= np.clip(0.55 + 0.6 * up, 0.3, 1.15) * growth**0.5
    length = style.length * (0.7 + 0.3 * rng.random(count)) * np.clip(0.65 + up, 0.35, 1) * growth
    stray = style.disorder * (0.8 * _locks(roots, rng) + 0.45 * rng.normal(size=(count, 3)))
    wave = style.wave * (0.5 + rng.random(count))
    path, across = _follow_scalp(roots, normals, style, (centre, size), heights, length, stray, wave, rng)
    twist = rng.normal(size=(count, 1, 1)) * 0.35
    along = np.arange(POINTS) / (POINTS - 1)
    width = style.width * thickness * (np.minimum(0.5 + 3 * along, 1) * (1 - 0.85 * along**2.5))[None, :, None]
    half = (across + twist * normals[:, None]) * width / 2
    offsets = np.stack([path - half, path + half], axis=2) - roots[:, None, None]
    return Strands(offsets.astype(np.float32), ribbon_triangles(count, POINTS), strand_uvs(count, POINTS, rng))


def _follow_scalp(
    roots: np.ndarray,
    normals: np.ndarray,
    style: HairStyle,
    box: tuple[np.ndarray, np.ndarray],
    heights: np.ndarray,
    length: np.ndarray,
    stray: np.ndarray,
    wave: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Points [N, P, 3] along each strand, at its own height over the nearest root, and directions across it."""
    nearest, phase = cKDTree(roots), rng.random(len(roots)) * 6.28
    path, across = np.zeros((2, len(roots), POINTS, 3))
    position = roots.copy()
    for p in range(POINTS):
        at = nearest.query(position)[1]
        normal = normals[at]
        direction = _comb_direction(position, style.comb, *box)
        direction = direction / np.linalg.norm(direction, axis=1, keepdims=True) + stray
        direction -= (direction * normal).sum(1, keepdims=True) * normal
        direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-6)
        across[:, p] = np.cross(direction, normal)
        rise = heights * np.sqrt(min(p / 2, 1)) * (1 - 0.45 * (p / (POINTS - 1)) ** 2)
        above = ((position - roots[at]) * normal).sum(1)
        path[:, p] = position + (rise - above)[:, None] * normal
        if p > 0:
            path[:, p] += (wave * np.sin(phase + p * 1.7))[:, None] * across[:, p]
        position = path[:, p] + direction * (length / (POINTS - 1))[:, None]
    for _ in range(6):  # take out the corners where the nearest root changed
        path[:, 1:-1] += 0.25 * (path[:, :-2] - 2 * path[:, 1:-1] + path[:, 2:])
        across[:, 1:-1] += 0.25 * (across[:, :-2] - 2 * across[:, 1:-1] + across[:, 2:])
    return path, across


def ribbon_triangles(count: int, points: int) -> np.ndarray:
    """Triangles [count * (points - 1) * 2, 3] of ``count`` ribbons with ``points`` pairs of vertices each."""
    first = (np.arange(count)[:, None] * points + np.arange(points - 1)[None]).ravel() * 2
    return np.concatenate(
        [np.stack([first, first + 1, first + 3], axis=1), np.stack([first, first + 3, first + 2], axis=1)]
    )


def strand_uvs(count: int, points: int, rng: np.random.Generator) -> np.ndarray:
    """Texture coordinates [count * points * 2, 2]: u random per ribbon, v from root (1) to tip (0)."""
    u = np.broadcast_to(rng.random((count, 1, 1)) * 0.96 + 0.02, (count, points, 2))
    v = np.broadcast_to(np.linspace(0.98, 0.02, points)[None, :, None], u.shape)
    return np.stack([u, v], axis=-1).reshape(-1, 2).astype(np.float32)


def hair_texture(colour: np.ndarray, seed: int, size: int = 256) -> np.ndarray:
    """Texture uint8 [64, size, 3]: one column per shade around ``colour`` (sRGB in [0, 1]), root (top) to tip."""
    rng = np.random.default_rng(seed)
    shade = np.exp(rng.normal(size=(1, size, 1)) * 0.14)
    warmth = 1 + rng.normal(size=(1, size, 1)) * np.array([0.03, 0.0, -0.04])
    along = np.interp(np.linspace(0, 1, 64), [0, 0.25, 1], [0.55, 0.9, 1.2])[:, None, None]
    return (np.clip(np.asarray(colour) * shade * warmth * along, 0, 1) * 255).astype(np.uint8)
