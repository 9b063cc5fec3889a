"""The kernels that turn rows of light into the bytes of an image: lens, backdrop, exposure, encoding."""

from __future__ import annotations

import numpy as np

from .film_compile import njit

# Columns of the backdrop record: linear colour at the image centre, at the corners.
CENTRE, CORNERS, BACKDROP_RECORD = 0, 3, 6


def lens_weights(sigma: float) -> np.ndarray:
    """Weights [2 r + 1], float32, of a Gaussian point spread with standard deviation ``sigma`` in pixels."""
    reach = int(np.ceil(2.5 * sigma))
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / max(sigma, 1e-6)) ** 2)
    return (weights / weights.sum()).astype(np.float32)


@njit(nogil=True, fastmath=True)
def develop_row(
    ring: np.ndarray,
    py: int,
    lens: np.ndarray,
    backdrop: np.ndarray,
    gain: np.ndarray,
    encoding: np.ndarray,
    rgb: np.ndarray,
    alpha: np.ndarray,
) -> None:
    """Blur along columns, composite over the backdrop and encode one row of an image.

    Args:
        ring: linear light of the head and coverage, float32 [2 r + 1, W * 4], of the rows around ``py`` (that of row
            p at p modulo its length), blurred along themselves.
        py: the row.
        lens: weights of the point spread, float32 [2 r + 1].
        backdrop: record of linear colours.
        gain: factors on linear red, green and blue [3].
        encoding: table from linear light to bytes.
        rgb: the image, uint8 [H, W, 3].
        alpha: its coverage, uint8 [H, W].
    """
    height, width = alpha.shape
    row = np.zeros(width * 4, dtype=np.float32)
    for k in range(lens.shape[0]):
        source, weight = ring[(py + k - lens.shape[0] // 2) % lens.shape[0]], lens[k]
        for i in range(row.shape[0]):
            row[i] += weight * source[i]
    # Arithmetic first and look-ups after it: the processor does the arithmetic of several pixels at once.
    codes = np.empty((4, width), dtype=np.int32)
    for px in range(width):
        # Distance from the centre: 1 in the corners.
        radius = ((2 * px + 1 - width) / width) ** 2 + ((2 * py + 1 - height) / height) ** 2
        covered = min(row[4 * px + 3], 1.0)
        for channel in range(3):
            behind = backdrop[CENTRE + channel]
            behind += (backdrop[CORNERS + channel] - behind) * 0.5 * radius
            light = (row[4 * px + channel] + (1.0 - covered) * behind) * gain[channel]
            codes[channel, px] = np.int32(min(max(light, 0.0), 1.0) * (encoding.shape[0] - 1) + 0.5)
        codes[3, px] = np.int32(255.0 * covered + 0.5)
    for px in range(width):
        for channel in range(3):
            rgb[py, px, channel] = encoding[np.uint32(codes[channel, px])]
        alpha[py, px] = codes[3, px]


@njit(nogil=True, fastmath=True)
def blur_row(source: np.ndarray, lens: np.ndarray, out: np.ndarray) -> None:
    """Write one row [W * 4], blurred along itself, into ``out``."""
    out[:] = 0.0
    first, last = 0, source.shape[0] // 4 - 1
    while first <= last and source[4 * first + 3] == 0:
        first += 1
    while last >= first and source[4 * last + 3] == 0:
        last -= 1
    if first > last:
        return
    reach, end = lens.shape[0] // 2, source.shape[0]
    for k in range(lens.shape[0]):
        shift, weight = 4 * (k - reach), lens[k]
        for i in range(max(0, 4 * first - shift), min(end, 4 * last + 4 - shift)):
            out[i] += weight * source[i + shift]
        for i in range(max(0, -shift)):
            out[i] += weight * source[i % 4]
        for i in range(end - max(0, shift), end):
            out[i] += weight * source[end - 4 + i % 4]
