"""How far the surface of a mesh avatar lies from the tracked face vertices of a capture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from gha.capture.reader import Capture
from gha.faces.code import HeadCode
from gha.geometry.surface_distance import surface_distance

from .evaluation import Candidate

MILLIMETRES_PER_DECIMETRE = 100.0


@torch.no_grad()
def surface_distances(candidate: Candidate, capture: Capture, frame_ids: Sequence[str]) -> Iterator[dict[str, float]]:
    """Millimetres from every tracked face vertex to the nearest point of the posed mesh, summed up per frame.

    Millimetres are those of the face model: world distance divided by the head's scale, times 100.

    Yields:
        ``surface_median_mm``, ``surface_mean_mm`` and ``surface_90_percent_mm`` of a frame.
    """
    for frame_id in frame_ids:
        code = capture.codes([frame_id])
        device_code = HeadCode(code.expression, code.pose, code.scale).to(candidate.frozen_expression.device)
        mesh = candidate.avatar(device_code).mesh
        world = surface_distance(capture.vertices(frame_id), mesh.vertices[0].cpu(), mesh.triangles.cpu())
        millimetres = world / code.scale[0] * MILLIMETRES_PER_DECIMETRE
        yield {
            "surface_median_mm": millimetres.median().item(),
            "surface_mean_mm": millimetres.mean().item(),
            "surface_90_percent_mm": millimetres.quantile(0.9).item(),
        }
