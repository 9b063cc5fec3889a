"""An offline camera for head surfaces: soft light, textures, relief, hair, exact coverage.

Look at a head::

    surface = FilmSurface.of(face_model.triangles.numpy(), face_model.appearance(identity, seed=0))
    vertices = face_model.vertices(identity, expression).numpy()            # canonical decimetres, or posed in world
    camera = Camera.orbit(distance=12, elevation=0, azimuth=20, focal=2.6 * 512, width=512, height=512)
    rgb, alpha = film_image(surface, vertices, camera)                      # uint8 [512, 512, 3], uint8 [512, 512]

Filming one timestep with several cameras, do the part that is common to all cameras once::

    lit = light_surface(surface, vertices, unit=1.0)                        # normals and shadows; unit: 1 dm in world
    images = [film_image(lit, None, camera) for camera in cameras]

Everything runs on one thread and leaves the interpreter lock, so many images can be made by threads at once, and the
same input always gives the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gha.faces.face_model import Appearance, Material
from gha.geometry import Camera

from .film_textures import PackedTextures, encoding_table, pack_textures, srgb_to_linear

ENCODING = encoding_table()
MIN_REACH = 0.0008  # share of the depth within which one pixel's samples of a material count as one surface


@dataclass(frozen=True)
class Lighting:
    """Broad, fixed lights in world axes (y up, z towards the cameras); colours in linear light.

    Attributes:
        sky: light from above.
        ground: light from below.
        key: main light.
        key_direction: towards the main light.
        fill: second light.
        fill_direction: towards the second light.
        wrap: how far the main and second light reach around the surface; 0 is a lamp, 1 a huge soft box.
        shadow_directions: from how many directions the occlusion of light is measured; 0 turns shadows off.
        shadow_resolution: cells along the side of each shadow map.
    """

    sky: tuple[float, float, float] = (0.52, 0.53, 0.56)
    ground: tuple[float, float, float] = (0.30, 0.285, 0.27)
    key: tuple[float, float, float] = (0.60, 0.585, 0.555)
    key_direction: tuple[float, float, float] = (0.45, 0.55, 0.70)
    fill: tuple[float, float, float] = (0.24, 0.25, 0.27)
    fill_direction: tuple[float, float, float] = (-0.65, 0.20, 0.73)
    wrap: float = 0.5
    shadow_directions: int = 40
    shadow_resolution: int = 224

    def record(self) -> np.ndarray:
        """The columns the kernels read, float32."""
        key, fill = (np.array(d) / np.linalg.norm(d) for d in (self.key_direction, self.fill_direction))
        return np.array([*self.sky, *self.ground, *key, *self.key, *fill, *self.fill, self.wrap], dtype=np.float32)


@dataclass(frozen=True)
class Backdrop:
    """What is behind the head: a soft gradient from the image centre to its corners, sRGB in [0, 1]."""

    centre: tuple[float, float, float] = (0.74, 0.74, 0.75)
    corners: tuple[float, float, float] = (0.58, 0.58, 0.60)

    def record(self) -> np.ndarray:
        """The columns the kernels read, float32 in linear light."""
        return srgb_to_linear(np.array([*self.centre, *self.corners]))


BLACK = Backdrop((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))


@dataclass(frozen=True)
class FilmSurface:
    """Triangles, textures and materials of one head, ready for the kernels; vertices come per timestep.

    Attributes:
        triangles: int32 [F, 3].
        normal_ids: int32 [F, 3]: corners that share a vertex and a material name share a normal.
        normal_vertices: int32 [Nn], the vertex of every normal.
        corner_uvs: float32 [F, 3, 2].
        triangle_materials: int32 [F].
        materials: float32 [M, 7], the columns named in ``film_records``.
        textures: packed textures.
        strands: bool [V], vertices of hair.
    """

    triangles: np.ndarray
    normal_ids: np.ndarray
    normal_vertices: np.ndarray
    corner_uvs: np.ndarray
    triangle_materials: np.ndarray
    materials: np.ndarray
    textures: PackedTextures
    strands: np.ndarray

    @classmethod
    def of(cls, triangles: np.ndarray, appearance: Appearance) -> FilmSurface:
        """Prepare a head with triangles int [F, 3] and its appearance."""
        triangles = np.ascontiguousarray(triangles, dtype=np.int32)
        textures = pack_textures(appearance.materials)
        names = [material.name for material in appearance.materials]
        groups = np.array([names.index(name) for name in names])[appearance.triangle_materials]
        keys = groups[:, None] * np.int64(triangles.max() + 1) + triangles
        unique, normal_ids = np.unique(keys, return_inverse=True)
        strands = np.zeros(triangles.max() + 1, dtype=np.bool_)
        is_strand = np.array([_is_strand(name) for name in names])
        strands[triangles[is_strand[appearance.triangle_materials]]] = True
        return cls(
            triangles=triangles,
            normal_ids=normal_ids.reshape(triangles.shape).astype(np.int32),
            normal_vertices=(unique % (triangles.max() + 1)).astype(np.int32),
            corner_uvs=np.ascontiguousarray(appearance.uvs[appearance.triangle_uvs], dtype=np.float32),
            triangle_materials=appearance.triangle_materials.astype(np.int32),
            materials=_material_records(appearance, textures),
            textures=textures,
            strands=strands,
        )


@dataclass(frozen=True)
class LitSurface:
    """A surface in its shape of one timestep: vertices float32 [V, 3], normals [Nn, 3], openness [V] in [0, 1]."""

    surface: FilmSurface
    vertices: np.ndarray
    normals: np.ndarray
    openness: np.ndarray
    unit: float


def light_surface(
    surface: FilmSurface, vertices: np.ndarray, unit: float = 1.0, lighting: Lighting | None = None
) -> LitSurface:
    """Normals and soft shadows of vertices [V, 3]; ``unit`` is the length of a decimetre in their unit."""
    from .film_light import light_directions, openness, smooth_normals, smooth_over_edges

    lighting = lighting or Lighting()
    vertices = np.ascontiguousarray(vertices, dtype=np.float32)
    normals = smooth_normals(vertices, surface.triangles, surface.normal_ids, len(surface.normal_vertices))
    open_share = np.ones(len(vertices), dtype=np.float32)
    if lighting.shadow_directions:
        vertex_normals = np.zeros_like(vertices)
        vertex_normals[surface.normal_vertices] = normals
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        open_share = openness(
            vertices,
            surface.triangles,
            vertex_normals,
            light_directions(lighting.shadow_directions),
            surface.strands,
            (low + high) / 2,
            np.sqrt(((high - low) ** 2).sum()) / 2,
            lighting.shadow_resolution,
            np.float32(0.04 * unit),
        )
        open_share = smooth_over_edges(open_share, surface.triangles, 2)
    return LitSurface(surface, vertices, normals, open_share, unit)


def film_image(
    surface: FilmSurface | LitSurface,
    vertices: np.ndarray | None,
    camera: Camera,
    lighting: Lighting | None = None,
    backdrop: Backdrop | None = None,
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0),
    supersample: int = 2,
    lens_blur: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Photograph a surface.

    Args:
        surface: the surface, or one that :func:`light_surface` has prepared.
        vertices: float [V, 3] in the world of the camera; None with a prepared surface.
        camera: one camera without leading dimensions.
        lighting: the lights; default soft.
        backdrop: what is behind; default a grey gradient. :data:`BLACK` shows the head alone.
        gain: exposure and white balance, factors on linear red, green and blue.
        supersample: samples along the side of a pixel.
        lens_blur: standard deviation in pixels of the point spread of lens and sensor; 0: every pixel collects
            exactly its own square.

    Returns:
        sRGB uint8 [H, W, 3] over the backdrop, and coverage uint8 [H, W].
    """
    from .film_develop import lens_weights
    from .film_geometry import make_records, project_vertices
    from .film_image import photograph

    lighting = lighting or Lighting()
    lit = surface if isinstance(surface, LitSurface) else light_surface(surface, vertices, lighting=lighting)
    base = lit.surface
    w2c, intrinsics = camera.w2c.double().cpu().numpy(), camera.K.double().cpu().numpy()
    materials = base.materials.copy()
    materials[:, 4] *= lit.unit  # relief depth is in decimetres
    extent = (camera.width * supersample, camera.height * supersample)
    screen = project_vertices(lit.vertices, w2c, intrinsics, supersample)
    records, count = make_records(
        screen, lit.vertices, lit.normals, lit.openness, base.triangles, base.normal_ids, base.corner_uvs,
        base.triangle_materials, materials, base.textures.sizes, extent,
    )  # fmt: skip
    rays = w2c[:3, :3].T @ np.linalg.inv(intrinsics)
    return photograph(
        records, count, rays, materials, base.textures.texels, base.textures.levels, lighting.record(),
        (camera.width, camera.height), supersample, max(MIN_REACH, 2.0 / intrinsics[0, 0]), lens_weights(lens_blur),
        (backdrop or Backdrop()).record(), np.array(gain, dtype=np.float32), ENCODING,
    )  # fmt: skip


def compile_kernels() -> None:
    """Compile, or load from disk, all that filming needs, by filming one triangle; takes seconds the first time."""
    triangle = np.arange(3)[None]
    uvs = np.zeros((3, 2), dtype=np.float32)
    grey = np.full((8, 8, 3), 128, dtype=np.uint8)
    surface = FilmSurface.of(triangle, Appearance(uvs, triangle, np.zeros(1, np.int64), (Material("skin", grey),)))
    camera = Camera.orbit(distance=5.0, elevation=0.0, azimuth=0.0, focal=8.0, width=8, height=8)
    film_image(surface, np.eye(3, dtype=np.float32), camera)


def _is_strand(name: str) -> bool:
    """Whether a material is made of hairs, which are lit across their length (along v)."""
    return name.split("_")[0] in ("hair", "lashes", "brows", "beard")


def _material_records(appearance: Appearance, textures: PackedTextures) -> np.ndarray:
    """Float32 [M, MATERIAL_RECORD] for the kernels."""
    rows = []
    for index, material in enumerate(appearance.materials):
        first, last = textures.first_level[index], textures.first_level[index + 1]
        relief = 0.0 if material.bump is None else material.bump_depth
        rows.append(
            [
                first,
                last - first,
                material.specular,
                material.gloss,
                relief,
                _is_strand(material.name),
                material.two_sided,
            ]
        )
    return np.array(rows, dtype=np.float32)
