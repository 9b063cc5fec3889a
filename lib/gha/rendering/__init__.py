"""Drawing Gaussians and meshes. Knows no avatar and no data set."""

from .gaussians import Gaussians

__all__ = ["Gaussians"]
