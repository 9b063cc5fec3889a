"""Kernels that give a point of a surface its colour; scalars in, scalars out, so nothing is allocated per pixel.

They are inlined by hand of the decorator: passing arrays through calls per pixel costs a third of the time. That is
left to the compiler of machine code (``forceinline``): as numba itself would do it (``inline``), every copy is typed
anew, which takes seconds.
"""

from __future__ import annotations

import numpy as np

from .film_compile import njit
from .film_records import (
    CORNER,
    FILL,
    FILL_DIRECTION,
    FIRST_LEVEL,
    GLOSS,
    GRAD_U,
    GRAD_V,
    GROUND,
    KEY,
    KEY_DIRECTION,
    LEVEL_COUNT,
    MATERIAL,
    MIP,
    RELIEF,
    SKY,
    SPECULAR,
    STRAND,
    WRAP,
)  # fmt: skip
from .film_textures import SLOPE_RANGE, SLOPE_ZERO


@njit(nogil=True, fastmath=True, forceinline=True)
def sample_texture(
    texels: np.ndarray, levels: np.ndarray, first: int, count: int, u: float, v: float, mip: float
) -> tuple[float, float, float, float, float]:
    """Trilinear lookup in ``count`` levels from ``first``: linear RGB, then the slopes along columns and rows."""
    mip = min(max(mip, 0.0), count - 1.0)
    lower = int(mip)
    # Half of the way between two levels needs one of them only.
    blend = min(max(2.0 * (mip - lower) - 0.5, 0.0), 1.0)
    red, green, blue, along, down = 0.0, 0.0, 0.0, 0.0, 0.0
    for step in range(2):
        weight = blend if step else 1.0 - blend
        if weight <= 0.0:
            continue
        level = np.uint64(first + lower + step)
        height, width = levels[level, 1], levels[level, 2]
        x = min(max(u * width - 0.5, 0.0), width - 1.0)
        y = min(max((1.0 - v) * height - 0.5, 0.0), height - 1.0)
        column, row = int(x), int(y)
        fx, fy = x - column, y - row
        corner = levels[level, 0] + row * width + column
        right = 1 if column + 1 < width else 0
        below = width if row + 1 < height else 0
        for k in range(4):
            share = (fx if k & 1 else 1.0 - fx) * (fy if k & 2 else 1.0 - fy) * weight
            texel = np.uint64(corner + (right if k & 1 else 0) + (below if k & 2 else 0))
            red += share * texels[texel, 0]
            green += share * texels[texel, 1]
            blue += share * texels[texel, 2]
            along += share * texels[texel, 3]
            down += share * texels[texel, 4]
    slope = 1.0 / SLOPE_RANGE
    full = 1.0 / 65535
    return red * full, green * full, blue * full, (along - SLOPE_ZERO) * slope, (down - SLOPE_ZERO) * slope


@njit(nogil=True, fastmath=True, forceinline=True)
def corner_weights(records: np.ndarray, t: int, x: float, y: float) -> tuple[float, float, float]:
    """Weights of the corners of triangle t at sample position (x, y), for attributes stored over z."""
    x0, y0 = records[t, 0] - x, records[t, 1] - y
    x1, y1 = records[t, CORNER] - x, records[t, CORNER + 1] - y
    x2, y2 = records[t, 2 * CORNER] - x, records[t, 2 * CORNER + 1] - y
    w0, w1, w2 = x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0
    inverse = 1.0 / (w0 * records[t, 2] + w1 * records[t, CORNER + 2] + w2 * records[t, 2 * CORNER + 2])
    return w0 * inverse, w1 * inverse, w2 * inverse


@njit(nogil=True, fastmath=True, forceinline=True)
def _mix(records: np.ndarray, t: int, column: int, w0: float, w1: float, w2: float) -> float:
    """One attribute of triangle t from its three corners."""
    return w0 * records[t, column] + w1 * records[t, CORNER + column] + w2 * records[t, 2 * CORNER + column]


@njit(nogil=True, fastmath=True, forceinline=True)
def shade(
    records: np.ndarray,
    t: int,
    x: float,
    y: float,
    view: tuple[float, float, float],
    materials: np.ndarray,
    texels: np.ndarray,
    levels: np.ndarray,
    mip_bias: float,
    light: np.ndarray,
) -> tuple[float, float, float]:
    """Colour of triangle t at sample (x, y) in linear light; the unit vector ``view`` points to the camera."""
    w0, w1, w2 = corner_weights(records, t, x, y)
    m = np.uint64(records[t, MATERIAL])
    red, green, blue, along, down = sample_texture(
        texels, levels, int(materials[m, FIRST_LEVEL]), int(materials[m, LEVEL_COUNT]),
        _mix(records, t, 7, w0, w1, w2), _mix(records, t, 8, w0, w1, w2), records[t, MIP] + mip_bias,
    )  # fmt: skip
    openness = min(max(_mix(records, t, 6, w0, w1, w2), 0.0), 1.0)
    specular, gloss = materials[m, SPECULAR], materials[m, GLOSS]
    if materials[m, STRAND] != 0:
        tangent = (records[t, GRAD_V], records[t, GRAD_V + 1], records[t, GRAD_V + 2])
        return _shade_strand(tangent, (red, green, blue), openness, view, specular, gloss, light)
    nx, ny, nz = (_mix(records, t, 3, w0, w1, w2), _mix(records, t, 4, w0, w1, w2), _mix(records, t, 5, w0, w1, w2))
    length = 1.0 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-20)
    nx, ny, nz = nx * length, ny * length, nz * length
    if materials[m, RELIEF] != 0:
        # Rows run against v.
        nx -= along * records[t, GRAD_U] - down * records[t, GRAD_V]
        ny -= along * records[t, GRAD_U + 1] - down * records[t, GRAD_V + 1]
        nz -= along * records[t, GRAD_U + 2] - down * records[t, GRAD_V + 2]
        length = 1.0 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-20)
        nx, ny, nz = nx * length, ny * length, nz * length
    return _shade_surface((nx, ny, nz), (red, green, blue), openness, view, specular, gloss, light)


@njit(nogil=True, fastmath=True, forceinline=True)
def _shade_surface(
    normal: tuple[float, float, float],
    albedo: tuple[float, float, float],
    openness: float,
    view: tuple[float, float, float],
    specular: float,
    gloss: float,
    light: np.ndarray,
) -> tuple[float, float, float]:
    """Hemisphere light, two broad wrapped lights and a weak highlight; occlusion brightens with the surface colour."""
    up = 0.5 + 0.5 * normal[1]
    key = _lamp_on_surface(normal, view, specular * openness, gloss, _key_direction(light), light[WRAP])
    fill = _lamp_on_surface(normal, view, specular * openness, gloss, _fill_direction(light), light[WRAP])
    return _reflect(albedo, openness, (up, 1.0 - up), key, fill, light)


@njit(nogil=True, fastmath=True, forceinline=True)
def _lamp_on_surface(
    normal: tuple[float, float, float],
    view: tuple[float, float, float],
    specular: float,
    gloss: float,
    lamp: tuple[float, float, float],
    wrap: float,
) -> tuple[float, float]:
    """Diffuse part and highlight of a lamp in the direction ``lamp``; its colour is not in them."""
    cosine = _dot(lamp, normal)
    highlight = 0.0
    if specular > 0:
        # A lobe around the half vector, which fades out where the lamp sets.
        hx, hy, hz = lamp[0] + view[0], lamp[1] + view[1], lamp[2] + view[2]
        half = (normal[0] * hx + normal[1] * hy + normal[2] * hz) / np.sqrt(hx * hx + hy * hy + hz * hz + 1e-20)
        highlight = specular * min(max(cosine * 4.0, 0.0), 1.0) * _lobe(gloss * (half - 1.0))
    return max((cosine + wrap) / (1.0 + wrap), 0.0), highlight


@njit(nogil=True, fastmath=True, forceinline=True)
def _shade_strand(
    tangent: tuple[float, float, float],
    albedo: tuple[float, float, float],
    openness: float,
    view: tuple[float, float, float],
    specular: float,
    gloss: float,
    light: np.ndarray,
) -> tuple[float, float, float]:
    """Hair: light falls across the strand, whichever way its ribbon happens to face (Kajiya and Kay 1989)."""
    key = _lamp_on_strand(tangent, view, specular, gloss, _key_direction(light))
    fill = _lamp_on_strand(tangent, view, specular, gloss, _fill_direction(light))
    red, green, blue = _reflect(albedo, 1.0, (0.5, 0.5), key, fill, light)
    return openness * red, openness * green, openness * blue


@njit(nogil=True, fastmath=True, forceinline=True)
def _lamp_on_strand(
    tangent: tuple[float, float, float],
    view: tuple[float, float, float],
    specular: float,
    gloss: float,
    lamp: tuple[float, float, float],
) -> tuple[float, float]:
    """Diffuse part and highlight of that lamp on a strand along ``tangent``."""
    along_view = tangent[0] * view[0] + tangent[1] * view[1] + tangent[2] * view[2]
    along_lamp = _dot(lamp, tangent)
    across_view, across_lamp = np.sqrt(max(1.0 - along_view**2, 0.0)), np.sqrt(max(1.0 - along_lamp**2, 0.0))
    # Cosine between the view and the cone of mirrored light; a lamp behind the head gives no highlight.
    cone = across_lamp * across_view - along_lamp * along_view
    return 0.6 * across_lamp, specular * _lobe(gloss * (cone - 1.0)) * (0.5 + 0.5 * _dot(lamp, view))


@njit(nogil=True, fastmath=True, forceinline=True)
def _key_direction(light: np.ndarray) -> tuple[float, float, float]:
    """Towards the key light."""
    return light[KEY_DIRECTION], light[KEY_DIRECTION + 1], light[KEY_DIRECTION + 2]


@njit(nogil=True, fastmath=True, forceinline=True)
def _fill_direction(light: np.ndarray) -> tuple[float, float, float]:
    """Towards the fill light."""
    return light[FILL_DIRECTION], light[FILL_DIRECTION + 1], light[FILL_DIRECTION + 2]


@njit(nogil=True, fastmath=True, forceinline=True)
def _dot(a: tuple[float, float, float], b: tuple[float, float, float]) -> float:
    """Dot product of two vectors."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@njit(nogil=True, fastmath=True, forceinline=True)
def _lobe(exponent: float) -> float:
    """A cheap ``exp`` for negative exponents that ends at zero."""
    value = max(1.0 + exponent / 16.0, 0.0)
    value *= value
    value *= value
    value *= value
    return value * value


@njit(nogil=True, fastmath=True, forceinline=True)
def _reflect(
    albedo: tuple[float, float, float],
    openness: float,
    around: tuple[float, float],
    key: tuple[float, float],
    fill: tuple[float, float],
    light: np.ndarray,
) -> tuple[float, float, float]:
    """Light that leaves a surface, by the shares of sky and ground and the diffuse part and highlight of both lamps."""
    return (
        _reflect_channel(albedo[0], openness, around, key, fill, light[SKY], light[GROUND], light[KEY], light[FILL]),
        _reflect_channel(
            albedo[1], openness, around, key, fill, light[SKY + 1], light[GROUND + 1], light[KEY + 1], light[FILL + 1]
        ),
        _reflect_channel(
            albedo[2], openness, around, key, fill, light[SKY + 2], light[GROUND + 2], light[KEY + 2], light[FILL + 2]
        ),
    )


@njit(nogil=True, fastmath=True, forceinline=True)
def _reflect_channel(
    albedo: float,
    openness: float,
    around: tuple[float, float],
    key: tuple[float, float],
    fill: tuple[float, float],
    sky: float,
    ground: float,
    key_light: float,
    fill_light: float,
) -> float:
    """One colour channel of :func:`_reflect`."""
    # Light bounced between folds takes the colour of the surface: a fit by Jimenez et al. 2016.
    a, b, c = 2.0404 * albedo - 0.3324, -4.7951 * albedo + 0.6417, 2.7552 * albedo + 0.6903
    bounced = max(openness, ((openness * a + b) * openness + c) * openness)
    irradiance = sky * around[0] + ground * around[1]
    irradiance += key_light * key[0] + fill_light * fill[0]
    return albedo * irradiance * bounced + key_light * key[1] + fill_light * fill[1]
