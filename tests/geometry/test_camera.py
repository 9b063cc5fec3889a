import math

import pytest
import torch

from gha.geometry import Camera, axis_angle_to_matrix


def frontal(**changes) -> Camera:
    values = {
        "w2c": torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0])),
        "K": torch.tensor([[500.0, 0.0, 310.0], [0.0, 480.0, 255.0], [0.0, 0.0, 1.0]]),
        "width": 640,
        "height": 480,
    }
    values["w2c"][2, 3] = 2.0
    return Camera(**{**values, **changes})


def test_project_matches_the_pinhole_formula():
    pixels, depth = frontal().project(torch.tensor([[0.2, 0.3, 0.5]]))
    # At z = 0.5 the camera at z = 2 looking along -z sees depth 1.5; image y grows downwards.
    torch.testing.assert_close(depth, torch.tensor([1.5]))
    torch.testing.assert_close(pixels, torch.tensor([[310 + 500 * 0.2 / 1.5, 255 - 480 * 0.3 / 1.5]]))


def test_project_honours_skew():
    camera = frontal(K=torch.tensor([[500.0, 25.0, 310.0], [0.0, 480.0, 255.0], [0.0, 0.0, 1.0]]))
    pixels, _ = camera.project(torch.tensor([[0.0, 0.3, 0.5]]))
    torch.testing.assert_close(pixels[0, 0], torch.tensor(310 - 25 * 0.3 / 1.5))


def test_batches_broadcast_against_points():
    one = frontal()
    batch = Camera(one.w2c.expand(4, 2, 4, 4), one.K.expand(4, 2, 3, 3), 640, 480)
    points = torch.randn(7, 3)
    pixels, depth = batch.project(points)
    assert pixels.shape == (4, 2, 7, 2)
    assert depth.shape == (4, 2, 7)
    torch.testing.assert_close(pixels[3, 1], one.project(points)[0])
    assert batch.batch_shape == (4, 2)
    assert batch[1].batch_shape == (2,)
    assert batch[torch.tensor([0, 2])].batch_shape == (2, 2)


def test_center_projects_from_camera_origin():
    rotation = axis_angle_to_matrix(torch.randn(5, 3))
    w2c = torch.eye(4).repeat(5, 1, 1)
    w2c[:, :3, :3], w2c[:, :3, 3] = rotation, torch.randn(5, 3)
    camera = Camera(w2c, torch.eye(3).expand(5, 3, 3), 8, 8)
    local = camera.to_camera_space(camera.center[:, None])
    torch.testing.assert_close(local, torch.zeros(5, 1, 3), atol=1e-5, rtol=0)


def test_crop_then_resize_moves_pixels_as_the_image_does():
    camera, points = frontal(), torch.randn(20, 3) * 0.3
    window = camera.crop(-40, 60, 320, 400).resize(160, 100)
    before, after = camera.project(points)[0], window.project(points)[0]
    expected = (before - torch.tensor([-40.0, 60.0])) * torch.tensor([160 / 320, 100 / 400])
    torch.testing.assert_close(after, expected, atol=1e-3, rtol=1e-5)
    assert (window.width, window.height) == (160, 100)
    torch.testing.assert_close(camera.K[0, 2], torch.tensor(310.0))  # the original is untouched


def test_resize_round_trip():
    camera = frontal()
    torch.testing.assert_close(camera.resize(1280, 320).resize(640, 480).K, camera.K)


def test_crop_of_a_nersemble_frame_centres_the_principal_point():
    K = torch.tensor([[8000.0, 0.0, 1100.0], [0.0, 8000.0, 1604.0], [0.0, 0.0, 1.0]])
    cropped = Camera(torch.eye(4), K, 2200, 3208).crop(-200, 304, 2600, 2600).resize(2048, 2048)
    torch.testing.assert_close(cropped.K[:2, 2], torch.tensor([1024.0, 1024.0]))
    torch.testing.assert_close(cropped.K[0, 0], torch.tensor(8000 * 0.787692), rtol=1e-6, atol=0)


def test_look_at_puts_target_in_the_centre_and_up_upwards():
    eye, target = torch.randn(6, 3) + torch.tensor([0.0, 0.0, 4.0]), torch.randn(6, 3) * 0.3
    camera = Camera.look_at(eye, target, 700.0, 320, 200)
    pixels, depth = camera.project(target[:, None])
    torch.testing.assert_close(pixels[:, 0], torch.tensor([160.0, 100.0]).expand(6, 2), atol=1e-2, rtol=0)
    torch.testing.assert_close(depth[:, 0], (eye - target).norm(dim=-1))
    above, _ = camera.project(target[:, None] + torch.tensor([0.0, 0.05, 0.0]))
    assert (above[:, 0, 1] < pixels[:, 0, 1] - 1).all()
    torch.testing.assert_close(above[:, 0, 0], pixels[:, 0, 0], atol=0.5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(camera.w2c[:, :3, :3]), torch.ones(6))
    torch.testing.assert_close(camera.center, eye, atol=1e-5, rtol=0)


def test_look_at_from_the_front_does_not_mirror():
    camera = Camera.look_at(torch.tensor([0.0, 0.0, 3.0]), torch.zeros(3), 700.0, 320, 200)
    pixels, _ = camera.project(torch.tensor([[0.1, 0.0, 0.0]]))
    assert pixels[0, 0] > 160  # the subject's left is on the image's right


@pytest.mark.parametrize("height", [2.0, -2.0])
def test_look_straight_along_up_is_still_a_camera(height):
    camera = Camera.look_at(torch.tensor([0.0, height, 0.0]), torch.zeros(3), 300.0, 64, 64)
    rotation = camera.w2c[:3, :3]
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3))
    pixels, depth = camera.project(torch.zeros(1, 3))
    torch.testing.assert_close(pixels, torch.full((1, 2), 32.0))
    torch.testing.assert_close(depth, torch.tensor([2.0]))


def test_orbit_looks_where_it_says():
    target = (0.0, 0.0, 0.05)
    for frame in range(0, 130, 7):
        elevation, azimuth = 8 * math.sin(frame / 20), 45 * math.cos(frame / 20)
        camera = Camera.orbit(1.2, elevation, azimuth, 7168.0, 2048, 2048, target)
        pixels, depth = camera.project(torch.tensor([target]))
        torch.testing.assert_close(pixels, torch.full((1, 2), 1024.0), atol=0.05, rtol=0)
        torch.testing.assert_close(depth, torch.tensor([1.2]))


def test_orbit_of_the_freeview_starts_at_the_published_centre():
    camera = Camera.orbit(1.2, 0.0, 45.0, 7168.0, 2048, 2048, (0.0, 0.0, 0.05))
    torch.testing.assert_close(camera.center, torch.tensor([0.8485, 0.0, 0.8985]), atol=1e-4, rtol=0)


def test_to_changes_precision_of_both_matrices():
    camera = frontal().to(dtype=torch.float64)
    assert camera.w2c.dtype == camera.K.dtype == torch.float64


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"expects w2c \[\.\.\., 4, 4\].*got \[3, 4\]"):
        frontal(w2c=torch.eye(4)[:3])
    with pytest.raises(ValueError, match=r"leading dimensions.*\[2\] and \[\]"):
        frontal(w2c=torch.eye(4).expand(2, 4, 4))
    with pytest.raises(ValueError, match="at least one pixel, got 0 x 480"):
        frontal(width=0)
