"""A raw recording with gaps goes through extraction, masks, fitting, validation and both stages, by the commands."""

import json
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_heads import SMALL_GAUSSIANS, SMALL_HEAD

from gha.apps import cli
from gha.apps.config import load_config
from gha.apps.train import train_gaussian, train_mesh
from gha.apps.training_config import GaussianRunConfig, MeshRunConfig
from gha.capture import open_capture
from gha.capture.check import check_capture
from gha.capture.info import read_info
from gha.errors import InputError
from gha.faces import load_face_model
from gha.preprocessing.landmark_detection import detect_landmarks
from gha.preprocessing.miniature import FPS, Miniature, truth_path, write_miniature
from gha.preprocessing.miniature_truth import Detector, write_noisy_landmarks, write_true_masks, write_true_tracking
from gha.preprocessing.raw_video import read_pictures, write_video
from gha.training.checkpoint import load_checkpoint

PRESETS = Path(__file__).resolve().parents[2] / "config"
FIRST, LATE, SHORT = "EMO-1-shout+laugh", "222200048", "EXP-1-head"
FILM = Miniature(sequences={FIRST: 13, SHORT: 7, "FREE": 4}, cameras=4, missing_at_end={(SHORT, 1): 4})
GAPS = {"0000", "0006", "0007"}  # LATE begins late; another camera lacks the last four of seven pictures


def gha(*arguments):
    return cli.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def head():
    return load_face_model("procedural", texture_size=128, hair_strands=100)


@pytest.fixture(scope="module")
def raw(head, tmp_path_factory):
    """A recording in which one camera starts late, another stops early, and its folder of truth."""
    root = write_miniature(tmp_path_factory.mktemp("recording") / "raw", head, FILM)
    video = root / f"031/sequences/{FIRST}/images/cam_{LATE}.mp4"
    pictures = dict(read_pictures(video, range(13), FPS, Fraction(0)))
    late = range(2, 13)
    write_video(video, [pictures[t] for t in late], FPS, late)
    return root


def extract(raw):
    arguments = ("--crop", *FILM.crop, "--size", 96, "--parallel", 1, "--quiet")
    return gha("preprocess-nersemble", raw, raw.parent / "captures", *arguments)


def fit(capture, *arguments):
    return gha("fit-3dmm", capture, "contour=fixed", "--report", capture.parent / "fit", "--quiet", *arguments)


@pytest.fixture(scope="module")
def extracted(raw):
    """The capture after extraction and masks; read only."""
    assert extract(raw) == 0
    folder = raw.parent / "captures/031"
    assert gha("remove-background", folder, "--parallel", 1, "--quiet") == 0
    return folder


@pytest.fixture(scope="module")
def fitted(extracted, raw):
    """The capture after fitting too, in a folder of its own; read only."""
    folder = shutil.copytree(extracted, raw.parent / "fitted/031")
    # At 96 pixels half a pixel is what 1.5 pixels are at 288.
    write_noisy_landmarks(open_capture(folder), raw, Detector(noise=0.5 / 96))
    assert fit(folder, "--visualise") == 0
    return folder


def test_a_camera_that_starts_late_keeps_its_time(extracted, raw):
    """D15: nothing that follows the gap moves forward."""
    capture = open_capture(extracted)
    assert set(capture.info.recipe["missing_views"]) == GAPS
    assert capture.info.recipe["missing_views"]["0000"] == [LATE]
    assert capture.resolution(LATE) == (96, 96)
    assert LATE in capture.camera_ids
    assert not GAPS & {*capture.split.train_frames, *capture.split.test_frames}


def test_training_refuses_what_is_not_fitted_yet(extracted):
    with pytest.raises(InputError, match=r"files are missing: params/0001/params.npz"):
        check_capture(open_capture(extracted))


def test_a_detector_skips_views_without_picture(extracted, tmp_path, caplog):
    capture, seen = open_capture(extracted), []

    def look(picture):
        seen.append(picture.shape)
        return np.ones((68, 3))

    with caplog.at_level("WARNING", logger="gha"):
        count = detect_landmarks(capture, lambda: look, tmp_path, capture.frame_ids, capture.camera_ids, progress=False)
    assert count == len(seen) == len(capture.frame_ids) * 4 - 3
    assert f"no picture of 3 views, first {extracted}/images/0000/image_{LATE}.jpg" in caplog.text
    assert not (tmp_path / f"0000/lmk_{LATE}.npz").exists()


def test_fitting_recovers_what_was_filmed(fitted, raw, head):
    """Every frame gets tracking, also those with gaps, within a few millimetres although a pixel is four."""
    capture = open_capture(fitted)
    assert capture.expression_names == head.expression_names
    assert (capture.info.face_model, read_info(fitted / "capture.json")[1]) == ("procedural", True)
    for sequence, frames in capture.info.sequences.items():
        vertices = np.load(truth_path(raw, "031", sequence, "vertices.npy"))
        for index, frame in enumerate(frames):
            apart = (capture.vertices(frame) - torch.from_numpy(vertices[3 * index])).norm(dim=-1)
            assert apart.mean() < 0.004, frame  # metres
    report = json.loads((fitted.parent / "fit/report.json").read_text())
    assert report["residual"]["rms_px"] < 1.2
    assert report["frames"] == len(capture.frame_ids)
    assert not (fitted / ".tracking").exists()


def test_extracting_again_keeps_what_fitting_found(fitted, raw, tmp_path):
    before = (fitted / "capture.json").read_bytes()
    shutil.copytree(fitted, tmp_path / "captures/031")
    picture = tmp_path / "captures/031/images/0002/image_222200048.jpg"
    picture.unlink()
    arguments = ("--crop", *FILM.crop, "--size", 96, "--parallel", 1, "--quiet")
    assert gha("preprocess-nersemble", raw, tmp_path / "captures", *arguments) == 0
    assert picture.is_file()
    assert (tmp_path / "captures/031/capture.json").read_bytes() == before
    check_capture(open_capture(tmp_path / "captures/031"))


def test_validation_calls_it_usable(fitted, tmp_path):
    assert gha("validate", fitted, "--output", tmp_path, "--quiet") == 0


def test_both_stages_train_on_it(fitted, tmp_path):
    shared = [f"runs={tmp_path}", "name=mini", f"data.capture={fitted}", "device=cpu", "data.resolution=64"]
    mesh, gaussian = (PRESETS / f"train_{kind}head_demo.yaml" for kind in ("mesh", "gaussian"))
    train_mesh(load_config(MeshRunConfig, mesh, [*shared, *SMALL_HEAD, "loop.steps=25"]))
    run = train_gaussian(
        load_config(GaussianRunConfig, gaussian, [*shared, *SMALL_GAUSSIANS, "training.window=64", "loop.steps=6"])
    )
    checkpoint = load_checkpoint(run)
    assert checkpoint.step == 6
    assert all(value.isfinite().all() for group in checkpoint.tensors.values() for value in group.values())


def test_true_masks_and_codes_make_the_capture_to_compare_with(extracted, raw, head, tmp_path):
    folder = shutil.copytree(extracted, tmp_path / "true")
    write_true_masks(open_capture(folder), raw)
    write_true_tracking(open_capture(folder), raw, head)
    capture = open_capture(folder)
    check_capture(capture)
    mask = np.asarray(Image.open(folder / "images/0005/mask_222200048.png")) / 255
    recovered = np.asarray(Image.open(extracted / "images/0005/mask_222200048.png")) / 255
    assert 0 < np.abs(mask - recovered).mean() < 0.06  # about a pixel along the outline
    codes = np.load(truth_path(raw, "031", SHORT, "codes.npz"))
    torch.testing.assert_close(capture.codes(["0006"]).pose[0], torch.from_numpy(codes["pose"][3]))
