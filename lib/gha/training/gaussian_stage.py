"""Stage 2: the losses and learning rates of the Gaussian head (Gaussian Head Avatar, CVPR 2024, section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from gha.avatars.gaussian_head import GaussianHead
from gha.avatars.rendering import coarse_camera, composite, render_posed
from gha.capture.frame import Frame
from gha.rendering import never_waits

from .gaussian_config import GaussianTrainingConfig
from .losses import visible_l1, visible_squared_error
from .metrics import ssim_map
from .optimizers import RowAdam, adam
from .perceptual import PerceptualDistance
from .pictures import picture_row
from .refinement import CameraGain, PoseRefinement
from .regions import feature_boxes
from .sample import Sample, sent
from .windows import Window, crop_views, sample_window

_RENEW_EVERY = 500
"""Steps for which the Gaussians stay as they were sorted."""

FEWEST_FACIAL_LANDMARKS = 66  # they come first among the landmarks; some captures have 68


@dataclass(frozen=True)
class Prediction:
    """What the avatar shows of a batch of views, before compositing.

    Attributes:
        color, alpha: decoded, premultiplied [B, V, 3, H, W] and [B, V, 1, H, W].
        coarse_color, coarse_alpha: before decoding, at a quarter of the size.
    """

    color: Tensor
    alpha: Tensor
    coarse_color: Tensor
    coarse_alpha: Tensor


class GaussianStage:
    """Stage 2 for the training loop.

    Args:
        head: the Gaussian head, on its device.
        config: learning rates, augmentation, loss weights.
        poses: per-frame pose corrections, or None.
        gain: per-camera colour gain, or None.
        perceptual: LPIPS, or None to train without.
        description: metadata from which the head can be built again.
        seed: of windows and backgrounds.
    """

    method = "gaussian_head"

    def __init__(
        self,
        head: GaussianHead,
        config: GaussianTrainingConfig,
        poses: PoseRefinement | None,
        gain: CameraGain | None,
        perceptual: PerceptualDistance | None,
        description: dict,
        seed: int,
    ) -> None:
        self.head, self.config, self.poses, self.gain, self.perceptual = head, config, poses, gain, perceptual
        self.description, self.seed = description, seed
        self.finished_steps = 0
        modules: dict[str, nn.Module | None] = {"avatar": head, "pose_refinement": poses, "camera_gain": gain}
        self.modules = {name: module for name, module in modules.items() if module is not None}
        self.optimizers: dict[str, torch.optim.Optimizer] = {"adam": adam(self._groups(), head.means.device, eps=1e-15)}
        if poses is not None:
            # Adam's momentum would move every row at every step; only the frames of the batch may move.
            self.optimizers["poses"] = RowAdam(poses.parameters(), lr=config.pose_learning_rate)

    def _groups(self) -> list[dict]:
        head, config = self.head, self.config
        networks = [head.fields, head.expression_attributes, head.pose_attributes]
        rates = [
            (config.learning_rate, [p for network in networks for p in network.parameters()]),
            (config.decoder_learning_rate, list(head.decoder.parameters())),
            (config.means_learning_rate, [head.means]),
            (config.features_learning_rate, [head.features]),
            (config.quats_learning_rate, [head.quats]),
            (config.scales_learning_rate, [head.log_scales]),
            (config.opacities_learning_rate, [head.opacity_logits]),
        ]
        if head.latents is not None:
            rates.append((config.latents_learning_rate, [head.latents]))
        if head.neutral_landmarks.requires_grad:
            rates.append((config.means_learning_rate, [head.neutral_landmarks]))
        if self.gain is not None:
            rates.append((config.learning_rate, list(self.gain.parameters())))
        return [{"params": parameters, "lr": rate} for rate, parameters in rates]

    @property
    def replayable(self) -> bool:
        """If Gaussians are drawn without the host looking at anything in between."""
        return never_waits(self.head.means.device)

    def renews(self, update: int) -> bool:
        """Whether Gaussians are sorted again."""
        return update % _RENEW_EVERY == 0

    @torch.no_grad()
    def renew(self, anew: bool) -> None:
        """Sort the Gaussians by the networks that move them, with what the optimiser keeps for each."""
        order = self.head.arrange()
        for parameter in self.head.per_gaussian().values():
            for moment in self.optimizers["adam"].state.get(parameter, {}).values():
                if isinstance(moment, Tensor) and moment.shape == parameter.shape:
                    moment.copy_(moment[order])

    def draw(self, frame: Frame, step: int, device: torch.device) -> Sample:
        """Windows of a frame [B, V] of the host, and a background; they depend on seed and step only."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        windows = [self._window(frame, view, generator) for view in range(frame.image.shape[1])]
        view = crop_views(frame.sent(device), windows)
        corner = self._perceptual_corner(view, generator) if self._uses_perceptual else None
        rows = {
            "pose_rows": self.poses.rows_of(frame.frame_id) if self.poses is not None else None,
            "gain_rows": self.gain.rows_of(frame.camera_ids) if self.gain is not None else None,
        }
        drawn = rows | {"background": self._background(frame, generator), "perceptual_corner": corner}
        return Sample(view, **{name: None if x is None else sent(x, device) for name, x in drawn.items()})

    def losses(self, sample: Sample) -> dict[str, Tensor]:
        """Weighted terms for a sample of views [B, V]."""
        view, background = sample.frame, sample.background
        predicted = self.predict(sample)
        truth = composite(view.image * view.mask, view.mask, background)
        fine = composite(predicted.color, predicted.alpha, background)
        coarse = composite(predicted.coarse_color, predicted.coarse_alpha, background)
        counted = self._emphasis(view)
        coarse_truth, coarse_mask, coarse_visible, coarse_counted = (
            _shrink(x, self.head.upscale) for x in (truth, view.mask, view.visible, counted)
        )

        weights = self.config.loss
        terms = {
            "fine": weights.fine * visible_l1(fine, truth, counted),
            "coarse": weights.coarse * visible_l1(coarse, coarse_truth, coarse_counted),
        }
        if weights.fine_squared:
            terms["fine_squared"] = weights.fine_squared * visible_squared_error(fine, truth, counted)
        if weights.alpha:
            alpha_error = visible_l1(predicted.alpha, view.mask, view.visible)
            coarse_alpha_error = visible_l1(predicted.coarse_alpha, coarse_mask, coarse_visible)
            terms["alpha"] = weights.alpha * (alpha_error + coarse_alpha_error)
        if weights.landmarks:
            tracked = view.code.to_canonical(view.landmarks)
            terms["landmarks"] = weights.landmarks * (self.head.landmarks(view.code) - tracked).square().mean()
        if weights.ssim:
            similarity = ssim_map((fine * view.visible).flatten(0, 1), (truth * view.visible).flatten(0, 1))
            terms["ssim"] = weights.ssim * (1 - similarity.mean())
        if self._uses_perceptual:
            images = [x.flatten(0, 1) for x in (fine, truth, view.visible)]
            terms["perceptual"] = weights.perceptual * self._perceptual(*images, sample.perceptual_corner)
        return terms

    def predict(self, sample: Sample) -> Prediction:
        """Pose, splat and decode the views of a sample at the size of its images."""
        view = sample.frame
        code = self.poses(view.code, sample.pose_rows) if self.poses is not None else view.code
        features, alpha = render_posed(self.head(code), coarse_camera(view.camera, self.head.upscale))
        decoded = self._decode(features.flatten(0, 1), alpha.flatten(0, 1))
        color, fine_alpha = (x.unflatten(0, alpha.shape[:2]) for x in decoded)
        coarse_color = features[:, :, :3]
        if self.gain is not None:
            color, coarse_color = (self.gain(x, sample.gain_rows) for x in (color, coarse_color))
        return Prediction(color, fine_alpha, coarse_color, alpha)

    def _decode(self, features: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """Decode splats [M, C, h, w] and alpha [M, 1, h, w]."""
        with self._convolving(features.device):
            color, fine_alpha = self.head.decode(features, alpha)
        return color.float(), fine_alpha.float()

    def _convolving(self, device: torch.device) -> torch.autocast:
        """Convolutions within may be in half precision on a GPU."""
        half = device.type == "cuda" and self.config.convolution_precision == "bfloat16"
        # Casts are not kept: in a recording they would be those of the weights it was made with.
        return torch.autocast(device.type, torch.bfloat16, enabled=half, cache_enabled=False)

    def _window(self, frame: Frame, view: int, generator: torch.Generator) -> Window:
        size = tuple(frame.image.shape[-2:])
        window = (self.config.window, self.config.window) if self.config.window else size
        about = None
        if self.config.window and torch.rand((), generator=generator) < self.config.face_windows:
            about = _random_landmark(frame, view, generator)
        return sample_window(generator, size, window, tuple(self.config.zoom), about)

    def _emphasis(self, frame: Frame) -> Tensor:
        """How much colour errors count [B, V, 1, H, W]: where they are visible, and more around mouth and eyes."""
        if not self.config.loss.features:
            return frame.visible
        boxes = feature_boxes(frame.landmarks, FEWEST_FACIAL_LANDMARKS, frame.camera)
        return frame.visible * (1 + self.config.loss.features * boxes)

    def _background(self, frame: Frame, generator: torch.Generator) -> Tensor:
        shape = (*frame.image.shape[:2], 3, 1, 1)
        return torch.ones(shape) if self.config.background == "white" else torch.rand(shape, generator=generator)

    @property
    def _uses_perceptual(self) -> bool:
        return self.perceptual is not None and self.config.loss.perceptual > 0

    def _perceptual_size(self, images: Tensor) -> list[int]:
        return [min(self.config.loss.perceptual_size, side) for side in images.shape[-2:]]

    def _perceptual_corner(self, view: Frame, generator: torch.Generator) -> Tensor:
        """First row and column [2] of the part of the views that the perceptual term sees."""
        sides = zip(view.image.shape[-2:], self._perceptual_size(view.image), strict=True)
        return torch.cat([torch.randint(0, full - part + 1, (1,), generator=generator) for full, part in sides])

    def _perceptual(self, fine: Tensor, truth: Tensor, visible: Tensor, corner: Tensor) -> Tensor:
        """LPIPS of the visible in parts of images [M, 3, H, W] that begin at a corner [2]."""
        rows, columns = (
            start + torch.arange(size, device=corner.device)
            for start, size in zip(corner, self._perceptual_size(fine), strict=True)
        )
        fine, truth, visible = (x.index_select(-2, rows).index_select(-1, columns) for x in (fine, truth, visible))
        with self._convolving(fine.device):
            distance = self.perceptual(*((x * visible).clamp(0, 1) for x in (fine, truth)))
        return distance.float().mean()

    @torch.no_grad()
    def preview(self, frame: Frame) -> np.ndarray:
        """Truth, enlarged coarse colour, decoded colour and absolute error of the first view, over white."""
        rows = self.poses.rows_of(frame.frame_id).to(frame.image.device) if self.poses is not None else None
        gains = self.gain.rows_of(frame.camera_ids).to(frame.image.device) if self.gain is not None else None
        predicted = self.predict(Sample(frame, pose_rows=rows, gain_rows=gains))
        fine = composite(predicted.color, predicted.alpha, 1.0)[0, 0]
        coarse = composite(predicted.coarse_color, predicted.coarse_alpha, 1.0)[0, :1]
        coarse = interpolate(coarse, fine.shape[-2:], mode="bicubic", align_corners=False)[0]
        truth = composite(frame.image * frame.mask, frame.mask, 1.0)[0, 0]
        return picture_row([truth, coarse, fine, (fine - truth).abs()])

    def metadata(self) -> dict:
        """Everything but tensors that rebuilds the head."""
        return self.description


def _random_landmark(frame: Frame, view: int, generator: torch.Generator) -> tuple[float, float]:
    """Pixel (y, x) of one of the facial landmarks in a view."""
    chosen = torch.randint(FEWEST_FACIAL_LANDMARKS, (1,), generator=generator)
    pixels, _ = frame.camera.project(frame.landmarks[:, None, chosen])
    x, y = pixels[0, view, 0].tolist()
    return y, x


def _shrink(images: Tensor, factor: int) -> Tensor:
    """Average blocks of [B, V, C, H, W]: the coarse truth without aliasing."""
    return avg_pool2d(images.flatten(0, 1), factor).unflatten(0, images.shape[:2])
