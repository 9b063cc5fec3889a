"""Landmark files in all their forms, the order of points, detectors, and what is wrong with each."""

import sys
import types

import numpy as np
import pytest
from PIL import Image

from gha.capture import open_capture
from gha.errors import InputError
from gha.preprocessing.landmark_detection import detect_landmarks
from gha.preprocessing.landmark_detectors import FaceAlignmentDetector, MediaPipeDetector
from gha.preprocessing.landmarks import DENSE, detection_file, read_landmarks, to_ibug, write_detection

FRAMES, CAMERAS = ("2", "10", "11"), ("7", "12")


def points_of(frame, camera, count=68):
    rng = np.random.default_rng([FRAMES.index(frame), CAMERAS.index(camera)])
    return np.concatenate([rng.uniform(0, 500, (count, 2)), rng.uniform(0.2, 1, (count, 1))], 1)


def expected():
    return np.stack([[points_of(frame, camera) for camera in CAMERAS] for frame in FRAMES])


def test_files_per_frame_in_both_forms(tmp_path):
    for frame in FRAMES:
        write_detection(detection_file(tmp_path, frame, "7"), points_of(frame, "7"))
        np.save(tmp_path / frame / "lmk_12.npy", points_of(frame, "12"))
    np.testing.assert_allclose(read_landmarks(tmp_path, FRAMES, CAMERAS), expected(), rtol=1e-6)


def test_a_missing_file_is_no_detection(tmp_path):
    write_detection(detection_file(tmp_path, "10", "7"), points_of("10", "7"))
    found = read_landmarks(tmp_path, FRAMES, CAMERAS)
    assert (found[1, 0, :, 2] > 0).all()
    assert found.sum() == pytest.approx(points_of("10", "7").sum(), rel=1e-6)


def test_one_file_per_camera_in_natural_order(tmp_path):
    for camera in CAMERAS:
        np.savez(tmp_path / f"lmk_{camera}.npz", points=expected()[:, CAMERAS.index(camera)])
    np.testing.assert_allclose(read_landmarks(tmp_path, FRAMES, CAMERAS), expected(), rtol=1e-6)


def test_a_short_video_in_one_camera_shifts_nothing(tmp_path):
    """Defect D15 of the original: frames are found by name, not by counting."""
    np.savez(tmp_path / "lmk_7.npz", points=expected()[:, 0], frames=np.array(FRAMES))
    np.savez(tmp_path / "12.npz", points=expected()[[2, 1], 1], frames=np.array(["11", "10"]))
    found = read_landmarks(tmp_path, FRAMES, CAMERAS)
    np.testing.assert_allclose(found[:, 0], expected()[:, 0], rtol=1e-6)
    np.testing.assert_allclose(found[1:, 1], expected()[1:, 1], rtol=1e-6)
    assert not found[0, 1].any()


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda f: np.savez(f / "7.npz", points=np.ones((2, 68, 3))), 'points of 2 frames without "frames"'),
        (lambda f: np.savez(f / "7.npz", points=np.ones((3, 67, 3))), r"shape \[3, 67, 3\]"),
        (lambda f: np.savez(f / "7.npz", points=np.ones((3, 68, 3)), frames=np.array(["2", "2", "3"])), "more than"),
        (lambda f: np.savez(f / "7.npz", points=np.ones((3, 68, 3)), frames=np.array(["2"])), "1 names for points"),
        (lambda f: np.savez(f / "7.npz", points=np.ones((3, 68, 3)), frames=np.arange(3)), "list of names as text"),
        (lambda f: np.savez(f / "7.npz", points=np.full((3, 68, 3), np.nan)), "NaN"),
        (lambda f: np.savez(f / "7.npz", points=np.full((3, 68, 3), 7.0)), "confidences from 7 to 7"),
        (lambda f: np.savez(f / "7.npz", points=np.zeros((3, 68, 3))), "confidence of 0 everywhere"),
        (lambda f: (f / "7.npz").write_bytes(b"PK no"), "not a readable npz"),
        (lambda f: None, "found no landmarks of cameras"),
    ],
)
def test_what_is_wrong_is_told(tmp_path, write, message):
    write(tmp_path)
    with pytest.raises(InputError, match=message) as error:
        read_landmarks(tmp_path, FRAMES, CAMERAS)
    assert str(tmp_path) in str(error.value)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere: folder not found"):
        read_landmarks(tmp_path / "nowhere", FRAMES, CAMERAS)


def test_dense_points_become_68():
    dense = np.concatenate([np.random.default_rng(0).normal(size=(DENSE, 2)), np.full((DENSE, 1), 0.5)], 1)
    found = to_ibug(dense)
    assert found.shape == (68, 3)
    for ibug, mesh in ((30, 4), (33, 2), (36, 33), (45, 263), (48, 61), (54, 291), (62, 13), (66, 14), (8, 152)):
        np.testing.assert_allclose(found[ibug], dense[mesh])
    assert to_ibug(found) is found


def test_the_jaw_line_is_divided_evenly():
    """A half circle from temple to temple, whose points crowd towards the chin."""
    from gha.preprocessing.landmarks import OVAL_LEFT, OVAL_RIGHT

    dense = np.zeros((DENSE, 3))
    angle = np.pi / 2 * np.linspace(0, 1, 12) ** 0.7
    for oval, side in ((OVAL_RIGHT, -1), (OVAL_LEFT, 1)):
        dense[list(oval)] = np.stack([side * np.cos(angle), np.sin(angle), 0 * angle + 1], 1)
    jaw = to_ibug(dense)[:17]
    steps = np.linalg.norm(np.diff(jaw, axis=0), axis=1)
    np.testing.assert_allclose(steps, steps.mean(), rtol=0.02)
    np.testing.assert_allclose(jaw[::-1] * [-1, 1, 1], jaw, atol=1e-9)
    np.testing.assert_allclose(jaw[[0, 8, 16], :2], [[-1, 0], [0, 1], [1, 0]], atol=1e-9)


class FakeNetwork:
    """``face_alignment.FaceAlignment`` as documented: landmarks, scores, boxes of every face, or None."""

    def __init__(self, kind, device, flip_input):
        self.kind = kind

    def get_landmarks_from_image(self, picture, return_landmark_score):
        assert return_landmark_score
        if picture.max() == 0:
            return None, None, None
        faces = [np.full((68, 3), 10.0), np.full((68, 3), 20.0)]
        return faces, [np.full(68, 0.3), np.full(68, 0.9)], [np.zeros(5), np.zeros(5)]


@pytest.fixture
def stub(monkeypatch):
    module = types.ModuleType("face_alignment")
    module.FaceAlignment = FakeNetwork
    module.LandmarksType = types.SimpleNamespace(TWO_D="two", THREE_D="three")
    monkeypatch.setitem(sys.modules, "face_alignment", module)


def test_face_alignment_keeps_the_best_face(stub):
    detector = FaceAlignmentDetector()
    found = detector(np.full((8, 8, 3), 255, np.uint8))
    assert found.shape == (68, 3)
    np.testing.assert_allclose(found, np.tile([20.0, 20.0, 0.9], (68, 1)))
    assert not detector(np.zeros((8, 8, 3), np.uint8)).any()
    with pytest.raises(InputError, match="found kind '4d'"):
        FaceAlignmentDetector("4d")


@pytest.mark.parametrize("package", ["mediapipe", "face_alignment"])
def test_a_detector_that_is_not_installed_is_named(monkeypatch, tmp_path, package):
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "model.task").write_bytes(b"")
    with pytest.raises(InputError, match="pip install"):
        MediaPipeDetector(tmp_path / "model.task") if package == "mediapipe" else FaceAlignmentDetector()


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(InputError, match=r"model\.task: file not found"):
        MediaPipeDetector(tmp_path / "model.task")


def test_mediapipe_on_a_rendered_head(shared_data):
    pytest.importorskip("mediapipe", reason="mediapipe is not installed")
    root = shared_data / "capture"
    with Image.open(root / "images" / "0000" / "image_222200038.jpg") as picture:
        detector = MediaPipeDetector(shared_data / "weights" / "face_landmarker_v2_with_blendshapes.task")
        found = to_ibug(detector(np.asarray(picture.convert("RGB"))))
        detector.close()
    truth = np.load(root / "landmarks" / "0000" / "lmk_222200038.npy")
    assert np.linalg.norm(found - truth, axis=1)[17:, ...].mean() < 8


def test_detection_is_resumed(ball, tmp_path):
    capture = open_capture(ball)
    seen = []

    def make():
        def detector(picture):
            seen.append(picture.shape)
            return np.ones((68, 3))

        return detector

    frames, cameras = capture.frame_ids[:2], capture.camera_ids
    assert detect_landmarks(capture, make, tmp_path, frames, cameras, progress=False) == len(frames) * len(cameras)
    assert seen[0] == (96, 120, 3)
    detection_file(tmp_path, frames[1], cameras[0]).unlink()
    assert detect_landmarks(capture, make, tmp_path, frames, cameras, progress=False) == 1
    fail = lambda: pytest.fail("the detector was loaded for nothing")
    assert detect_landmarks(capture, fail, tmp_path, frames, cameras, progress=False) == 0
    assert read_landmarks(tmp_path, frames, cameras).shape == (2, len(cameras), 68, 3)


def test_a_missing_picture_is_named(broken, tmp_path):
    capture = open_capture(broken)
    (broken / "images" / "0001" / "image_b.jpg").unlink()
    with pytest.raises(InputError, match=r"image_b\.jpg: file not found"):
        detect_landmarks(capture, lambda: lambda picture: np.ones((68, 3)), tmp_path, ["0001"], ["b"], False)
