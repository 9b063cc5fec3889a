"""What is timed with: a head-like cloud of Gaussians, codes that drive it, a camera, and a small recording on disk.

All of it is random and the same for every device. The cloud is a thin ellipsoidal shell of the size of a head, its
Gaussians about 2 mm in standard deviation, so that tiles, depths and overlaps are those of an avatar rather than those
of a ball of noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from gha.capture import CaptureInfo, CaptureWriter
from gha.faces.code import HeadCode
from gha.geometry import Camera

EXPRESSIONS = 64
LANDMARKS = 424
SEMI_AXES = (0.8, 1.15, 1.0)  # decimetres: half a head's width, height and depth
CHANNELS = 32
UPSCALE = 4
SCALE = 0.1  # metres per canonical decimetre
FRAMES, CAMERAS = ("0000", "0001", "0002"), ("a", "b")


@dataclass(frozen=True)
class Scene:
    """A head-like cloud seen from the front.

    Attributes:
        count: N, number of Gaussians.
        resolution: side in pixels of the decoded picture; the splats are a quarter of it.
        device: of everything below.
    """

    count: int
    resolution: int
    device: torch.device

    @cached_property
    def means(self) -> Tensor:
        """Canonical positions [N, 3] in decimetres, within 0.2 mm or so of the shell."""
        directions = torch.nn.functional.normalize(torch.randn(self.count, 3, generator=_generator(0)), dim=-1)
        thickness = 1 + 0.002 * torch.randn(self.count, 1, generator=_generator(1))
        return (thickness * directions * torch.tensor(SEMI_AXES)).to(self.device)

    @cached_property
    def scales(self) -> Tensor:
        """Standard deviations [N] in decimetres: 2 mm, give or take a fifth."""
        return (0.02 * torch.exp(0.2 * torch.randn(self.count, generator=_generator(2)))).to(self.device)

    @cached_property
    def opacity_logits(self) -> Tensor:
        """Logits [N] of opacities as a trained head has them: neither all faint nor all opaque."""
        return (1.5 * torch.randn(self.count, generator=_generator(3))).to(self.device)

    @cached_property
    def landmarks(self) -> Tensor:
        """Neutral landmarks [424, 3]: spread over the front of the shell, the chin (number 8) at its lower end."""
        across = 1.2 * torch.rand(LANDMARKS, 2, generator=_generator(4)) - 0.6
        across[8] = torch.tensor([0.0, -0.8])
        depth = (1 - across.square().sum(-1, keepdim=True)).sqrt()
        return (torch.cat([across, depth], dim=-1) * torch.tensor(SEMI_AXES)).to(self.device)

    @cached_property
    def code(self) -> HeadCode:
        """One expression [1, 64] and pose [1, 6], the head turned by a few degrees."""
        expression = 0.3 * torch.randn(1, EXPRESSIONS, generator=_generator(5))
        pose = torch.tensor([[0.05, -0.1, 0.03, 0.01, -0.02, 0.0]])
        return HeadCode(expression, pose, torch.full((1, 1), SCALE)).to(self.device)

    @cached_property
    def camera(self) -> Camera:
        """A camera [1] 1.2 m in front of the head, which fills two thirds of the picture's height."""
        eye = torch.tensor([[0.0, 0.0, 1.2]])
        return Camera.look_at(eye, torch.zeros(3), 3.5 * self.resolution, self.resolution, self.resolution).to(
            self.device
        )

    @cached_property
    def coarse_camera(self) -> Camera:
        """The same camera [1] at the size of the splats."""
        return self.camera.resize(self.resolution // UPSCALE, self.resolution // UPSCALE)

    @cached_property
    def splats(self) -> tuple[Tensor, Tensor]:
        """Random feature splats [1, 32, h, w] over black and their alpha [1, 1, h, w], a disc."""
        side = self.resolution // UPSCALE
        line = torch.linspace(-1, 1, side)
        alpha = (line[:, None].square() + line.square() < 0.5).float()[None, None]
        features = alpha * torch.rand(1, CHANNELS, side, side, generator=_generator(6))
        return features.to(self.device), alpha.to(self.device)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@contextmanager
def recording(resolution: int, original: bool = True) -> Iterator[Path]:
    """A recording, deleted afterwards: three frames, two cameras, smooth pictures with noise; principal points centred.

    In the original's form pictures, masks and visible maps are JPEG files of ``resolution`` squared, colour at half
    the resolution. In the library's own, pictures are JPEG files with colour at full resolution, masks are PNG files,
    and there are no visible maps, since everything is.
    """
    with TemporaryDirectory(prefix="gha_benchmark_") as folder:
        root = Path(folder)
        scene = Scene(2, resolution, torch.device("cpu"))
        camera = scene.camera
        rig = Camera(camera.w2c.expand(len(CAMERAS), 4, 4), camera.K.expand(len(CAMERAS), 3, 3), resolution, resolution)
        writer = CaptureWriter(root, CaptureInfo((resolution, resolution), fps=24.0), original)
        for number, frame in enumerate(FRAMES):
            writer.write_cameras(frame, CAMERAS, rig)
            # Every 100th of these vertices is a landmark, beside the 66 facial ones: 424 in all.
            vertices = scene.landmarks[66:].repeat_interleave(100, dim=0) * SCALE
            writer.write_frame_params(frame, scene.code[0], scene.landmarks[:66] * SCALE, vertices)
            for index, name in enumerate(CAMERAS):
                writer.write_image(frame, name, *_picture(resolution, len(CAMERAS) * number + index))
                if original:
                    writer.write_visible(name, np.full((resolution, resolution), 255, np.uint8), frame)
        writer.finish()
        yield root


def _picture(side: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture uint8 [H, W, 3] with the detail and noise of a photograph, and the mask uint8 [H, W] of an ellipse."""
    generator = _generator(seed)
    picture = torch.zeros(1, 3, side, side)
    for cells, contrast in ((8, 0.6), (64, 0.2), (side // 4, 0.1)):
        coarse = torch.rand(1, 3, cells, cells, generator=generator)
        picture += contrast * torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear")
    picture += 0.02 * torch.randn(1, 3, side, side, generator=generator)
    line = torch.linspace(-1, 1, side)
    mask = line[:, None].square() / 0.45 + line.square() / 0.3 < 1
    color = (255 * picture[0].permute(1, 2, 0)).clamp(0, 255).byte()
    return color.numpy(), (255 * mask.byte()).numpy()
