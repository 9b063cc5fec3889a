"""The cameras around the head, seen from above and from the side, in the head's own space."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gha.faces.code import HeadCode
from gha.geometry import Camera

from .drawing import BAD, FAINT, HELD_OUT, QUIET, TRAINED, Canvas, Point

MARGIN = 46
FRUSTUM = 0.13
RINGS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True)
class Rig:
    """What is drawn, in canonical decimetres of one frame.

    Attributes:
        names: ids of V cameras.
        held_out: for each whether it is held out.
        frusta: apex, then the middles of the left, right, upper and lower edge of the picture [V, 5, 3].
        face: vertices of the face region [R, 3].
        landmarks: facial landmarks [L, 3].
    """

    names: tuple[str, ...]
    held_out: tuple[bool, ...]
    frusta: np.ndarray
    face: np.ndarray
    landmarks: np.ndarray


def place_rig(
    cameras: dict[str, Camera], held_out: Iterable[str], code: HeadCode, vertices: Tensor, landmarks: Tensor
) -> Rig:
    """The rig in the canonical space of one frame.

    Args:
        cameras: by id.
        held_out: ids that are held out.
        code: pose and scale of the frame.
        vertices: face region in world space [R, 3].
        landmarks: facial landmarks in world space [L, 3].
    """
    middle = code.pose[None, 3:]
    frusta = [_frustum(camera, FRUSTUM * (camera.center - middle).norm()) for camera in cameras.values()]
    frusta = torch.stack(frusta) if frusta else torch.zeros(0, 5, 3)
    away = set(held_out)
    return Rig(
        tuple(cameras),
        tuple(name in away for name in cameras),
        code.to_canonical(frusta.reshape(-1, 3)).reshape(-1, 5, 3).numpy(),
        code.to_canonical(vertices).numpy(),
        code.to_canonical(landmarks).numpy(),
    )


def _frustum(camera: Camera, depth: Tensor) -> Tensor:
    """Centre of a camera and the middles of its picture's edges at a depth, in world space [5, 3]."""
    width, height = camera.width, camera.height
    edges = torch.tensor([[0, height / 2, 1], [width, height / 2, 1], [width / 2, 0, 1], [width / 2, height, 1]])
    local = depth * edges @ torch.linalg.inv(camera.K).T
    return torch.cat([camera.center[None], (local - camera.w2c[:3, 3]) @ camera.w2c[:3, :3]])


def draw_from_above(rig: Rig, width: int, height: int) -> Image.Image:
    """Seen from above; the face looks down the page, the subject's left is on the right."""
    return _draw(rig, width, height, "from above", lambda p: p[..., [0, 2]], (1, 2), toward=1)


def draw_from_the_side(rig: Rig, width: int, height: int) -> Image.Image:
    """Seen from the subject's left; the face looks to the left."""
    return _draw(rig, width, height, "from the side", lambda p: p[..., [2, 1]] * [-1, -1], (3, 4), toward=0)


def _draw(
    rig: Rig,
    width: int,
    height: int,
    title: str,
    flatten: Callable[[np.ndarray], np.ndarray],
    edges: tuple[int, int],
    toward: int,
) -> Image.Image:
    canvas = Canvas(width, height)
    to_pixels, scale = _fit(flatten(np.concatenate([rig.frusta.reshape(-1, 3), rig.face])), width, height)
    origin = to_pixels(np.zeros(2))
    reach = np.linalg.norm(rig.frusta[:, 0], axis=-1).max(initial=1.0)
    _draw_rings(canvas, origin, scale, reach)
    _draw_points(canvas, to_pixels(flatten(rig.face)), rig.face[:, toward])
    for point in to_pixels(flatten(rig.landmarks)):
        canvas.dot(tuple(point), 1.2, BAD)
    for held_out, frustum in zip(rig.held_out, rig.frusta, strict=True):
        corners = [tuple(point) for point in to_pixels(flatten(frustum[[0, *edges]]))]
        colour = HELD_OUT if held_out else TRAINED
        canvas.polygon(corners, None, colour)
        canvas.dot(corners[0], 3, colour)
        for corner, radius in zip(corners, (4, 3, 3), strict=True):
            canvas.keep_clear(corner, radius)
    for name, held_out, frustum in zip(rig.names, rig.held_out, rig.frusta, strict=True):
        canvas.label(tuple(to_pixels(flatten(frustum[0]))), origin, name, HELD_OUT if held_out else TRAINED)
    canvas.text((10, 8), title, size=14)
    return canvas.finish()


def _fit(points: np.ndarray, width: int, height: int) -> tuple[Callable[[np.ndarray], np.ndarray], float]:
    """The map from plane points [..., 2] in decimetres to pixels that shows all of them, and pixels per decimetre."""
    points = np.concatenate([points, np.zeros((1, 2))])
    low, high = points.min(0), points.max(0)
    scale = float(((np.array([width, height]) - 2 * MARGIN) / np.maximum(high - low, 1e-3)).min())
    middle = (low + high) / 2
    return lambda p: (p - middle) * scale + [width / 2, height / 2], scale


def _draw_rings(canvas: Canvas, origin: Point, scale: float, reach: float) -> None:
    """Circles around the head at round distances, with their radius in decimetres."""
    step = next((ring for ring in RINGS if reach / ring <= 4), RINGS[-1])
    for ring in np.arange(step, 1.3 * reach, step):
        canvas.circle(tuple(origin), ring * scale, FAINT)
        for degrees in (60, 120, 80, 100, 150, 30, 200, 340, 270):
            angle = np.deg2rad(degrees)
            x, y = origin + ring * scale * np.array([np.cos(angle), -np.sin(angle)])
            if 0 < x < canvas.width - 30 and 40 < y < canvas.height:
                canvas.text((x, y), f"{ring:g} dm", QUIET, 9, "mm")
                break


def _draw_points(canvas: Canvas, pixels: np.ndarray, depth: np.ndarray) -> None:
    """Points, darker the nearer they are."""
    span = max(1e-6, float(np.ptp(depth)))
    order = np.argsort(depth, kind="stable")[:: max(1, len(depth) // 6000)]
    for index in order:
        level = int(215 - 110 * (depth[index] - depth.min()) / span)
        canvas.dot(tuple(pixels[index]), 0.5, f"#{level:02x}{level:02x}{level:02x}")
