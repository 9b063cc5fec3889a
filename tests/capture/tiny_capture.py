"""Writes a tiny capture of random pictures; needs no face model."""

from pathlib import Path

import numpy as np
import torch

from gha.capture import CaptureInfo, CaptureWriter, Split
from gha.faces.code import HeadCode
from gha.geometry import Camera

FRAMES = ("2", "10", "11")
CAMERAS = ("7", "12")
HEIGHT, WIDTH = 300, 280


def smooth_picture(seed: int) -> np.ndarray:
    """A picture that JPEG keeps well: random colours, blurred."""
    generator = np.random.default_rng(seed)
    small = torch.from_numpy(generator.random((1, 3, 6, 6)))
    big = torch.nn.functional.interpolate(small, (HEIGHT, WIDTH), mode="bicubic", align_corners=True).clamp(0, 1)
    return np.round(big[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)


def disc() -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.where((rows - 140) ** 2 + (columns - 150) ** 2 < 90**2, 255, 0).astype(np.uint8)


def frame_code(index: int) -> HeadCode:
    generator = torch.Generator().manual_seed(index)
    return HeadCode(
        torch.rand(4, generator=generator),
        torch.rand(6, generator=generator),
        torch.tensor([0.1]),
        identity=torch.rand(3, generator=generator),
    )


def rig() -> Camera:
    one, two = (Camera.orbit(1.0, 5.0, azimuth, 400.0, WIDTH, HEIGHT) for azimuth in (-20, 30))
    K = torch.stack([one.K, two.K])
    K[:, 0, 2] += torch.tensor([13.0, -9.0])  # principal points off the centre
    return Camera(torch.stack([one.w2c, two.w2c]), K, WIDTH, HEIGHT)


def write_tiny(root: Path, original: bool = False) -> Path:
    info = CaptureInfo(
        (HEIGHT, WIDTH),
        fps=30.0,
        split=Split(("2", "10"), ("11",), ("7",), ("12",)),
        sequences={"all": FRAMES},
        expression_names=("jawOpen", "smile", "blink_L", "blink_R"),
        recipe={"seed": 1},
    )
    writer = CaptureWriter(root, info, original)
    for index, frame in enumerate(FRAMES):
        writer.write_cameras(frame, CAMERAS, rig())
        points = torch.rand(1000, 3, generator=torch.Generator().manual_seed(index))
        writer.write_frame_params(frame, frame_code(index), points[:66], points)
        for number, camera in enumerate(CAMERAS):
            writer.write_image(frame, camera, smooth_picture(10 * index + number), disc())
            if original:
                writer.write_visible(camera, np.full((HEIGHT, WIDTH), 255, np.uint8), frame)
    writer.finish()
    return root
