"""Drawing Gaussians and meshes. Knows no avatar and no data set."""

from .gaussian_rendering import Rendering, missed_gaussians, never_waits, render_gaussians
from .gaussians import Gaussians
from .mesh_rendering import MeshRendering, render_mesh
from .mesh_silhouette import soften_mask
from .mesh_visibility import barycentrics, rasterize
from .options import RenderOptions

__all__ = [
    "Gaussians",
    "MeshRendering",
    "RenderOptions",
    "Rendering",
    "barycentrics",
    "missed_gaussians",
    "never_waits",
    "rasterize",
    "render_gaussians",
    "render_mesh",
    "soften_mask",
]
