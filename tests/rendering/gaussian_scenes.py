"""Small sets of Gaussians and cameras for the tests of splatting."""

import torch

from gha.geometry import Camera
from gha.rendering import Gaussians

INPUTS = ("means", "quats", "scales", "opacities", "features")


def make_camera(width, height, focal=None, center=None, dtype=torch.float32):
    """A camera at the origin that looks along z; the principal point is the image centre unless given."""
    focal = 1.1 * width if focal is None else focal
    cx, cy = (width / 2, height / 2) if center is None else center
    K = torch.tensor([[focal, 0.0, cx], [0.0, focal, cy], [0.0, 0.0, 1.0]], dtype=dtype)
    return Camera(torch.eye(4, dtype=dtype), K, width, height)


def make_gaussians(count, channels, log_scale=-3.0, leading=(), seed=0, dtype=torch.float32):
    """Random Gaussians around z = 3 in front of ``make_camera``."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*leading, count, *shape, generator=generator, dtype=torch.float64)

    means = 0.35 * normal(3) + torch.tensor([0.0, 0.0, 3.0], dtype=torch.float64)
    return Gaussians(
        means=means.to(dtype),
        quats=normal(4).to(dtype),
        scales=torch.exp(log_scale + 0.4 * normal(3)).to(dtype),
        opacities=torch.sigmoid(normal()).to(dtype),
        features=normal(channels).to(dtype),
    )


def one_gaussian(position=(0.0, 0.0, 3.0), scale=0.05, opacity=0.8, features=(1.0,), dtype=torch.float64):
    """A single sphere."""
    return Gaussians(
        means=torch.tensor([position], dtype=dtype),
        quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=dtype),
        scales=torch.full((1, 3), scale, dtype=dtype),
        opacities=torch.tensor([opacity], dtype=dtype),
        features=torch.tensor([features], dtype=dtype),
    )


def join(*sets):
    """Sets of Gaussians as one, in order."""
    return Gaussians(**{name: torch.cat([getattr(part, name) for part in sets]) for name in INPUTS})


def render_with_gradients(render, gaussians, seed=5):
    """A rendering, and the gradients of a fixed random functional of its images with respect to all inputs."""
    leaves = {name: getattr(gaussians, name).detach().clone().requires_grad_() for name in INPUTS}
    rendering = render(Gaussians(**leaves))
    generator = torch.Generator().manual_seed(seed)
    loss = 0
    for name in ("features", "alpha", "depth"):
        image = getattr(rendering, name)
        weights = torch.randn(image.shape, generator=generator, dtype=torch.float64)
        loss = loss + (image * weights.to(image)).sum()
    loss.backward()
    return rendering, {name: leaf.grad for name, leaf in leaves.items()}


def relative_error(value, reference):
    """Norm of the difference over the norm of the reference."""
    value, reference = value.detach().cpu().double(), reference.detach().cpu().double()
    return float((value - reference).norm() / reference.norm().clamp_min(1e-30))
