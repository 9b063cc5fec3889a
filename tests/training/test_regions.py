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
    """A schematic face [count, 3]: an arched jaw, a mouth of width 0.4 and two eyes of width 0.3 on plane z = 0.4."""
    points = torch.zeros(count, 3)
    points[:, 2] = 0.4
    angle = torch.linspace(-math.pi / 2, math.pi / 2, 17)
    points[:17] = torch.stack([0.6 * angle.sin(), 0.2 - angle.cos(), -0.3 + 0.7 * angle.cos()], dim=-1)
    features = ((36, 42, -0.3, 0.2, 0.15), (42, 48, 0.3, 0.2, 0.15), (48, count, 0, -0.4, 0.2))
    for first, last, x, y, half in features:
        angle = torch.linspace(0, 2 * math.pi, last - first + 1)[:-1]
        points[first:last, 0] = x + half * angle.cos()
        points[first:last, 1] = y + half / 2 * angle.sin()
    return points


def front_camera(size: int = 200) -> Camera:
    """A camera straight ahead, 1 m from the origin; 200 pixels per 0.2 m at the origin."""
    return Camera.look_at(torch.tensor([0.0, 0.0, 1.0]), torch.zeros(3), 5.0 * size, size, size)


def side_camera(size: int = 200) -> Camera:
    """A camera at the subject's left; the face looks to the left of its image."""
    return Camera.look_at(torch.tensor([1.0, 0.0, 0.0]), torch.zeros(3), 5.0 * size, size, size)


RISE = math.tan(math.radians(20.0))
NECK_DEPTH = -0.3 + 0.7 * math.cos(math.pi / 4)  # of the jaw angles, where the plane is tested
NECK_HEIGHT = -0.9 + RISE * (0.4 - NECK_DEPTH)  # of the plane at that depth: 0.9 below the origin under the chin


def test_front_view_is_cut_at_the_neck_and_keeps_the_chin():
    code, camera = identity_code(), front_camera()
    head = regions.above_neck(code.to_world(canonical_landmarks()), code, camera)[0]
    border = 100 - 100 * NECK_HEIGHT / (1 - 0.1 * NECK_DEPTH)
    rows = torch.arange(200) + 0.5
    for column in (5, 40, 160, 195):  # beside the jaw
        assert torch.equal(head[:, column], rows < border)
    chin = 100 + 100 * 0.9 / (1 - 0.04)
    assert head[:, 100].sum() == pytest.approx(chin, abs=1)
    assert chin > border + 5


def test_side_view_shows_the_rise_towards_the_nape():
    code, camera = identity_code(), side_camera()
    head = regions.above_neck(code.to_world(canonical_landmarks()), code, camera)[0]
    border = head.sum(0).float()  # the lowest row of the head in each column
    behind = border[130:190]
    slope = (behind[-1] - behind[0]) / (len(behind) - 1)
    assert math.degrees(math.atan(-slope)) == pytest.approx(20.0, abs=1.0)
    # The plane contains the viewing direction, so its depth does not matter: seen edge-on it is where it is.
    column = 150  # 0.5 dm behind the origin
    height = -0.9 + RISE * (0.4 + 0.5)
    assert border[column] == pytest.approx(100 - 100 * height, abs=1.5)


def test_from_above_the_shoulders_behind_the_chin_are_left_out():
    code = identity_code()
    camera = Camera.orbit(1.0, 40.0, 0.0, 1000.0, 200, 200)
    head = regions.above_neck(code.to_world(canonical_landmarks()), code, camera)[0]

    def inside(point):
        (u, v), _ = (x[0] for x in camera.project(code.to_world(torch.tensor([point]))))
        return head[int(v), int(u)].item()

    assert inside([0.0, -0.75, 0.4])  # the chin
    assert inside([0.0, 0.3, 0.4])  # the brow
    assert not inside([0.7, -1.2, -0.1])  # a shoulder, higher in the picture than the level of the chin


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


@pytest.mark.parametrize("view", [front_camera, side_camera])
def test_boxes_for_weighting_are_those_for_measuring_in_every_view(view):
    code, landmarks = identity_code(), canonical_landmarks()
    world, cameras = code.to_world(landmarks), [view(), view(120)]
    for camera in cameras:
        batch = Camera(camera.w2c[None, None], camera.K[None, None], camera.width, camera.height)
        boxes = regions.feature_boxes(world[None], 68, batch)
        assert boxes.shape == (1, 1, 1, camera.height, camera.width)
        measured = regions.expression_boxes(world, 68, code, camera)
        union = torch.stack([box for box in measured.values() if box is not None]).any(0)
        assert (boxes[0, 0] >= union).all(), "the weighted boxes include those that are turned away as well"
        if view is front_camera:
            assert torch.equal(boxes[0, 0] > 0, union)
