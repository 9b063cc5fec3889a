"""The picture of a capture is drawn, whatever is broken, and shows what it says."""

import shutil

import numpy as np
import pytest
import torch
from ball_capture import AZIMUTHS, FRAMES, HEIGHT, WIDTH
from PIL import Image, ImageColor

from gha.faces.code import HeadCode
from gha.preprocessing import validate_capture
from gha.preprocessing.drawing import BAD, GOOD, HELD_OUT, TRAINED
from gha.preprocessing.validation_picture import CAPTION, CELL, choose_views, draw_picture, draw_view
from gha.preprocessing.validation_rig_drawing import draw_from_above, draw_from_the_side, place_rig


def colour(name):
    return np.array(ImageColor.getrgb(name))


def near(picture, name, tolerance=40):
    """Where a picture has a colour."""
    return (np.abs(np.asarray(picture).astype(int) - colour(name)).max(-1) < tolerance).nonzero()


@pytest.fixture(scope="module")
def found(ball):
    return validate_capture(ball, workers=1)


def test_the_page_has_its_parts(found):
    page = draw_picture(found)
    view = round(CELL * HEIGHT / WIDTH) + CAPTION
    assert page.size == (1600, 36 + 500 + 2 * view)
    for left, right in ((0, 600), (600, 1040), (1040, 1600)):
        panel = np.asarray(page)[36:536, left:right]
        assert len(np.unique(panel.reshape(-1, 3), axis=0)) > 20
    assert len(near(np.asarray(page)[36:286, 1040:], TRAINED)[0]) > 1000  # bars of the histogram
    assert len(near(np.asarray(page)[36:286, 1040:], HELD_OUT)[0]) > 1000


def test_projected_landmarks_are_coloured(found):
    for view in found.views[:4]:
        cell = np.asarray(draw_view(found, view))
        height = round(CELL * HEIGHT / WIDTH)
        assert cell.shape == (height + CAPTION, CELL, 3)
        pixels, _ = view.lens.resize(CELL, height).project(found.tracking.landmarks_of(view.frame))
        for x, y in pixels.int().tolist():
            assert (cell[y, x] == colour(GOOD)).all()


def test_landmarks_off_the_mask_are_red(broken):
    path = broken / "images/0001/mask_a.png"
    Image.fromarray(np.roll(np.asarray(Image.open(path)), 60, axis=1)).save(path)
    found = validate_capture(broken, workers=1)
    view = next(view for view in found.views if (view.frame, view.camera) == ("0001", "a"))
    cell = draw_view(found, view)
    assert len(near(cell, BAD, 5)[0]) > 50
    assert choose_views(found)[1][0] is view


def test_views_are_spread_over_cameras_and_frames(found):
    first, second = choose_views(found)
    assert [view.frame for view in first][:1] == [FRAMES[0]]
    assert {view.camera for view in first} == set(AZIMUTHS)
    assert not {id(view) for view in first} & {id(view) for view in second}


def one_camera_rig(found, camera):
    code = HeadCode(torch.zeros(4), torch.zeros(6), torch.tensor([0.1]))
    view = next(view for view in found.views if view.camera == camera)
    points = torch.rand(30, 3, generator=torch.Generator().manual_seed(0)) * 0.02
    return place_rig({camera: view.lens}, [], code, points, points[:5])


@pytest.mark.parametrize("camera", ["a", "d"])
def test_cameras_on_the_subjects_left_are_on_the_right_from_above(found, camera):
    picture = draw_from_above(one_camera_rig(found, camera), 400, 400)
    head_x, head_y = near(picture, BAD, 90)[1].mean(), near(picture, BAD, 90)[0].mean()
    rows, columns = near(picture, TRAINED, 60)
    assert (columns.mean() > head_x) == (AZIMUTHS[camera] > 0)
    assert rows.mean() > head_y  # in front of the face is down the page


def test_from_the_side_the_face_looks_to_the_left(found):
    picture = draw_from_the_side(one_camera_rig(found, "b"), 400, 400)
    assert near(picture, TRAINED, 60)[1].mean() < near(picture, BAD, 90)[1].mean()


def test_frusta_start_at_the_camera_and_open_towards_the_head(found):
    for camera, azimuth in AZIMUTHS.items():
        apex, *edges = one_camera_rig(found, camera).frusta[0]
        expected = 10 * np.array([np.sin(np.deg2rad(azimuth)), 0, np.cos(np.deg2rad(azimuth))])
        np.testing.assert_allclose(apex, expected, atol=1e-4)
        assert all(np.linalg.norm(edge) < np.linalg.norm(apex) for edge in edges)
        assert edges[2][1] > edges[3][1]  # the upper edge is above the lower one


@pytest.mark.parametrize("lost", ["params", "cameras", "images/*/mask_*", "images/*/image_*"])
def test_it_is_drawn_whatever_is_missing(broken, lost):
    for path in broken.glob(lost):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = draw_picture(validate_capture(broken, workers=1))
    assert page.width == 1600
    assert len(np.unique(np.asarray(page).reshape(-1, 3), axis=0)) > 10
