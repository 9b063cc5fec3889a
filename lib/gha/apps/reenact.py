"""The reenactment command: drives a trained avatar with a performance and writes a video and its frames."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from gha.avatars import (
    Avatar,
    FramePlayer,
    GaussianHead,
    MeshHead,
    PlaybackHead,
    PlaybackOptions,
    prepare_for_playback,
    render_avatar,
)
from gha.avatars.camera_path import OrbitConfig, front_view, orbit_path
from gha.avatars.driving import transfer_motion, transfer_relative
from gha.avatars.neck import Neck
from gha.capture import ExpressionSequence, open_capture, smooth_sequence
from gha.errors import InputError
from gha.faces.code import HeadCode
from gha.geometry import Camera
from gha.limits import at_least, between, limited, numbers, zero_or_at_least
from gha.training.avatar_io import Subject, load_avatar

from .config import save_config
from .drivers import Driver, driver_picture, nearest_frames, open_driver, picture_camera
from .output import output_folder
from .own_recording import own_recording
from .previews import make_row, save_png
from .training_run import choose_device
from .video import VideoWriter

logger = logging.getLogger(__name__)

PNG_THREADS = 4
"""Compressing a large PNG takes longer than rendering it."""

LONGEST_NECK = 1.5
"""Decimetres that nobody moves the head away from the body by."""


@limited(
    smoothing=at_least(0),
    fps=between(0, 1000),
    resolution=zero_or_at_least(16),
    background=numbers(3, 0, 1),
)
@dataclass
class ReenactmentConfig:
    """Driving a trained avatar by expressions from a capture or from a file."""

    run: str
    """Folder of a run's stage (runs/{name}/gaussian or runs/{name}/mesh), or of one of its checkpoints."""
    driver: str = ""
    """Capture folder, .npz or .csv with the performance; empty: the capture the run was trained on."""
    frames: str = ""
    """Part of the performance: "test", "train" (captures), "all", or a slice such as 0:100:2; empty: the held-out
    frames of a capture, all of a file."""
    output: str = ""
    """Folder for video.mp4 and frames/; empty: reenactment/{driver}_{camera}/ beside the run's checkpoints."""
    camera: str = "orbit"
    """"orbit" swings about the head, "front" looks straight at it, anything else is a camera of the capture."""
    camera_capture: str = ""
    """Capture the camera belongs to; empty: the one the run was trained on."""
    orbit: OrbitConfig = field(default_factory=OrbitConfig)
    """Path of "orbit"; distance, target and focal length of "front"."""
    head_pose: Literal["driver", "motion", "frozen"] = "driver"
    """"driver": where the driver's head was; "motion": moves as the driver's head does, about the avatar's reference
    pose; "frozen": stays in that pose."""
    pose_frame: str = ""
    """Frame of the run's capture that gives the reference pose; empty: the training frame nearest to the mean pose."""
    transfer: Literal["absolute", "relative"] = "absolute"
    """"relative" adds the driver's deviation from its neutral expression to the avatar's neutral expression."""
    fill_missing: bool = False
    """Set expressions that the driver lacks to zero instead of refusing."""
    scale: Literal["avatar", "driver"] = "avatar"
    """Whose head size the picture shows."""
    smoothing: float = 0.0
    """Standard deviation in seconds of a Gaussian window over expressions and poses; 0: none."""
    fps: float = 0.0
    """Frames per second of the video; the performance is resampled in time. 0: those of the driver."""
    resolution: int = 0
    """Longer side in pixels of the rendered pictures; 0: what the run was trained at."""
    background: list[float] = field(default_factory=lambda: [1.0, 1.0, 1.0])
    """RGB in [0, 1] behind the head."""
    side_by_side: bool = True
    """Show the driver's picture to the left of the avatar where the driver is a capture."""
    driver_camera: str = ""
    """Camera of the driver's pictures; empty: the same as camera if the driver has it, else the one most in front."""
    write_frames: bool = True
    """Also write every frame as PNG."""
    exact: bool = False
    """Compute as in training, in float32 throughout; off: a form of the avatar that is faster, in half precision on a
    GPU, whose pictures differ by less than can be seen."""
    compile: Literal["off", "default", "max-autotune-no-cudagraphs"] = "off"
    """Let PyTorch compile that form before the first picture: seconds ("default") to minutes, worth it for thousands
    of pictures; what was compiled once is kept on disk. Needs a C compiler."""
    device: str = "auto"
    """"cpu", "cuda", "cuda:1" and so on, or "auto": CUDA where there is a device."""


def reenact(config: ReenactmentConfig) -> Path:
    """Drive an avatar; returns the folder with ``video.mp4``, ``frames/`` and the resolved ``config.yaml``."""
    if len(config.background) != 3:
        raise InputError(f"background: found {config.background}, expected three numbers in [0, 1]")
    device = choose_device(config.device)
    avatar, info = load_avatar(config.run, device)
    driver = open_driver(own_recording(config.driver, info.subject, "driver"), config.frames)
    if config.driver_camera and (driver.capture is None or config.driver_camera not in driver.capture.camera_ids):
        raise InputError(f"driver_camera: {driver.name} has no camera {config.driver_camera!r}")
    reference = reference_code(config, info.subject)
    sequence = prepare_sequence(config, driver, info.subject)
    codes = driving_codes(config, driver, sequence, reference)
    if isinstance(avatar, MeshHead | GaussianHead) and avatar.fields.neck:
        warn_of_stretched_neck(avatar.fields.neck, codes.to(device))
    camera = camera_path(config, info.subject, len(sequence), reference, avatar.upscale)

    output = Path(config.output) if config.output else default_output(config, driver)
    output.mkdir(parents=True, exist_ok=True)
    save_config(config, output / "config.yaml")
    background = torch.tensor(config.background)
    if isinstance(avatar, GaussianHead) and not config.exact:
        avatar = prepare_for_playback(avatar, PlaybackOptions.fast(device, config.compile))
    pictures = render_frames(avatar, codes.to(device), camera.to(device), background.to(device))
    write_pictures(
        _beside_driver(config, driver, sequence, pictures, background), output, sequence, config.write_frames
    )
    logger.info("%d frames at %g per second are in %s", len(sequence), sequence.fps, output / "video.mp4")
    return output


def default_output(config: ReenactmentConfig, driver: Driver) -> Path:
    """The folder of results where none is named."""
    return output_folder(config.run, "reenactment") / f"{driver.name}_{config.camera}"


def reference_code(config: ReenactmentConfig, subject: Subject) -> HeadCode:
    """Pose and scale the avatar has in a training frame, without leading dimensions."""
    if not config.pose_frame:
        return subject.code()
    code = open_capture(subject.capture).codes([config.pose_frame])[0]
    return replace(subject.code(), pose=code.pose)


def prepare_sequence(config: ReenactmentConfig, driver: Driver, subject: Subject) -> ExpressionSequence:
    """The performance in the avatar's expressions, resampled and smoothed."""
    sequence = driver.sequence
    if config.fps:
        sequence = sequence.resampled(config.fps)
    sequence = smooth_sequence(sequence, config.smoothing)
    sequence = _in_names_of(subject, sequence, driver, config)
    if config.transfer == "relative":
        rest = _in_names_of(subject, replace(driver.sequence[:1], expression=driver.neutral[None]), driver, config)
        driver_neutral, avatar_neutral = rest.expression[0], torch.tensor(subject.neutral_expression)
        expression = transfer_relative(sequence.expression, driver_neutral, avatar_neutral)
        sequence = replace(sequence, expression=expression)
    return sequence


def _in_names_of(
    subject: Subject, sequence: ExpressionSequence, driver: Driver, config: ReenactmentConfig
) -> ExpressionSequence:
    """A driver's sequence in the expressions of an avatar."""
    try:
        return sequence.with_names(subject.expression_names, config.fill_missing)
    except InputError as error:
        raise InputError(f"{driver.name}: {error} (fill_missing=true)") from error


def driving_codes(
    config: ReenactmentConfig, driver: Driver, sequence: ExpressionSequence, reference: HeadCode
) -> HeadCode:
    """Codes [T] with the poses and the scale that the configuration asks for."""
    if config.scale == "driver" and sequence.scale is None:
        raise InputError(f"scale=driver: {driver.name} holds no scale; use scale=avatar")
    scale = sequence.scale if config.scale == "driver" else reference.scale.expand(len(sequence), 1)
    policy = config.head_pose
    if policy != "frozen" and not driver.has_head_motion:
        logger.info("%s holds no head pose: the head stays in the avatar's reference pose", driver.name)
        policy = "frozen"
    if policy == "frozen":
        pose = reference.pose.expand(len(sequence), 6)
    elif policy == "motion":
        relative_scale = 1.0 if sequence.scale is None else (scale.mean() / sequence.scale.mean()).item()
        pose = transfer_motion(sequence.pose, reference.pose, relative_scale)
    else:
        pose = sequence.pose
    return HeadCode(sequence.expression, pose, scale)


@torch.no_grad()
def warn_of_stretched_neck(neck: Neck, codes: HeadCode) -> None:
    """Say so where the driver's head leaves the avatar's body, which stays where it was trained, far behind."""
    farthest = neck.stretch(codes).max().item()
    if farthest > LONGEST_NECK:
        logger.warning(
            "the driver's head is up to %.1f dm away from where the avatar's body is, and the neck stretches; "
            "head_pose=motion moves the head about its own place instead",
            farthest,
        )


def camera_path(config: ReenactmentConfig, subject: Subject, frames: int, reference: HeadCode, upscale: int) -> Camera:
    """Cameras [T], sized to multiples of ``upscale`` pixels."""
    size = config.resolution or max(subject.resolution)
    if config.camera in ("orbit", "front"):
        path = orbit_path if config.camera == "orbit" else front_view
        height, width = (size * side // max(subject.resolution) // upscale * upscale for side in subject.resolution)
        return path(frames, config.orbit, reference, width, height)
    capture = open_capture(own_recording(config.camera_capture, subject, "camera_capture"))
    if config.camera not in capture.camera_ids:
        raise InputError(
            f"camera: found {config.camera!r}, expected orbit, front or one of {', '.join(capture.camera_ids)}"
        )
    height, width = (side // upscale * upscale for side in capture.output_size([config.camera], size))
    fixed = capture.camera(config.camera).resize(width, height)
    return Camera(fixed.w2c.expand(frames, 4, 4), fixed.K.expand(frames, 3, 3), width, height)


def render_frames(avatar: Avatar, codes: HeadCode, camera: Camera, background: Tensor) -> Iterator[Tensor]:
    """Pictures [3, H, W] of an avatar in codes [T] from cameras [T] over a background [3]."""
    if isinstance(avatar, PlaybackHead):
        draw = FramePlayer(avatar, camera.width, camera.height)
    else:
        draw = partial(render_avatar, avatar)
    for frame in range(len(codes.pose)):
        yield draw(codes[frame], camera[frame : frame + 1], background).rgb[0]


def _beside_driver(
    config: ReenactmentConfig,
    driver: Driver,
    sequence: ExpressionSequence,
    pictures: Iterator[Tensor],
    background: Tensor,
) -> Iterator[np.ndarray]:
    """Frames as uint8 [H, W, 3]: the avatar, to the right of the driver where that is wanted and possible."""
    camera = picture_camera(driver, config.driver_camera or config.camera) if config.side_by_side else None
    for picture, index in zip(pictures, nearest_frames(driver, sequence), strict=True):
        recorded = [driver_picture(driver, index, camera, picture.shape[-2], background)] if camera else []
        yield make_row([*recorded, picture])


def write_pictures(
    pictures: Iterator[np.ndarray], folder: Path, sequence: ExpressionSequence, write_frames: bool
) -> None:
    """Write ``video.mp4`` and, where asked for, ``frames/000000.png`` and so on; frames of a longer past run go."""
    frames = folder / "frames"
    for stale in frames.glob("[0-9]" * 6 + ".png"):
        stale.unlink()
    jobs: deque[Future[None]] = deque()
    with (
        VideoWriter(folder / "video.mp4", sequence.fps) as video,
        ThreadPoolExecutor(PNG_THREADS) as pool,
        ThreadPoolExecutor(1) as encoder,  # one thread, so that frames keep their order
    ):
        for index, picture in enumerate(tqdm(pictures, total=len(sequence), desc="reenactment", unit="frame")):
            jobs.append(encoder.submit(video.write, picture))
            if write_frames:
                jobs.append(pool.submit(save_png, frames / f"{index:06d}.png", picture))
            while len(jobs) > 2 * PNG_THREADS:
                jobs.popleft().result()
        for job in jobs:
            job.result()
