"""What the training loop asks of a method: its modules, its optimisers, its losses, a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gha.capture.frame import Frame
from gha.limits import Limit, at_least, between, limited

from .sample import Sample


@limited(
    steps=at_least(1),
    final_learning_rate_factor=between(0, 1),
    log_every=at_least(1),
    preview_every=at_least(0),
    checkpoint_every=at_least(1),
    keep_checkpoints=at_least(1),
    seed=Limit("at most 18 digits", lambda value, _: abs(value) < 10**18),
)
@dataclass
class LoopConfig:
    """How long training runs and what it writes on the way."""

    steps: int = 10000
    """Number of optimiser steps; several processes (torchrun) take as many of them at once, each with its own frames,
    and average their gradients. All keys here that count steps count so but `log_every`; the same samples are seen."""
    final_learning_rate_factor: float = 1.0
    """Learning rates fall along a cosine to this fraction of their start; 1: constant."""
    process_scaling: Literal["sqrt", "linear", "off"] = "sqrt"
    """Rates of Adam for N processes: learning rates times the root of N ("sqrt") or times N ("linear"), and in both
    cases betas to the power of N; "off" leaves them as they are."""
    log_every: int = 50
    """Steps between lines in the log, of each process: a line makes all devices wait."""
    preview_every: int = 500
    """Steps between preview pictures; 0: none."""
    checkpoint_every: int = 1000
    """Steps between checkpoints; one is always written at the end."""
    keep_checkpoints: int = 2
    """Newest checkpoints to keep."""
    seed: int = 0
    """Seed of everything random: what is drawn at a step depends on this and the step only."""
    tensorboard: bool = False
    """Also write TensorBoard event files."""


class Stage(Protocol):
    """One stage of one method. Modules are saved and restored under their names.

    Attributes:
        method: name in checkpoints.
        finished_steps: steps that the modules were trained for.
        modules: what is trained.
        optimizers: what changes it.
    """

    method: str
    finished_steps: int
    modules: Mapping[str, nn.Module]
    optimizers: Mapping[str, Optimizer]

    @property
    def replayable(self) -> bool:
        """Whether ``losses`` can be recorded as a CUDA graph.

        The host looks at nothing in between, and all samples between two renewals have the same sizes.
        """

    def renews(self, update: int) -> bool:
        """Whether what changes slowly is looked at again before this update of the parameters, counted from 0."""

    def renew(self, anew: bool) -> None:
        """Look again at what is kept from step to step.

        ``anew``: without help from the last time; before the first step and after each that was saved, because a run
        that continues from there remembers nothing and must train the same.
        """

    def draw(self, frame: Frame, step: int, device: torch.device) -> Sample:
        """What a step sees of a batched frame of the host; what is drawn at random depends on ``step`` only.

        One of N processes is given every N-th step.
        """

    def losses(self, sample: Sample) -> dict[str, Tensor]:
        """Weighted loss terms (scalars) for a sample, always the same terms; nothing in it is random."""

    def preview(self, frame: Frame) -> np.ndarray:
        """A picture [H, W, 3] uint8 of truth beside prediction."""

    def metadata(self) -> dict:
        """What is needed, besides tensors, to build the avatar again; JSON types only."""
