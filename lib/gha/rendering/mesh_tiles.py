"""Faces cut into windows of at most 8x8 pixels: even work for the tensor back end, whatever the face size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .mesh_projection import SUBPIXELS, ScreenMesh

TILE = 8
"""Pixels along each side of a window."""
_FAR = 1 << 30
"""Pixels: beyond any image, but within the range of integers."""
NOTHING = torch.iinfo(torch.int64).max
"""The key of a pixel that nothing has reached."""


@dataclass(frozen=True)
class Windows:
    """M pieces of work, each a face and up to 8x8 pixels to try against it.

    Attributes:
        face: [M] int64 position in the flattened I * F faces.
        bounds: [M, 4] int32 left, top, right and bottom pixel, all included.
    """

    face: Tensor
    bounds: Tensor

    def split(self, size: int) -> list[Windows]:
        """Pieces of at most ``size`` windows."""
        return [Windows(*piece) for piece in zip(self.face.split(size), self.bounds.split(size), strict=True)]


def covering_windows(mesh: ScreenMesh) -> Windows:
    """Windows that hold every pixel centre any front face can cover."""
    first, last = _pixel_bounds(mesh, 0.0)
    return _cut(first, last, mesh.faces.front)


def outline_windows(mesh: ScreenMesh, free: Tensor, reach: float) -> Windows:
    """Windows around the front faces that have a free pixel within reach; the others cannot be on the outline.

    Args:
        mesh: the projected mesh.
        free: [I, H, W] whether the pixel is uncovered.
        reach: pixels.
    """
    first, last = _pixel_bounds(mesh, reach + 1 / SUBPIXELS)
    sums = summed_area(free)
    left, top = first.unbind(-1)
    right, bottom = torch.maximum(last + 1, first).unbind(-1)
    image = torch.arange(mesh.image_count, device=free.device)[:, None]
    count = sums[image, bottom, right] - sums[image, top, right] - sums[image, bottom, left] + sums[image, top, left]
    return _cut(first, last, mesh.faces.front & (count > 0))


def summed_area(free: Tensor) -> Tensor:
    """How many pixels above and left of each corner are set, [I, H + 1, W + 1] int32, of [I, H, W] bool."""
    return torch.nn.functional.pad(free.cumsum(1, dtype=torch.int32).cumsum(2, dtype=torch.int32), (1, 0, 1, 0))


def _pixel_bounds(mesh: ScreenMesh, margin: float) -> tuple[Tensor, Tensor]:
    """First and last column and row [I, F, 2] whose centres lie in the bounding box widened by ``margin`` pixels."""
    size = torch.tensor([mesh.width, mesh.height], device=mesh.points.device)
    first = (mesh.faces.low - (margin + 0.5)).ceil().clamp(0, _FAR).nan_to_num()
    last = (mesh.faces.high + (margin - 0.5)).floor().clamp(-1, _FAR).nan_to_num()
    return torch.minimum(first.long(), size), torch.minimum(last.long(), size - 1)


def _cut(first: Tensor, last: Tensor, chosen: Tensor) -> Windows:
    """Cut the bounds [I, F, 2] of the chosen faces [I, F] into windows."""
    face = (chosen & (last >= first).all(-1)).reshape(-1).nonzero()[:, 0]
    first, last = first.reshape(-1, 2)[face], last.reshape(-1, 2)[face]
    across, down = ((last - first) // TILE + 1).unbind(-1)
    count = across * down
    owner = torch.arange(len(face), device=face.device).repeat_interleave(count)
    place = torch.arange(len(owner), device=face.device) - (count.cumsum(0) - count)[owner]
    steps = torch.stack([place % across[owner], place // across[owner]], dim=-1)
    start = first[owner] + TILE * steps
    end = torch.minimum(start + TILE - 1, last[owner])
    return Windows(face[owner], torch.cat([start, end], dim=-1).int())


def window_corners(mesh: ScreenMesh, windows: Windows) -> Tensor:
    """Pixel positions [M, 3, 2] float64 of the corners of the face of each window, as projected, off the grid."""
    image = windows.face // mesh.triangles.shape[0]
    rows = mesh.triangles[windows.face % mesh.triangles.shape[0]] + (image * mesh.vertex_count)[:, None]
    return mesh.points.detach().flatten(0, 1)[rows][..., :2].double()


def empty_keys(mesh: ScreenMesh) -> Tensor:
    """Keys [I * H * W] int64 that any other key is smaller than."""
    return torch.full((mesh.image_count * mesh.height * mesh.width,), NOTHING, device=mesh.points.device)


def unpack_keys(mesh: ScreenMesh, keys: Tensor) -> Tensor:
    """What the keys stand for, their low 32 bits, as images [I, H, W] int64; -1 where nothing was reached."""
    ids = keys.view(torch.int32)[::2].long()  # of NOTHING they are all set, which is -1
    return ids.reshape(mesh.image_count, mesh.height, mesh.width)
