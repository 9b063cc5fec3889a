"""The camera rig of synthetic captures: like NeRSemble's, sixteen cameras over the front 120 degrees in three rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gha.errors import InputError
from gha.geometry import Camera

# The serial numbers of NeRSemble's cameras, here in the order of PLACES.
SERIALS = (
    "220700191", "221501007", *(f"222200{number:03d}" for number in range(36, 50))
)  # fmt: skip
# Azimuth from +z towards +x and elevation of each camera, degrees.
PLACES = (
    (60, 4), (-60, 4), (36, 5), (-36, 3), (12, 4), (-12, 5), (50, 22), (-50, 22),
    (25, 24), (-25, 23), (0, 25), (47, -17), (-47, -17), (24, -19), (-24, -18), (0, -20),
)  # fmt: skip
HELD_OUT = ("222200038", "222200045")  # of the middle row and the lower one, neither at the edge of the rig
DISTANCE = 1.15  # metres
FOCAL = 3.25  # image widths
TARGET = (0.0, 0.008, -0.055)  # metres; the middle of what should fill the picture


@dataclass(frozen=True)
class Rig:
    """V fixed cameras: their ids, cameras [V] and exposure gains [V, 3] on linear red, green and blue."""

    camera_ids: tuple[str, ...]
    cameras: Camera
    gains: np.ndarray


def make_rig(count: int, resolution: int, seed: int, exposure_variation: float = 0.0) -> Rig:
    """A rig of square images.

    Args:
        count: number of cameras, 2 to 16, spread over the places of the rig.
        resolution: side of the images in pixels.
        seed: of the small differences between cameras: place, focal length (1 %), principal point (2 % of the width).
        exposure_variation: standard deviation of the exposure in natural logarithms; a third of it between channels.
    """
    if not 2 <= count <= len(SERIALS):
        raise InputError(f"a rig has 2 to {len(SERIALS)} cameras, found {count}")
    rng = np.random.default_rng([seed, 11])
    places = np.array(PLACES) + rng.uniform(-1.5, 1.5, (len(PLACES), 2))
    distances = DISTANCE * rng.uniform(0.98, 1.02, len(PLACES))
    focals = (
        FOCAL * resolution * rng.uniform(0.99, 1.01, (len(PLACES), 1)) * rng.uniform(0.999, 1.001, (len(PLACES), 2))
    )
    centres = resolution * (0.5 + rng.uniform(-0.02, 0.02, (len(PLACES), 2)))
    gains = np.exp(rng.normal(size=(len(PLACES), 1)) * exposure_variation)
    gains = gains * np.exp(rng.normal(size=(len(PLACES), 3)) * exposure_variation / 3)
    cameras = []
    for (azimuth, elevation), distance, focal, centre in zip(places, distances, focals, centres, strict=True):
        camera = Camera.orbit(distance, elevation, azimuth, 1.0, resolution, resolution, target=TARGET)
        K = torch.tensor([[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1]], dtype=torch.float32)
        cameras.append((camera.w2c, K))
    chosen = _spread(count)
    return Rig(
        tuple(SERIALS[i] for i in chosen),
        Camera(
            torch.stack([cameras[i][0] for i in chosen]),
            torch.stack([cameras[i][1] for i in chosen]),
            resolution,
            resolution,
        ),
        gains[chosen].astype(np.float32),
    )


def _spread(count: int) -> list[int]:
    """Indices of ``count`` places, one after another the farthest from those already taken, in the order of SERIALS."""
    places = np.array(PLACES, dtype=np.float64) * [1.0, 1.2]
    chosen = [4]
    while len(chosen) < count:
        nearest = np.linalg.norm(places[:, None] - places[chosen][None], axis=-1).min(1)
        chosen.append(int(nearest.argmax()))
    return sorted(chosen)


def held_out_cameras(camera_ids: Sequence[str], count: int) -> tuple[str, ...]:
    """Cameras of a rig to evaluate on: the named ones first, then others from the middle of the list."""
    preferred = [name for name in HELD_OUT if name in camera_ids]
    others = [name for name in sorted(camera_ids, key=lambda n: abs(camera_ids.index(n) - len(camera_ids) / 2))]
    ordered = [*preferred, *(name for name in others if name not in preferred)]
    if not 0 <= count < len(camera_ids):
        raise InputError(f"{count} of {len(camera_ids)} cameras held out; at least one must be left to train on")
    return tuple(sorted(ordered[:count]))
