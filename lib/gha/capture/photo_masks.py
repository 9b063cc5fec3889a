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
    probability = _colour_probability(rgb, grown(point_mask, 2) & hull, from_hull > MARGIN * size)
    by_colour = (ndimage.gaussian_filter(probability, 1.0) > 0.5) & (from_hull < MARGIN * size)
    by_colour = ndimage.binary_opening(ndimage.binary_closing(by_colour, iterations=3), iterations=2)
    reach = 0.025 * size
    by_points = ~grown(~grown(point_mask, reach), reach - 2)
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


def grown(mask: np.ndarray, radius: float) -> np.ndarray:
    """The mask [H, W] and everything within ``radius`` pixels of it; negative: without what is that near its edge."""
    if radius < 0:
        return ndimage.distance_transform_edt(mask) > -radius
    return ndimage.distance_transform_edt(~mask) <= radius if mask.any() else mask


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
    closed = ndimage.binary_fill_holes(~grown(~grown(mask, reach), reach))
    return closed[margin : margin + camera.height, margin : margin + camera.width]


def refined_alpha(rgb: np.ndarray, by_colour: np.ndarray, by_volume: np.ndarray) -> np.ndarray:
    """Alpha uint8 [H, W]: the carved silhouette, with its edge where colour puts it, without specks beside it."""
    certain, possible = ~grown(~by_volume, EDGE), grown(by_volume, EDGE)
    mask = certain | (possible & by_colour)
    labels, _ = ndimage.label(mask)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    mask &= (areas >= 0.02 * areas.max())[labels]
    return np.round(255 * edge_alpha(rgb / 255, mask)).astype(np.uint8)


def edge_alpha(colours: np.ndarray, mask: np.ndarray, window: int = 25, noise: float = 0.2) -> np.ndarray:
    """Alpha [H, W] in [0, 1] of a mask whose outline may be off by a few pixels.

    Within ``EDGE`` pixels of the outline each pixel lies somewhere between the mean colours inside and outside, taken
    nearby. Objects darken towards their outline, so half-way already counts as inside. Where inside and outside
    look alike, the outline stays as it is, slightly softened.

    Args:
        colours: picture in [0, 1], [H, W, 3].
        mask: bool [H, W].
        window: side in pixels of the neighbourhood whose colours are averaged.
        noise: difference of colours that is worth half a vote against the mask.
    """
    inner, outer = ~grown(~mask, EDGE), ~grown(mask, EDGE)
    means, known = zip(*[_local_mean(colours, region, window) for region in (inner, outer)], strict=True)
    difference = means[0] - means[1]
    contrast = (difference**2).sum(-1)
    position = ((colours - means[1]) * difference).sum(-1) / np.maximum(contrast, 1e-6)
    trust = np.where(known[0] & known[1], contrast / (contrast + noise**2), 0)
    soft = ndimage.gaussian_filter(mask.astype(np.float64), 1.0)
    alpha = trust * np.clip((position - 0.15) / 0.3, 0, 1) + (1 - trust) * soft
    return np.where(inner, 1.0, np.where(outer, 0.0, alpha))


def _local_mean(colours: np.ndarray, region: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean colour [H, W, 3] of a region [H, W] around each pixel, and where there is any of it."""
    share = ndimage.uniform_filter(region.astype(np.float64), window)
    sums = [ndimage.uniform_filter(colours[..., channel] * region, window) for channel in range(3)]
    return np.stack(sums, axis=-1) / np.maximum(share, 1e-3)[..., None], share > 1e-3
