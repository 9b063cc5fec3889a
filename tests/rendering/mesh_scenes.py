"""Small meshes and cameras shared by the mesh tests."""

import torch

from gha.geometry import Camera
from gha.rendering.mesh_shapes import sphere_mesh


def flat_camera(width, height):
    """A camera that maps (x, y, 1) to pixel (x, y)."""
    return Camera(torch.eye(4), torch.eye(3), width, height)


def on_screen(*corners, depth=1.0):
    """World points [N, 3] that the flat camera shows at the given pixels."""
    depth = torch.as_tensor(depth).expand(len(corners))
    return torch.tensor([[x, y, 1.0] for x, y in corners]) * depth[:, None]


def bumpy_sphere(rings=8, segments=13, radius=0.1, bumps=0.01):
    """A rough closed surface with overlaps in depth, and its triangles."""
    vertices, triangles = sphere_mesh(rings, segments, radius)
    return vertices + bumps * torch.randn_like(vertices), triangles


def rig(size, views=3, distance=0.9, focal=2.2):
    """Cameras [views] around the origin, principal points off centre."""
    angle = torch.linspace(-1.0, 1.0, views)
    eye = distance * torch.stack([angle.sin(), 0.2 * angle, angle.cos()], dim=-1)
    camera = Camera.look_at(eye, torch.tensor([0.01, 0.0, 0.0]), focal * size, size, size)
    return camera.crop(3, -2, size, size)
