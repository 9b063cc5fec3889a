"""Driving sequences: files, resampling, matching by name, smoothing."""

import math

import numpy as np
import pytest
import torch

from gha.capture import ExpressionSequence, open_capture, read_sequence, smooth_sequence, write_sequence
from gha.capture.smoothing import mean_rotation
from gha.errors import InputError
from gha.geometry.rotations import axis_angle_to_matrix, axis_angle_to_quaternion


def random_sequence(frames=7, fps=24.0, scale=True):
    generator = torch.Generator().manual_seed(0)
    return ExpressionSequence(
        torch.rand(frames, 3, generator=generator),
        torch.randn(frames, 6, generator=generator),
        fps,
        ("jawOpen", "blink_L", "blink_R"),
        torch.rand(frames, 1, generator=generator) + 0.1 if scale else None,
    )


def turning(angles, axis=(0.0, 1.0, 0.0), fps=25.0):
    rotations = torch.tensor(angles, dtype=torch.float64)[:, None] * torch.tensor(axis, dtype=torch.float64)
    pose = torch.cat([rotations, torch.zeros(len(angles), 3, dtype=torch.float64)], dim=1)
    return ExpressionSequence(torch.zeros(len(angles), 1, dtype=torch.float64), pose, fps, ("none",))


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("fps", [24.0, 29.97, 30.0])
def test_files_round_trip(tmp_path, suffix, scale, fps):
    sequence = random_sequence(fps=fps, scale=scale)
    write_sequence(tmp_path / f"drive{suffix}", sequence)
    found = read_sequence(tmp_path / f"drive{suffix}")
    assert torch.equal(found.expression, sequence.expression)
    assert torch.equal(found.pose, sequence.pose)
    assert found.fps == fps
    assert found.names == sequence.names
    assert (found.scale is None) == (not scale)
    if scale:
        assert torch.equal(found.scale, sequence.scale)


def test_csv_columns_are_named(tmp_path):
    path = tmp_path / "drive.csv"
    write_sequence(path, random_sequence())
    assert path.read_text().splitlines()[0] == (
        "time,rotation_x,rotation_y,rotation_z,translation_x,translation_y,translation_z,scale,jawOpen,blink_L,blink_R"
    )


def test_csv_without_pose_keeps_the_head_still(tmp_path):
    path = tmp_path / "drive.csv"
    path.write_text("jawOpen,time\n0.5,1.0\n0.25,1.1\n")
    sequence = read_sequence(path)
    assert sequence.pose.abs().max() == 0
    assert sequence.expression.tolist() == [[0.5], [0.25]]
    assert sequence.fps == pytest.approx(10)


def test_csv_with_uneven_times_is_made_even(tmp_path):
    path = tmp_path / "drive.csv"
    path.write_text("time,a\n0,0\n1,1\n4,4\n")  # a = time
    sequence = read_sequence(path)
    assert sequence.fps == 0.5
    assert sequence.expression[:, 0].tolist() == [0, 2, 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,a\n", "found 1 lines, expected a header"),
        ("a,b\n1,2\n", "expected 'time'"),
        ("time,a\n0,1\n1\n", "line 3: found 1 values, expected 2"),
        ("time,a\n0,x\n", "found text where a number was expected"),
        ("time,a\n0,nan\n", "found 1 NaN"),
        ("time,a\n0,1\n0,1\n", "times that do not increase"),
        ("time,a,rotation_x\n0,1,1\n", r"found pose columns \['rotation_x'\] without"),
        ("time,a,a\n0,1,1\n", r"\['a'\] appear more than once"),
    ],
)
def test_bad_csv(tmp_path, text, message):
    path = tmp_path / "drive.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_sequence(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"names": np.array(["a", "b"])}, "for 2 names"),
        ({"names": np.array([1, 2, 3])}, "expected names"),
        ({"names": np.array(["a", "b", None], dtype=object)}, "names are not plain text"),
        ({"pose": np.zeros((6, 6))}, r"found pose of shape \[6, 6\], expected \[7, 6\]"),
        ({"expression": np.full((7, 3), np.inf)}, "expression: found 21 NaN or infinite"),
        ({"fps": np.float64(0)}, "found 0.0 frames per second"),
        ({"scale": np.ones((2, 1))}, "found 2 values of scale, expected 1 or one for each of 7 frames"),
        ({"scale": np.zeros((7, 1))}, "found a scale of 0, expected"),
    ],
)
def test_bad_npz(tmp_path, changed, message):
    path = tmp_path / "drive.npz"
    write_sequence(path, random_sequence())
    np.savez(path, **{**dict(np.load(path)), **changed})
    with pytest.raises(InputError, match=message) as caught:
        read_sequence(path)
    assert str(path) in str(caught.value)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="file not found"):
        read_sequence(tmp_path / "drive.npz")
    (tmp_path / "drive.txt").write_text("")
    with pytest.raises(InputError, match=r"found suffix '.txt', expected .npz or .csv"):
        read_sequence(tmp_path / "drive.txt")


def test_from_a_capture(our_capture):
    capture = open_capture(our_capture)
    sequence = ExpressionSequence.from_capture(capture, capture.split.test_frames)
    assert len(sequence) == 1
    assert sequence.fps == 30.0
    assert sequence.names == capture.expression_names
    assert torch.equal(sequence.pose, capture.codes(["11"]).pose)
    assert sequence.codes(0.2).scale.tolist() == [[pytest.approx(0.2)]]  # the avatar's scale, not the driver's


def test_resampling_keeps_common_instants():
    sequence = random_sequence(frames=9, fps=20.0)
    faster = sequence.resampled(60.0)
    assert (len(faster), faster.fps) == (25, 60.0)
    torch.testing.assert_close(faster.expression[::3], sequence.expression)
    torch.testing.assert_close(
        axis_angle_to_matrix(faster.pose[::3, :3]), axis_angle_to_matrix(sequence.pose[:, :3]), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(faster.expression[1], torch.lerp(sequence.expression[0], sequence.expression[1], 1 / 3))
    assert len(sequence.resampled(10.0)) == 5


def test_resampling_takes_the_short_way_across_pi():
    # 170 and -170 degrees are 20 degrees apart; between them lies 180, not 0.
    between = turning([math.radians(170), math.radians(-170)]).resampled(50.0)
    expected = axis_angle_to_matrix(torch.tensor([0.0, math.pi, 0.0], dtype=torch.float64))
    torch.testing.assert_close(axis_angle_to_matrix(between.pose[1, :3]), expected)


def test_a_single_frame_can_be_resampled():
    assert len(random_sequence(frames=1).resampled(60.0)) == 1


def test_slices_keep_time():
    sequence = random_sequence(frames=8, fps=24.0)
    assert sequence[::2].fps == 12.0
    assert torch.equal(sequence[2:5].pose, sequence.pose[2:5])


def test_expressions_are_matched_by_name_never_by_index():
    sequence = random_sequence()
    matched = sequence.with_names(["blink_R", "jawOpen"])
    assert torch.equal(matched.expression, sequence.expression[:, [2, 0]])
    assert matched.names == ("blink_R", "jawOpen")


def test_spelling_of_sides_and_unsided_expressions():
    sequence = ExpressionSequence(
        torch.tensor([[1.0, 2.0, 3.0]]), torch.zeros(1, 6), 25.0, ("EyeBlinkLeft", "cheekPuff", "jawLeft")
    )
    matched = sequence.with_names(["eyeBlink_L", "cheekPuff_L", "cheekPuff_R", "jawLeft"])
    assert matched.expression.tolist() == [[1.0, 2.0, 2.0, 3.0]]
    with pytest.raises(InputError, match="lacks 1 of 1 expressions: eyeBlink_R"):
        sequence.with_names(["eyeBlink_R"])


def test_missing_expressions_are_listed_or_filled_on_request():
    sequence = random_sequence()
    with pytest.raises(
        InputError, match=r"lacks 2 of 3 expressions: smile, tongueOut. It has: jawOpen, blink_L, blink_R"
    ):
        sequence.with_names(["smile", "jawOpen", "tongueOut"])
    filled = sequence.with_names(["smile", "jawOpen"], fill_missing=True)
    assert filled.expression[:, 0].abs().max() == 0
    assert torch.equal(filled.expression[:, 1], sequence.expression[:, 0])


def test_smoothing_keeps_a_constant_sequence():
    sequence = turning([3.1] * 20)
    smoothed = smooth_sequence(sequence, 0.1)
    torch.testing.assert_close(smoothed.pose, sequence.pose)


def test_smoothing_near_pi_stays_near_pi():
    # Noise around 180 degrees flips the sign of the axis-angle vector; averaging vectors would give about 0.
    angles = [
        math.pi + noise for noise in torch.randn(60, generator=torch.Generator().manual_seed(0)).mul(0.05).tolist()
    ]
    wrapped = [(angle + math.pi) % (2 * math.pi) - math.pi for angle in angles]
    assert min(wrapped) < 0 < max(wrapped)
    smoothed = smooth_sequence(turning(wrapped), 0.2)
    found = axis_angle_to_matrix(smoothed.pose[:, :3])
    half_turn = axis_angle_to_matrix(torch.tensor([0.0, math.pi, 0.0], dtype=torch.float64))
    assert (found - half_turn).abs().max() < 0.05


def test_smoothing_does_not_lag():
    angles = torch.linspace(-1, 1, 81).tolist()
    smoothed = smooth_sequence(turning(angles), 0.1)
    torch.testing.assert_close(smoothed.pose[15:-15], turning(angles).pose[15:-15], atol=1e-6, rtol=0)


def test_smoothing_weights_are_gaussian():
    sequence = random_sequence(frames=41, fps=10.0, scale=False)
    impulse = torch.zeros(41, 3)
    impulse[20] = 1
    smoothed = smooth_sequence(ExpressionSequence(impulse, sequence.pose, 10.0, sequence.names), 0.2)
    ratio = smoothed.expression[22, 0] / smoothed.expression[20, 0]
    assert ratio == pytest.approx(math.exp(-0.5), rel=1e-5)  # 0.2 s are two frames
    assert smoothed.expression[:, 0].sum() == pytest.approx(1, rel=1e-5)


def test_smoothing_of_nothing_is_the_identity_and_negative_is_refused():
    sequence = random_sequence()
    assert smooth_sequence(sequence, 0) is sequence
    with pytest.raises(InputError, match="expected 0 or more"):
        smooth_sequence(sequence, -1)


def test_smoothing_keeps_an_angle_that_was_carried_beyond_pi():
    angles = torch.linspace(2.5, 4.0, 40).tolist()
    smoothed = smooth_sequence(turning(angles), 0.04)
    torch.testing.assert_close(smoothed.pose[5:-5, 1], turning(angles).pose[5:-5, 1], atol=1e-4, rtol=0)


def test_mean_rotation_commutes_with_rotations_and_ignores_signs():
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(5, 3, generator=generator, dtype=torch.float64) * 0.4
    quats = axis_angle_to_quaternion(vectors)
    weights = torch.rand(5, generator=generator, dtype=torch.float64)
    mean = mean_rotation(quats, weights)
    flipped = mean_rotation(quats * torch.tensor([1, -1, 1, -1, 1.0])[:, None].double(), weights)
    assert abs(float(mean @ flipped)) == pytest.approx(1)
    opposite = axis_angle_to_quaternion(torch.tensor([[0.3, 0, 0], [-0.3, 0, 0]], dtype=torch.float64))
    assert abs(float(mean_rotation(opposite, torch.ones(2, dtype=torch.float64))[0])) == pytest.approx(1)
