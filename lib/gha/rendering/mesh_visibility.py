"""Which face each pixel shows: the choice of back end."""

from __future__ import annotations

import functools
import importlib
import logging
import subprocess
from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor

from gha.geometry import Camera

from .mesh_interpolation import draw_attributes, find_covered, perspective_weights, scatter_pixels
from .mesh_projection import ScreenMesh, project_mesh, unflatten_images
from .mesh_silhouette import soft_silhouette

Shade = Callable[[ScreenMesh, Tensor, Tensor], Tensor]

NEAR = 0.01
"""World units: triangles with a vertex nearer than this are not drawn."""

_MODULES = {
    "numba": "mesh_numba",
    "triton": "mesh_triton",
    "torch": "mesh_torch",
    "reference": "mesh_reference",
}


def rasterize(vertices: Tensor, triangles: Tensor, camera: Camera, backend: str = "auto", near: float = NEAR) -> Tensor:
    """The front face that each pixel centre shows, [..., (V,) H, W] int64, -1 where there is none.

    A pixel belongs to the triangle that holds its centre; of a shared edge, to exactly one of the two. Ties in depth
    go to the lower face id.

    Args:
        vertices: [..., Nv, 3] in world space.
        triangles: [F, 3] vertex ids, counter-clockwise as seen from outside.
        camera: leading dimensions as the vertices', or those plus [V], or none.
        backend: "numba" (CPU), "triton" (CUDA), "torch", "reference" (slow), or "auto".
        near: world units; triangles with a vertex at z <= near are not drawn.
    """
    with torch.no_grad():
        mesh = project_mesh(vertices, triangles, camera, near)
        return unflatten_images(mesh, load_backend(backend, vertices.device).visible_faces(mesh))


def barycentrics(vertices: Tensor, triangles: Tensor, camera: Camera, face_ids: Tensor, near: float = NEAR) -> Tensor:
    """Perspective-correct weights [..., (V,) 3, H, W] of the corners of the visible faces, zero where there is none.

    Differentiable in the vertices.

    Args:
        vertices: [..., Nv, 3] in world space.
        triangles: [F, 3] vertex ids.
        camera: the one ``face_ids`` were rasterised with.
        face_ids: [..., (V,) H, W] from ``rasterize``.
        near: as given to ``rasterize``.
    """
    mesh = project_mesh(vertices, triangles, camera, near)
    pixels = find_covered(mesh, face_ids)
    weights, _ = perspective_weights(mesh, pixels)
    return unflatten_images(mesh, scatter_pixels(mesh, pixels.index, weights))


def load_backend(name: str, device: torch.device) -> ModuleType:
    """The module whose ``visible_faces`` and ``nearest_edges`` do the work on this device."""
    return importlib.import_module(f".{_MODULES[_choose_backend(name, device)]}", __package__)


def load_shading(name: str, device: torch.device) -> tuple[Shade, Shade]:
    """What draws attributes and soft silhouettes where it is known which face and edge each pixel shows."""
    if _choose_backend(name, device) != "triton":
        return draw_attributes, soft_silhouette
    shading = importlib.import_module(".mesh_triton_shading", __package__)
    return shading.draw_attributes, shading.draw_silhouette


def _choose_backend(name: str, device: torch.device) -> str:
    """The name of a back end that can work on this device."""
    if name == "auto":
        name = _automatic_backend(device.type)
    if name not in _MODULES:
        raise ValueError(f"backend is {name!r}, expected one of {['auto', *_MODULES]}")
    if (name == "numba" and device.type != "cpu") or (name == "triton" and device.type != "cuda"):
        raise ValueError(f"the {name} mesh back end cannot draw tensors on {device.type!r}")
    return name


@functools.cache
def _automatic_backend(device_type: str) -> str:
    """Choose once per kind of device, and say what was chosen."""
    if device_type == "cpu":
        name = "numba"
    else:
        name = "triton" if device_type == "cuda" and _triton_works(device_type) else "torch"
    logging.getLogger(__name__).info("meshes on %s are drawn by the %s back end", device_type, name)
    return name


def _triton_works(device: str) -> bool:
    """Whether Triton can compile here: it comes with torch, but needs a C compiler and the headers of Python."""
    try:
        corners = torch.tensor([[0.0, 0.0, 1.0], [0.0, 2.0, 1.0], [2.0, 0.0, 1.0]], device=device)
        camera = Camera(torch.eye(4, device=device), torch.eye(3, device=device), 1, 1)
        rasterize(corners, torch.tensor([[0, 1, 2]], device=device), camera, backend="triton")
    except (ImportError, RuntimeError, OSError, subprocess.SubprocessError) as error:
        logging.getLogger(__name__).warning("Triton does not work here (%s); meshes are drawn more slowly", error)
        return False
    return True


def find_visible(mesh: ScreenMesh, backend: str, reach: float) -> tuple[Tensor, Tensor]:
    """Visible faces and nearest outline edges, both [I, H, W] with -1 for none, without gradients."""
    module = load_backend(backend, mesh.points.device)
    with torch.no_grad():
        face_ids = module.visible_faces(mesh)
        return face_ids, module.nearest_edges(mesh, face_ids, reach)
