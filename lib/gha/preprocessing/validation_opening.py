"""Opening a capture that may be broken: what can be read is read, what cannot is a problem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gha.capture import Capture, CaptureInfo, Split, layout
from gha.capture.face_model import same_parameters
from gha.capture.images import picture_size
from gha.capture.info import read_info
from gha.capture.opening import UNFINISHED, read_declared_split, read_expression_names, split_problems
from gha.capture.problems import Problem, problem_from
from gha.errors import InputError
from gha.faces import ProceduralHead

SAMPLED_HEADERS = 15


def open_leniently(root: Path) -> tuple[Capture, list[Problem]]:
    """A capture with all frames and cameras that can be found, and what :func:`gha.capture.open_capture` would refuse.

    Where a camera is calibrated in some frames only it counts; so does one that has pictures if nothing is calibrated.

    Raises:
        InputError: there is not one frame.
    """
    frames = layout.find_frames(root)
    cameras = layout.natural_sort({camera for frame in frames for camera in layout.find_cameras(root, frame)})
    problems = [*_duplicates(frames, "images"), *_duplicates(cameras, "cameras")]
    if not cameras:
        problems.append(Problem("no calibration", "cameras", "no camera files found; expected camera_{id}.npz"))
        cameras = _cameras_with_pictures(root, frames[0])
    info, found = _read_info(root)
    problems += found
    split, found = _read_split(root, info, frames, cameras)
    problems += [*_other_version(info), *found, *_unknown_frames(root, info, frames)]
    return Capture(root, replace(info, split=split), frames, cameras), problems


def _duplicates(ids: Sequence[str], folder: str) -> list[Problem]:
    return [
        Problem("duplicate ids", folder, layout.describe_duplicate(first, second))
        for first, second in layout.same_numbers(ids)
    ]


def _cameras_with_pictures(root: Path, frame: str) -> tuple[str, ...]:
    names = {path.stem for path in (root / "images" / frame).glob("image_*.*")}
    ids = {name.removeprefix("image_") for name in names if not name.startswith("image_lowres_")}
    return layout.natural_sort(ids)


def _read_info(root: Path) -> tuple[CaptureInfo, list[Problem]]:
    """What the capture says about itself; defaults and a problem where that cannot be read."""
    path = root / layout.CAPTURE_FILE
    problems = []
    try:
        if not path.exists():
            return CaptureInfo((0, 0), expression_names=read_expression_names(root)), []
        info, complete = read_info(path)
        if not complete:
            problems.append(Problem("capture.json", layout.CAPTURE_FILE, UNFINISHED))
    except InputError as error:
        return CaptureInfo((0, 0)), [problem_from(error, "capture.json", root)]
    return info, problems


def _other_version(info: CaptureInfo) -> list[Problem]:
    """Tracking with another version of the built-in head than this library has."""
    found, expected = (info.face_model, info.face_model_version), (ProceduralHead.name, ProceduralHead.version)
    if found[0] != expected[0] or same_parameters(found, expected):
        return []
    text = f"found version {found[1]!r} of face model {found[0]}, expected {expected[1]!r} as in this library; fit anew"
    return [Problem("version of the face model", layout.CAPTURE_FILE, text, fatal=False)]


def _read_split(
    root: Path, info: CaptureInfo, frames: Sequence[str], cameras: Sequence[str]
) -> tuple[Split, list[Problem]]:
    """The declared split without the names that do not exist; everything trains where that leaves nothing."""
    everything = Split.holding_out(frames, cameras)
    try:
        declared, path = read_declared_split(root, info)
    except InputError as error:
        return everything, [problem_from(error, "split", root)]
    if declared is None:
        return everything, []
    problems = [Problem("split", path.name, text) for text in split_problems(declared, frames, cameras)]
    known = Split(
        *(tuple(name for name in names if name in frames) for names in (declared.train_frames, declared.test_frames)),
        *(
            tuple(name for name in names if name in cameras)
            for names in (declared.train_cameras, declared.test_cameras)
        ),
    )
    return (known if known.train_frames and known.train_cameras else everything), problems


def _unknown_frames(root: Path, info: CaptureInfo, frames: Sequence[str]) -> list[Problem]:
    """Frames that sequences or tracking name and that have no pictures."""
    known = set(frames)
    problems = [
        Problem("sequences", layout.CAPTURE_FILE, f"sequence {name} names frames {absent[:5]} without pictures", False)
        for name, members in info.sequences.items()
        if (absent := [frame for frame in members if frame not in known])
    ]
    tracked = sorted(path.name for path in (root / "params").glob("*") if path.is_dir())
    return problems + [
        Problem("tracked but not filmed", f"params/{frame}", f"found no folder images/{frame}", False, frame)
        for frame in tracked
        if frame not in known
    ]


def picture_sizes(capture: Capture) -> dict[str, tuple[int, int]]:
    """The usual height and width of the pictures of every camera; only of cameras that have a readable one.

    Looks at the headers of some frames, at all where none of these can be read.
    """
    step = max(1, len(capture.frame_ids) // SAMPLED_HEADERS)
    sizes = {}
    for camera in capture.camera_ids:
        found = _readable_sizes(capture, capture.frame_ids[::step], camera)
        found = found or _readable_sizes(capture, capture.frame_ids, camera)
        if found:
            sizes[camera] = Counter(found).most_common(1)[0][0]
    return sizes


def _readable_sizes(capture: Capture, frames: Sequence[str], camera: str) -> list[tuple[int, int]]:
    sizes = []
    for frame in frames:
        path = layout.with_known_suffix(layout.image_stem(capture.root, "image", frame, camera))
        try:
            sizes += [picture_size(path)] if path else []
        except InputError:
            continue  # named when the view is examined
    return sizes


def size_problems(capture: Capture, sizes: dict[str, tuple[int, int]]) -> list[Problem]:
    """Cameras whose pictures are unlike the others', or unlike what ``capture.json`` says."""
    problems = []
    shapes = Counter(round(width / height, 2) for height, width in sizes.values())
    usual = shapes.most_common(1)[0][0] if shapes else 1.0
    declared = capture.info.resolution
    for camera, (height, width) in sizes.items():
        where = f"images/*/image_{camera}"
        if abs(width / height - usual) > 0.02 * usual:
            text = f"found {width} x {height} pixels, expected width / height = {usual} as for the other cameras"
            problems.append(Problem("proportions of the pictures", where, text, camera=camera))
        if declared != (0, 0) and declared != (height, width):
            text = f"found {width} x {height} pixels, expected {declared[1]} x {declared[0]} as capture.json says"
            problems.append(Problem("resolution in capture.json", where, text, False, camera=camera))
    return problems
