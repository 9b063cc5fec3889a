"""``gha fit-3dmm``: from pictures and landmark files to tracking that training reads."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "preprocessing"))
from face_detections import make_scene

from gha.apps import cli
from gha.apps.video import VideoWriter
from gha.capture import CaptureInfo, CaptureWriter, open_capture
from gha.capture.info import info_to_json
from gha.geometry import Camera
from gha.preprocessing.landmarks import detection_file, write_detection
from gha.preprocessing.monocular import import_video, read_frames

FRAMES = ("2", "10", "11", "12")


@pytest.fixture(scope="module")
def scene():
    return make_scene(frames=4, cameras=4)


@pytest.fixture
def capture(tmp_path, scene):
    """Plain pictures, cameras and detections; no tracking and no masks."""
    root = tmp_path / "anna"
    info = CaptureInfo((1024, 1024), fps=20.0, sequences={"EMO": FRAMES[:2], "SEN": FRAMES[2:]})
    writer = CaptureWriter(root, info)
    detections = scene.detect()
    for time, frame in enumerate(FRAMES):
        writer.write_cameras(frame, scene.stage.rig.camera_ids, scene.cameras)
        for view, camera in enumerate(scene.stage.rig.camera_ids):
            path = root / "images" / frame / f"image_{camera}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (1024, 1024), (90, 120, 90)).save(path)
            write_detection(detection_file(root / "landmarks", frame, camera), detections[time, view].numpy())
    (root / "capture.json").write_text(info_to_json(info, complete=True))
    return root


def run(*arguments):
    return cli.main(["fit-3dmm", *map(str, arguments), "--quiet"])


def test_tracking_is_what_training_reads(capture, tmp_path, scene, monkeypatch):
    """Defect D10 of the original: vertices are always written."""
    monkeypatch.chdir(tmp_path)
    assert run(capture, "--visualise", "contour=fixed") == 0
    found = open_capture(capture)
    assert found.info.face_model == "procedural"
    assert found.expression_names == scene.model.expression_names
    codes = found.codes()
    assert codes.expression.shape == (4, 52)
    assert codes.identity.shape == (4, scene.model.identity_size)
    for time, frame in enumerate(FRAMES):
        assert found.facial_landmarks(frame).shape == (68, 3)
        assert (found.vertices(frame) - scene.vertices[time]).norm(dim=-1).mean() < 1e-3
        assert found.landmarks(frame).shape[1] == 3
    report = json.loads((tmp_path / "runs/fit_3dmm/anna/report.json").read_text())
    assert report["converged"]
    assert 1.0 < report["residual"]["rms_px"] < 3.5
    assert 0.01 < report["residual"]["outliers"] < 0.12
    assert set(report["by_frame"]) == set(FRAMES)
    assert set(report["by_camera"]) == set(scene.stage.rig.camera_ids)
    assert report["worst_frames"][0]["rms_px"] == max(one["rms_px"] for one in report["by_frame"].values())
    assert report["stages"][-1]["costs"][-1] < report["stages"][-1]["costs"][0]
    pictures = sorted((tmp_path / "runs/fit_3dmm/anna/overlays").glob("*.jpg"))
    assert 4 <= len(pictures) <= 12
    with Image.open(pictures[0]) as picture:
        colours = np.asarray(picture.convert("RGB")).astype(int)
    face, plain = colours[:480, 480:], colours[:480, :480]
    assert (np.abs(face - [90, 120, 90]).sum(-1) > 60).mean() > 0.15  # the face is drawn
    assert ((plain[..., 1] > 150) & (plain[..., 0] < 90)).sum() > 100  # green landmarks


def test_tracking_is_not_replaced_by_accident(capture, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(capture) == 0
    before = (capture / "params/2/params.npz").read_bytes()
    assert run(capture, "contour=fixed") == 1
    assert "--overwrite replaces it" in capsys.readouterr().err
    assert run(capture, "contour=fixed", "--output", tmp_path / "other", "--cameras", "220700191,222200038") == 0
    assert (capture / "params/2/params.npz").read_bytes() == before
    assert (tmp_path / "other/params/12/vertices.npy").is_file()
    assert len(json.loads((tmp_path / "other/expression_names.json").read_text())) == 52
    assert run(capture, "contour=fixed", "--overwrite") == 0
    assert (capture / "params/2/params.npz").read_bytes() != before


def stop_writing_at(monkeypatch, frame, error):
    write = CaptureWriter.write_frame_params

    def stop(self, frame_id, *tracking):
        if frame_id == frame:
            raise error
        write(self, frame_id, *tracking)

    monkeypatch.setattr(CaptureWriter, "write_frame_params", stop)


def test_an_interrupted_run_leaves_all_tracking_or_none(capture, tmp_path, monkeypatch, capsys):
    """The same command is given again and works; with --overwrite the former tracking is never mixed with the new."""
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        stop_writing_at(patch, "11", KeyboardInterrupt())
        assert run(capture, "contour=fixed") == 130
    assert not (capture / "params").exists()
    assert run(capture, "contour=fixed") == 0
    before = {path: path.read_bytes() for path in capture.glob("params/*/*")}
    info = (capture / "capture.json").read_bytes()
    with monkeypatch.context() as patch:
        stop_writing_at(patch, "11", OSError(28, "No space left on device", "somewhere"))
        assert run(capture, "contour=off", "--overwrite") == 1
    assert "error: somewhere: no space left on device" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in capture.glob("params/*/*")} == before
    assert (capture / "capture.json").read_bytes() == info
    assert not (capture / ".tracking").exists()


def test_tracking_of_other_frames_stays(capture, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (capture / "params/extra").mkdir(parents=True)
    (capture / "params/extra/note").write_text("mine")
    (capture / ".tracking/params/2").mkdir(parents=True)  # a run that was killed
    assert run(capture, "contour=fixed") == 0
    assert (capture / "params/extra/note").read_text() == "mine"
    assert (capture / "params/12/params.npz").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--landmarks", "nowhere"], "nowhere: folder not found; expected landmarks there, --landmarks FOLDER, or"),
        (["--cameras", "7"], "--cameras: found ['7']"),
        (["contour=round"], "contour: expected one of sliding, fixed, off"),
        (["noise_floor=0"], "noise_floor: found 0"),
        (["max_iterationz=3"], "did you mean max_iterations?"),
        (["--detector", "mediapipe", "--detector-model", "nothing.task"], "nothing.task: file not found"),
        (["--face-model", "bfm", "--face-path", "nothing.mat"], "nothing.mat"),
        (["--video", "nothing.mp4"], "nothing.mp4: file not found"),
    ],
)
def test_mistakes_are_one_line(capture, arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(capture, *arguments) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["--face-model", "bfm"], ["--face-path", "x"], ["--detector", "mediapipe"], ["--every", "0"], ["--focal", "-1"]],
)
def test_arguments_that_do_not_go_together(capture, arguments):
    with pytest.raises(SystemExit):
        run(capture, *arguments)


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "talk.mp4"
    with VideoWriter(path, 24.0) as writer:
        for index in range(7):
            writer.write(np.full((96, 128, 3), 30 * index, np.uint8))
    return path


def test_a_video_becomes_a_capture_and_is_fitted(video, tmp_path, scene, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = import_video(video, tmp_path / "talk", focal=200.0, every=2, progress=False)
    capture = open_capture(root)
    assert capture.frame_ids == ("00000", "00002", "00004", "00006")
    assert capture.fps == 12.0
    assert capture.resolution("0") == (96, 128)
    camera = capture.camera("0", "00004")
    torch.testing.assert_close(camera.K, torch.tensor([[200.0, 0, 64], [0, 200, 48], [0, 0, 1]]))
    torch.testing.assert_close(camera.project(torch.zeros(1, 3))[0], torch.tensor([[64.0, 48.0]]))
    assert camera.project(torch.tensor([[0.0, 0.1, 0.0]]))[0][0, 1] < 48  # y is up
    with Image.open(root / "images/00004/image_0.jpg") as picture:
        assert abs(np.asarray(picture).mean() - 120) < 5
    for time, frame in enumerate(capture.frame_ids):
        pixels, _ = camera.project(scene.landmarks[time])
        points = torch.cat([pixels, torch.ones(68, 1)], 1).numpy()
        write_detection(detection_file(root / "landmarks", frame, "0"), points)
    again = ("--video", video, "--focal", 200, "--every", 2, "contour=fixed")
    assert run(root, *again, "--overwrite") == 0
    assert open_capture(root).info.face_model == "procedural"
    assert json.loads((tmp_path / "runs/fit_3dmm/talk/report.json").read_text())["residual"]["median_px"] < 0.5
    # The same command again finds the frames in place.
    written = (root / "images/00004/image_0.jpg").stat().st_mtime_ns
    assert run(root, *again, "--overwrite") == 0
    assert (root / "images/00004/image_0.jpg").stat().st_mtime_ns == written


def test_another_video_does_not_mix_in(video, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    import_video(video, tmp_path / "talk", progress=False)
    assert run(tmp_path / "talk", "--video", video, "--every", 3) == 1
    assert "holds another capture" in capsys.readouterr().err


def test_files_that_are_no_video(tmp_path, capsys):
    (tmp_path / "talk.mp4").write_bytes(b"no video" * 100)
    assert run(tmp_path / "capture", "--video", tmp_path / "talk.mp4") == 1
    assert "talk.mp4: not a readable video" in capsys.readouterr().err
    with pytest.raises(Exception, match="not a readable video"):
        list(read_frames(tmp_path / "talk.mp4"))


def test_ties_know_sequences_and_rate(capture):
    from gha.preprocessing.fitting_capture import read_cameras, seconds_between

    found = open_capture(capture)
    seconds = seconds_between(found, FRAMES)
    assert seconds.tolist() == pytest.approx([np.inf, 0.05, np.inf, 0.05])
    assert seconds_between(found, ("2", "12")).tolist() == [np.inf, np.inf]
    cameras = read_cameras(found, FRAMES, found.camera_ids)
    assert len(cameras) == 4
    assert isinstance(cameras[0], Camera)
