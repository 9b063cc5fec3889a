"""Statistics and measures against closed forms."""

import numpy as np
import pytest
import torch
from ball_capture import AZIMUTHS, BALL, DISTANCE, EXPRESSION, FOCAL, FRAMES, HEIGHT, NAMES, SCALE, TURNS, WIDTH

from gha.geometry import axis_angle_to_matrix
from gha.preprocessing import validate_capture
from gha.preprocessing.validation_measures import difference, fingerprint, mask_share, points_on_mask, sharpness
from gha.preprocessing.validation_report import describe
from gha.preprocessing.validation_tracking import fit_similarity


@pytest.fixture(scope="module")
def found(ball):
    return validate_capture(ball, workers=1)


def test_cameras_are_where_they_were_put(found):
    assert [camera.camera for camera in found.statistics.cameras] == list(AZIMUTHS)
    for camera, azimuth in zip(found.statistics.cameras, AZIMUTHS.values(), strict=True):
        # Turning left by an angle takes it off the yaw of every camera; the median turn is none.
        assert camera.yaw == pytest.approx(azimuth, abs=1e-3)
        assert camera.pitch == pytest.approx(0, abs=1e-3)
        assert camera.distance == pytest.approx(DISTANCE / SCALE, rel=1e-5)
        assert camera.mm_per_pixel == pytest.approx(100 * DISTANCE / SCALE / FOCAL, rel=1e-5)
        assert (camera.width, camera.height) == (WIDTH, HEIGHT)
        assert camera.held_out == (camera.camera == "c")
        assert camera.on_mask == 1
    assert found.statistics.yaw == pytest.approx((-60 - max(TURNS), 60 - min(TURNS)), abs=1e-3)
    assert found.statistics.widest_gap == pytest.approx(40, abs=1e-3)


def test_the_head_turns_as_it_was_turned(found):
    assert found.statistics.turn == pytest.approx((min(TURNS), max(TURNS)), abs=1e-3)
    assert found.statistics.nod == pytest.approx((0, 0), abs=1e-3)
    assert found.statistics.scale == pytest.approx((SCALE, SCALE))


def test_masks_cover_the_disc_of_the_ball(found):
    share = np.pi * (FOCAL * BALL * SCALE / DISTANCE) ** 2 / (WIDTH * HEIGHT)
    assert found.statistics.mask_area == pytest.approx((share, share), rel=0.01)


def test_frames_sequences_and_split(found):
    statistics = found.statistics
    assert (statistics.frames, statistics.fps, statistics.trained_frames) == (len(FRAMES), 10.0, 4)
    assert statistics.sequences == {"EMO": 3, "FREE": 2}
    assert (statistics.held_out_frames, statistics.held_out_cameras) == (("0004",), ("c",))


def test_ranges_of_the_expression(found):
    values = np.array(EXPRESSION)
    for index, one in enumerate(found.statistics.expression):
        assert one.name == NAMES[index]
        assert one.range == pytest.approx((values[:, index].min(), values[:, index].max()))
        assert one.trained == pytest.approx((values[:4, index].min(), values[:4, index].max()))
    assert found.statistics.still == ("never",)
    assert found.statistics.beyond_training == ("smile",)


def test_the_report_says_it_all(found):
    text = describe(found)
    for line in (
        "frames      5, 0.5 s at 10 per second",
        "sequences   EMO 3, FREE 2",
        "held out    1 frame beside 4 to train on; cameras c",
        "cameras     4, 120 x 96",
        "seen from   yaw -70 to 70, pitch 0 degrees (+ is the subject's left, up); 40 degrees between neighbours at",
        "head        scale 0.1; turns -10 to 10, nods 0 degrees; a pixel is 3.33 mm wide",
        "expression  4 coefficients in 0.00 to 1.00; never moving (1): never; moved further in held-out frames (1)",
        "masks       cover 30 % of a picture",
    ):
        assert line in text
    rows = [line.split() for line in text.splitlines() if line.startswith("  ") and line.split()[0] in AZIMUTHS]
    assert [row[0] for row in rows] == ["a", "b", "c", "d"]
    assert rows[0][1:6] == ["-60", "0", "10.0", "3.33", "30%"]


def test_sharpness_of_a_chequerboard_and_of_a_ramp():
    rows, columns = np.mgrid[:40, :40]
    everywhere = np.full((40, 40), 255, np.uint8)
    chequerboard = np.where((rows + columns) % 2, 110, 100).astype(np.uint8)
    # Each pixel differs from its four neighbours by 10: the Laplacian is +-40.
    assert sharpness(chequerboard, everywhere) == pytest.approx(40)
    assert sharpness((3 * columns).astype(np.uint8), everywhere) == 0
    half = np.where(columns < 20, 255, 0).astype(np.uint8)
    assert sharpness(np.where(columns < 21, 50, chequerboard).astype(np.uint8), half) == 0
    assert sharpness(chequerboard, np.zeros_like(half)) == 0


def test_shares_and_points_on_a_mask():
    mask = np.zeros((10, 20), np.uint8)
    mask[:, :5] = 255
    assert mask_share(mask) == 0.25
    points = np.array([[4.5, 5.0], [6.5, 5.0], [7.5, 5.0], [-1.0, 5.0], [2.0, 10.0]])
    assert points_on_mask(points, mask, 2).tolist() == [True, True, False, False, False]


def test_fingerprints_and_differences():
    picture = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    other = picture.copy()
    other[3, 4] += 1
    assert fingerprint(picture) == fingerprint(picture.copy()) != fingerprint(other)
    flat = np.full((64, 96), 10, np.uint8)
    assert difference(flat, np.full((128, 192), 30, np.uint8)) == 20


def test_the_similarity_that_was_applied_is_found():
    generator = torch.Generator().manual_seed(3)
    source = torch.randn(50, 3, generator=generator, dtype=torch.float64)
    angles = torch.tensor([0.0, 0.3, 1.2], dtype=torch.float64)
    axis = torch.nn.functional.normalize(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64), dim=0)
    factors = torch.tensor([1.0, 1.3, 0.6], dtype=torch.float64)
    centred = source - source.mean(0)
    turned = (axis_angle_to_matrix(angles[:, None] * axis) @ centred.T).transpose(1, 2)
    shift = torch.tensor([[0.0, 0, 0], [3, 0, 4], [0, 1, 0]], dtype=torch.float64)
    turns, growths, shifts = fit_similarity(source, factors[:, None, None] * turned + source.mean(0) + shift[:, None])
    torch.testing.assert_close(turns, torch.rad2deg(angles), atol=1e-5, rtol=0)
    torch.testing.assert_close(growths, factors)
    torch.testing.assert_close(shifts, torch.tensor([0.0, 5.0, 1.0], dtype=torch.float64))


def test_mirrored_points_are_no_rotation():
    source = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    turns, _, _ = fit_similarity(source, (source * torch.tensor([-1.0, 1, 1]))[None])
    assert turns[0] > 1
