"""Cameras, rotations, rigid motion, tetrahedral grids and mesh operators. Knows no image and no network."""

from .camera import Camera
from .marching_tetrahedra import SurfaceTopology, crossing_fraction, interpolate_on_edges, marching_tetrahedra
from .sparse_surface import ActiveTetrahedra, SurfaceTracker, extract_sparse
from .tetrahedra import TetrahedralLattice

__all__ = [
    "ActiveTetrahedra",
    "Camera",
    "SurfaceTopology",
    "SurfaceTracker",
    "TetrahedralLattice",
    "crossing_fraction",
    "extract_sparse",
    "interpolate_on_edges",
    "marching_tetrahedra",
]
