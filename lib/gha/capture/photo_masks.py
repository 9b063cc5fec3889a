"""Cutting a static object out of calibrated photographs: colour says what, geometry says where.

In each photograph a colour model, learnt around the projected surface points and far away from them, gives a first
silhouette. Lamps, dishes and reflections of the object's colour spoil some of these; but a point of space belongs to
the object only if (nearly) every photograph that sees it agrees. The volume carved this way projects to silhouettes
that no single background can spoil, and colour then decides the last pixels along their edge.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import ConvexHull

from gha.geometry import Camera

HISTOGRAM_BINS = 32
# How far from the hull of the projected points the object may reach, as a share of its size.
MARGIN = 0.06
# Share of the photographs that see a point of space and must show the object there.
AGREEMENT = 0.96
COARSE_CELLS = 40
REFINEMENTS = 3
# Along the edge of the carved silhouette, this many pixels to either side are decided by colour.
EDGE = 4


def cut_out(photographs: Sequence[np.ndarray], cameras: Sequence[Camera], points: np.ndarray) -> list[np.ndarray]:
    """Alpha uint8 [H, W] of an object in each of its photographs.

    The object ends where the points end downwards (world -y), so that a stand below them is cut off everywhere alike.

    Args:
        photographs: uint8 [H, W, 3] each.
        cameras: one per photograph, in a world whose y axis points up.
        points: surface points [N, 3] of the object.
    """
    projections = [project(camera, points)[0] for camera in cameras]
    silhouettes = [first_silhouette(*pair) for pair in zip(photographs, projections, strict=True)]
    room = MARGIN * (points.max(0) - points.min(0)).max()
    cells, size = carve(silhouettes, cameras, points.min(0) - [room, 0, room], points.max(0) + room)
    return [
        refined_alpha(photograph, silhouette, projected_volume(cells, size, camera))
        for photograph, silhouette, camera in zip(photographs, silhouettes, cameras, strict=True)
    ]


def project(camera: Camera, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """World points [N, 3] to pixels [N, 2] and depths [N] of one camera."""
    w2c, intrinsic = camera.w2c.double().numpy(), camera.K.double().numpy()
    local = points @ w2c[:3, :3].T + w2c[:3, 3]
    depth = local[:, 2]
    return (local @ intrinsic.T)[:, :2] / np.where(depth > 0, depth, np.inf)[:, None], depth


def first_silhouette(rgb: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Silhouette bool [H, W] from the colours of one photograph [H, W, 3] and the projected points [N, 2].

    Every surface point projects into the silhouette, so the points add what colour misses (parts in shadow).
    """
    height, width = rgb.shape[:2]
    hull = _hull_mask(pixels, height, width)
    size = np.sqrt(hull.sum())
    from_hull = ndimage.distance_transform_edt(~hull)
    point_mask = _point_mask(pixels, height, width)
    probability = _colour_probability(rgb, _grown(point_mask, 2) & hull, from_hull > MARGIN * size)
    by_colour = (ndimage.gaussian_filter(probability, 1.0) > 0.5) & (from_hull < MARGIN * size)
    by_colour = ndimage.binary_opening(ndimage.binary_closing(by_colour, iterations=3), iterations=2)
    reach = 0.025 * size
    by_points = ~_grown(~_grown(point_mask, reach), reach - 2)
    return ndimage.binary_fill_holes(by_colour | by_points)


def _hull_mask(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Which pixels [H, W] the convex hull of ``pixels`` [N, 2] covers."""
    canvas = Image.new("1", (width, height))
    corners = pixels[ConvexHull(pixels).vertices] - 0.5
    ImageDraw.Draw(canvas).polygon([tuple(corner) for corner in corners.tolist()], fill=1)
    return np.array(canvas)


def _point_mask(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bool [H, W]: the pixels that hold one of ``pixels`` [N, 2]."""
    mask = np.zeros((height, width), bool)
    columns, rows = np.floor(pixels).astype(np.int64).T
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    mask[rows[inside], columns[inside]] = True
    return mask


def _grown(mask: np.ndarray, radius: float) -> np.ndarray:
    """The mask [H, W] and everything within ``radius`` pixels of it."""
    return ndimage.distance_transform_edt(~mask) <= radius


def _colour_probability(rgb: np.ndarray, on_object: np.ndarray, off_object: np.ndarray) -> np.ndarray:
    """Probability [H, W] of the object from colour alone, learnt on two regions [H, W] of the same photograph."""
    bins = rgb.astype(np.int64) * HISTOGRAM_BINS // 256
    index = np.ravel_multi_index(tuple(np.moveaxis(bins, -1, 0)), (HISTOGRAM_BINS,) * 3)
    densities = []
    for region in (on_object, off_object):
        counts = np.bincount(index[region], minlength=HISTOGRAM_BINS**3).reshape((HISTOGRAM_BINS,) * 3)
        # Colours never seen get a small equal share, so that they count as undecided.
        densities.append(ndimage.gaussian_filter(counts / max(counts.sum(), 1), 1.0) + 1e-7)
    return (densities[0] / (densities[0] + densities[1])).reshape(-1)[index]


def carve(
    silhouettes: Sequence[np.ndarray], cameras: Sequence[Camera], low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, float]:
    """The shell of the volume that the silhouettes leave of a box.

    Args:
        silhouettes: bool [H, W] per photograph.
        cameras: one per photograph.
        low: lower corner of the box [3].
        high: upper corner of the box [3].

    Returns:
        Centres [N, 3] of the remaining cells, without most of the inside, and the size of a cell.
    """
    cell = float((high - low).max()) / COARSE_CELLS
    axes = [np.arange(a + cell / 2, b, cell) for a, b in zip(low, high, strict=True)]
    cells = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    # Distance in pixels into the silhouette (positive inside), so that coarse cells can be given room.
    fields = [ndimage.distance_transform_edt(s) - ndimage.distance_transform_edt(~s) for s in silhouettes]
    fields = [field.astype(np.float32) for field in fields]
    corners = np.stack(np.meshgrid(*[[-0.5, 0.5]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    for _ in range(REFINEMENTS):
        reach = cell * np.sqrt(3) / 2
        partly, wholly = (agreement(cells, fields, cameras, r) >= AGREEMENT for r in (reach, -2 * reach))
        cell /= 2
        cells = (cells[partly & ~wholly, None] + corners * cell).reshape(-1, 3)
    return cells[agreement(cells, fields, cameras, 0.0) >= AGREEMENT], cell


def agreement(cells: np.ndarray, fields: Sequence[np.ndarray], cameras: Sequence[Camera], radius: float) -> np.ndarray:
    """Share [N] of the photographs seeing each point [N, 3] that show the object within ``radius`` (world units).

    ``fields`` [H, W] hold the distance in pixels into each silhouette; a negative radius asks for more than a touch.
    """
    seen = np.zeros(len(cells), np.int32)
    agreed = np.zeros(len(cells), np.int32)
    for field, camera in zip(fields, cameras, strict=True):
        pixels, depth = project(camera, cells)
        columns, rows = np.floor(pixels).astype(np.int64).T
        visible = (depth > 0) & (columns >= 0) & (columns < camera.width) & (rows >= 0) & (rows < camera.height)
        distance = field[rows[visible], columns[visible]]
        seen[visible] += 1
        agreed[visible] += distance > -radius * float(camera.K[0, 0]) / depth[visible]
    return agreed / np.maximum(seen, 1)


def projected_volume(cells: np.ndarray, size: float, camera: Camera) -> np.ndarray:
    """Silhouette bool [H, W] of cells [N, 3] of edge length ``size``."""
    pixels, depth = project(camera, cells)
    reach = float(np.ceil(size * float(camera.K[0, 0]) / np.median(depth)))
    # A margin around the picture keeps volumes that its edge cuts closed while they are filled.
    margin = int(reach) + max(camera.width, camera.height) // 4
    mask = _point_mask(pixels + margin, camera.height + 2 * margin, camera.width + 2 * margin)
    closed = ndimage.binary_fill_holes(~_grown(~_grown(mask, reach), reach))
    return closed[margin : margin + camera.height, margin : margin + camera.width]


def refined_alpha(rgb: np.ndarray, by_colour: np.ndarray, by_volume: np.ndarray) -> np.ndarray:
    """Alpha uint8 [H, W]: the carved silhouette, with its edge where colour puts it, softened along image edges."""
    certain, possible = ~_grown(~by_volume, EDGE), _grown(by_volume, EDGE)
    mask = certain | (possible & by_colour)
    alpha = guided_filter(rgb.mean(-1) / 255, mask.astype(np.float64), radius=3, epsilon=1e-3)
    alpha = np.where(_grown(mask, EDGE) & _grown(~mask, EDGE), (alpha - 0.1) / 0.8, mask)
    return np.round(np.clip(alpha, 0, 1) * 255).astype(np.uint8)


def guided_filter(guide: np.ndarray, values: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """Smooth ``values`` [H, W] except across the edges of ``guide`` [H, W] (He et al. 2010).

    Args:
        guide: gray picture in [0, 1].
        values: what to smooth.
        radius: half the window, in pixels.
        epsilon: variance of the guide that counts as an edge.
    """

    def mean(array: np.ndarray) -> np.ndarray:
        return ndimage.uniform_filter(array, 2 * radius + 1)

    mean_guide, mean_values = mean(guide), mean(values)
    variance = mean(guide * guide) - mean_guide**2
    slope = (mean(guide * values) - mean_guide * mean_values) / (variance + epsilon)
    return mean(slope) * guide + mean(mean_values - slope * mean_guide)
