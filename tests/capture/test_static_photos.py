"""Importing photographs of a static object: a painted ball on a stand, among lamps of its own colour."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from gha.capture import check_capture, open_capture
from gha.capture.photo_masks import cut_out, edge_alpha
from gha.capture.static_photos import (
    farthest_points,
    import_static_photos,
    read_calibrated_photos,
    to_canonical_world,
)
from gha.errors import InputError
from gha.geometry import Camera

WIDTH, HEIGHT, VIEWS = 160, 120, 16
CENTRE = np.array([0.3, -0.2, 5.0])
RADIUS = 0.4


def rays(camera):
    """Directions [H, W, 3] through the pixel centres, in world space, and the camera centre."""
    rows, columns = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    pixels = torch.stack([columns, rows, torch.ones_like(rows)], dim=-1).double()
    local = pixels @ torch.linalg.inv(camera.K.double()).T
    return (local @ camera.w2c[:3, :3].double()).numpy(), camera.center.double().numpy()


def sees_ball(camera):
    directions, origin = rays(camera)
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    along = directions @ (CENTRE - origin)
    return np.sum((CENTRE - origin) ** 2) - along**2 < RADIUS**2


def photograph(camera, lamp, generator):
    """Bright noise on the ball and in a lamp beside it, dark noise elsewhere."""
    bright = sees_ball(camera)
    lit = bright.copy()
    if lamp:
        lit[40:80, 100:120] = True
    level = np.where(lit, 200, 30)[..., None]
    picture = level + generator.integers(-15, 16, (HEIGHT, WIDTH, 3))
    return picture.astype(np.uint8), bright


@pytest.fixture(scope="module")
def scene():
    cameras = []
    for index in range(VIEWS):
        elevation = (-25.0, 0.0, 45.0)[index % 3]
        turned = Camera.orbit(3.0, elevation, index * 360 / VIEWS, 340.0, WIDTH, HEIGHT, tuple(CENTRE))
        cameras.append(turned.to(dtype=torch.float64))
    generator = np.random.default_rng(0)
    pictures, truths = zip(
        *[photograph(camera, index % 4 == 1, generator) for index, camera in enumerate(cameras)], strict=True
    )
    normals = generator.normal(size=(600, 3))
    points = CENTRE + RADIUS * normals / np.linalg.norm(normals, axis=1, keepdims=True)
    return cameras, list(pictures), list(truths), points


@pytest.fixture(scope="module")
def folder(scene, tmp_path_factory):
    """The same scene on disk, with y pointing down as photogrammetry programs often have it."""
    cameras, pictures, _, points = scene
    root = tmp_path_factory.mktemp("photos")
    flip = np.diag([1.0, -1.0, -1.0, 1.0])
    frames = []
    for index, (camera, picture) in enumerate(zip(cameras, pictures, strict=True)):
        name = f"{index + 1:03d}.{'png' if index == 0 else 'jpg'}"
        Image.fromarray(picture).save(root / name, quality=95)
        frames.append({"file": name, "w2c": (camera.w2c.numpy() @ flip).tolist()})
    values = {
        "width": WIDTH,
        "height": HEIGHT,
        "K": cameras[0].K.tolist(),
        "frames": frames,
        "points": (points * [1, -1, -1]).tolist(),
    }
    (root / "cameras.json").write_text(json.dumps(values))
    return root


def overlap(left, right):
    return (left & right).sum() / (left | right).sum()


def test_masks_leave_out_lamps_of_the_same_colour(scene):
    cameras, pictures, truths, points = scene
    for alpha, truth in zip(cut_out(pictures, cameras, points), truths, strict=True):
        assert alpha.dtype == np.uint8
        assert overlap(alpha > 127, truth) > 0.95


def test_an_object_ends_where_its_points_end_downwards(scene):
    cameras, pictures, _, points = scene
    kept = points[points[:, 1] > CENTRE[1] - 0.2]
    masks = cut_out(pictures, cameras, kept)
    below, middle = CENTRE.copy(), CENTRE
    below[1] -= 0.3
    for camera, alpha in list(zip(cameras, masks, strict=True))[1::3]:  # those at the height of the ball
        pixels = camera.project(torch.from_numpy(np.stack([below, middle])))[0].long()
        assert alpha[pixels[0, 1], pixels[0, 0]] == 0
        assert alpha[pixels[1, 1], pixels[1, 0]] == 255


def test_the_world_becomes_canonical_and_pictures_stay_true(folder):
    before = read_calibrated_photos(folder)
    after = to_canonical_world(before, front="005", size=2.0)
    for index in range(VIEWS):
        old, _ = before.cameras[index].project(torch.from_numpy(before.points))
        new, _ = after.cameras[index].project(torch.from_numpy(after.points))
        torch.testing.assert_close(new, old, atol=1e-6, rtol=0)
    extent = after.points.max(0) - after.points.min(0)
    assert extent.max() == pytest.approx(0.2)  # two decimetres at 0.1 world units each
    assert np.abs(after.points.max(0) + after.points.min(0)).max() < 1e-9
    front = after.cameras[4].center.numpy()
    assert abs(front[0]) < 1e-3
    assert front[2] > 0
    up = -after.cameras.w2c[:, 1, :3].mean(0).numpy()
    assert up[1] / np.linalg.norm(up) > 0.9999
    assert np.linalg.det(after.cameras.w2c[0, :3, :3].numpy()) == pytest.approx(1)


def test_imported_photographs_are_a_capture_of_one_frame(folder, tmp_path):
    root = import_static_photos(folder, tmp_path / "ball", hold_out_every=5, size=2.0)
    capture = open_capture(root)
    check_capture(capture)
    assert capture.frame_ids == capture.split.train_frames == ("0000",)
    assert capture.split.test_cameras == ("005", "010", "015")
    assert (root / "images/0000/image_002.jpg").read_bytes() == (folder / "002.jpg").read_bytes()
    frame = capture.read("0000", capture.camera_ids)
    assert frame.image.shape == (VIEWS, 3, HEIGHT, WIDTH)
    assert frame.code.expression.tolist() == [0.0]
    canonical = frame.code.to_canonical(frame.landmarks)
    torch.testing.assert_close(canonical.norm(dim=-1), torch.ones(len(canonical)), atol=0.02, rtol=0)  # a ball of 1 dm
    for index in range(VIEWS):
        pixels = frame.camera[index].project(frame.landmarks)[0].long()
        assert (frame.mask[index, 0][pixels[:, 1], pixels[:, 0]] > 0).float().mean() > 0.98


def test_bad_folders_are_refused(folder, tmp_path):
    with pytest.raises(InputError, match=r"cameras.json: file not found"):
        read_calibrated_photos(tmp_path)
    values = json.loads((folder / "cameras.json").read_text())
    for change, message in (
        ({"points": [[1, 2]]}, r"points: found shape \[1, 2\], expected \[any, 3\]"),
        ({"K": "none"}, r"K: found none, expected numbers"),
    ):
        (tmp_path / "cameras.json").write_text(json.dumps({**values, **change}))
        with pytest.raises(InputError, match=message):
            read_calibrated_photos(tmp_path)
    del values["points"]
    (tmp_path / "cameras.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match="expected 'points'"):
        read_calibrated_photos(tmp_path)
    with pytest.raises(InputError, match="no photograph is called 'x'"):
        to_canonical_world(read_calibrated_photos(folder), front="x")


def test_farthest_points_spread():
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 11)] * 2), axis=-1).reshape(-1, 2)
    points = np.concatenate([grid, np.zeros((len(grid), 1))], axis=1)
    chosen = farthest_points(points, 5)
    distances = np.linalg.norm(chosen[:, None] - chosen[None], axis=-1)[~np.eye(5, dtype=bool)]
    assert distances.min() > 0.6  # four corners and the middle


def test_the_edge_goes_where_the_colours_change():
    colours = np.full((60, 60, 3), 0.1)
    colours[:, 30:] = [0.8, 0.7, 0.6]
    mask = np.zeros((60, 60), bool)
    mask[:, 27:] = True  # three pixels too generous
    assert np.abs(edge_alpha(colours, mask) - (np.arange(60) >= 30)).max() < 0.1
    flat = edge_alpha(np.full((60, 60, 3), 0.5), mask)  # no colour to go by: the mask stays
    assert ((flat > 0.5) == mask).all()


def test_the_shared_skull_is_put_upright(shared_data):
    photos = to_canonical_world(read_calibrated_photos(shared_data / "skull"))
    assert len(photos.files) == 66
    heights = photos.cameras.center[:, 1]
    assert heights.min() < -0.2  # photographed from below
    assert heights.max() > 0.4  # and from above
    depths = [photos.cameras[index].project(torch.from_numpy(photos.points))[1].min() for index in range(66)]
    assert min(depths) > 0.5


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"frames": []}, r"found frames = \[\], expected a list of photographs"),
        ({"frames": [3]}, 'found 3 among the frames, expected "file" and "w2c"'),
        ({"frames": [{"file": 3, "w2c": []}]}, 'found .* among the frames, expected "file" and "w2c"'),
        ({"width": "x"}, "found width = 'x', expected a number of pixels"),
    ],
)
def test_bad_descriptions_are_refused(changed, message, folder, tmp_path):
    values = json.loads((folder / "cameras.json").read_text())
    (tmp_path / "cameras.json").write_text(json.dumps(values | changed))
    with pytest.raises(InputError, match=message):
        read_calibrated_photos(tmp_path)


def test_photographs_of_one_name_points_in_a_plane_and_sizes_of_nothing(folder, tmp_path):
    values = json.loads((folder / "cameras.json").read_text())
    twice = values | {"frames": values["frames"][:1] * 2}
    (tmp_path / "cameras.json").write_text(json.dumps(twice))
    with pytest.raises(InputError, match="appear more than once, expected every name once"):
        read_calibrated_photos(tmp_path)
    (tmp_path / "cameras.json").write_text(json.dumps(values | {"points": [[0, 0, 0]] * 100}))
    with pytest.raises(InputError, match="found 100 surface points in one plane"):
        import_static_photos(tmp_path, tmp_path / "out")
    with pytest.raises(InputError, match="size: found nan decimetres"):
        import_static_photos(folder, tmp_path / "out", size=float("nan"))
    assert not (tmp_path / "out").exists()
