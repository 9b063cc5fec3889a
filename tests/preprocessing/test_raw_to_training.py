"""A raw recording with gaps goes through extraction and masks, and training accepts what comes out."""

import shutil
from fractions import Fraction

import numpy as np
import pytest
import torch

from gha.capture import CaptureWriter, FrameLoader, SampleSchedule, check_capture, open_capture
from gha.capture.info import info_to_json, read_info
from gha.errors import InputError
from gha.faces.code import HeadCode
from gha.preprocessing import validate_capture
from gha.preprocessing.extraction import ExtractionSettings
from gha.preprocessing.extraction_run import extract_identities
from gha.preprocessing.matting import mask_capture
from gha.preprocessing.matting_models import PlateMethod
from gha.preprocessing.miniature import FPS, Miniature, truth_path
from gha.preprocessing.raw_video import read_pictures, write_video

SEQUENCE, LATE = "EMO-1-shout+laugh", "222200048"


@pytest.fixture(scope="module")
def extracted(raw_v2, tmp_path_factory):
    """A capture of a recording in which one camera starts late, and its folder of truth."""
    raw = shutil.copytree(raw_v2, tmp_path_factory.mktemp("late") / "raw")
    video = raw / f"031/sequences/{SEQUENCE}/images/cam_{LATE}.mp4"
    pictures = dict(read_pictures(video, range(13), FPS, Fraction(0)))
    late = range(2, 13)
    write_video(video, [pictures[t] for t in late], FPS, late)
    [extraction] = extract_identities(
        raw, raw.parent, ["031"], ExtractionSettings(crop=Miniature().crop, size=96), progress=False
    )
    mask_capture(extraction.folder, PlateMethod(), progress=False)
    return extraction, raw


def add_true_parameters(extraction, raw, names):
    """What fitting would find."""
    path = extraction.folder / "capture.json"
    info, _ = read_info(path)
    path.write_text(info_to_json(info, complete=True).replace('"expression_names": []', f'"expression_names": {names}'))
    writer = CaptureWriter(extraction.folder, read_info(path)[0])
    for sequence, frames in info.sequences.items():
        codes = np.load(truth_path(raw, "031", sequence, "codes.npz"))
        points, region = (np.load(truth_path(raw, "031", sequence, f"{n}.npy")) for n in ("landmarks", "vertices"))
        for index, frame in enumerate(frames):
            values = {key: torch.from_numpy(codes[key][3 * index]) for key in ("expression", "pose", "scale")}
            at = (torch.from_numpy(array[3 * index]) for array in (points, region))
            writer.write_frame_params(frame, HeadCode(**values), *at)


def test_a_camera_that_starts_late_keeps_its_time(extracted):
    """D15: nothing that follows the gap moves forward."""
    extraction, _ = extracted
    assert extraction.missing["0000"] == (LATE,)
    assert set(extraction.missing) == {"0000", "0007", "0008"}
    capture = open_capture(extraction.folder)
    assert capture.resolution(LATE) == (96, 96)
    assert LATE in capture.camera_ids


def test_training_accepts_the_capture_once_it_has_parameters(extracted, egg):
    extraction, raw = extracted
    with pytest.raises(InputError, match=r"files are missing: params/0001/params.npz"):
        check_capture(open_capture(extraction.folder))
    add_true_parameters(extraction, raw, str(list(egg.expression_names)).replace("'", '"'))
    capture = open_capture(extraction.folder)
    check_capture(capture)
    found = validate_capture(extraction.folder)
    assert found.usable, [problem.message() for problem in found.problems if problem.fatal]
    schedule = SampleSchedule(0, capture.split.train_frames, capture.split.train_cameras, views_per_frame=2)
    with FrameLoader(capture, schedule, 64, workers=0) as loader:
        for _ in range(len(schedule.frames)):
            assert next(loader).mask.float().mean() > 20
