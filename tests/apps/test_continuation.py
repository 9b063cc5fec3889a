"""A continued run says what changed, and refuses what cannot change."""

import logging
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml

from gha.apps.config import save_config
from gha.apps.continuation import check_continuation, check_same_corrections, check_same_subject
from gha.apps.training_config import DataConfig, GaussianRunConfig, MeshRunConfig
from gha.errors import InputError
from gha.training.avatar_io import Subject
from gha.training.checkpoint_format import Checkpoint


@pytest.fixture
def started(tmp_path):
    """A configuration that a run has begun with, and where it was saved."""
    config = MeshRunConfig("demo", DataConfig("captures/demo"))
    save_config(config, tmp_path / "config.yaml")
    return config, tmp_path / "config.yaml"


def continued(started, changed, caplog, trained_head=None):
    """Lines that are logged when the run goes on with the configuration ``changed``, each with its level."""
    config, path = started
    with caplog.at_level(logging.INFO, "gha"):
        check_continuation(changed, trained_head or asdict(config.head), path)
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_the_same_configuration_continues_in_silence(started, caplog):
    assert continued(started, started[0], caplog) == []


def test_place_device_and_reading_speed_are_not_worth_a_line(started, caplog):
    config = started[0]
    data = replace(config.data, workers=7, cache_gib=0.25)
    changed = replace(config, name="moved", runs="/elsewhere", device="cuda:1", data=data)
    assert continued(started, changed, caplog) == []


def test_the_length_of_the_run_is_a_line(started, caplog):
    changed = replace(started[0], loop=replace(started[0].loop, steps=20000, keep_checkpoints=5))
    lines = continued(started, changed, caplog)
    assert lines == [("INFO", "continuing with loop.steps 10000 -> 20000, loop.keep_checkpoints 2 -> 5")]


def test_everything_else_is_one_warning_that_names_each_key(started, caplog):
    config = started[0]
    loss = replace(config.training.loss, rgb=1.0)
    changed = replace(config, data=replace(config.data, resolution=512), training=replace(config.training, loss=loss))
    ((level, line),) = continued(started, changed, caplog)
    assert level == "WARNING"
    assert line.startswith(f"{started[1]}: continuing with other values")
    assert line.endswith(": data.resolution 256 -> 512, training.loss.rgb 0.1 -> 1.0")


def test_another_head_is_refused_by_key_with_both_values(started, caplog):
    config, path = started
    changed = replace(config, head=replace(config.head, edge_mm=5.0))
    with pytest.raises(InputError, match=r"\(head\.edge_mm: found 5\.0, expected 6\.8\).*stays in force.*another name"):
        check_continuation(changed, asdict(config.head), path)


def test_the_head_is_compared_with_the_checkpoint_not_with_the_file(started, caplog):
    """The file may have been edited, or be gone."""
    config, path = started
    trained = asdict(replace(config.head, search_interval=3))
    with pytest.raises(InputError, match=r"head\.search_interval: found 1, expected 3"):
        check_continuation(config, trained, path)
    right = replace(config, head=replace(config.head, search_interval=3))
    assert continued(started, right, caplog, trained) == []
    path.unlink()
    with pytest.raises(InputError, match=r"head\.search_interval: found 1, expected 3"):
        check_continuation(config, trained, path)
    assert continued(started, right, caplog, trained) == []


def test_keys_younger_or_older_than_the_file_are_no_change_at_their_default(started, caplog):
    config, path = started
    saved = yaml.safe_load(path.read_text())
    del saved["training"]["loss"]["surface"]
    saved["training"]["abandoned"] = 3
    path.write_text(yaml.safe_dump(saved))
    assert continued(started, config, caplog) == []
    loss = replace(config.training.loss, surface=0.5)
    changed = replace(config, training=replace(config.training, loss=loss))
    assert continued(started, changed, caplog)[0][1].endswith(": training.loss.surface 0.1 -> 0.5")


def test_a_head_key_younger_than_the_checkpoint_is_at_its_default_there(started, caplog):
    config, path = started
    trained = asdict(config.head)
    del trained["search_interval"]
    assert continued(started, config, caplog, trained) == []
    with pytest.raises(InputError, match=r"head\.search_interval: found 4, expected 1"):
        check_continuation(replace(config, head=replace(config.head, search_interval=4)), trained, path)


GAUSSIANS = GaussianRunConfig("demo", DataConfig("captures/demo"))
FRAMES, CAMERAS = ["0", "1"], ["left", "right"]


def with_corrections(**changes):
    """A checkpoint of ``GAUSSIANS``, in which poses are corrected and colours are not."""
    metadata = {"pose_frames": FRAMES, "gain_cameras": CAMERAS}
    tensors = {name: {} for name in changes.get("modules", ("avatar", "pose_refinement"))}
    return Checkpoint(7, tensors, metadata | changes.get("metadata", {}), Path("runs/demo/gaussian/checkpoints/step_7"))


def test_corrections_cannot_begin_or_end_in_a_continued_run():
    check_same_corrections(GAUSSIANS, FRAMES, CAMERAS, with_corrections())
    gains = replace(GAUSSIANS, data=replace(GAUSSIANS.data, camera_color="gain"))
    with pytest.raises(InputError, match=r"data\.camera_color: found 'gain', but .*step_7 was trained without"):
        check_same_corrections(gains, FRAMES, CAMERAS, with_corrections())
    modules = ("avatar", "pose_refinement", "camera_gain")
    with pytest.raises(InputError, match=r"data\.camera_color: found 'off', but .* was trained with what"):
        check_same_corrections(GAUSSIANS, FRAMES, CAMERAS, with_corrections(modules=modules))
    still = replace(GAUSSIANS, training=replace(GAUSSIANS.training, pose_learning_rate=0.0))
    with pytest.raises(InputError, match=r"training\.pose_learning_rate: found 0\.0, but .* was trained with what"):
        check_same_corrections(still, FRAMES, CAMERAS, with_corrections())
    with pytest.raises(InputError, match=r"training\.pose_learning_rate: found 1e-05, but .* was trained without"):
        check_same_corrections(GAUSSIANS, FRAMES, CAMERAS, with_corrections(modules=("avatar",)))


def test_corrections_do_not_change_places():
    with pytest.raises(InputError, match=r"pose_learning_rate learns one correction for each of 0, 2, expected 0, 1"):
        check_same_corrections(GAUSSIANS, ["0", "2"], CAMERAS, with_corrections())
    gains = replace(GAUSSIANS, data=replace(GAUSSIANS.data, camera_color="gain"))
    swapped = with_corrections(modules=("avatar", "pose_refinement", "camera_gain"))
    with pytest.raises(InputError, match=r"camera_color learns .* each of right, left, expected left, right as so far"):
        check_same_corrections(gains, FRAMES, CAMERAS[::-1], swapped)


def test_a_recording_of_other_expressions_is_refused(tmp_path):
    trained = Subject("a", ["jaw", "blink"], [0, 0], [0, 0], [0] * 6, [0.1], [64, 64], 66, 424)
    check_same_subject(replace(trained, capture="moved"), trained, tmp_path)
    with pytest.raises(InputError, match=r"data\.capture: b has expressions jaw, expected jaw, blink, with which"):
        check_same_subject(replace(trained, capture="b", expression_names=["jaw"]), trained, tmp_path)
    with pytest.raises(InputError, match=r"b has landmarks and face points 426, expected 424"):
        check_same_subject(replace(trained, capture="b", landmark_count=426), trained, tmp_path)


def test_tracking_by_another_version_of_the_face_model_is_refused(tmp_path):
    trained = Subject("a", ["jaw"], [0], [0], [0] * 6, [0.1], [64, 64], 66, 424, ["ict_facekit", "1-mean-shaved-0"])
    check_same_subject(replace(trained, face_model=["ict_facekit", "1-scan-short-7"]), trained, tmp_path)
    check_same_subject(replace(trained, face_model=["", ""]), trained, tmp_path)
    message = r"b/capture\.json: found tracking by face model ict_facekit 2-mean, expected ict_facekit 1-mean-shaved-0"
    with pytest.raises(InputError, match=message):
        check_same_subject(replace(trained, capture="b", face_model=["ict_facekit", "2-mean"]), trained, tmp_path)
    with pytest.raises(InputError, match=r"found tracking by face model bfm 1, expected ict_facekit"):
        check_same_subject(replace(trained, face_model=["bfm", "1"]), trained, tmp_path)
