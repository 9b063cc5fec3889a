"""Alpha from a picture and a picture of the empty stage, without any learnt weights.

Behind the subject the picture is the plate times the shade of whatever shadows fall on it, plus noise; both are
estimated. What does not fit is the subject: evidence per pixel, from the misfit and from the colours of subject and
background, is smoothed along the edges of the picture and cut at zero. Near the outline, where hair is, alpha follows
from how far each pixel is on the way from the plate to the colour of the subject nearby.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from gha.capture.photo_masks import grown
from gha.errors import InputError

from .guided_filter import box_mean, guided_filter

NOISE_BINS = 6
SMOOTHING = 0.008  # radius of the filter of the evidence
CERTAIN = 8.0  # log odds
GAMMA = 1.5  # encoded values to what is mixed: between light, which adds up, and bytes, in which noise is even
LEAST_NOISE = 2 / 255  # compression rings around outlines, however quiet the sensor


@dataclass(frozen=True)
class PlateMatting:
    """How alpha is found. Lengths are shares of the longer side of the picture.

    Attributes:
        coarse_size: longer side in pixels of the small picture in which the subject is found.
        darkest: the darkest shadow, as a factor on sRGB values; darker things are no shadows.
        brightest: how much brighter than the plate the background may be.
        shade_radius: shadows do not change much within it.
        shade_step: share by which the shade of neighbouring background may differ.
        rounds: how often subject and shade are found anew from each other.
        reach_out: how far beyond the outline hair may stand.
        reach_in: how far inside the outline the background may shine through.
        colour_radius: from how far away the colour of the subject is taken.
    """

    coarse_size: int = 512
    darkest: float = 0.55
    brightest: float = 1.12
    shade_radius: float = 0.02
    shade_step: float = 0.03
    rounds: int = 6
    reach_out: float = 0.025
    reach_in: float = 0.006
    colour_radius: float = 0.012


def matte_from_plate(
    picture: np.ndarray, plate: np.ndarray, visible: np.ndarray | None = None, settings: PlateMatting | None = None
) -> np.ndarray:
    """Alpha uint8 [H, W] of the largest thing that is in the picture and not on the plate.

    Args:
        picture: sRGB uint8 [H, W, 3].
        plate: the same view without the subject.
        visible: uint8 [H, W], 255 where pixels were recorded; alpha is 0 elsewhere.
        settings: how.

    Raises:
        InputError: the sizes differ, or the picture shows nothing that the plate does not.
    """
    settings = settings or PlateMatting()
    if picture.shape != plate.shape:
        raise InputError(f"found a plate of {list(plate.shape)} for a picture of {list(picture.shape)}")
    recorded = np.ones(picture.shape[:2], bool) if visible is None else visible >= 128
    subject, shade = _find_subject(picture, plate, recorded, settings)
    alpha = _alpha(picture, plate, recorded, subject, shade, settings)
    return np.rint(255 * np.where(recorded, alpha, 0)).astype(np.uint8)


@dataclass(frozen=True)
class _Views:
    """A small copy of a picture and its plate, float32 [h, w, 3] in [0, 1], and what follows from the two at once.

    Attributes:
        picture: the picture.
        plate: the plate.
        known: bool [h, w], where both were recorded.
        noise: standard deviation of their difference where they show the same [h, w].
        shade: the factor on the plate [h, w] that fits best around each pixel, whatever is there.
    """

    picture: np.ndarray
    plate: np.ndarray
    known: np.ndarray
    noise: np.ndarray
    shade: np.ndarray

    @classmethod
    def of(
        cls, picture: np.ndarray, plate: np.ndarray, recorded: np.ndarray, size: int, settings: PlateMatting
    ) -> _Views:
        """Copies not larger than ``size``."""
        small, small_plate = (_resized(values, size) for values in (picture, plate))
        known = _resized(np.where(recorded, 255, 0).astype(np.uint8), size) > 0.99
        noise = _noise(small, small_plate, known)
        return cls(small, small_plate, known, noise, _local_shade(small, small_plate, known, settings))


def _find_subject(
    picture: np.ndarray, plate: np.ndarray, recorded: np.ndarray, settings: PlateMatting
) -> tuple[np.ndarray, np.ndarray]:
    """The subject, bool, and the shade of the background, a factor on the plate, both [h, w] and small."""
    half = _Views.of(picture, plate, recorded, settings.coarse_size // 2, settings)
    behind = half.known & (np.abs(half.shade - 1) < 2 * settings.shade_step)
    subject = np.zeros_like(behind)
    for _ in range(settings.rounds):
        subject, behind = _next_round(half, _carried_shade(half, behind, settings), subject, settings)
    whole = _Views.of(picture, plate, recorded, settings.coarse_size, settings)
    shade = _enlarged(_carried_shade(half, behind, settings), whole.known.shape)
    subject = _enlarged(subject.astype(np.float32), whole.known.shape) > 0.5
    subject, behind = _next_round(whole, shade, subject, settings)
    return subject, _carried_shade(whole, behind & ~ndimage.binary_dilation(subject, iterations=4), settings)


def _next_round(
    views: _Views, shade: np.ndarray, subject: np.ndarray, settings: PlateMatting
) -> tuple[np.ndarray, np.ndarray]:
    """Subject and certain background, bool [h, w], from the shade around it and the subject found so far."""
    # Shadows set in gradually: whatever is far darker than the background beside it is no shadow.
    near = np.clip(views.shade, shade * (1 - settings.shade_step), shade * (1 + settings.shade_step))
    evidence = _evidence(views, views.plate * near[..., None], subject)
    radius = max(2, round(SMOOTHING * max(shade.shape)))
    smooth = guided_filter(evidence, views.picture, radius, 4 * float(np.median(views.noise)) ** 2)
    found = _one_piece(smooth > 0, views.known)
    if not found.any():
        raise InputError("found nothing in the picture that is not on the plate, expected a subject")
    return found, views.known & ~ndimage.binary_dilation(smooth > 0, iterations=2)


def _resized(values: np.ndarray, size: int) -> np.ndarray:
    """A picture uint8 [H, W, 3] or [H, W] as float32 in [0, 1], not larger than ``size``."""
    height, width = values.shape[:2]
    factor = min(1.0, size / max(height, width))
    shape = (max(1, round(width * factor)), max(1, round(height * factor)))
    image = Image.fromarray(values)
    image = image if factor == 1 else image.resize(shape, Image.Resampling.BOX)
    return np.asarray(image, dtype=np.float32) / 255


def _noise(picture: np.ndarray, plate: np.ndarray, recorded: np.ndarray) -> np.ndarray:
    """Standard deviation [H, W] of the difference of two pictures of the same thing in [0, 1], [H, W, 3].

    Noise changes from pixel to pixel, light and subject do not as fast; where the picture is most like the plate there
    is only noise. Sensors are noisier in the light than in the dark, so it is measured by brightness.
    """
    difference = picture - plate
    mean = np.stack([box_mean(np.ascontiguousarray(channel), 2) for channel in np.moveaxis(difference, -1, 0)], -1)
    # The mean over 25 takes a little of the noise along; the median of |x| is 0.6745 sigma.
    fine = np.abs(difference - mean)[recorded] / 0.6745 / np.sqrt(0.96)
    like, brightness = np.abs(mean).mean(-1)[recorded], plate.mean(-1)
    edges = np.quantile(brightness[recorded], np.linspace(0, 1, NOISE_BINS + 1))
    centres, sigmas = [], []
    for low, high in itertools.pairwise(edges):
        members = (brightness[recorded] >= low) & (brightness[recorded] <= high)
        alike = members & (like <= np.quantile(like[members], 0.4))
        centres.append((low + high) / 2)
        sigmas.append(max(float(np.sqrt((np.median(fine[alike], axis=0) ** 2).mean())), LEAST_NOISE))
    return np.interp(brightness, centres, sigmas).astype(np.float32)


def _local_shade(picture: np.ndarray, plate: np.ndarray, known: np.ndarray, settings: PlateMatting) -> np.ndarray:
    """The factor [h, w] that best takes the plate to the picture around each pixel, within the limits of shadows."""
    radius = max(2, round(settings.shade_radius * max(known.shape) / 2))
    weights = known.astype(np.float32)
    product = box_mean(weights * (picture * plate).sum(-1), radius)
    square = box_mean(weights * (plate * plate).sum(-1), radius)
    return np.clip(product / np.maximum(square, 1e-4), settings.darkest, settings.brightest)


def _carried_shade(views: _Views, behind: np.ndarray, settings: PlateMatting) -> np.ndarray:
    """The shade [h, w] of the background pixels ``behind``, carried on from them to everywhere else."""
    weights = behind.astype(np.float32)
    product = weights * (views.picture * views.plate).sum(-1)
    square = weights * (views.plate * views.plate).sum(-1)
    shade = np.ones(behind.shape, np.float32)
    # From coarse to fine: far inside the subject only a wide window reaches the background.
    for radius in (0.25, 0.1, 0.04, settings.shade_radius):
        pixels = max(2, round(radius * max(behind.shape)))
        local = box_mean(product, pixels) / np.maximum(box_mean(square, pixels), 1e-4)
        trust = np.clip(box_mean(weights, pixels) * 8, 0, 1)
        shade = shade + trust * (local - shade)
    return np.clip(shade, settings.darkest, settings.brightest)


def _evidence(views: _Views, behind: np.ndarray, subject: np.ndarray) -> np.ndarray:
    """Log odds [h, w] of the subject: the colours it has, once it is known, against the shaded plate ``behind``."""
    misfit, noise = ((views.picture - behind) ** 2).sum(-1), views.noise
    # A mixture: what fits no noise (reflections, compression) still has some probability.
    scale = (2 * np.pi * noise**2) ** -1.5
    background = 0.97 * scale * np.exp(-0.5 * misfit / noise**2) + 0.03 * 8.0 * np.exp(-0.5 * misfit / (5 * noise) ** 2)
    foreground = np.full(misfit.shape, 2.0, np.float32)
    if subject.any():
        foreground = 0.2 * foreground + 0.8 * _colour_density(views.picture, subject)
    evidence = np.clip(np.log(foreground + 1e-6) - np.log(background + 1e-6), -CERTAIN, CERTAIN)
    # Even where colours agree, the texture of the plate must show. A window over the outline of the subject does not
    # fit either, so only what lies in no fitting window counts.
    rough = ndimage.minimum_filter(box_mean(np.minimum(misfit / (3 * noise**2), 9), 3), 7)
    evidence = evidence + np.clip(6 * (rough - 2.0), 0, CERTAIN)
    if subject.any():
        # What is surrounded by subject is likely to be subject.
        around = box_mean(subject.astype(np.float32), max(2, round(0.025 * max(subject.shape))))
        evidence = evidence + 6 * (around - 0.5)
    return np.where(views.known, np.clip(evidence, -CERTAIN, CERTAIN), -CERTAIN).astype(np.float32)


def _colour_density(small: np.ndarray, subject: np.ndarray, bins: int = 24) -> np.ndarray:
    """How probable the colour of each pixel [h, w] is on the subject, per unit of colour volume."""
    index = np.minimum((small * bins).astype(np.int64), bins - 1)
    flat = np.ravel_multi_index(tuple(np.moveaxis(index, -1, 0)), (bins,) * 3)
    counts = np.bincount(flat[subject], minlength=bins**3).reshape((bins,) * 3).astype(np.float32)
    density = ndimage.gaussian_filter(counts, 0.7, mode="nearest") / max(int(subject.sum()), 1) * bins**3
    return density.reshape(-1)[flat].astype(np.float32)


def _one_piece(mask: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask [h, w] without small holes."""
    mask = ndimage.binary_opening(mask, iterations=1) & known
    labels, count = ndimage.label(mask)
    if not count:
        return mask
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    mask = labels == areas.argmax()
    # A hole that only a narrow gap joins to the background is one as well.
    reach = max(2, round(0.012 * max(mask.shape)))
    closed = grown(grown(mask, reach), -reach) | mask
    holes, _ = ndimage.label(~closed)
    sizes = np.bincount(holes.ravel())
    fill = sizes < 0.05 * mask.sum()
    fill[np.unique(np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]]))] = False
    filled = fill[holes] & ~closed
    return mask | (grown(filled, 2 * reach) & closed) | filled if filled.any() else _without_small_holes(mask)


def _without_small_holes(mask: np.ndarray) -> np.ndarray:
    """The mask [h, w] with everything filled that is enclosed and small."""
    holes, _ = ndimage.label(~mask)
    sizes = np.bincount(holes.ravel())
    return mask | ((sizes < 0.03 * mask.sum())[holes] & ndimage.binary_fill_holes(mask))


def _alpha(
    picture: np.ndarray,
    plate: np.ndarray,
    recorded: np.ndarray,
    subject: np.ndarray,
    shade: np.ndarray,
    settings: PlateMatting,
) -> np.ndarray:
    """Alpha float [H, W]: 0 and 1 away from the outline, what colours say near it."""
    height, width = recorded.shape
    side = max(height, width)
    rgb, bare = picture.astype(np.float32) / 255, plate.astype(np.float32) / 255
    noise = _noise(rgb, bare, recorded)
    shade = _enlarged(shade, (height, width))
    behind = bare * shade[..., None]
    # Distances and colours come from the small copy: at full size they would take most of the time.
    small_side = max(subject.shape)
    depth = ndimage.distance_transform_edt(subject) - ndimage.distance_transform_edt(~subject)
    small_colour = _nearby_colour(
        _resized(picture, settings.coarse_size) ** GAMMA,
        depth > settings.reach_in * small_side,
        max(2, round(settings.colour_radius * small_side)),
    )
    colour = np.stack([_enlarged(channel, (height, width)) for channel in np.moveaxis(small_colour, -1, 0)], -1)
    depth = _enlarged(depth.astype(np.float32), (height, width))
    soft = np.clip(depth + 0.5, 0, 1)
    core = depth > settings.reach_in * small_side
    band = ~core & (depth >= -settings.reach_out * small_side) & recorded
    light, light_behind = rgb**GAMMA, behind**GAMMA
    slope = GAMMA * behind.mean(-1) ** (GAMMA - 1)
    alpha, trust = _projected(light, light_behind, colour, noise * np.maximum(slope, 0.1))
    weights = np.where(band, trust, 1.0).astype(np.float32)
    prior = np.where(core, 1.0, np.where(band, soft, 0.0)).astype(np.float32)
    mixed = np.where(band, trust * alpha + (1 - trust) * prior, prior).astype(np.float32)
    radius = max(1, round(0.003 * side))
    smooth = guided_filter(mixed, rgb, radius, float(np.median(noise)) ** 2, weights + 0.02)
    return np.clip((np.where(band, smooth, prior) - 0.05) / 0.9, 0, 1)


def _enlarged(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Float32 [h, w] at another size, interpolated."""
    if values.shape == shape:
        return values.astype(np.float32)
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def _nearby_colour(rgb: np.ndarray, core: np.ndarray, radius: int) -> np.ndarray:
    """Mean colour [H, W, 3] of the subject around each pixel, from as near as there is any."""
    weights = core.astype(np.float32)
    colour = np.zeros_like(rgb)
    known = np.zeros(core.shape, np.float32)
    for factor in (1, 2, 4, 8):
        share = box_mean(weights, factor * radius)
        here = np.clip(share / 0.05, 0, 1) * (1 - known)
        if not here.any():
            break
        for channel in range(3):
            colour[..., channel] += (
                here * box_mean(weights * rgb[..., channel], factor * radius) / np.maximum(share, 1e-4)
            )
        known += here
    return colour / np.maximum(known, 1e-4)[..., None]


def _projected(
    rgb: np.ndarray, behind: np.ndarray, colour: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How far each pixel is from the plate to the subject's colour [H, W], and how much that is worth, in [0, 1]."""
    way = colour - behind
    length = (way**2).sum(-1)
    moved = rgb - behind
    along = (moved * way).sum(-1) / np.maximum(length, 1e-5)
    # Something that is neither plate nor the colour expected is the subject as well, in another colour.
    away = np.sqrt(np.maximum((moved**2).sum(-1) - 3 * noise**2, 0) / np.maximum(length, 1e-5))
    alpha = np.clip(np.maximum(along, np.where(along > 0.0, away, 0.7 * away)), 0, 1)
    return alpha, length / (length + (4 * noise) ** 2)
