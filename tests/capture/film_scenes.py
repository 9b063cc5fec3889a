"""Small surfaces to film: quads, and a face model that is only an egg."""

import numpy as np
import torch

from gha.capture.film import Backdrop, FilmSurface, Lighting
from gha.faces.face_model import Appearance, FaceModel, Material
from gha.faces.face_points import FacePoints
from gha.geometry import Camera

# All light comes from everywhere alike: an open surface shows exactly its texture.
EVEN = Lighting(
    sky=(1.0, 1.0, 1.0), ground=(1.0, 1.0, 1.0), key=(0.0, 0.0, 0.0), fill=(0.0, 0.0, 0.0), shadow_directions=0
)
WHITE = Backdrop((1.0, 1.0, 1.0), (1.0, 1.0, 1.0))


def flat(colour, size=8):
    return np.full((size, size, 3), colour, dtype=np.uint8)


def quad(texture, depth=0.0, size=1.0, name="skin", **material):
    """A square facing +z, its texture upright: vertices, triangles, appearance."""
    vertices = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], dtype=np.float32) * size
    vertices[:, 2] = depth
    triangles = np.array([[0, 1, 2], [0, 2, 3]])
    uvs = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float32)
    look = Material(name, texture, **{"specular": 0.0, **material})
    return vertices, triangles, Appearance(uvs, triangles, np.zeros(2, np.int64), (look,))


def joined(*parts):
    """Several surfaces as one: vertices and a FilmSurface."""
    vertices, triangles, uvs, triangle_uvs, kinds, materials = [], [], [], [], [], []
    for part_vertices, part_triangles, look in parts:
        first, first_uv = sum(map(len, vertices)), sum(map(len, uvs))
        vertices.append(part_vertices)
        triangles.append(part_triangles + first)
        uvs.append(look.uvs)
        triangle_uvs.append(look.triangle_uvs + first_uv)
        kinds.append(look.triangle_materials + len(materials))
        materials += look.materials
    appearance = Appearance(*map(np.concatenate, (uvs, triangle_uvs, kinds)), tuple(materials))
    return np.concatenate(vertices), FilmSurface.of(np.concatenate(triangles), appearance)


def camera(size=64, distance=4.0, azimuth=0.0, elevation=0.0, focal=1.2):
    return Camera.orbit(distance, elevation, azimuth, focal * size, size, size)


def sphere(rows=24, columns=32):
    """Unit sphere: vertices, triangles counter-clockwise from outside, texture coordinates."""
    polar, around = np.meshgrid(np.linspace(0, np.pi, rows), np.linspace(0, 2 * np.pi, columns), indexing="ij")
    vertices = np.stack([np.sin(polar) * np.sin(around), np.cos(polar), np.sin(polar) * np.cos(around)], -1)
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    triangles = np.concatenate([np.stack([a, c, d], -1).reshape(-1, 3), np.stack([a, d, b], -1).reshape(-1, 3)])
    uvs = np.stack([around / (2 * np.pi), 1 - polar / np.pi], -1).reshape(-1, 2)
    return vertices.reshape(-1, 3), triangles, uvs.astype(np.float32)


class EggHead(FaceModel):
    """An egg with a red spot on its nose whose lower half drops when the jaw opens; below the neck it stays."""

    name, version, identity_size = "egg", "1", 2
    expression_names = ("jawOpen", "mouthSmile_L", "mouthSmile_R", "eyeBlinkLeft")

    def __init__(self):
        points, triangles, self._uvs = sphere()
        self._points = torch.from_numpy((points * [0.8, 1.1, 0.9]).astype(np.float32))
        self.triangles = torch.from_numpy(triangles)
        front = torch.nonzero((self._points[:, 2] > 0.3) & (self._points[:, 1].abs() < 0.8)).squeeze(1)
        self.face_region = front
        self.landmarks = front[torch.linspace(0, len(front) - 1, 68).long()]
        self.nose = int((self._points - torch.tensor([0.0, 0.0, 0.9])).norm(dim=1).argmin())
        self.head_weights = ((self._points[:, 1] + 1.0) / 0.2).clamp(0, 1)
        self.neck_pivot = torch.tensor([0.0, -0.9, 0.0])

    def vertices(self, identity, expression):
        drop = (-self._points[:, 1]).clamp(min=0) * 0.3
        move = torch.stack([torch.zeros_like(drop), -drop, torch.zeros_like(drop)], -1)
        wide = 1 + 0.05 * identity[..., :1, None]
        return self._points * wide + expression[..., :1, None] * move

    def at_vertices(self, ids):
        still = torch.zeros(2), torch.zeros(4)
        rest = self.vertices(*still)
        wider, opened = self.vertices(torch.tensor([1.0, 0.0]), still[1]), self.vertices(still[0], torch.eye(4)[0])
        identity = torch.stack([wider - rest, 0 * rest])
        expression = torch.stack([opened - rest, *[0 * rest] * 3])
        return FacePoints.linear(rest[ids], identity[:, ids], expression[:, ids])

    def appearance(self, identity, seed):
        texture = np.full((128, 256, 3), (150, 140, 130 + seed), dtype=np.uint8)
        u, v = self._uvs[self.nose]
        row, column = int((1 - v) * 128), int(u * 256) % 256
        texture[row - 3 : row + 4] = np.where(
            np.abs((np.arange(256) - column + 128) % 256 - 128)[None, :, None] < 4, np.uint8([255, 0, 0]), texture[0, 0]
        )
        kinds = np.zeros(len(self.triangles), np.int64)
        return Appearance(self._uvs, self.triangles.numpy(), kinds, (Material("skin", texture, specular=0.0),))
