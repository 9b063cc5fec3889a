"""One picture of a capture: cameras around the head, where it is seen from, and landmarks on some views."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from gha.capture import layout
from gha.capture.images import decode
from gha.errors import InputError
from gha.files import open_atomically

from .drawing import BAD, GOOD, HELD_OUT, INK, QUIET, TRAINED, Canvas, text_width
from .validation_charts import draw_expression_ranges, draw_yaw_histogram
from .validation_measures import INSIDE, points_on_mask
from .validation_report import Validation, plural
from .validation_rig_drawing import Rig, draw_from_above, draw_from_the_side, place_rig
from .validation_statistics import seen_from_head
from .validation_views import View

CELL = 320
PER_ROW = 5
WIDTH = CELL * PER_ROW
TITLE = 36
PANELS = 500
CAPTION = 18


def write_picture(path: Path, validation: Validation) -> None:
    """Draw :func:`draw_picture` into a PNG file."""
    with open_atomically(path) as file:
        draw_picture(validation).save(file, format="PNG", compress_level=6)


def draw_picture(validation: Validation) -> Image.Image:
    """The rig from two sides, two charts, views all around and views with problems.

    What cannot be read is left out.
    """
    rows = [_draw_row(validation, views) for views in choose_views(validation)]
    rows = [row for row in rows if row is not None]
    page = Image.new("RGB", (WIDTH, TITLE + PANELS + sum(row.height for row in rows)), "white")
    page.paste(_draw_title(validation), (0, 0))
    page.paste(_draw_panels(validation), (0, TITLE))
    top = TITLE + PANELS
    for row in rows:
        page.paste(row, (0, top))
        top += row.height
    return page


def _draw_title(validation: Validation) -> Image.Image:
    canvas = Canvas(WIDTH, TITLE)
    found = validation.statistics
    errors = sum(problem.fatal for problem in validation.problems)
    canvas.text(
        (10, 18),
        f"{validation.root.name}: {plural(found.frames, 'frame')}, {plural(len(found.cameras), 'camera')}",
        size=16,
        anchor="lm",
    )
    verdict = "usable" if validation.usable else f"not usable: {plural(errors, 'error')}"
    canvas.text((WIDTH / 2, 18), verdict, INK if validation.usable else BAD, 16, "mm")
    x = WIDTH - 10
    for name, colour in (("landmark", BAD), ("held out", HELD_OUT), ("trained on", TRAINED)):
        canvas.text((x, 18), name, QUIET, 12, "rm")
        x -= text_width(name, 12) + 9
        canvas.dot((x, 18), 4, colour)
        x -= 20
    return canvas.finish()


def _draw_panels(validation: Validation) -> Image.Image:
    """The rig from above and from the side, yaw and expression."""
    panels = Image.new("RGB", (WIDTH, PANELS), "white")
    above, side = 600, 440
    chart = WIDTH - above - side
    if validation.tracking is not None:
        rig = _rig_of_a_typical_frame(validation)
        panels.paste(draw_from_above(rig, above, PANELS), (0, 0))
        panels.paste(draw_from_the_side(rig, side, PANELS), (above, 0))
    held_out = {*validation.statistics.held_out_frames}, {*validation.statistics.held_out_cameras}
    parts: list[list[View]] = [[], []]
    for view in validation.views:
        parts[view.frame in held_out[0] or view.camera in held_out[1]].append(view)
    yaws = [seen_from_head(part, validation.tracking)[:, 0].numpy() for part in parts]
    panels.paste(draw_yaw_histogram(*yaws, chart, PANELS // 2), (above + side, 0))
    panels.paste(
        draw_expression_ranges(validation.statistics.expression, chart, PANELS // 2), (above + side, PANELS // 2)
    )
    return panels


def _rig_of_a_typical_frame(validation: Validation) -> Rig:
    """The rig about the head of the frame in which the head is nearest to where it mostly is."""
    tracking = validation.tracking
    points = tracking.points.mean(1)
    typical = int((points - points.median(0).values).norm(dim=-1).argmin())
    frame = tracking.frames[typical]
    lenses = {view.camera: view.lens for view in reversed(validation.views) if view.lens is not None}
    lenses |= {view.camera: view.lens for view in validation.views if view.frame == frame and view.lens is not None}
    return place_rig(
        dict(sorted(lenses.items())),
        validation.statistics.held_out_cameras,
        tracking.code[typical],
        validation.capture.vertices(frame),
        tracking.landmarks[typical],
    )


def choose_views(validation: Validation) -> list[list[View]]:
    """Two rows: views all around, spread over time; then views with problems, made up by more of the former."""
    yaw = {camera.camera: camera.yaw for camera in validation.statistics.cameras if camera.yaw is not None}
    tracked = validation.tracking.frames if validation.tracking else ()
    by_frame: dict[str, list[View]] = {}
    for view in validation.views:
        seen = view.sharpness is not None or not validation.decoded
        if view.frame in tracked and view.camera in yaw and view.lens is not None and seen:
            by_frame.setdefault(view.frame, []).append(view)
    if not by_frame:
        return []
    spread: list[View] = []
    for row in range(2):
        # The second row visits the frames and cameras between those of the first.
        for index in range(PER_ROW):
            place = (2 * index + row) / (2 * PER_ROW - 1)
            group = by_frame[_at(list(by_frame), place)]
            view = _at(sorted(group, key=lambda one: yaw[one.camera]), place)
            if view not in spread:
                spread.append(view)
    first, second = spread[:PER_ROW], spread[PER_ROW:]
    fatal = {(problem.frame, problem.camera): False for problem in validation.problems}
    fatal |= {(problem.frame, problem.camera): True for problem in validation.problems if problem.fatal}
    poor = [view for group in by_frame.values() for view in group if _name(view) in fatal and view not in first]
    poor.sort(key=lambda view: (not fatal[_name(view)], _agreement(view)))
    return [first, (poor + [view for view in second if view not in poor])[:PER_ROW]]


def _at(values: Sequence[Any], place: float) -> Any:
    """The value at a place in a sequence that reaches from 0 to 1."""
    return values[round(place * (len(values) - 1))]


def _name(view: View) -> tuple[str, str]:
    return view.frame, view.camera


def _agreement(view: View) -> float:
    return 1.0 if view.on_mask is None else view.on_mask


def _draw_row(validation: Validation, views: Sequence[View]) -> Image.Image | None:
    """Views side by side; None where none can be read."""
    cells = [cell for view in views if (cell := draw_view(validation, view)) is not None]
    if not cells:
        return None
    row = Image.new("RGB", (WIDTH, max(cell.height for cell in cells)), "white")
    for index, cell in enumerate(cells):
        row.paste(cell, (index * CELL, 0))
    return row


def draw_view(validation: Validation, view: View) -> Image.Image | None:
    """A view without most of its background, the outline of its mask, its projected landmarks, and a caption.

    The picture is at most 320 pixels wide and high; a landmark is green on the mask and red off it.
    """
    camera = view.lens
    factor = CELL / max(camera.width, camera.height)
    width, height = max(1, round(camera.width * factor)), max(1, round(camera.height * factor))
    full = camera.height, camera.width
    try:
        image, mask = (
            decode(_picture_file(validation, view, kind), (height, width), full, gray=kind == "mask")
            for kind in ("image", "mask")
        )
    except InputError:
        return None
    cell = Image.new("RGB", (CELL, height + CAPTION), "white")
    cell.paste(_faded(image, mask[0]), (0, 0))
    draw = ImageDraw.Draw(cell)
    pixels = camera.resize(width, height).project(validation.tracking.landmarks_of(view.frame))[0].numpy()
    on_mask = points_on_mask(pixels, mask[0], tolerance=max(1, max(mask.shape) // 100))
    for (x, y), good in zip(pixels, on_mask, strict=True):
        if 0 <= x < width and 0 <= y < height:
            draw.ellipse((int(x) - 1, int(y) - 1, int(x) + 1, int(y) + 1), GOOD if good else BAD)
    problem = next((problem.kind for problem in validation.problems_of(view)), "")
    caption = f"{view.frame} / {view.camera}: {on_mask.mean():.0%} on the mask" + (f"; {problem}" if problem else "")
    draw.text((4, height + 2), caption, BAD if problem else INK, ImageFont.load_default(12))
    return cell


def _picture_file(validation: Validation, view: View, kind: layout.ImageKind) -> Path:
    stem = layout.image_stem(validation.root, kind, view.frame, view.camera)
    return layout.with_known_suffix(stem) or stem


def _faded(image: np.ndarray, mask: np.ndarray) -> Image.Image:
    """A picture [3, H, W] whose background is nearly white, with a thin line around the mask [H, W]."""
    picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    white = Image.blend(picture, Image.new("RGB", picture.size, "white"), 0.6)
    inside = Image.fromarray(np.where(mask >= INSIDE, 255, 0).astype(np.uint8))
    faded = Image.composite(picture, white, inside)
    outline = ImageChops.difference(inside.filter(ImageFilter.MaxFilter(3)), inside)
    faded.paste(Image.new("RGB", picture.size, TRAINED), mask=outline)
    return faded
