"""Where fitting begins: heads placed by landmarks alone, whatever the orientation and the unit of the rig."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gha.geometry import fit_similarities

from .fitting_views import JAW_LINE, Pose, Views

ROUNDS = 12
PORTION = 64  # frames triangulated at a time: memory
ENOUGH = 8  # landmarks that fix a pose well
METRES = 0.1  # world units per decimetre where nothing tells the unit
# Least sine of the angle between rays that fix a depth.
PARALLAX = 0.05


@dataclass(frozen=True)
class Start:
    """Initial poses.

    Attributes:
        pose: of all frames.
        triangulated: frames [T] placed by triangulated landmarks.
        placed: frames [T] placed by detections at all; the others take over their neighbour's pose.
        known_scale: whether the views tell the scale.
    """

    pose: Pose
    triangulated: Tensor
    placed: Tensor
    known_scale: bool


def find_start(views: Views, neutral: Tensor, scale: float) -> Start:
    """Place a head with neutral landmarks [68, 3] in every frame.

    Frames whose landmarks can be triangulated are aligned by a similarity; their median scale then holds for all. The
    others are placed by the view that sees most, as scaled orthography sees it. ``scale`` 0: it is found.
    """
    portions = [slice(first, first + PORTION) for first in range(0, views.frames, PORTION)]
    pairs = [triangulate(views.of_frames(portion)) for portion in portions]
    world, certainty = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    certainty[:, JAW_LINE] *= 0.1
    triangulated = (certainty[:, 17:] > 0).sum(1) >= ENOUGH
    rotation = torch.eye(3, dtype=torch.float64).expand(views.frames, 3, 3).clone()
    translation = torch.zeros(views.frames, 3, dtype=torch.float64)
    found = scale if scale > 0 else METRES
    if triangulated.any():
        aligned = align(neutral, world[triangulated], certainty[triangulated], scale)
        found = float(aligned[2].median())
        rotation[triangulated], translation[triangulated], _ = align(
            neutral, world[triangulated], certainty[triangulated], found
        )
    placed = triangulated.clone()
    for frame in torch.nonzero(~triangulated).flatten().tolist():
        pose = _place_by_one_view(views.of_frames(slice(frame, frame + 1)), neutral, found)
        if pose is not None:
            rotation[frame], translation[frame] = pose
            placed[frame] = True
    _fill_gaps(rotation, translation, placed)
    pose = Pose(rotation, translation, torch.tensor(found, dtype=torch.float64))
    return Start(pose, triangulated, placed, bool(triangulated.any()) or scale > 0)


def triangulate(views: Views) -> tuple[Tensor, Tensor]:
    """Points nearest to the rays of all views, in the sense of absolute distances.

    Returns:
        World points [T, 68, 3] and certainty [T, 68]: the weight of the views that agree, 0 where fewer than two do or
        where their rays are as good as parallel.
    """
    rays, eyes = views.rays(), views.eyes()[:, :, None]
    across = torch.eye(3, dtype=torch.float64) - rays[..., :, None] * rays[..., None, :]  # [T, V, 68, 3, 3]
    offsets = (across @ eyes[..., None])[..., 0]
    spread = torch.linalg.vector_norm(eyes - eyes.mean(1, keepdim=True), dim=-1).amax()
    weight = views.confidence.clone()
    ridge = 1e-9 * torch.eye(3, dtype=torch.float64)
    for _ in range(ROUNDS):
        normal = (weight[..., None, None] * across).sum(1)
        centre = (weight[..., None] * offsets).sum(1)
        points = torch.linalg.solve(normal + ridge, centre[..., None])[..., 0]
        distance = ((across @ points[:, None, :, :, None])[..., 0] - offsets).norm(dim=-1)
        seen = views.confidence > 0
        typical = _masked_median(distance, seen)[:, None] + 1e-6 * spread
        weight = views.confidence / (1 + (distance / (2 * typical)) ** 2) ** 2
    agreeing = (weight > 0.25 * views.confidence) & seen
    narrow = torch.linalg.eigvalsh(normal)[..., 0] < PARALLAX**2 * weight.sum(1)
    certain = (agreeing.sum(1) >= 2) & ~narrow
    return points, torch.where(certain, weight.sum(1), torch.zeros_like(narrow, dtype=torch.float64))


def _masked_median(values: Tensor, mask: Tensor) -> Tensor:
    """Median over dimension 1 of what the mask allows, 0 where that is nothing."""
    return torch.where(mask, values, torch.full_like(values, torch.nan)).nanmedian(1).values.nan_to_num()


def align(source: Tensor, target: Tensor, weights: Tensor, scale: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """Similarities that take points to others (Umeyama 1991), robust against a few that do not fit.

    Args:
        source: [N, 3].
        target: [T, N, 3].
        weights: [T, N].
        scale: to keep, or 0 to find one for each frame.

    Returns:
        Rotations [T, 3, 3], translations [T, 3] and scales [T].
    """
    robust = weights
    for _ in range(ROUNDS):
        rotation, found, (from_mean, to_mean) = fit_similarities(source, target, robust)
        factor = torch.full_like(found, scale) if scale > 0 else found
        translation = to_mean - factor[:, None] * (rotation @ from_mean[..., None])[..., 0]
        away = (factor[:, None, None] * source @ rotation.mT + translation[:, None] - target).norm(dim=-1)
        typical = _masked_median(away, weights > 0)[:, None] + 1e-9
        robust = weights / (1 + (away / (2 * typical)) ** 2) ** 2
    return rotation, translation, factor


def _place_by_one_view(views: Views, neutral: Tensor, scale: float) -> tuple[Tensor, Tensor] | None:
    """Rotation [3, 3] and translation [3] of one frame by the view of most confidence; None without detections."""
    view = int(views.confidence[0, :, 17:].sum(1).argmax())
    weights = views.confidence[0, view].clone()
    weights[JAW_LINE] *= 0.1
    if (weights[17:] > 0).sum() < ENOUGH:
        return None
    seen = (views.points[0, view] - views.centre[0, view]) / views.focal[0, view]
    rotation, shift, depth = scaled_orthography(neutral, seen, weights, scale)
    turn, offset = views.w2c[0, view, :, :3], views.w2c[0, view, :, 3]
    return turn.T @ rotation, turn.T @ (torch.cat([shift * depth, depth[None]]) - offset)


def scaled_orthography(neutral: Tensor, seen: Tensor, weights: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Pose of a head from one view in which it is not very close.

    Args:
        neutral: landmarks [N, 3] in decimetres.
        seen: x / z and y / z of their detections in the camera [N, 2].
        weights: [N].
        scale: world units per decimetre.

    Returns:
        Rotation head to camera [3, 3]; x / z and y / z of the head's origin [2]; its depth [] in world units.
    """
    matrix = torch.cat([neutral, torch.ones_like(neutral[:, :1])], dim=1)
    robust = weights
    for _ in range(ROUNDS):
        root = robust.sqrt()[:, None]
        affine = torch.linalg.lstsq(root * matrix, root * seen).solution.T  # [2, 4]
        away = (matrix @ affine.T - seen).norm(dim=1)
        typical = away[weights > 0].median() + 1e-9
        robust = weights / (1 + (away / (2 * typical)) ** 2) ** 2
    u, sizes, vh = torch.linalg.svd(affine[:, :3], full_matrices=False)
    rows = u @ vh
    rotation = torch.stack([rows[0], rows[1], torch.linalg.cross(rows[0], rows[1])])
    return rotation, affine[:, 3], scale / sizes.mean()


def _fill_gaps(rotation: Tensor, translation: Tensor, placed: Tensor) -> None:
    """Give frames without a pose that of the nearest frame that has one."""
    known = torch.nonzero(placed).flatten()
    for frame in torch.nonzero(~placed).flatten().tolist():
        if len(known):
            nearest = known[(known - frame).abs().argmin()]
            rotation[frame], translation[frame] = rotation[nearest], translation[nearest]
