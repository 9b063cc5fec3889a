"""Find the tetrahedra that the surface of a neural signed distance crosses, without evaluating the whole lattice.

A coarse pass finds seeds: cubes of the lattice where the sign changes between coarse samples. From there the surface
is followed: all tetrahedra around a seed are evaluated, each one that the surface crosses makes its two cubes seeds
as well, until nothing is added. The result is exact for every connected piece of surface that a seed touches, so it
has no cracks whatever the coarse spacing; only a separate piece smaller than a coarse cell can be missed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import max_pool3d

from gha.errors import TrainingError

from .tetrahedra import TetrahedralLattice

EvaluateSdf = Callable[[Tensor], Tensor]

_INSIDE, _OUTSIDE, _BOTH = 1, 2, 3


@dataclass(frozen=True)
class ActiveTetrahedra:
    """The tetrahedra that a surface crosses.

    Attributes:
        vertex_ids: lattice ids [M] of their vertices, ascending. Each of them ends an edge that the surface crosses.
        vertices: positions [M, 3].
        sdf: values [M] found there, without gradient.
        tets: int64 [K, 4], indices into ``vertices``, positively oriented.
        cubes: bool [nx, ny, nz], the lattice cubes they touch: seeds for the next extraction.
        evaluations: number of points at which the function was evaluated.
    """

    vertex_ids: Tensor
    vertices: Tensor
    sdf: Tensor
    tets: Tensor
    cubes: Tensor
    evaluations: int


def extract_sparse(
    lattice: TetrahedralLattice,
    evaluate_sdf: EvaluateSdf,
    coarse_factor: int = 2,
    margin: int = 0,
    seeds: Tensor | None = None,
) -> ActiveTetrahedra:
    """Find all tetrahedra of ``lattice`` that the zero surface of ``evaluate_sdf`` crosses.

    Args:
        lattice: where to look.
        evaluate_sdf: positions [M, 3] -> signed distance [M], positive outside; called without gradient tracking.
        coarse_factor: spacing of the coarse pass in lattice edges; 1 evaluates every cube corner.
        margin: coarse cells around each sign change that are searched as well, for small separate pieces near it.
        seeds: start from these cubes (``ActiveTetrahedra.cubes`` of a surface close by) instead of a coarse pass.
            Pieces that have appeared elsewhere since are not found.

    Raises:
        TrainingError: the function has one sign everywhere.
    """
    with torch.no_grad():
        search = _Search(lattice, evaluate_sdf)
        cubes = search.coarse_seeds(coarse_factor, margin) if seeds is None else seeds
        if not search.follow(cubes):
            # Nothing there: the surface may be smaller than a coarse cell, or have left the seeds.
            search.follow(torch.ones(lattice.cells, dtype=torch.bool, device=lattice.device))
        return search.result()


class SurfaceTracker:
    """Extract the surface of a function that changes slowly, as in training.

    Starts from the cubes of the previous surface, and from a coarse pass at every ``full_every``-th call so that
    pieces that appear elsewhere are found.
    """

    def __init__(
        self, lattice: TetrahedralLattice, full_every: int = 16, coarse_factor: int = 2, margin: int = 0
    ) -> None:
        self.lattice = lattice
        self.full_every = full_every
        self.coarse_factor = coarse_factor
        self.margin = margin
        self._calls = 0
        self._cubes: Tensor | None = None

    def extract(self, evaluate_sdf: EvaluateSdf) -> ActiveTetrahedra:
        """The tetrahedra that the surface of ``evaluate_sdf`` (as in :func:`extract_sparse`) crosses now."""
        seeds = None if self._calls % self.full_every == 0 else self._cubes
        if seeds is not None and seeds.is_cuda:
            # One large evaluation that already holds what the surface may have moved to, instead of several small
            # ones that each wait for the last: there points are cheap and launches are not.
            seeds = max_pool3d(seeds[None].float(), 3, stride=1, padding=1)[0] > 0
        active = extract_sparse(self.lattice, evaluate_sdf, self.coarse_factor, self.margin, seeds)
        self._calls += 1
        self._cubes = active.cubes
        return active


class _Search:
    """What is known of the function so far: a value and a sign code at each lattice vertex.

    Codes are bit sets, 0 where unknown, so that the union over a face's vertices tells whether it is crossed.
    """

    def __init__(self, lattice: TetrahedralLattice, evaluate_sdf: EvaluateSdf) -> None:
        self.lattice = lattice
        self.evaluate_sdf = evaluate_sdf
        self.evaluations = 0
        self.sdf = torch.zeros(lattice.vertex_count, device=lattice.device)
        self.code = torch.zeros(lattice.vertex_count, dtype=torch.uint8, device=lattice.device)
        # Views: writing to ``code`` changes them.
        self.corner_code = self.code[: lattice.corner_count].view(lattice.corner_shape)
        self.centre_code = self.code[lattice.corner_count :].view(lattice.cells)

    def evaluate(self, ids: Tensor) -> None:
        """Learn the function at the vertices ``ids`` [M]."""
        values = self.evaluate_sdf(self.lattice.positions(ids)).to(self.sdf.dtype)
        self.sdf[ids] = values
        self.code[ids] = torch.where(values <= 0, _INSIDE, _OUTSIDE).to(torch.uint8)
        self.evaluations += ids.numel()

    def coarse_seeds(self, factor: int, margin: int) -> Tensor:
        """Evaluate every ``factor``-th corner; mark the cubes [nx, ny, nz] in coarse cells with both signs."""
        device = self.lattice.device
        axes = [_coarse_coordinates(n, factor, device) for n in self.lattice.cells]
        ids = self.lattice.corner_ids(torch.cartesian_prod(*axes))
        self.evaluate(ids)
        codes = self.code[ids].view([len(axis) for axis in axes])
        mixed = _union_of_corners(codes) == _BOTH
        if margin:
            pooled = max_pool3d(mixed[None, None].float(), 2 * margin + 1, stride=1, padding=margin)
            mixed = pooled[0, 0] > 0
        for dim, n in enumerate(self.lattice.cells):
            mixed = mixed.index_select(dim, torch.arange(n, device=device) // factor)
        return mixed

    def follow(self, cubes: Tensor) -> bool:
        """Evaluate around ``cubes`` and wherever the surface leads from there; False if there is no surface."""
        while True:
            ids = torch.cat([self._missing_corners(cubes), self._missing_centres(cubes)]).nonzero()[:, 0]
            if not ids.numel():
                return bool(cubes.any())
            self.evaluate(ids)
            cubes = _cubes_at(self.crossed_faces())

    def _missing_corners(self, cubes: Tensor) -> Tensor:
        needed = max_pool3d(cubes[None].float(), 2, stride=1, padding=1)[0] > 0
        return (needed & (self.corner_code == 0)).view(-1)

    def _missing_centres(self, cubes: Tensor) -> Tensor:
        needed = cubes.clone()
        for dim, n in enumerate(self.lattice.cells):
            needed.narrow(dim, 1, n - 1).logical_or_(cubes.narrow(dim, 0, n - 1))
            needed.narrow(dim, 0, n - 1).logical_or_(cubes.narrow(dim, 1, n - 1))
        return (needed & (self.centre_code == 0)).view(-1)

    def crossed_faces(self) -> Tensor:
        """Faces [3, nx, ny, nz] with both signs among their four corners and the two centres beside them."""
        faces = torch.zeros(3, *self.lattice.cells, dtype=torch.bool, device=self.lattice.device)
        for axis, n in enumerate(self.lattice.cells):
            ring = self.corner_code.narrow(axis, 1, n - 1)
            for dim in {0, 1, 2} - {axis}:
                ring = _union_of_pairs(ring, dim)
            centres = _union_of_pairs(self.centre_code, axis)
            faces[axis].narrow(axis, 0, n - 1).copy_((ring | centres) == _BOTH)
        return faces

    def result(self) -> ActiveTetrahedra:
        """The crossed tetrahedra with their vertices numbered from 0."""
        faces = self.crossed_faces()
        tets = self.lattice.face_tets(faces)
        codes = self.code[tets]
        tets = tets[(codes[:, 0] | codes[:, 1] | codes[:, 2] | codes[:, 3]) == _BOTH]
        if not tets.numel():
            raise TrainingError(self._no_surface())
        used = torch.zeros(self.lattice.vertex_count, dtype=torch.bool, device=tets.device)
        used[tets.view(-1)] = True
        ids = used.nonzero()[:, 0]
        local = used.cumsum(0) - 1
        return ActiveTetrahedra(
            ids, self.lattice.positions(ids), self.sdf[ids], local[tets], _cubes_at(faces), self.evaluations
        )

    def _no_surface(self) -> str:
        if not bool(self.sdf.isfinite().all()):
            return "the signed distance is not finite: stop earlier, lower the learning rate, or clip gradients"
        low, high = float(self.sdf.min()), float(self.sdf.max())
        sign = "positive (everything is outside)" if low > 0 else "negative or zero (everything is inside)"
        return (
            f"the signed distance has no zero inside the lattice: all {self.sdf.numel()} values are {sign}, "
            f"between {low:.4g} and {high:.4g}. Train the sphere initialisation longer, lower the learning rate of "
            "the geometry network, or check that masks, cameras and head poses agree with the lattice's bounds"
        )


def _coarse_coordinates(cells: int, factor: int, device: torch.device) -> Tensor:
    """Every ``factor``-th of the corners 0 .. cells, and the last."""
    return torch.arange(0, cells + factor, factor, device=device).clamp(max=cells)


def _union_of_pairs(codes: Tensor, dim: int) -> Tensor:
    n = codes.shape[dim] - 1
    return codes.narrow(dim, 0, n) | codes.narrow(dim, 1, n)


def _union_of_corners(codes: Tensor) -> Tensor:
    for dim in range(3):
        codes = _union_of_pairs(codes, dim)
    return codes


def _cubes_at(faces: Tensor) -> Tensor:
    """Cubes [nx, ny, nz] on either side of marked faces [3, nx, ny, nz]."""
    cubes = faces.any(0)
    for axis in range(3):
        n = faces.shape[axis + 1] - 1
        cubes.narrow(axis, 1, n).logical_or_(faces[axis].narrow(axis, 0, n))
    return cubes
