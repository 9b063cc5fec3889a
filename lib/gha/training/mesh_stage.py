"""Stage 1: the losses that teach the mesh head (Gaussian Head Avatar, CVPR 2024, section 3.2)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from gha.avatars.mesh_head import MeshHead
from gha.capture.frame import Frame
from gha.geometry import laplacian_loss
from gha.limits import at_least, limited
from gha.rendering import render_mesh, soften_mask

from .losses import soft_iou_loss, visible_l1
from .optimizers import adam
from .pictures import picture_row
from .refinement import CameraGain
from .sample import Sample, sent

_SHORTEST_RECORDING = 4
"""Steps that a recording must be good for: making it takes about as long as two steps."""


@limited(at_least(0))
@dataclass
class MeshLossWeights:
    """Weights of the terms of stage 1; defaults are the released ones."""

    rgb: float = 0.1
    """Colour, L1."""
    silhouette: float = 0.1
    """One minus intersection over union of the soft silhouette."""
    landmarks: float = 1.0
    """Neutral landmarks moved by the expression against tracked landmarks, squared decimetres."""
    displacement: float = 0.01
    """Mean squared displacement, relative to its scale."""
    surface: float = 0.1
    """Signed distance at the neutral landmarks."""
    laplacian: float = 100.0
    """Uniform Laplacian of the deformed vertices, squared metres."""


@limited(at_least(0))
@dataclass
class MeshTrainingConfig:
    """How the mesh head learns."""

    learning_rate: float = 1e-3
    """Learning rate of all networks."""
    landmark_learning_rate: float = 1e-4
    """Learning rate of the neutral landmarks."""
    sphere_steps: int = 300
    """Steps of the initialisation to a sphere."""
    loss: MeshLossWeights = field(default_factory=MeshLossWeights)
    """Weights of the loss terms."""


class MeshStage:
    """Stage 1 for the training loop.

    Args:
        head: the mesh head, on its device.
        config: learning rates and loss weights.
        gain: per-camera colour gain, or None.
        description: what is saved beside the tensors to build the head again (see ``avatar_io``).
    """

    method = "mesh_head"

    def __init__(self, head: MeshHead, config: MeshTrainingConfig, gain: CameraGain | None, description: dict) -> None:
        self.head, self.config, self.gain = head, config, gain
        self.description = description
        self.finished_steps = 0
        self.modules = {"avatar": head} | ({"camera_gain": gain} if gain else {})
        networks = [p for name, p in head.named_parameters() if name != "neutral_landmarks"]
        groups = [
            {"params": networks, "lr": config.learning_rate},
            {"params": [head.neutral_landmarks], "lr": config.landmark_learning_rate},
        ]
        if gain:
            groups.append({"params": list(gain.parameters()), "lr": config.learning_rate})
        self.optimizers = {"adam": adam(groups, head.neutral_landmarks.device)}

    @cached_property
    def _weights(self) -> Tensor:
        """Weights of the terms in the order of their config, on the device."""
        return torch.tensor(list(asdict(self.config.loss).values()), device=self.head.neutral_landmarks.device)

    def renews(self, update: int) -> bool:
        """Whether the surface is searched again."""
        return update % self.head.config.search_interval_at(update) == 0

    @property
    def replayable(self) -> bool:
        """On a GPU, where a recording is worth its while until the next search."""
        return self.head.neutral_landmarks.is_cuda and self.head.config.search_interval >= _SHORTEST_RECORDING

    def renew(self, anew: bool) -> None:
        """Search the surface."""
        self.head.search(anew)

    def draw(self, frame: Frame, step: int, device: torch.device) -> Sample:
        """A frame [B, V] as it is; nothing is random."""
        rows = self.gain.rows_of(frame.camera_ids) if self.gain else None
        return Sample(frame.to(device), gain_rows=None if rows is None else sent(rows, device))

    def losses(self, sample: Sample) -> dict[str, Tensor]:
        """Weighted terms for a sample of views [B, V]."""
        frame = sample.frame
        posed = self.head(frame.code)
        mesh, auxiliaries = posed.mesh, posed.auxiliaries
        rendering = render_mesh(mesh.vertices, mesh.triangles, mesh.colors, frame.camera)
        color = self.gain(rendering.attributes, sample.gain_rows) if self.gain else rendering.attributes
        # Softened like the silhouette, or the fitted mesh would stay inside the outline by the width of its fall-off.
        mask = soften_mask(frame.mask)
        tracked = frame.code.to_canonical(frame.landmarks)
        terms = {
            "rgb": visible_l1(color, frame.image * frame.mask, frame.visible),
            "silhouette": soft_iou_loss(rendering.soft_mask * frame.visible, mask * frame.visible),
            "landmarks": mse_loss(auxiliaries.landmarks, tracked),
            "displacement": auxiliaries.displacement_energy,
            "surface": auxiliaries.landmark_distance.abs().mean(),
            # In metres, so that the weight means the same whatever the unit of the world.
            "laplacian": 0.01 * laplacian_loss(auxiliaries.canonical_vertices, auxiliaries.neighbours),
        }
        names = asdict(self.config.loss)
        weighted = torch.stack([terms[name] for name in names]) * self._weights
        return dict(zip(names, weighted.unbind(), strict=True))

    @torch.no_grad()
    def preview(self, frame: Frame) -> np.ndarray:
        """Truth, colour, soft silhouette and normals of the first view."""
        mesh = self.head(frame.code[:1]).mesh
        camera = frame.camera[:1, :1] if frame.camera.w2c.ndim == 4 else frame.camera[:1]
        rendering = render_mesh(mesh.vertices, mesh.triangles, mesh.colors[..., :3], camera)
        truth = (frame.image * frame.mask)[0, 0]
        soft = rendering.soft_mask[0, 0].expand(3, -1, -1)
        return picture_row([truth, rendering.attributes[0, 0], soft, 0.5 + 0.5 * rendering.normals[0, 0]])

    def metadata(self) -> dict:
        """Everything but tensors that rebuilds the head."""
        return self.description


def neutral_landmarks(expressions: Tensor, canonical_landmarks: Tensor) -> Tensor:
    """Landmarks [L, 3] of the frame whose expression [T, E] is nearest to zero, of canonical [T, L, 3]."""
    return canonical_landmarks[expressions.norm(dim=-1).argmin()]
