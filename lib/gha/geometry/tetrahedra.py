"""A body-centred cubic lattice of congruent tetrahedra, generated rather than loaded.

The lattice is a grid of cubes: its vertices are the cubes' corners and centres. Each pair of cubes that share a face
spans four tetrahedra: the two centres and, in turn, each of the four edges of the face. Every tetrahedron has two long
edges of the cube's side ``a`` and four short ones of ``sqrt(3) / 2 * a``, and volume ``a ** 3 / 12``. This is the
shape with the best dihedral angles among those that fill space, and ids and positions are integer arithmetic, so that
a sparse part of the lattice never needs the rest.

Subdividing tetrahedra is not provided: :meth:`TetrahedralLattice.finer` gives the lattice of half the edge over the
same cubes, whose vertices contain all vertices of the coarser one, at any resolution and with congruent shapes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# The corners of a cube's face in cyclic order, as steps along the two axes that follow the face's normal cyclically:
# counter-clockwise seen from the positive side, which makes every tetrahedron positively oriented.
_RING = ((0, 0), (1, 0), (1, 1), (0, 1))


class TetrahedralLattice:
    """A body-centred cubic lattice that covers a box.

    Ids: corners first, ``(i * (ny + 1) + j) * (nz + 1) + k``, then centres, ``corner_count + (i * ny + j) * nz + k``.
    The cubes' outer layer reaches half an edge or more beyond the box, because the tetrahedra leave out the pyramids
    under the outermost faces; the whole box is covered.

    Attributes:
        edge: side of the cubes in decimetres, the longer edge of a tetrahedron. 0.068 over the head's box
            x[-1.6, 1.6] y[-1.7, 1.8] z[-2.5, 1.0] gives about 0.26 million vertices and 1.5 million tetrahedra,
            as many as the grid of the original system.
        cells: number of cubes along x, y, z.
        origin: position [3] of corner (0, 0, 0).
    """

    edge: float
    cells: tuple[int, int, int]
    origin: Tensor

    def __init__(
        self, bounds: Sequence[Sequence[float]] | Tensor, edge: float, device: torch.device | str | None = None
    ) -> None:
        """Cover ``bounds`` [3][2] (lower and upper limit per axis, decimetres) with cubes of side ``edge``."""
        limits = [[float(value) for value in axis] for axis in bounds]
        if len(limits) != 3 or any(len(axis) != 2 or axis[0] >= axis[1] for axis in limits):
            raise ValueError(f"bounds must be [3][2] with lower < upper on every axis, got {limits}")
        if not edge > 0:
            raise ValueError(f"edge must be positive, got {edge}")
        # One cube more than fits, so that the box stays clear of the pyramids that belong to no tetrahedron.
        nx, ny, nz = (math.ceil((upper - lower) / edge - 1e-6) + 1 for lower, upper in limits)
        self.edge, self.cells = float(edge), (nx, ny, nz)
        middle = [(lower + upper) / 2 for lower, upper in limits]
        self.origin = torch.tensor(
            [m - n * edge / 2 for m, n in zip(middle, self.cells, strict=True)], dtype=torch.float32, device=device
        )

    @property
    def device(self) -> torch.device:
        """Where positions and ids are made."""
        return self.origin.device

    @property
    def corner_shape(self) -> tuple[int, int, int]:
        """Number of cube corners along x, y, z."""
        nx, ny, nz = self.cells
        return nx + 1, ny + 1, nz + 1

    @property
    def corner_count(self) -> int:
        """Number of cube corners; ids below it are corners, the others centres."""
        return math.prod(self.corner_shape)

    @property
    def vertex_count(self) -> int:
        """Number of lattice vertices M."""
        return self.corner_count + math.prod(self.cells)

    @property
    def tet_count(self) -> int:
        """Number of tetrahedra: four for each face between two cubes."""
        nx, ny, nz = self.cells
        return 4 * ((nx - 1) * ny * nz + nx * (ny - 1) * nz + nx * ny * (nz - 1))

    @property
    def vertices(self) -> Tensor:
        """Positions [M, 3] of all vertices, made anew at each call."""
        return self.positions(torch.arange(self.vertex_count, device=self.device))

    @property
    def tets(self) -> Tensor:
        """All tetrahedra [K, 4] (int64 ids, positively oriented), made anew at each call."""
        masks = torch.ones(3, *self.cells, dtype=torch.bool, device=self.device)
        masks[0, -1], masks[1, :, -1], masks[2, :, :, -1] = False, False, False
        return self.face_tets(masks)

    def to(self, device: torch.device | str) -> TetrahedralLattice:
        """The same lattice on another device."""
        return self._with(self.edge, self.cells, self.origin.to(device))

    def finer(self, factor: int = 2) -> TetrahedralLattice:
        """The lattice of edge / ``factor`` over the same cubes; for even factors it contains every vertex of this."""
        nx, ny, nz = self.cells
        return self._with(self.edge / factor, (nx * factor, ny * factor, nz * factor), self.origin)

    @classmethod
    def _with(cls, edge: float, cells: tuple[int, int, int], origin: Tensor) -> TetrahedralLattice:
        lattice = cls.__new__(cls)
        lattice.edge, lattice.cells, lattice.origin = edge, cells, origin
        return lattice

    def positions(self, ids: Tensor) -> Tensor:
        """Positions [..., 3] of vertex ids [...]."""
        is_centre = ids >= self.corner_count
        index = torch.where(is_centre, ids - self.corner_count, ids)
        ny, nz = (torch.where(is_centre, n, n + 1) for n in self.cells[1:])
        plane = index // nz
        coordinates = torch.stack([plane // ny, plane % ny, index % nz], dim=-1).to(self.origin.dtype)
        return self.origin + self.edge * (coordinates + 0.5 * is_centre[..., None])

    def nearest_ids(self, points: Tensor) -> Tensor:
        """Ids [...] of the vertices nearest to points [..., 3]; points outside go to the border."""
        local = (points - self.origin) / self.edge
        corners, centres = local.round(), local.floor()
        limit = torch.tensor(self.cells, dtype=local.dtype, device=local.device)
        corners = torch.minimum(corners.clamp_min(0), limit)
        centres = torch.minimum(centres.clamp_min(0), limit - 1)
        nearer = (local - corners).square().sum(-1) <= (local - centres - 0.5).square().sum(-1)
        return torch.where(nearer, self.corner_ids(corners.long()), self.centre_ids(centres.long()))

    def corner_ids(self, coordinates: Tensor) -> Tensor:
        """Ids [...] of cube corners at integer coordinates [..., 3]."""
        _, ny, nz = self.corner_shape
        i, j, k = coordinates.unbind(-1)
        return (i * ny + j) * nz + k

    def centre_ids(self, coordinates: Tensor) -> Tensor:
        """Ids [...] of the centres of the cubes at integer coordinates [..., 3]."""
        _, ny, nz = self.cells
        i, j, k = coordinates.unbind(-1)
        return self.corner_count + (i * ny + j) * nz + k

    def face_tets(self, faces: Tensor) -> Tensor:
        """Tetrahedra [4 F, 4] of marked faces.

        Args:
            faces: bool [3, nx, ny, nz]; ``faces[axis, i, j, k]`` marks the face between cube (i, j, k) and the next
                one along ``axis``. The last layer along each axis has no next one and must be False.
        """
        axis, i, j, k = faces.nonzero(as_tuple=True)
        cube = torch.stack([i, j, k], dim=-1)
        centre, corner = self.centre_ids(cube), self.corner_ids(cube)
        centre_steps, corner_steps = self._face_steps()
        ends = torch.stack([centre, centre + centre_steps[axis]], dim=-1)
        ring = corner[:, None] + corner_steps[axis]
        tets = [ends.expand(4, -1, -1).transpose(0, 1), ring[..., None], ring.roll(-1, dims=1)[..., None]]
        return torch.cat(tets, dim=-1).reshape(-1, 4)

    def _face_steps(self) -> tuple[Tensor, Tensor]:
        """Id differences from a cube to the next [3] and to the corners of the face between them [3, 4]."""
        _, ny, nz = self.cells
        centre = [ny * nz, nz, 1]
        corner = [(ny + 1) * (nz + 1), nz + 1, 1]
        ring = [
            [corner[axis] + u * corner[(axis + 1) % 3] + v * corner[(axis + 2) % 3] for u, v in _RING]
            for axis in range(3)
        ]
        return torch.tensor(centre, device=self.device), torch.tensor(ring, device=self.device)
