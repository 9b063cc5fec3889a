"""What each figure of an evaluation means, in words that travel with the figures."""

from __future__ import annotations

import platform
from collections.abc import Sequence

import torch

from gha import __version__

from . import regions
from .evaluation import Measurement

COMPOSITION = (
    "truth = image * mask + (1 - mask) * background, image in partly covered pixels being the colour of the subject "
    "alone where the capture has pictures of the empty stage; the prediction is composited over the same colour with "
    "its own alpha and clamped to [0, 1]; pixels that did not come from the sensor (visible <= 0.5) are left out "
    "everywhere"
)
AVERAGE = "every figure is computed per image, then averaged over the images that have it ('images' says how many)"

SPLITS = {
    "held_out_frames": "test frames seen by training cameras",
    "held_out_cameras": "training frames seen by test cameras",
    "held_out_both": "test frames seen by test cameras",
}

MEASURES = {
    "*_psnr": "-10 log10 of the squared error averaged over the region's pixels and 3 channels, dB, at most 100",
    "*_gain_aligned_psnr": "PSNR after one RGB gain per image fitted to the truth by least squares inside the region",
    "*_ssim": "11x11 Gaussian window, sigma 1.5, K1 0.01, K2 0.03, data range 1, biased covariances, mean over "
    "channels and over window centres in the region; windows stay inside the image but may reach out of the region",
    "*_lpips_{backbone}": "LPIPS 0.1 with the named backbone on the whole image, everything outside the region set to "
    "the background in both pictures; lower is better",
    "alpha_iou": "intersection over union of alpha > 0.5 and mask > 0.5",
    "{box}_driven_psnr": "PSNR inside the box, driven by the tracked expression",
    "{box}_frozen_psnr": "the same avatar and pose with the mean expression of the training frames: a statue",
    "{box}_driven_over_frozen": "difference of the two, dB",
    "{region}_bicubic_psnr": "PSNR of the picture before the decoder, enlarged bicubically, both composited",
    "decoded_over_bicubic": "PSNR of the decoded picture minus that, dB, over the head (foreground without landmarks)",
    "surface_*_mm": "distance of tracked face vertices to the nearest point of the posed mesh, millimetres of the "
    "face model (world distance / head scale * 100); median, mean and 90 % quantile per frame, averaged over frames",
}


def describe_regions(facial_landmarks: int) -> dict[str, str]:
    """Definition of every region measured on a capture with so many facial landmarks (0: not a face)."""
    described = {"whole": "the whole image", "foreground": "mask > 0.5"}
    if not facial_landmarks:
        return described
    described["head"] = (
        f"foreground above the plane that lies {regions.CHIN_MARGIN} dm below chin landmark {regions.CHIN}, contains "
        f"the left-right axis and rises {regions.NECK_RISE:g} degrees to the back, pixels tested at the depth of that "
        f"plane under the jaw angles (landmarks {regions.JAW_ANGLES}); or inside the convex outline of the projected "
        f"jaw landmarks {regions.JAW.start}..{regions.JAW.stop - 1} and the same {regions.CHIN_MARGIN} dm lower"
    )
    features = regions.facial_features(facial_landmarks)
    for box, names in (("mouth", ("mouth",)), ("eyes", ("right_eye", "left_eye"))):
        spans = " and ".join(f"{features[n].landmarks[0]}..{features[n].landmarks[1] - 1}" for n in names)
        described[box] = (
            f"upright box around projected landmarks {spans}, grown on each side by {features[names[0]].margin:g} of "
            f"its longer side, where the part faces the camera within {regions.LARGEST_VIEW_ANGLE:g} degrees"
        )
    return described


def describe_device(device: torch.device) -> str:
    """Name of the device for people."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"


def describe_protocol(measurement: Measurement, resolution: Sequence[int]) -> dict:
    """How figures were measured: JSON types only.

    Args:
        measurement: the settings.
        resolution: height and width of the images.
    """
    perceptual = measurement.perceptual
    return {
        "resolution": list(resolution),
        "background": measurement.background.tolist(),
        "composition": COMPOSITION,
        "regions": describe_regions(measurement.facial_landmarks),
        "measures": MEASURES,
        "average": AVERAGE,
        "splits": SPLITS,
        "perceptual": perceptual.name
        if perceptual is not None
        else "off: not asked for, or lpips or its weights are missing",
        "device": describe_device(measurement.background.device),
        "torch": torch.__version__,
        "gha": __version__,
    }
