"""Where in an image a figure is measured: the head above the neck, the mouth, the eyes.

All regions follow from tracked landmarks, so they are the same for every method and every render of an image.

**Head**: foreground pixels above the neck plane. In canonical space the plane contains the left-right axis, passes
0.1 dm (1 cm) below the chin landmark and rises towards the back of the head by 20 degrees, so that it meets the
nape near the hairline. A pixel has no depth of its own, so its ray is tested at the depth where the neck is: that of
the plane's point under the jaw angles. That depth is wrong for the chin, which stands out in front of the neck; pixels
inside the outline of the jaw landmarks, drawn as they are and 0.1 dm lower, therefore belong to the head as well.

**Mouth and eyes**: the upright box around the projected landmarks, enlarged on each side by a fraction of its
longer side (mouth 0.25, eyes 0.5). An eye or a mouth that faces away from the camera by more than 75 degrees has
no box: eyes are taken to look 30 degrees outwards, the mouth straight ahead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.spatial import ConvexHull
from torch import Tensor

from gha.faces.code import HeadCode
from gha.geometry import Camera

CHIN_MARGIN = 0.1
"""Decimetres between the chin landmark and the neck plane."""
NECK_RISE = 20.0
"""Degrees by which the neck plane rises towards the back of the head."""
LARGEST_VIEW_ANGLE = 75.0
"""Degrees between a feature's outward direction and the camera beyond which it has no box."""
CHIN = 8
JAW = slice(0, 17)
JAW_ANGLES = [4, 12]


@dataclass(frozen=True)
class Feature:
    """A part of the face with landmarks around it.

    Attributes:
        landmarks: first and last index (exclusive) in iBUG order.
        margin: fraction of the longer side by which its box grows on every side.
        outward: degrees between its outward direction and straight ahead, positive to the subject's left.
    """

    landmarks: tuple[int, int]
    margin: float
    outward: float


def facial_features(facial_landmarks: int) -> dict[str, Feature]:
    """The mouth and both eyes in the 68-point scheme or in the 66-point one, which lacks two mouth corners."""
    if facial_landmarks not in (66, 68):
        raise ValueError(f"facial landmarks come as 66 or 68 points, got {facial_landmarks}")
    return {
        "mouth": Feature((48, facial_landmarks), margin=0.25, outward=0.0),
        "right_eye": Feature((36, 42), margin=0.5, outward=-30.0),
        "left_eye": Feature((42, 48), margin=0.5, outward=30.0),
    }


def _pixel_points(camera: Camera, depth: Tensor) -> Tensor:
    """World points [H, W, 3] that a single camera sees at its pixel centres, all at z-depth ``depth`` []."""
    u = torch.arange(camera.width, device=depth.device, dtype=depth.dtype) + 0.5
    v = torch.arange(camera.height, device=depth.device, dtype=depth.dtype) + 0.5
    pixels = torch.stack([*torch.meshgrid(u, v, indexing="xy"), torch.ones(len(v), len(u)).to(u)], dim=-1)
    local = depth * pixels @ torch.linalg.inv(camera.K).T
    return (local - camera.w2c[:3, 3]) @ camera.w2c[:3, :3]


def above_neck(landmarks: Tensor, code: HeadCode, camera: Camera) -> Tensor:
    """Pixels above the neck plane or inside the jaw's outline, as a boolean mask [1, H, W].

    Args:
        landmarks: world points [L, 3] whose first 66 or 68 are facial.
        code: pose and scale of this timestep, without leading dimensions.
        camera: one camera, without leading dimensions.
    """
    jaw = code.to_canonical(landmarks[JAW])
    lowered = jaw - jaw.new_tensor([0.0, CHIN_MARGIN, 0.0])
    rise = math.radians(NECK_RISE)
    upward = jaw.new_tensor([0.0, math.cos(rise), math.sin(rise)])
    neck = lowered[CHIN].clone()
    neck[2] = jaw[JAW_ANGLES, 2].mean()
    neck[1] += math.tan(rise) * (lowered[CHIN, 2] - neck[2])

    _, depth = camera.project(code.to_world(neck[None]))
    points = code.to_canonical(_pixel_points(camera, depth[0]).flatten(0, 1))
    above = ((points - neck) @ upward >= 0).view(1, camera.height, camera.width)
    outline, _ = camera.project(code.to_world(torch.cat([jaw, lowered])))
    return above | _inside_hull(outline, camera)


def _inside_hull(points: Tensor, camera: Camera) -> Tensor:
    """Pixels [1, H, W] whose centres lie in the convex hull of image points [N, 2]."""
    sides = torch.as_tensor(ConvexHull(points.cpu().double().numpy()).equations).to(points)
    u = torch.arange(camera.width, device=points.device) + 0.5
    v = torch.arange(camera.height, device=points.device) + 0.5
    inside = torch.ones(camera.height, camera.width, dtype=torch.bool, device=points.device)
    for across, down, offset in sides.tolist():
        inside &= (across * u)[None, :] + (down * v)[:, None] + offset <= 0
    return inside[None]


def _faces_camera(feature: Feature, center: Tensor, code: HeadCode, camera: Camera) -> bool:
    """Whether the camera sees a feature at the canonical point ``center`` [3] well enough to measure it."""
    towards_camera = code.to_canonical(camera.center[None])[0] - center
    angle = math.radians(feature.outward)
    outward = center.new_tensor([math.sin(angle), 0.0, math.cos(angle)])
    cosine = (torch.nn.functional.normalize(towards_camera, dim=0) @ outward).item()
    return cosine >= math.cos(math.radians(LARGEST_VIEW_ANGLE))


def feature_box(feature: Feature, landmarks: Tensor, code: HeadCode, camera: Camera) -> Tensor | None:
    """The feature's box in an image as a boolean mask [1, H, W], or None where it is not in view.

    Arguments are those of :func:`above_neck`.
    """
    points = landmarks[slice(*feature.landmarks)]
    pixels, depth = camera.project(points)
    center = code.to_canonical(points).mean(0)
    if (depth <= 0).any() or not _faces_camera(feature, center, code, camera):
        return None
    box = _upright_box(feature, pixels, camera)
    return box if box.any() else None


def _upright_box(feature: Feature, pixels: Tensor, camera: Camera) -> Tensor:
    """Pixels inside the box around the feature's projected landmarks [..., N, 2], as boolean masks [..., 1, H, W]."""
    low, high = pixels.amin(-2), pixels.amax(-2)
    margin = feature.margin * (high - low).amax(-1, keepdim=True)
    (left, top), (right, bottom) = ((edge[..., None]).unbind(-2) for edge in (low - margin, high + margin))
    u = torch.arange(camera.width, device=pixels.device) + 0.5
    v = torch.arange(camera.height, device=pixels.device) + 0.5
    box = ((v >= top) & (v <= bottom))[..., :, None] & ((u >= left) & (u <= right))[..., None, :]
    return box[..., None, :, :]


def feature_boxes(landmarks: Tensor, facial_landmarks: int, camera: Camera) -> Tensor:
    """Whether pixels lie in the box of any facial feature, as 0 or 1 [..., V, 1, H, W]; for weighting, not measuring.

    The boxes are those of :func:`feature_box`, also where the feature is turned away.

    Args:
        landmarks: world points [..., L, 3]; the first ``facial_landmarks`` are facial.
        facial_landmarks: 66 or 68.
        camera: cameras [..., V].
    """
    pixels, _ = camera.project(landmarks[..., None, :, :])
    features = facial_features(facial_landmarks).values()
    boxes = [_upright_box(feature, pixels[..., slice(*feature.landmarks), :], camera) for feature in features]
    return torch.stack(boxes).any(0).to(pixels.dtype)


def expression_boxes(
    landmarks: Tensor, facial_landmarks: int, code: HeadCode, camera: Camera
) -> dict[str, Tensor | None]:
    """Masks of ``"mouth"`` and of ``"eyes"`` (both eyes' boxes together) [1, H, W]; None where out of view.

    Args:
        landmarks: world points [L, 3]; the first ``facial_landmarks`` are facial.
        facial_landmarks: 66 or 68.
        code: pose and scale of this timestep, without leading dimensions.
        camera: one camera, without leading dimensions.
    """
    boxes = {
        name: feature_box(feature, landmarks, code, camera)
        for name, feature in facial_features(facial_landmarks).items()
    }
    eyes = [box for box in (boxes["right_eye"], boxes["left_eye"]) if box is not None]
    return {"mouth": boxes["mouth"], "eyes": torch.stack(eyes).any(0) if eyes else None}
