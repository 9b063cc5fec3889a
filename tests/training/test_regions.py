"""Measured regions: where the borders lie, and that they move with the head, the camera and the image."""

import math

import pytest
import torch

from gha.faces.code import HeadCode
from gha.geometry import Camera
from gha.geometry.rotations import axis_angle_to_matrix
from gha.training import regions

SCALE = 0.1


def identity_code(**changes: torch.Tensor) -> HeadCode:
    values = {"expression": torch.zeros(1), "pose": torch.zeros(6), "scale": torch.tensor([SCALE])}
    return HeadCode(**{**values, **changes})


def canonical_landmarks(count: int = 68) -> torch.Tensor:
    """A schematic face [count, 3]: the chin, a mouth of width 0.4 and two eyes of width 0.3, all on plane z = 0.4."""
    points = torch.zeros(count, 3)
    points[:, 2] = 0.4
    points[8, 1] = -0.8
    for first, last, center, half in (
        (36, 42, (-0.3, 0.2), 0.15),
        (42, 48, (0.3, 0.2), 0.15),
        (48, count, (0, -0.4), 0.2),
    ):
        angle = torch.linspace(0, 2 * math.pi, last - first + 1)[:-1]
        points[first:last, 0] = center[0] + half * angle.cos()
        points[first:last, 1] = center[1] + half / 2 * angle.sin()
    return points


def front_camera(size: int = 200) -> Camera:
    """A camera straight ahead, 1 m from the origin; 200 pixels per 0.2 m at the origin."""
    return Camera.look_at(torch.tensor([0.0, 0.0, 1.0]), torch.zeros(3), 5.0 * size, size, size)


def side_camera(size: int = 200) -> Camera:
    """A camera at the subject's left; the face looks to the left of its image."""
    return Camera.look_at(torch.tensor([1.0, 0.0, 0.0]), torch.zeros(3), 5.0 * size, size, size)


def test_front_view_is_cut_at_the_level_below_the_chin():
    code, camera = identity_code(), front_camera()
    head = regions.above_neck(code.to_world(canonical_landmarks()), code, camera)[0]
    border = 100 + 1000 * 0.09 / (1 - 0.04)  # 0.8 + 0.1 dm below the origin at z = 0.4 dm
    rows = torch.arange(200) + 0.5
    assert torch.equal(head, (rows < border)[:, None].expand(200, 200))


def test_side_view_shows_the_rise_towards_the_nape():
    code, camera = identity_code(), side_camera()
    head = regions.above_neck(code.to_world(canonical_landmarks()), code, camera)[0]
    border = head.sum(0).float()  # the lowest row of the head in each column
    slope = (border[160] - border[40]) / 120
    assert math.degrees(math.atan(-slope)) == pytest.approx(20.0, abs=0.6)
    chin_column, below_chin = int(100 - 1000 * 0.04), 100 + 1000 * 0.09
    assert border[chin_column] == pytest.approx(below_chin, abs=1.0)


def moved_together(code: HeadCode, camera: Camera) -> tuple[HeadCode, Camera]:
    """The same head and camera, both carried to another place of the world."""
    turn = torch.tensor([0.4, -0.9, 0.3])
    motion = torch.eye(4)
    motion[:3, :3], motion[:3, 3] = axis_angle_to_matrix(turn), torch.tensor([0.5, -2.0, 1.0])
    pose = torch.cat([turn, motion[:3, 3]])
    return identity_code(pose=pose), Camera(
        camera.w2c @ torch.linalg.inv(motion), camera.K, camera.width, camera.height
    )


@pytest.mark.parametrize("view", [front_camera, side_camera])
def test_regions_move_with_the_head(view):
    code, camera = identity_code(), view()
    landmarks = canonical_landmarks()
    code2, camera2 = moved_together(code, camera)
    head = regions.above_neck(code.to_world(landmarks), code, camera)
    head2 = regions.above_neck(code2.to_world(landmarks), code2, camera2)
    assert (head != head2).float().mean() < 1e-3  # pixels exactly on the border may go either way
    assert 0.1 < head.float().mean() < 0.99
    boxes = regions.expression_boxes(code.to_world(landmarks), 68, code, camera)
    boxes2 = regions.expression_boxes(code2.to_world(landmarks), 68, code2, camera2)
    for name in ("mouth", "eyes"):
        assert (boxes[name] is None) == (boxes2[name] is None)
        if boxes[name] is not None:
            assert (boxes[name] != boxes2[name]).float().mean() < 5e-3


def test_the_principal_point_is_honoured():
    code, camera = identity_code(), front_camera()
    landmarks = code.to_world(canonical_landmarks())
    crop = camera.crop(30, 100, 120, 96)
    assert torch.equal(
        regions.above_neck(landmarks, code, crop), regions.above_neck(landmarks, code, camera)[:, 100:196, 30:150]
    )
    whole = regions.expression_boxes(landmarks, 68, code, camera)["mouth"]
    assert torch.equal(regions.expression_boxes(landmarks, 68, code, crop)["mouth"], whole[:, 100:196, 30:150])


@pytest.mark.parametrize("count", [66, 68])
def test_boxes_surround_the_projected_landmarks_with_their_margins(count):
    code, camera = identity_code(), front_camera()
    boxes = regions.expression_boxes(code.to_world(canonical_landmarks(count)), count, code, camera)
    pixels_per_dm = 100 / (1 - 0.04)
    mouth = boxes["mouth"][0].nonzero()
    width = 0.4 * (1 + 2 * 0.25) * pixels_per_dm
    assert (mouth[:, 1].max() - mouth[:, 1].min() + 1).item() == pytest.approx(width, abs=2)
    assert mouth[:, 1].float().mean().item() + 0.5 == pytest.approx(100, abs=1)
    assert mouth[:, 0].float().mean().item() + 0.5 == pytest.approx(100 + 0.4 * pixels_per_dm, abs=1.5)
    columns = boxes["eyes"][0].any(0)
    expected_pixels = 2 * 0.3 * (1 + 2 * 0.5) * pixels_per_dm
    assert columns.sum().item() == pytest.approx(expected_pixels, abs=4)


def test_an_eye_that_faces_away_has_no_box():
    code, camera = identity_code(), side_camera()
    landmarks = code.to_world(canonical_landmarks())
    features = regions.facial_features(68)
    assert regions.feature_box(features["right_eye"], landmarks, code, camera) is None
    assert regions.feature_box(features["left_eye"], landmarks, code, camera) is not None
    assert regions.feature_box(features["mouth"], landmarks, code, camera) is None
    back = Camera.look_at(torch.tensor([0.0, 0.0, -1.0]), torch.zeros(3), 1000.0, 200, 200)
    assert regions.expression_boxes(landmarks, 68, code, back) == {"mouth": None, "eyes": None}


def test_a_box_outside_the_image_is_no_box():
    code, camera = identity_code(), front_camera().crop(0, 0, 200, 60)
    landmarks = code.to_world(canonical_landmarks())
    assert regions.expression_boxes(landmarks, 68, code, camera)["mouth"] is None


def test_other_landmark_schemes_are_refused():
    with pytest.raises(ValueError, match="66 or 68 points, got 478"):
        regions.facial_features(478)
