"""Avatars: from a head code to posed Gaussians or a posed mesh. Knows no file and no optimiser."""

from .frame_player import FramePlayer
from .gaussian_head import GaussianHead, GaussianHeadConfig
from .mesh_head import MeshHead, MeshHeadConfig
from .playback import PlaybackHead, PlaybackOptions, prepare_for_playback
from .posed import Avatar, Mesh, Posed
from .rendering import AvatarImage, render_avatar

__all__ = [
    "Avatar",
    "AvatarImage",
    "FramePlayer",
    "GaussianHead",
    "GaussianHeadConfig",
    "Mesh",
    "MeshHead",
    "MeshHeadConfig",
    "PlaybackHead",
    "PlaybackOptions",
    "Posed",
    "prepare_for_playback",
    "render_avatar",
]
