"""Cameras, rotations, rigid motion, tetrahedral grids and mesh operators. Knows no image and no network."""

from .camera import Camera
from .connectivity import (
    connected_components,
    euler_characteristic,
    face_adjacency,
    is_closed,
    largest_component,
    unique_edges,
)
from .marching_tetrahedra import SurfaceTopology, interpolate_at_zero, interpolate_on_edges, marching_tetrahedra
from .mesh import (
    Neighbours,
    area_vectors,
    face_areas,
    face_normals,
    laplacian_loss,
    mean_square,
    uniform_laplacian,
    vertex_normals,
)
from .nearest import blend_weights, nearest_index, nearest_squared_distance, neighbour_distance
from .rotations import (
    axis_angle_to_matrix,
    axis_angle_to_quaternion,
    matrix_to_axis_angle,
    matrix_to_quaternion,
    quaternion_multiply,
    quaternion_to_axis_angle,
    quaternion_to_matrix,
    slerp,
)
from .similarity import canonical_to_world, fit_similarities, world_to_canonical
from .sparse_surface import ActiveTetrahedra, SurfaceTracker, extract_sparse
from .surface_distance import sample_surface, surface_distance
from .tetrahedra import TetrahedralLattice

__all__ = [
    "ActiveTetrahedra",
    "Camera",
    "Neighbours",
    "SurfaceTopology",
    "SurfaceTracker",
    "TetrahedralLattice",
    "area_vectors",
    "axis_angle_to_matrix",
    "axis_angle_to_quaternion",
    "blend_weights",
    "canonical_to_world",
    "connected_components",
    "euler_characteristic",
    "extract_sparse",
    "face_adjacency",
    "face_areas",
    "face_normals",
    "fit_similarities",
    "interpolate_at_zero",
    "interpolate_on_edges",
    "is_closed",
    "laplacian_loss",
    "largest_component",
    "marching_tetrahedra",
    "matrix_to_axis_angle",
    "matrix_to_quaternion",
    "mean_square",
    "nearest_index",
    "nearest_squared_distance",
    "neighbour_distance",
    "quaternion_multiply",
    "quaternion_to_axis_angle",
    "quaternion_to_matrix",
    "sample_surface",
    "slerp",
    "surface_distance",
    "uniform_laplacian",
    "unique_edges",
    "vertex_normals",
    "world_to_canonical",
]
