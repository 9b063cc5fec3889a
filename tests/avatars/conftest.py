import pytest
import torch
from tiny_heads import EXPRESSIONS, mesh_config

from gha.avatars import MeshHead
from gha.avatars.mesh_head import initialize_sphere
from gha.faces.code import HeadCode


@pytest.fixture
def landmarks():
    """Seventy points on the front of the sphere of radius 0.95."""
    generator = torch.Generator().manual_seed(3)
    points = torch.randn(70, 3, generator=generator)
    points[:, 2] = points[:, 2].abs() + 1
    return 0.95 * points / points.norm(dim=-1, keepdim=True)


@pytest.fixture
def sphere_head(landmarks):
    torch.manual_seed(0)
    head = MeshHead(mesh_config(), EXPRESSIONS, landmarks)
    initialize_sphere(head, steps=200, points=2048)
    return head


@pytest.fixture
def code():
    generator = torch.Generator().manual_seed(4)
    return HeadCode(
        expression=torch.rand(2, EXPRESSIONS, generator=generator),
        pose=0.1 * torch.randn(2, 6, generator=generator),
        scale=torch.full((2, 1), 0.1),
    )
