"""How good an avatar is on views it has not been trained on: one function measures one view of any avatar.

Truth is ``image * mask + (1 - mask) * background``; the avatar is composited over the same colour with its own alpha.
Figures are taken over regions (see :mod:`gha.training.regions`): ``whole`` image, ``foreground`` (mask > 0.5) and
``head`` (foreground above the neck plane), always without pixels that did not come from the sensor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from gha.avatars.posed import Avatar
from gha.avatars.rendering import AvatarImage, render_avatar
from gha.capture.frame import Frame
from gha.capture.info import Split
from gha.capture.reader import Capture
from gha.faces.code import HeadCode

from .metrics import gain_aligned_psnr, mask_iou, mean_similarity, psnr, ssim_map
from .perceptual import PerceptualDistance
from .refinement import PoseRefinement
from .regions import above_neck, expression_boxes


@dataclass(frozen=True)
class Candidate:
    """What is evaluated.

    Attributes:
        avatar: any avatar, in evaluation mode, on its device.
        frozen_expression: expression [E] that turns the avatar into a statue: the mean of the training frames.
        poses: learned corrections of the tracked poses of training frames, or None.
    """

    avatar: Avatar
    frozen_expression: Tensor
    poses: PoseRefinement | None = None

    def code(self, frame: Frame) -> HeadCode:
        """The tracked code of a frame, with the pose correction that belongs to it if it was trained on."""
        if self.poses is None:
            return frame.code
        batched = HeadCode(frame.code.expression[None], frame.code.pose[None], frame.code.scale[None])
        rows = self.poses.rows_of([frame.frame_id]).to(frame.code.pose.device)
        return self.poses(batched, rows)[0]


@dataclass(frozen=True)
class Measurement:
    """How a view is measured.

    Attributes:
        size: longer side of the images in pixels.
        background: RGB [3] behind truth and prediction, on the avatar's device.
        facial_landmarks: 66 or 68; 0 where landmarks are not those of a face: no head, mouth or eye regions then.
        perceptual: LPIPS, or None.
    """

    size: int
    background: Tensor
    facial_landmarks: int
    perceptual: PerceptualDistance | None = None


@dataclass(frozen=True)
class View:
    """One picture of a capture."""

    frame_id: str
    camera_id: str


@dataclass(frozen=True)
class ViewResult:
    """One measured view.

    Attributes:
        view: which one.
        measures: figures by name; a figure is absent where its region is.
        truth: [3, H, W], composited.
        prediction: [3, H, W], composited, in [0, 1].
        frozen: the avatar with frozen expression [3, H, W], or None where no expression box is in view.
    """

    view: View
    measures: dict[str, float]
    truth: Tensor
    prediction: Tensor
    frozen: Tensor | None


def held_out_splits(split: Split) -> dict[str, tuple[Sequence[str], Sequence[str]]]:
    """Frames and cameras of each way of holding out that a capture offers.

    ``held_out_frames``: test frames x training cameras; ``held_out_cameras``: training frames x test cameras;
    ``held_out_both``: test frames x test cameras.
    """
    candidates = {
        "held_out_frames": (split.test_frames, split.train_cameras),
        "held_out_cameras": (split.train_frames, split.test_cameras),
        "held_out_both": (split.test_frames, split.test_cameras),
    }
    return {name: ids for name, ids in candidates.items() if all(ids)}


def spread_views(frame_ids: Sequence[str], camera_ids: Sequence[str], limit: int = 0) -> list[View]:
    """All pairs of frame and camera in frame order, or ``limit`` different ones spread evenly over both."""
    frames, cameras = len(frame_ids), len(camera_ids)
    count = min(limit, frames * cameras) if limit else frames * cameras
    # Consecutive views share a frame at most ceil(count / frames) <= cameras times, so no pair occurs twice.
    return [View(frame_ids[i * frames // count], camera_ids[i % cameras]) for i in range(count)]


def evaluate_views(
    candidate: Candidate, capture: Capture, views: Sequence[View], measurement: Measurement, workers: int = 4
) -> Iterator[ViewResult]:
    """Measure views one after the other while ``workers`` threads read ahead."""
    pending: deque[Future[Frame]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="views") as pool:
        for view in views:
            pending.append(pool.submit(read_view, capture, view, measurement.size, candidate.avatar.upscale))
            if len(pending) > workers:
                yield evaluate_frame(candidate, pending.popleft().result(), measurement)
        for frame in pending:
            yield evaluate_frame(candidate, frame.result(), measurement)


def read_view(capture: Capture, view: View, size: int, factor: int) -> Frame:
    """One frame seen by one camera, its longer side ``size``, its sides multiples of ``factor``."""
    return capture.read(view.frame_id, [view.camera_id], divisible_size(capture, view.camera_id, size, factor))


@torch.no_grad()
def evaluate_frame(candidate: Candidate, frame: Frame, measurement: Measurement) -> ViewResult:
    """Render the one view of a frame and measure it.

    The figures are those of :func:`measure_regions`, :func:`measure_decoder` and :func:`measure_expression`, and
    ``alpha_iou``.
    """
    background = measurement.background
    frame = frame.to(background.device)
    code = candidate.code(frame)
    image = render_avatar(candidate.avatar, code, frame.camera, background)
    prediction = image.rgb[0].clamp(0, 1)
    truth = (frame.image * frame.mask + (1 - frame.mask) * background[:, None, None])[0]
    regions = find_regions(frame, measurement.facial_landmarks)

    measures = measure_regions(prediction, truth, regions, measurement)
    measures["alpha_iou"] = mask_iou(image.alpha[0] * regions["whole"], frame.mask[0] * regions["whole"]).item()
    measures |= measure_decoder(image, truth, regions)
    boxes = find_boxes(frame, measurement.facial_landmarks)
    frozen = None
    if boxes:
        still = replace(code, expression=candidate.frozen_expression.to(background))
        frozen = render_avatar(candidate.avatar, still, frame.camera, background).rgb[0].clamp(0, 1)
        measures |= measure_expression(prediction, frozen, truth, boxes)
    return ViewResult(View(frame.frame_id, frame.camera_ids[0]), measures, truth, prediction, frozen)


def divisible_size(capture: Capture, camera_id: str, size: int, factor: int) -> tuple[int, int]:
    """Height and width of a camera's images with longer side ``size``, rounded down to multiples of ``factor``."""
    height, width = capture.output_size([camera_id], size)
    return height // factor * factor, width // factor * factor


def find_regions(frame: Frame, facial_landmarks: int) -> dict[str, Tensor]:
    """Boolean masks [1, H, W] of ``whole``, ``foreground`` and, for a face, ``head`` in the one view of a frame."""
    visible = frame.visible[0] > 0.5
    regions = {"whole": visible, "foreground": visible & (frame.mask[0] > 0.5)}
    if facial_landmarks:
        above = above_neck(frame.landmarks, frame.code, frame.camera[0])
        regions["head"] = regions["foreground"] & above
    return regions


def find_boxes(frame: Frame, facial_landmarks: int) -> dict[str, Tensor]:
    """Boolean masks [1, H, W] of ``mouth`` and ``eyes`` where the one view of a frame shows them."""
    if not facial_landmarks:
        return {}
    visible = frame.visible[0] > 0.5
    boxes = expression_boxes(frame.landmarks, facial_landmarks, frame.code, frame.camera[0])
    return {name: box & visible for name, box in boxes.items() if box is not None and (box & visible).any()}


def measure_regions(
    prediction: Tensor, truth: Tensor, regions: dict[str, Tensor], measurement: Measurement
) -> dict[str, float]:
    """PSNR, gain-aligned PSNR, SSIM and LPIPS of pictures [3, H, W] over each region that has pixels."""
    measures, similarities = {}, ssim_map(prediction, truth)
    for name, region in regions.items():
        if not region.any():
            continue
        measures[f"{name}_psnr"] = psnr(prediction, truth, region).item()
        if name != "whole":
            measures[f"{name}_gain_aligned_psnr"] = gain_aligned_psnr(prediction, truth, region).item()
        similarity = mean_similarity(similarities, region)
        if similarity.isfinite():
            measures[f"{name}_ssim"] = similarity.item()
        if measurement.perceptual is not None:
            outside = measurement.background[:, None, None]
            pair = (torch.where(region, picture, outside)[None] for picture in (prediction, truth))
            measures[f"{name}_{measurement.perceptual.name}"] = measurement.perceptual(*pair).item()
    return measures


def measure_decoder(image: AvatarImage, truth: Tensor, regions: dict[str, Tensor]) -> dict[str, float]:
    """The decoder against its own input enlarged bicubically, both composited, over the narrowest region."""
    name = "head" if "head" in regions else "foreground"
    region, size = regions[name], image.rgb.shape[-2:]
    if image.coarse_rgb.shape[-2:] == size or not region.any():
        return {}
    bicubic = interpolate(image.coarse_rgb, size, mode="bicubic", align_corners=False)[0].clamp(0, 1)
    decoded, enlarged = (psnr(x, truth, region).item() for x in (image.rgb[0].clamp(0, 1), bicubic))
    return {f"{name}_bicubic_psnr": enlarged, "decoded_over_bicubic": decoded - enlarged}


def measure_expression(prediction: Tensor, frozen: Tensor, truth: Tensor, boxes: dict[str, Tensor]) -> dict[str, float]:
    """What tells an avatar from a statue: driven and frozen PSNR of pictures [3, H, W] in each box, and the gain."""
    measures = {}
    for name, box in boxes.items():
        driven_psnr, frozen_psnr = (psnr(picture, truth, box).item() for picture in (prediction, frozen))
        measures[f"{name}_driven_psnr"] = driven_psnr
        measures[f"{name}_frozen_psnr"] = frozen_psnr
        measures[f"{name}_driven_over_frozen"] = driven_psnr - frozen_psnr
    return measures


def average(measures: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Mean of every figure over the images that have it, and how many those are."""
    names = list(dict.fromkeys(name for entry in measures for name in entry))
    columns = {name: [entry[name] for entry in measures if name in entry] for name in names}
    return {name: {"mean": sum(values) / len(values), "images": len(values)} for name, values in columns.items()}
