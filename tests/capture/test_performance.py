"""Acting: what is in a performance, and reading recorded ones."""

import gzip

import numpy as np
import pytest
import torch

from gha.capture import ExpressionSequence, performance_motion, write_sequence
from gha.capture.performance import (
    FREE,
    free_sequence,
    procedural_performance,
    read_performance,
    recorded_performance,
)
from gha.capture.performance_tables import ARKIT_NAMES, EMOTIONS, EXTREMES, VISEMES, face_vector
from gha.errors import InputError


def column(faces, name):
    return faces[:, ARKIT_NAMES.index(name)]


def test_tables_use_known_names():
    for face in (*VISEMES.values(), *EXTREMES, *EMOTIONS):
        vector = face_vector(face)
        assert len(vector) == len(set(ARKIT_NAMES)) == 52
        assert sum(vector) > 0 or not face
        assert max(vector) <= 1


@pytest.mark.parametrize("frames", [3, 8, 36, 200])
def test_performance_starts_neutral_and_ends_with_the_free_part(frames):
    performance = procedural_performance(frames, seed=2)
    assert sum(count for _, count in performance.sequences) == frames
    assert performance.sequences[-1][0] == FREE
    assert len(performance.turn) == len(performance.shift) == len(performance.expression) == frames
    assert (performance.expression[0] == 0).all()
    assert (performance.turn[0] == 0).all()
    assert performance.expression.min() >= 0
    assert performance.expression.max() <= 1
    assert np.degrees(np.abs(performance.turn)).max() <= 20
    assert np.abs(performance.shift).max() <= 0.1


def test_training_part_shows_what_the_held_out_part_needs():
    performance = procedural_performance(36, seed=0)
    train, test = performance.expression[:-7], performance.expression[-7:]
    used = test.max(0) > 0.25
    assert used.sum() >= 5
    assert (train.max(0)[used] > 0.2).all()
    assert (train.max(0) > 0.3).sum() >= 40


def test_same_seed_same_performance():
    one, same, other = (procedural_performance(20, seed) for seed in (5, 5, 6))
    assert np.array_equal(one.expression, same.expression)
    assert np.array_equal(one.turn, same.turn)
    assert not np.array_equal(one.expression, other.expression)


def test_no_free_part_when_nothing_is_held_out():
    assert FREE not in dict(procedural_performance(10, held_out=0.0).sequences)


def test_speech_opens_the_mouth_at_the_rate_of_syllables():
    times = np.arange(0, 20, 0.01)
    closed_and_open = column(performance_motion.speech(times, seed=1), "jawOpen")
    peaks = (closed_and_open[1:-1] > closed_and_open[:-2]) & (closed_and_open[1:-1] >= closed_and_open[2:])
    rate = (peaks & (closed_and_open[1:-1] > 0.1)).sum() / 20
    assert 1.8 < rate < 7
    assert closed_and_open.max() > 0.4


def test_blinks_close_fully_and_briefly():
    times = np.arange(0, 60, 0.005)
    closure = performance_motion.blinks(times, np.random.default_rng(0))
    assert closure.max() > 0.99
    assert closure.min() == 0
    assert 0.02 < (closure > 0.5).mean() < 0.12


def test_eyes_look_one_way_at_a_time_and_together():
    faces = performance_motion.together(performance_motion.eyes(np.arange(0, 20, 0.05), 1.0, seed=0))
    assert (column(faces, "eyeLookOutLeft") * column(faces, "eyeLookInLeft") == 0).all()
    assert np.allclose(column(faces, "eyeLookOutLeft"), column(faces, "eyeLookInRight"))
    assert (column(faces, "eyeLookUpLeft") * column(faces, "eyeLookDownLeft") == 0).all()


def test_head_moves_smoothly():
    times = np.arange(0, 10, 1 / 24)
    turn, shift = performance_motion.head_motion(times, 1.0, seed=0)
    assert np.degrees(np.abs(np.diff(turn, axis=0))).max() < 6
    assert np.degrees(np.abs(turn[:, 1])).max() > 12
    assert np.abs(np.diff(shift, axis=0)).max() < 0.03


def test_any_spelling_of_a_model_is_driven():
    performance = procedural_performance(60, seed=1)
    by_side = performance.for_model(("eyeBlink_L", "jawOpen", "browInnerUp_R", "unknownThing"))
    assert np.array_equal(by_side[:, 0], column(performance.expression, "eyeBlinkLeft"))
    assert np.array_equal(by_side[:, 1], column(performance.expression, "jawOpen"))
    assert np.array_equal(by_side[:, 2], column(performance.expression, "browInnerUp"))
    assert (by_side[:, 3] == 0).all()


def test_free_sequence_is_a_sequence_at_full_rate():
    sequence = free_sequence(("jawOpen", "mouthSmileLeft"), seconds=2.0)
    assert len(sequence) == 48
    assert sequence.names == ("jawOpen", "mouthSmileLeft")
    assert sequence.expression[:, 0].max() > 0.1
    pivot = torch.tensor([[0.0, -0.85, -1.0]])
    turned = sequence.codes(0.1).to_world(pivot.expand(48, 1, 3))
    assert (turned - 0.1 * pivot).norm(dim=-1).max() < 0.1 * 0.1 * 3**0.5  # only the shift moves the neck
    assert sequence.pose[:, :3].abs().max() > 0.1


LIVE_LINK = "Timecode,BlendShapeCount,EyeBlinkLeft,JawOpen,HeadYaw,HeadPitch,HeadRoll,LeftEyeYaw\n" + "".join(
    f"10:00:00:{i:02d}.0,61,{i / 100},{1 - i / 100},{{yaw}},0,0,0.3\n" for i in range(100)
)


@pytest.mark.parametrize("name", ["take.csv", "take.csv.gz"])
def test_live_link_recordings_are_read(tmp_path, name):
    path = tmp_path / name
    with gzip.open(path, "wt") if name.endswith("gz") else open(path, "w") as file:
        file.write(LIVE_LINK.format(yaw=0.25))
    sequence = read_performance(path)
    assert sequence.names == ("eyeBlinkLeft", "jawOpen")
    assert torch.allclose(sequence.expression[10], torch.tensor([0.1, 0.9]))
    assert torch.allclose(sequence.pose[3, :3], torch.tensor([0.0, 0.25, 0.0]))


def test_recordings_are_spread_and_the_end_is_held_out(tmp_path):
    path = tmp_path / "take.csv"
    path.write_text(LIVE_LINK.format(yaw=0))
    performance = recorded_performance(path, 10, held_out=0.3)
    assert performance.sequences == (("ROM", 7), (FREE, 3))
    blink = performance.expression[1:, 0] * 0.9 + 0.1  # undo that a tenth of the recording counts as rest
    assert (np.diff(blink) > 0).all()
    assert blink[5] < 0.70
    assert 0.70 < blink[6] < 0.8
    assert np.abs(performance.turn[1:]).max() > 0  # the recording has no head motion: it is acted


def test_rest_of_the_recorded_person_is_neutral(tmp_path):
    expression = torch.full((40, 2), 0.2)
    expression[30:, 0] = 1.0
    expression[30:, 1] = 0.6
    sequence = ExpressionSequence(expression, torch.zeros(40, 6), 25.0, ("jawOpen", "smile"))
    write_sequence(tmp_path / "drive.npz", sequence)
    performance = recorded_performance(tmp_path / "drive.npz", 40, held_out=0.0)
    assert np.allclose(performance.expression[:30], 0.0, atol=1e-6)
    assert np.allclose(performance.expression[30:], [1.0, 0.5], atol=1e-6)


def test_expression_sequences_are_recordings_too(tmp_path):
    expression = torch.rand(20, 2)
    expression[5:9] = 0.0  # rest
    sequence = ExpressionSequence(expression, torch.rand(20, 6) * 0.1, 25.0, ("jawOpen", "smile"))
    write_sequence(tmp_path / "drive.npz", sequence)
    performance = recorded_performance(tmp_path / "drive.npz", 20, held_out=0.0)
    assert np.allclose(performance.expression[1:], sequence.expression[1:])
    assert np.allclose(performance.turn[1:], sequence.pose[1:, :3])


def test_the_shared_recording_is_read(shared_data):
    performance = recorded_performance(shared_data / "motion" / "arkit_range_of_motion.csv.gz", 200)
    assert performance.names[:1] == ("eyeBlinkLeft",)
    assert len(performance.names) == 52
    assert (performance.expression.max(0) > 0.5).sum() > 40


def test_wrong_input_is_named(tmp_path):
    with pytest.raises(InputError, match="at least 3 frames, found 2"):
        procedural_performance(2)
    with pytest.raises(InputError, match="no such file"):
        read_performance(tmp_path / "absent.csv")
    (tmp_path / "take.csv").write_text(LIVE_LINK.format(yaw=0))
    with pytest.raises(InputError, match="found 100 frames, expected at least the 101"):
        recorded_performance(tmp_path / "take.csv", 101)
    with gzip.open(tmp_path / "other.csv.gz", "wt") as file:
        file.write("a,b\n1,2\n")
    with pytest.raises(InputError, match="BlendShapeCount"):
        read_performance(tmp_path / "other.csv.gz")
