"""A toy avatar of a dozen Gaussians whose mouth and eyes follow two expressions, and a capture filmed of it."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from gha.avatars.posed import Mesh, Posed
from gha.avatars.rendering import render_avatar
from gha.capture import CaptureInfo, CaptureWriter, Split, open_capture
from gha.faces.code import HeadCode
from gha.geometry import Camera
from gha.rendering import Gaussians

NAMES = ("jawOpen", "eyeBlink")
SIZE = 64
SCALE = 0.1
CAMERAS = {"left": 30.0, "front": 0.0, "right": -30.0}
FRAMES = {f"{i:04d}": (0.5 + 0.5 * math.sin(1.3 * i), float(i % 2)) for i in range(6)}

MEANS = torch.tensor([[0, 0, 0], [0, -1.3, 0], [0, -0.4, 0.7], [-0.3, 0.2, 0.7], [0.3, 0.2, 0.7]])
SCALES = torch.tensor([0.55, 0.35, 0.15, 0.1, 0.1])[:, None].expand(5, 3)
SKIN, LIPS, IRIS = torch.tensor([[0.8, 0.6, 0.5], [0.9, 0.2, 0.2], [0.2, 0.3, 0.9]])


class ToyAvatar:
    """Skull and neck, a mouth that darkens with the jaw, eyes that darken with the blink."""

    upscale = 4

    def __call__(self, code: HeadCode, camera: Camera | None = None) -> Posed:
        means, scales, skin, lips, iris = (x.to(code.pose) for x in (MEANS, SCALES, SKIN, LIPS, IRIS))
        jaw, blink = code.expression[..., :1, None], code.expression[..., 1:2, None]
        colors = torch.cat(
            [
                skin.expand(*jaw.shape[:-2], 2, 3),
                (1 - jaw) * lips,
                (1 - blink) * iris.expand(2, 3),
            ],
            dim=-2,
        )
        batch = code.pose.shape[:-1]
        return Posed(
            gaussians=Gaussians(
                means=code.to_world(means.expand(*batch, 5, 3)),
                quats=torch.tensor([1.0, 0, 0, 0]).to(code.pose).expand(*batch, 5, 4),
                scales=scales * code.scale[..., None, :],
                opacities=torch.full((*batch, 5), 0.95).to(code.pose),
                features=colors,
            )
        )

    def decode(self, features: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """Every pixel becomes a block of 4 x 4: sharper than any interpolation."""
        return tuple(torch.nn.functional.interpolate(x, scale_factor=4.0) for x in (features[:, :3], alpha))


class ToyMeshAvatar:
    """A cube whose half side is given in decimetres."""

    upscale = 1

    def __init__(self, half: float) -> None:
        signs = torch.tensor([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
        self.vertices = half * signs
        squares = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
        self.triangles = torch.tensor([t for a, b, c, d in squares for t in ((a, b, c), (a, c, d))])

    def __call__(self, code: HeadCode, camera: Camera | None = None) -> Posed:
        vertices = code.to_world(self.vertices.expand(*code.pose.shape[:-1], 8, 3))
        return Posed(mesh=Mesh(vertices, self.triangles, torch.full_like(vertices, 0.5)))

    def decode(self, features: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        return features[:, :3], alpha


def toy_code(frame_id: str) -> HeadCode:
    """Tracked parameters of one frame: the head turns a little and stands off the origin."""
    turn = 0.05 * int(frame_id)
    return HeadCode(
        torch.tensor(FRAMES[frame_id]), torch.tensor([0.0, turn, 0.0, 0.02, 0.01, -0.03]), torch.tensor([SCALE])
    )


def toy_camera(azimuth: float) -> Camera:
    """A rig camera with an off-centre principal point; the head fills most of the picture."""
    camera = Camera.orbit(1.0, 5.0, azimuth, 2.6 * SIZE, SIZE, SIZE)
    return camera.crop(2, -1, SIZE, SIZE)


def toy_landmarks() -> Tensor:
    """Canonical facial landmarks [66, 3]: chin, eyes and mouth where the toy has them."""
    points = torch.zeros(66, 3)
    points[:, 2] = 0.7
    points[8, 1] = -0.8
    for first, last, x, y, radius in ((36, 42, -0.3, 0.2, 0.15), (42, 48, 0.3, 0.2, 0.15), (48, 66, 0.0, -0.4, 0.2)):
        angle = torch.linspace(0, 2 * math.pi, last - first + 1)[:-1]
        points[first:last, 0] = x + radius * angle.cos()
        points[first:last, 1] = y + 0.5 * radius * angle.sin()
    return points


def cube_points(half: float, count: int = 400) -> Tensor:
    """Points [count, 3] on a cube, away from its edges."""
    generator = torch.Generator().manual_seed(0)
    points = (torch.rand(count, 3, generator=generator) - 0.5) * 1.6 * half
    index = torch.arange(count)
    points[index, index % 3] = half * (1.0 - 2.0 * ((index // 3) % 2))
    return points


@pytest.fixture(scope="session")
def toy_capture_folder(tmp_path_factory):
    """A capture of the toy: two of six frames and one of three cameras held out."""
    root = tmp_path_factory.mktemp("capture")
    split = Split.holding_out(tuple(FRAMES), tuple(CAMERAS), ["0004", "0005"], ["front"])
    info = CaptureInfo((SIZE, SIZE), fps=10.0, split=split, expression_names=NAMES)
    writer, avatar = CaptureWriter(root, info), ToyAvatar()
    cameras = [toy_camera(azimuth) for azimuth in CAMERAS.values()]
    rig = Camera(torch.stack([c.w2c for c in cameras]), torch.stack([c.K for c in cameras]), SIZE, SIZE)
    for frame_id in FRAMES:
        code = toy_code(frame_id)
        writer.write_cameras(frame_id, tuple(CAMERAS), rig)
        landmarks, vertices = code.to_world(toy_landmarks()), code.to_world(cube_points(0.5))
        writer.write_frame_params(frame_id, code, landmarks, vertices)
        image = render_avatar(avatar, code, rig, torch.zeros(3))
        for index, camera_id in enumerate(CAMERAS):
            # Straight colour before green, so that image * mask is the colour the avatar shows.
            alpha = image.alpha[index]
            backdrop = torch.tensor([0.1, 0.9, 0.1])[:, None, None]
            color = torch.where(alpha > 1 / 255, image.rgb[index] / alpha.clamp_min(1 / 255), backdrop)
            rgb, alpha = (
                (x.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy() for x in (color, alpha)
            )
            writer.write_image(frame_id, camera_id, rgb, np.ascontiguousarray(alpha[..., 0]))
    writer.finish()
    return root


@pytest.fixture
def toy_capture(toy_capture_folder):
    return open_capture(toy_capture_folder)


@pytest.fixture(scope="session")
def toys():
    """What tests build toys from."""
    return SimpleNamespace(
        Avatar=ToyAvatar, MeshAvatar=ToyMeshAvatar, code=toy_code, camera=toy_camera, size=SIZE, names=NAMES
    )
