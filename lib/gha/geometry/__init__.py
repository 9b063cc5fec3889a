"""Cameras, rotations, rigid motion, tetrahedral grids and mesh operators. Knows no image and no network."""

from .camera import Camera

__all__ = ["Camera"]
