"""Writes a small capture of a ball with a face: everything about it is known in closed form."""

from pathlib import Path

import numpy as np
import torch

from gha.capture import CaptureInfo, CaptureWriter, Split
from gha.faces.code import HeadCode
from gha.geometry import Camera

FRAMES = ("0000", "0001", "0002", "0003", "0004")
HELD_OUT_FRAME = "0004"
AZIMUTHS = {"a": -60.0, "b": -20.0, "c": 20.0, "d": 60.0}  # degrees towards the subject's left
HELD_OUT_CAMERA = "c"
TURNS = (0.0, 5.0, -5.0, 10.0, -10.0)  # degrees to the subject's left, by frame
HEIGHT, WIDTH, FOCAL, DISTANCE = 96, 120, 300.0, 1.0
BALL, FACE, SCALE = 1.1, 0.8, 0.1  # decimetres, decimetres, metres per decimetre
NAMES = ("jawOpen", "smile", "blink", "never")
# In frames 0 to 4: jawOpen is the same range when held out, smile goes further, never stays.
EXPRESSION = (
    (0.0, 0.1, 0.0, 0.5),
    (1.0, 0.2, 0.2, 0.5),
    (0.3, 0.0, 0.4, 0.5),
    (0.2, 0.1, 1.0, 0.5),
    (0.5, 0.9, 0.3, 0.5),
)


def face_points(count: int) -> torch.Tensor:
    """Points on the front of a sphere, in canonical decimetres [count, 3]."""
    step = torch.arange(count) + 0.5
    height = 1 - 1.4 * step / count
    angle = step * 2.399963
    radius = (1 - height**2).sqrt()
    return FACE * torch.stack([radius * angle.sin(), radius * angle.cos(), height], -1)


def frame_code(index: int) -> HeadCode:
    pose = torch.zeros(6)
    pose[1] = np.deg2rad(TURNS[index])
    return HeadCode(torch.tensor(EXPRESSION[index]), pose, torch.tensor([SCALE]))


def camera_at(azimuth: float) -> Camera:
    return Camera.orbit(DISTANCE, 0.0, azimuth, FOCAL, WIDTH, HEIGHT)


def rig() -> Camera:
    cameras = [camera_at(azimuth) for azimuth in AZIMUTHS.values()]
    return Camera(torch.stack([c.w2c for c in cameras]), torch.stack([c.K for c in cameras]), WIDTH, HEIGHT)


def ball_mask() -> np.ndarray:
    """The ball is in the middle of every picture."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    radius = FOCAL * BALL * SCALE / DISTANCE
    return np.where((rows - HEIGHT / 2) ** 2 + (columns - WIDTH / 2) ** 2 < radius**2, 255, 0).astype(np.uint8)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 200, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def write_ball(root: Path, original: bool = False) -> Path:
    held_out = (HELD_OUT_FRAME,), (HELD_OUT_CAMERA,)
    info = CaptureInfo(
        (HEIGHT, WIDTH),
        fps=10.0,
        split=Split(FRAMES[:4], held_out[0], ("a", "b", "d"), held_out[1]),
        sequences={"EMO": FRAMES[:3], "FREE": FRAMES[3:]},
        expression_names=NAMES,
    )
    writer = CaptureWriter(root, info, original)
    for index, frame in enumerate(FRAMES):
        writer.write_cameras(frame, tuple(AZIMUTHS), rig())
        code = frame_code(index)
        points = code.to_world(face_points(400))
        writer.write_frame_params(frame, code, points[:: 400 // 68][:68], points)
        for number, camera in enumerate(AZIMUTHS):
            writer.write_image(frame, camera, noise(10 * index + number), ball_mask())
    writer.finish()
    return root
