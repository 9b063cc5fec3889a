"""From the checkpoint of a run back to an avatar, with what driving it needs to know."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gha.avatars.fields import FieldsConfig
from gha.avatars.gaussian_head import GaussianHead, GaussianHeadConfig, GaussianSeeds
from gha.avatars.mesh_head import MeshHead, MeshHeadConfig
from gha.capture.reader import Capture
from gha.errors import CheckpointError, InputError
from gha.faces.code import HeadCode
from gha.networks import DecoderConfig

from .checkpoint import load_checkpoint
from .checkpoint_format import Checkpoint
from .refinement import PoseRefinement

Schema = typing.TypeVar("Schema")

# What younger fields were in checkpoints that do not know them.
BEFORE_THEY_WERE_OPTIONS: dict[type, dict[str, Any]] = {
    FieldsConfig: {"body": False, "pose_deform_scale": 0.3},
    GaussianHeadConfig: {"latents": False},
    DecoderConfig: {"upsampling": "bilinear"},
}


@dataclass(frozen=True)
class Subject:
    """What an avatar remembers of the recording it was trained on.

    Attributes:
        capture: folder of the recording.
        expression_names: names of the E expression coefficients.
        mean_expression: mean [E] over the training frames.
        neutral_expression: of the training frame nearest to zero expression [E].
        reference_pose: pose [6] of the training frame nearest to the mean pose.
        scale: world units per decimetre [1].
        resolution: height and width of the pictures it was trained on.
        facial_landmarks: 66 or 68.
        landmark_count: facial landmarks plus sampled points of the face region.
        face_model: name and version of the face model that tracked the recording; empty where that is not known.
    """

    capture: str
    expression_names: list[str]
    mean_expression: list[float]
    neutral_expression: list[float]
    reference_pose: list[float]
    scale: list[float]
    resolution: list[int]
    facial_landmarks: int
    landmark_count: int
    face_model: list[str] = field(default_factory=lambda: ["", ""])

    @property
    def expression_size(self) -> int:
        """E, the number of expression coefficients."""
        return len(self.expression_names)

    def code(self, expression: Tensor | None = None) -> HeadCode:
        """A head code at the reference pose, with ``expression`` [E] or the mean one."""
        if expression is None:
            expression = torch.tensor(self.mean_expression)
        return HeadCode(
            expression, torch.tensor(self.reference_pose).to(expression), torch.tensor(self.scale).to(expression)
        )


def describe_subject(capture: Capture, resolution: tuple[int, int]) -> Subject:
    """Sum up the training frames of a capture."""
    frames = capture.split.train_frames
    codes = capture.codes(frames)
    poses, expressions = codes.pose, codes.expression
    spread = (poses - poses.mean(0)) / poses.std(0, unbiased=False).clamp_min(1e-3)
    return Subject(
        capture=str(capture.root),
        expression_names=list(capture.expression_names),
        mean_expression=expressions.mean(0).tolist(),
        neutral_expression=expressions[expressions.norm(dim=-1).argmin()].tolist(),
        reference_pose=poses[spread.norm(dim=-1).argmin()].tolist(),
        scale=codes.scale.mean(0).tolist(),
        resolution=list(resolution),
        facial_landmarks=len(capture.facial_landmarks(frames[0])),
        landmark_count=len(capture.landmarks(frames[0])),
        face_model=[capture.info.face_model, capture.info.face_model_version],
    )


@dataclass(frozen=True)
class RunInfo:
    """Where a loaded avatar comes from.

    Attributes:
        method: ``"mesh_head"`` or ``"gaussian_head"``.
        step: finished training steps.
        path: the checkpoint's folder.
        subject: what it remembers of its recording.
        poses: corrections of the tracked head poses learned with it, or None.
    """

    method: str
    step: int
    path: Path
    subject: Subject
    poses: PoseRefinement | None = None


def load_avatar(run: Path | str, device: torch.device | str = "cpu") -> tuple[MeshHead | GaussianHead, RunInfo]:
    """Load the latest (or the named) checkpoint of a run as an avatar in evaluation mode.

    Args:
        run: the folder of a run's stage, of its checkpoints, or of one checkpoint.
        device: where the avatar goes.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    checkpoint = load_checkpoint(run, device=device)
    builders = {"mesh_head": build_mesh_head, "gaussian_head": build_gaussian_head}
    method = checkpoint.metadata.get("method")
    if method not in builders:
        raise InputError(f"{checkpoint.path}: method {method!r} is not one of {sorted(builders)}")
    avatar = builders[method](checkpoint).to(device).eval()
    poses = _build_pose_refinement(checkpoint, device)
    return avatar, RunInfo(method, checkpoint.step, checkpoint.path, subject_of(checkpoint), poses)


def subject_of(checkpoint: Checkpoint) -> Subject:
    """The recording a checkpoint was trained on."""
    with naming(checkpoint):
        return from_dict(Subject, checkpoint.metadata["subject"])


@contextmanager
def naming(checkpoint: Checkpoint) -> Iterator[None]:
    """Turn what goes wrong while an avatar is built into an error that names its checkpoint.

    The manifest carries no hash of itself: one that was edited is noticed only when its values do not fit.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        kind = "no " if isinstance(error, KeyError) else ""
        raise CheckpointError(
            f"{checkpoint.path}: its manifest and its tensors make no avatar ({kind}{reason})"
        ) from error


def build_mesh_head(checkpoint: Checkpoint) -> MeshHead:
    """The mesh head of a checkpoint."""
    subject = subject_of(checkpoint)
    with naming(checkpoint):
        config = from_dict(MeshHeadConfig, checkpoint.metadata["head"])
        head = MeshHead(config, subject.expression_size, torch.zeros(subject.landmark_count, 3))
        head.load_state_dict(checkpoint.tensors["avatar"])
        return head


def build_gaussian_head(checkpoint: Checkpoint) -> GaussianHead:
    """The Gaussian head of a checkpoint."""
    subject = subject_of(checkpoint)
    with naming(checkpoint):
        tensors = checkpoint.tensors["avatar"]
        config = from_dict(GaussianHeadConfig, checkpoint.metadata["head"])
        fields = from_dict(FieldsConfig, checkpoint.metadata["fields"])
        seeds = GaussianSeeds(
            tensors["means"], tensors["features"], torch.ones(len(tensors["means"])), tensors["neutral_landmarks"]
        )
        head = GaussianHead(config, fields, subject.expression_size, seeds)
        head.load_state_dict(tensors)
        return head


def _build_pose_refinement(checkpoint: Checkpoint, device: torch.device | str) -> PoseRefinement | None:
    """The pose corrections of a checkpoint, by frame name."""
    if "pose_frames" not in checkpoint.metadata:
        return None
    poses = PoseRefinement(checkpoint.metadata["pose_frames"])
    poses.load_state_dict(checkpoint.tensors["pose_refinement"])
    return poses.to(device).eval()


def from_dict(schema: type[Schema], values: Mapping[str, Any]) -> Schema:
    """A dataclass, with nested ones, from what ``dataclasses.asdict`` made of it."""
    hints = typing.get_type_hints(schema)
    values = BEFORE_THEY_WERE_OPTIONS.get(schema, {}) | dict(values)
    unknown = set(values) - set(hints)
    if unknown:
        raise InputError(f"{schema.__name__} has no field {sorted(unknown)}; it has {sorted(hints)}")
    return schema(
        **{
            name: from_dict(hints[name], value) if dataclasses.is_dataclass(hints[name]) else value
            for name, value in values.items()
        }
    )
