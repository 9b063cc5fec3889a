"""The jaw line as a camera sees it: its landmarks slide over the cheeks to the outline of the face."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gha.faces import FaceModel

from .fitting_views import LANDMARKS, HeadInViews

STEPS = 8  # places of a landmark, the first of which is the model's own
REACH = 0.9  # how far they go from the jaw line towards the landmark they are led to
# Landmarks of the front of the face that those of the jaw line slide towards: eyes, nostrils, mouth, lower lip.
TOWARDS = (36, 36, 31, 31, 48, 48, 59, 58, 57, 56, 55, 54, 54, 35, 35, 45, 45)


@dataclass(frozen=True)
class Tracks:
    """Which vertices the landmarks may be, as indices into the P vertices of a fit.

    Attributes:
        ids: vertices of the face model [P]; the first 68 are its landmarks.
        jaw: the places of each jaw landmark [17, STEPS].
    """

    ids: Tensor
    jaw: Tensor

    @classmethod
    def of(cls, model: FaceModel) -> Tracks:
        """Find the tracks of a model on its neutral face."""
        identity = torch.zeros(model.identity_size)
        neutral = model.at_vertices(torch.cat([model.landmarks, model.face_region]))(
            identity, torch.zeros(len(model.expression_names))
        )
        landmarks, region = neutral[:LANDMARKS], neutral[LANDMARKS:]
        tracks = torch.stack([_track(landmarks, region, jaw, led) for jaw, led in enumerate(TOWARDS)])
        ids = torch.cat([model.landmarks, model.face_region[tracks].flatten()])
        places = LANDMARKS + torch.arange(tracks.numel()).reshape(tracks.shape)
        jaw = torch.cat([torch.arange(len(TOWARDS))[:, None], places], dim=1)
        return cls(ids, jaw)

    def choose(self, points: Tensor, head: HeadInViews) -> Tensor:
        """Indices [T, V, 68] of the points [T, P, 3] that each view shows as landmarks.

        Of every track that is the place farthest out, away from the middle of the face at that height.
        """
        frames, views = head.matrix.shape[:2]
        places = head.see(points[:, self.jaw.flatten()]).pixels.unflatten(2, self.jaw.shape)  # [T, V, 17, STEPS, 2]
        own = points[:, self.jaw[:, 0]]
        middle = 0.5 * (own + own.flip(1))
        # The chin is its own mirror image; what is above it is the mouth.
        middle[:, 7:10] = points[:, 57:58]
        outwards = places[..., 0, :] - head.see(middle).pixels
        farthest = (places * outwards[..., None, :]).sum(-1).argmax(-1)
        chosen = self.jaw[torch.arange(len(TOWARDS)), farthest]
        rest = torch.arange(len(TOWARDS), LANDMARKS).expand(frames, views, -1)
        return torch.cat([chosen, rest], dim=-1)


def _track(landmarks: Tensor, region: Tensor, jaw: int, led: int) -> Tensor:
    """Indices [STEPS - 1] into region points [R, 3] on the way from a jaw landmark to another, over the surface."""
    start, end = _unrolled(landmarks[jaw]), _unrolled(landmarks[led])
    shares = torch.linspace(0, REACH, STEPS, dtype=start.dtype)[1:, None]
    return torch.cdist(start + shares * (end - start), _unrolled(region)).argmin(1)


def _unrolled(points: Tensor) -> Tensor:
    """Points [..., 3] of the front of a head on an unrolled cylinder about its vertical axis [..., 2]."""
    axis = -0.6  # z of the axis; the front of the face is convex from there
    angle = torch.atan2(points[..., 0], points[..., 2] - axis)
    return torch.stack([0.8 * angle, points[..., 1]], dim=-1)
