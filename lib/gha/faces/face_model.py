"""What any parametric head offers: parameters to vertices, landmarks, and how its surface looks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .face_points import CoefficientRange, FacePoints


@dataclass(frozen=True)
class Material:
    """How the triangles of one kind reflect light.

    Attributes:
        name: for example ``"skin"``, ``"eye"``, ``"teeth"``, ``"hair"``, ``"cloth"``.
        texture: sRGB uint8 [H, W, 3]; row 0 is v = 1 (image row = (1 - v) * H), wraps never.
        specular: strength of the highlight in [0, 1].
        gloss: exponent of the highlight (Blinn-Phong); larger is sharper.
        bump: optional height map uint8 [H, W] of the same UV layout (fine relief such as pores), or None.
        bump_depth: decimetres between heights 0 and 255.
        two_sided: drawn from both sides (hair, lashes) instead of culled from behind.
    """

    name: str
    texture: np.ndarray
    specular: float = 0.1
    gloss: float = 20.0
    bump: np.ndarray | None = None
    bump_depth: float = 0.0
    two_sided: bool = False


@dataclass(frozen=True)
class Appearance:
    """Texture coordinates and materials of a head surface.

    Attributes:
        uvs: float32 [U, 2] in [0, 1].
        triangle_uvs: int64 [F, 3], indices into ``uvs``.
        triangle_materials: int64 [F], indices into ``materials``.
        materials: the materials.
    """

    uvs: np.ndarray
    triangle_uvs: np.ndarray
    triangle_materials: np.ndarray
    materials: tuple[Material, ...]


class FaceModel(ABC):
    """A parametric head in canonical space.

    Canonical space: decimetres, x to the subject's left, y up, z out of the face, origin at the mean of the
    face region of the neutral mean identity.

    Attributes:
        name: short name written into captures.
        version: changes whenever the same parameters give other vertices or another appearance.
        identity_size: number of identity coefficients I, distributed as N(0, 1).
        expression_names: names of the E expression coefficients, usually in [0, 1]; left and right are the subject's.
        triangles: int64 [F, 3], counter-clockwise from outside; includes eyes, teeth, hair, body.
        landmarks: int64 [68], vertex ids in iBUG order.
        face_region: int64 [R], vertex ids of the front of the face.
        head_weights: float32 [V] in [0, 1]: 1 moves rigidly with the head, 0 stays with the shoulders.
        neck_pivot: canonical point [3] the head turns about.
    """

    name: str
    version: str
    identity_size: int
    expression_names: tuple[str, ...]
    triangles: Tensor
    landmarks: Tensor
    face_region: Tensor
    head_weights: Tensor
    neck_pivot: Tensor

    @abstractmethod
    def vertices(self, identity: Tensor, expression: Tensor) -> Tensor:
        """Canonical vertices [..., V, 3] for identity [..., I] and expression [..., E]; differentiable."""

    @abstractmethod
    def at_vertices(self, ids: Tensor) -> FacePoints:
        """The model at some vertices [P] of its skin only, with derivatives; landmarks and face region qualify."""

    @property
    def expression_range(self) -> CoefficientRange:
        """What the expression coefficients may be: shares in [0, 1] unless a model says otherwise."""
        return CoefficientRange.shares(len(self.expression_names))

    @abstractmethod
    def appearance(self, identity: Tensor, seed: int) -> Appearance:
        """Textures and materials of one person; the same bytes for the same identity [I] and seed."""
