"""Pictures of a fit that one can look at: the face over the photograph, landmarks beside their detections."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gha.capture import Capture, layout
from gha.capture.images import decode
from gha.files import open_atomically
from gha.geometry import Camera

from .drawing import BAD, GOOD, INK
from .fitting_capture import Tracking

CELL = 480
CAPTION = 20
OPACITY = 0.55
SPREAD_VIEWS, WORST_VIEWS = 8, 4
MARGIN = 0.6  # of the face's extent, around it
NEAR_COLOUR, FAR_COLOUR = np.array([255, 236, 214]), np.array([60, 70, 110])


def write_overlays(folder: Path, capture: Capture, tracking: Tracking) -> list[Path]:
    """Draw some views into ``{frame}_{camera}.jpg``: spread over frames and cameras, then the worst of all.

    Left the detections (red) and the landmarks of the model (green), right the face. Views without a picture are left
    out.
    """
    written = []
    for time, view in choose_views(tracking):
        frame, camera = tracking.frames[time], tracking.cameras[view]
        if layout.with_known_suffix(layout.image_stem(capture.root, "image", frame, camera)) is None:
            continue
        path = folder / f"{frame}_{camera}.jpg"
        picture = draw_overlay(capture, tracking, time, view)
        with open_atomically(path, durable=False) as file:
            picture.save(file, "JPEG", quality=90)
        written.append(path)
    return written


def choose_views(tracking: Tracking) -> list[tuple[int, int]]:
    """Indices of frame and camera: evenly spread ones that have detections, and those with the largest residuals."""
    residuals = tracking.fit.residuals.numpy()
    seen = np.isfinite(residuals).any(-1)
    frames, views = seen.shape
    chosen: list[tuple[int, int]] = []
    for index in range(SPREAD_VIEWS):
        place = index / max(1, SPREAD_VIEWS - 1)
        # The golden ratio visits cameras in an order that never repeats soon.
        one = round(place * (frames - 1)), int(views * (index * 0.618 % 1))
        if seen[one] and one not in chosen:
            chosen.append(one)
    median = np.where(seen, np.nanmedian(np.where(seen[..., None], residuals, 0.0), axis=-1), -1.0)
    for flat in np.argsort(-median, axis=None)[: WORST_VIEWS + len(chosen)]:
        one = int(flat // views), int(flat % views)
        if seen[one] and one not in chosen and len(chosen) < SPREAD_VIEWS + WORST_VIEWS:
            chosen.append(one)
    return chosen


def draw_overlay(capture: Capture, tracking: Tracking, time: int, view: int) -> Image.Image:
    """One view, cut to the face, twice: with landmarks, and under the face of the model."""
    frame, name = tracking.frames[time], tracking.cameras[view]
    camera = capture.camera(name, frame)
    vertices, depth = camera.project(tracking.fit.vertices[time])
    window = _window_around(vertices.numpy())
    stem = layout.image_stem(capture.root, "image", frame, name)
    size = camera.height, camera.width
    path = layout.with_known_suffix(stem) or stem
    photograph = Image.fromarray(decode(path, (CELL, CELL), size, False, window=window).transpose(1, 2, 0))
    shown = camera.crop(*window).resize(CELL, CELL)
    page = Image.new("RGB", (2 * CELL, CELL + CAPTION), "white")
    page.paste(_with_landmarks(photograph, tracking, time, view, window), (0, 0))
    page.paste(_with_face(photograph, tracking, time, shown, depth.numpy()), (CELL, 0))
    median = float(np.nanmedian(tracking.fit.residuals[time, view].numpy()))
    caption = f"frame {frame}, camera {name}: residual {median:.1f} px (median)   detected red, fitted green"
    ImageDraw.Draw(page).text((4, CELL + 3), caption, INK, ImageFont.load_default(13))
    return page


def _window_around(pixels: np.ndarray) -> tuple[int, int, int, int]:
    """A square about projected points [N, 2]: left, top, width, height."""
    low, high = pixels.min(0), pixels.max(0)
    side = max(16, round(float((high - low).max()) * (1 + MARGIN)))
    left, top = np.round((low + high - side) / 2).astype(int)
    return int(left), int(top), side, side


def _with_landmarks(
    photograph: Image.Image, tracking: Tracking, time: int, view: int, window: Sequence[int]
) -> Image.Image:
    picture = photograph.copy()
    draw = ImageDraw.Draw(picture)
    factor = CELL / window[2]
    fitted = (tracking.fit.chosen[time, view].numpy() - window[:2]) * factor
    detected = (tracking.detections[time, view, :, :2] - window[:2]) * factor
    for one, other, score in zip(fitted, detected, tracking.detections[time, view, :, 2], strict=True):
        if score > 0:
            draw.line([tuple(one), tuple(other)], BAD, 1)
            draw.circle(tuple(other), 2.5, outline=BAD)
        draw.circle(tuple(one), 1.5, GOOD)
    return picture


def _with_face(
    photograph: Image.Image, tracking: Tracking, time: int, camera: Camera, depth: np.ndarray
) -> Image.Image:
    """The face region, shaded, half transparent over the photograph."""
    triangles = _region_triangles(tracking)
    pixels = camera.project(tracking.fit.vertices[time])[0].numpy()
    points = camera.to_camera_space(tracking.fit.vertices[time]).numpy()
    corners = points[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)
    towards = -(normals * corners.mean(1)).sum(1) / np.linalg.norm(corners.mean(1), axis=1)
    light = np.clip(normals @ np.array([-0.35, -0.45, -0.82]), 0, 1)
    order = np.argsort(-depth[triangles].mean(1))
    layer = photograph.copy()
    draw = ImageDraw.Draw(layer)
    for index in order[towards[order] > 0]:
        colour = FAR_COLOUR + (NEAR_COLOUR - FAR_COLOUR) * light[index]
        draw.polygon([tuple(corner) for corner in pixels[triangles[index]]], tuple(colour.astype(int)))
    return Image.blend(photograph, layer, OPACITY)


def _region_triangles(tracking: Tracking) -> np.ndarray:
    """Triangles [F, 3] among the vertices of the face region."""
    model = tracking.model
    place = np.full(len(model.head_weights), -1)
    place[model.face_region.numpy()] = np.arange(len(model.face_region))
    triangles = place[model.triangles.numpy()]
    return triangles[(triangles >= 0).all(1)]
