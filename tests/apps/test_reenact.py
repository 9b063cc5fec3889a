"""Reenactment with the toy: who drives, from where it is seen, what is written."""

import csv
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from gha.apps import reenact as app
from gha.apps.config import load_config
from gha.apps.drivers import frontal_camera, nearest_frames, open_driver
from gha.avatars.neck import Neck, NeckConfig
from gha.capture import ExpressionSequence, open_capture, write_sequence
from gha.errors import InputError
from gha.faces.code import HeadCode
from gha.training.avatar_io import RunInfo, describe_subject

CONFIG = Path(__file__).resolve().parents[2] / "config"


@pytest.fixture
def run(monkeypatch, toys, toy_capture, tmp_path):
    """A folder where the app finds the toy as a trained run."""
    folder = tmp_path / "runs" / "toy" / "gaussian"
    (folder / "checkpoints").mkdir(parents=True)
    info = RunInfo("gaussian_head", 7, folder, describe_subject(toy_capture, (64, 64)))
    monkeypatch.setattr(app, "load_avatar", lambda path, device: (toys.Avatar(), info))
    return folder


@pytest.fixture
def subject(toy_capture):
    return describe_subject(toy_capture, (64, 64))


def config(run="", **changes) -> app.ReenactmentConfig:
    return app.ReenactmentConfig(run=str(run), device="cpu", **changes)


def codes_for(settings, subject, driver_path):
    driver = open_driver(driver_path, settings.frames)
    sequence = app.prepare_sequence(settings, driver, subject)
    return app.driving_codes(settings, driver, sequence, app.reference_code(settings, subject))


def read_video(path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_self_reenactment_shows_what_was_filmed(run, toy_capture):
    """A fixed camera with an off-centre principal point, poses and expressions of the held-out frames."""
    output = app.reenact(config(run, camera="front", side_by_side=False))
    assert output == run / "reenactment" / f"{toy_capture.root.name}_front"
    output = app.reenact(config(run, camera="left", side_by_side=False, output=str(run / "left")))
    assert sorted(p.name for p in (output / "frames").iterdir()) == ["000000.png", "000001.png"]
    for index, frame_id in enumerate(("0004", "0005")):
        frame = toy_capture.read(frame_id, ["left"]).to("cpu")
        truth = (frame.image * frame.mask + 1 - frame.mask)[0].permute(1, 2, 0).numpy()
        rendered = np.asarray(Image.open(output / "frames" / f"{index:06d}.png")) / 255
        assert np.sqrt(np.mean((rendered - truth) ** 2)) < 0.03
    video = read_video(output / "video.mp4")
    assert video.shape == (2, 64, 64, 3)


def test_side_by_side_shows_driver_and_avatar(run):
    output = app.reenact(config(run, camera="left", frames="all"))
    picture = np.asarray(Image.open(output / "frames" / "000003.png")).astype(float)
    assert picture.shape == (64, 128, 3)
    assert np.abs(picture[:, :64] - picture[:, 64:]).mean() < 5
    assert len(read_video(output / "video.mp4")) == 6


def test_a_file_drives_without_any_capture(run, toys, tmp_path):
    sequence = ExpressionSequence(torch.rand(4, 2), 0.1 * torch.randn(4, 6), 12.0, ("eyeBlink", "jawOpen"))
    write_sequence(tmp_path / "talk.npz", sequence)
    output = app.reenact(config(run, driver=str(tmp_path / "talk.npz"), head_pose="motion", write_frames=False))
    assert output.name == "talk_orbit"
    assert read_video(output / "video.mp4").shape == (4, 64, 64, 3)
    assert not (output / "frames").exists()


def test_expressions_are_matched_by_name(subject, tmp_path):
    sequence = ExpressionSequence(torch.tensor([[0.1, 0.9, 0.5]]), torch.ones(1, 6), 25.0, ("eyeBlink", "jawOpen", "x"))
    write_sequence(tmp_path / "s.npz", sequence)
    assert codes_for(config(), subject, tmp_path / "s.npz").expression.tolist() == [pytest.approx([0.9, 0.1])]
    lacking = ExpressionSequence(torch.rand(1, 1), torch.ones(1, 6), 25.0, ("jawOpen",))
    write_sequence(tmp_path / "lacking.npz", lacking)
    with pytest.raises(InputError, match="lacks 1 of 2 expressions: eyeBlink"):
        codes_for(config(), subject, tmp_path / "lacking.npz")
    filled = codes_for(config(fill_missing=True), subject, tmp_path / "lacking.npz")
    assert filled.expression[0, 1] == 0


def test_frozen_pose_is_that_of_a_training_frame_and_never_zero(subject, toys, toy_capture_folder):
    codes = codes_for(config(head_pose="frozen"), subject, toy_capture_folder)
    assert torch.allclose(codes.pose, torch.tensor(subject.reference_pose).expand(2, 6))
    assert any(np.allclose(subject.reference_pose, toys.code(f).pose) for f in ("0000", "0001", "0002", "0003"))
    chosen = codes_for(config(head_pose="frozen", pose_frame="0003"), subject, toy_capture_folder)
    assert torch.allclose(chosen.pose, toys.code("0003").pose.expand(2, 6))
    assert not torch.allclose(chosen.expression[0], chosen.expression[1])


def test_a_file_without_head_pose_leaves_the_head_at_its_reference(subject, tmp_path, caplog):
    with (tmp_path / "bare.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["time", "jawOpen", "eyeBlink"], [0, 0.2, 0.3], [0.04, 0.4, 0.1]])
    with caplog.at_level(logging.INFO, logger="gha"):
        codes = codes_for(config(), subject, tmp_path / "bare.csv")
    assert torch.allclose(codes.pose, torch.tensor(subject.reference_pose).expand(2, 6))
    assert "holds no head pose" in caplog.text


def test_the_avatar_keeps_its_own_scale_unless_told(subject, tmp_path):
    big = ExpressionSequence(
        torch.rand(3, 2), torch.ones(3, 6), 25.0, ("jawOpen", "eyeBlink"), scale=torch.full((3, 1), 0.2)
    )
    write_sequence(tmp_path / "big.npz", big)
    assert codes_for(config(), subject, tmp_path / "big.npz").scale.flatten().tolist() == pytest.approx([0.1] * 3)
    forced = codes_for(config(scale="driver"), subject, tmp_path / "big.npz")
    assert forced.scale.flatten().tolist() == pytest.approx([0.2] * 3)
    write_sequence(tmp_path / "none.npz", replace(big, scale=None))
    with pytest.raises(InputError, match="none holds no scale; use scale=avatar"):
        codes_for(config(scale="driver"), subject, tmp_path / "none.npz")


def test_relative_transfer_between_equals_changes_nothing(subject, toy_capture_folder, tmp_path):
    absolute = codes_for(config(), subject, toy_capture_folder)
    relative = codes_for(config(transfer="relative"), subject, toy_capture_folder)
    assert torch.allclose(relative.expression, absolute.expression, atol=1e-6)
    other = ExpressionSequence(torch.tensor([[0.3, 0.2], [0.4, 0.7]]), torch.ones(2, 6), 25.0, ("jawOpen", "eyeBlink"))
    write_sequence(tmp_path / "other.npz", other)
    moved = codes_for(config(transfer="relative"), subject, tmp_path / "other.npz")
    neutral = torch.tensor(subject.neutral_expression)
    assert torch.allclose(moved.expression, torch.stack([neutral, neutral + torch.tensor([0.1, 0.5])]), atol=1e-6)


def test_smoothing_is_off_unless_asked_for(subject, tmp_path):
    noisy = ExpressionSequence(torch.rand(40, 2), 0.1 * torch.randn(40, 6), 25.0, ("jawOpen", "eyeBlink"))
    write_sequence(tmp_path / "noisy.npz", noisy)
    raw = codes_for(config(), subject, tmp_path / "noisy.npz")
    assert torch.equal(raw.expression, noisy.expression)
    assert torch.equal(raw.pose, noisy.pose)
    smooth = codes_for(config(smoothing=0.1), subject, tmp_path / "noisy.npz")
    for before, after in ((raw.expression, smooth.expression), (raw.pose, smooth.pose)):
        assert after.diff(dim=0).abs().mean() < 0.3 * before.diff(dim=0).abs().mean()


def test_resampling_keeps_the_driver_in_step(toy_capture_folder, subject):
    driver = open_driver(toy_capture_folder, "all")  # six frames at 10 per second
    sequence = app.prepare_sequence(config(fps=25.0), driver, subject)
    assert len(sequence) == 13
    assert nearest_frames(driver, sequence)[:6] == [0, 0, 1, 1, 2, 2]


def test_camera_is_the_recorded_one_with_its_principal_point(subject, toy_capture):
    reference = subject.code()
    camera = app.camera_path(config(camera="right", resolution=32), subject, 5, reference, 4)
    recorded = toy_capture.camera("right").resize(32, 32)
    assert torch.equal(camera.K, recorded.K.expand(5, 3, 3))
    assert torch.equal(camera.w2c, recorded.w2c.expand(5, 4, 4))
    assert camera.K[0, 0, 2] != 16
    with pytest.raises(InputError, match="found 'behind', expected orbit, front or one of front, left, right"):
        app.camera_path(config(camera="behind"), subject, 5, reference, 4)


def test_a_driver_without_pictures_is_not_shown(run, toy_capture_folder, tmp_path, caplog):
    bare = tmp_path / "bare"
    shutil.copytree(toy_capture_folder, bare)
    for picture in bare.glob("images/*/*"):
        picture.unlink()
    with caplog.at_level(logging.INFO, logger="gha"):
        output = app.reenact(config(run, driver=str(bare), camera="left"))
    assert np.asarray(Image.open(output / "frames" / "000000.png")).shape == (64, 64, 3)
    assert "the avatar is shown alone" in caplog.text


def test_an_unknown_driver_camera_is_named(run):
    with pytest.raises(InputError, match="has no camera 'behind'"):
        app.reenact(config(run, camera="front", driver_camera="behind"))
    assert not list(run.glob("**/video.mp4"))


def test_sizes_are_multiples_of_the_decoder_and_keep_proportions(subject):
    wide = replace(subject, resolution=[40, 64])
    camera = app.camera_path(config(resolution=103), wide, 2, subject.code(), 4)
    assert (camera.height, camera.width) == (64, 100)


def test_frames_of_a_driver(toy_capture_folder, tmp_path):
    assert open_driver(toy_capture_folder).frame_ids == ("0004", "0005")
    assert open_driver(toy_capture_folder, "train").frame_ids == ("0000", "0001", "0002", "0003")
    assert open_driver(toy_capture_folder, "1:6:2").frame_ids == ("0001", "0003", "0005")
    for wrong in ("tset", "3", "::-1", "9:"):
        with pytest.raises(InputError, match="frames"):
            open_driver(toy_capture_folder, wrong)
    write_sequence(tmp_path / "s.csv", ExpressionSequence(torch.rand(5, 1), torch.ones(5, 6), 25.0, ("a",)))
    assert len(open_driver(tmp_path / "s.csv", ":3").sequence) == 3
    with pytest.raises(InputError, match="file not found"):
        open_driver(tmp_path / "absent.npz")


@pytest.mark.parametrize(
    ("frames", "message"),
    [("test", 'which a file does not tell apart; expected "all" or a slice'), ("::0", "found frames='::0', expected")],
)
def test_wrong_parts_of_a_file(frames, message, toy_capture, tmp_path):
    write_sequence(tmp_path / "talk.npz", ExpressionSequence.from_capture(toy_capture))
    with pytest.raises(InputError, match=message):
        open_driver(tmp_path / "talk.npz", frames)


def test_missing_expressions_name_the_driver_and_the_key(subject, toy_capture, tmp_path):
    sequence = ExpressionSequence.from_capture(toy_capture)
    write_sequence(tmp_path / "talk.npz", replace(sequence, names=("jawOpen", "other")))
    with pytest.raises(InputError, match=r"^talk: the sequence lacks 1 of 2 .*\(fill_missing=true\)$"):
        codes_for(config(), subject, tmp_path / "talk.npz")


def test_frontal_camera(toy_capture_folder):
    assert frontal_camera(open_capture(toy_capture_folder)) == "front"


def test_frames_of_a_longer_past_run_are_removed(run, tmp_path):
    settings = config(run, camera="front", side_by_side=False, output=str(tmp_path / "out"))
    (tmp_path / "out" / "frames").mkdir(parents=True)
    (tmp_path / "out" / "frames" / "000099.png").write_bytes(b"")
    (tmp_path / "out" / "frames" / "mine.png").write_bytes(b"")
    app.reenact(settings)
    names = sorted(p.name for p in (tmp_path / "out" / "frames").iterdir())
    assert names == ["000000.png", "000001.png", "mine.png"]


def test_configuration_is_saved_and_refuses_unknown_values(run):
    output = app.reenact(config(run, camera="front", orbit=app.OrbitConfig(distance=15.0)))
    saved = load_config(app.ReenactmentConfig, output / "config.yaml")
    assert saved.orbit.distance == 15.0
    with pytest.raises(InputError, match="head_pose"):
        load_config(app.ReenactmentConfig, None, ["run=x", "head_pose=zero"])
    with pytest.raises(InputError, match="expected three numbers"):
        app.reenact(config(run, background=[0.0]))


@pytest.mark.parametrize("path", sorted(CONFIG.glob("reenactment_*.yaml")), ids=lambda path: path.stem)
def test_presets_load(path):
    assert load_config(app.ReenactmentConfig, path).run.startswith("runs/")


def test_a_head_far_from_its_body_is_pointed_out(caplog):
    neck = Neck(2, NeckConfig())
    near = HeadCode(torch.zeros(2, 3), torch.zeros(2, 6), torch.full((2, 1), 0.1))
    app.warn_of_stretched_neck(neck, near)
    assert not caplog.records
    app.warn_of_stretched_neck(neck, replace(near, pose=torch.tensor([[0.0] * 6, [0, 0, 0, 0, 0.3, 0]])))
    assert "up to 3.0 dm away" in caplog.text
    assert "head_pose=motion" in caplog.text
