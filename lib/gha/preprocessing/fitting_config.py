"""What can be chosen about fitting a face model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gha.limits import above, at_least, between, limited

Contour = Literal["sliding", "fixed", "off"]


@limited(
    noise_floor=above(0),
    outlier_scale=above(0),
    contour_weight=at_least(0),
    contour_slack=between(0, 1),
    identity_weight=above(0),
    expression_weight=above(0),
    landmark_bias=at_least(0),
    temporal_weight=at_least(0),
    scale=at_least(0),
    shared_frames=at_least(1),
    max_iterations=at_least(1),
    tolerance=above(0),
)
@dataclass(frozen=True)
class FittingConfig:
    """Weights of the terms and limits of the iterations.

    Lengths are decimetres on the face, whatever the unit of the rig and the size of the pictures: a residual in pixels
    is multiplied by depth / (focal length * scale). The noise of the detections is estimated from the residuals, and
    the priors are weighed against it.
    """

    contour: Contour = "sliding"
    """Jaw line, landmarks 0 to 16: "sliding" along the surface to the outline seen by each camera, as detectors trained
    on outlines mark it; "fixed" at the model's vertices, as detectors of points in space do; "off": not used."""
    contour_weight: float = 0.5
    """Weight of the jaw line relative to the other landmarks: no two detectors agree on it."""
    contour_slack: float = 0.3
    """Weight of displacements along the jaw line relative to those across it."""
    noise_floor: float = 2e-3
    """Smallest noise of detections to assume, in decimetres: what a face model cannot follow."""
    outlier_scale: float = 4.0
    """Residuals of so many standard deviations count for half (Geman and McClure)."""
    identity_weight: float = 0.2
    """Strength of the normal prior on identity coefficients; 1: all frames together say as much as one of them."""
    expression_weight: float = 1.0
    """Strength of the prior on expression coefficients."""
    landmark_bias: float = 0.0
    """How far, in decimetres (standard deviation), the detector's landmarks lie from the model's in all frames alike,
    or the person's shape from all that the model can take; 0.015 suits real faces. Found along with the identity, so
    that expressions need not make up for it; costs a few seconds. 0: not at all."""
    temporal_weight: float = 1.0
    """Strength of the ties between neighbouring frames of a sequence; 0: every frame by itself."""
    scale: float = 0.0
    """World units per decimetre; 0: found, or 0.1 (metres) where only one camera sees the face."""
    shared_frames: int = 60
    """Identity and scale are found with as many frames, spread evenly; the others then take them over."""
    max_iterations: int = 40
    """Most iterations of each of the stages."""
    tolerance: float = 2e-4
    """A stage has converged when an iteration lowers its cost by less than this share."""
