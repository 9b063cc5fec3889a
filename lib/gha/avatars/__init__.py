"""Avatars: from a head code to posed Gaussians or a posed mesh. Knows no file and no optimiser."""

from .gaussian_head import GaussianHead, GaussianHeadConfig
from .mesh_head import MeshHead, MeshHeadConfig
from .posed import Avatar, Mesh, Posed
from .rendering import AvatarImage, render_avatar

__all__ = [
    "Avatar",
    "AvatarImage",
    "GaussianHead",
    "GaussianHeadConfig",
    "Mesh",
    "MeshHead",
    "MeshHeadConfig",
    "Posed",
    "render_avatar",
]
