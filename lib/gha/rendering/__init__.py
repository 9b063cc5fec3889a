"""Drawing Gaussians and meshes. Knows no avatar and no data set."""

from .gaussians import Gaussians
from .mesh_rendering import MeshRendering, render_mesh
from .mesh_silhouette import soften_mask
from .mesh_visibility import barycentrics, rasterize

__all__ = ["Gaussians", "MeshRendering", "barycentrics", "rasterize", "render_mesh", "soften_mask"]
