from dataclasses import replace

import pytest
import torch

from gha.capture.frame import Frame
from gha.faces.code import HeadCode
from gha.geometry import Camera
from gha.training.windows import Window, crop_frame, crop_views, sample_window


def frame_of(image):
    """A frame [1, 1] around an image [3, H, W] whose camera sees pixel (x, y) along (x / 100, y / 100, 1)."""
    height, width = image.shape[-2:]
    camera = Camera(torch.eye(4)[None, None], torch.diag(torch.tensor([100.0, 100.0, 1.0]))[None, None], width, height)
    ones = torch.ones(1, 1, 1, height, width)
    code = HeadCode(torch.zeros(1, 2), torch.zeros(1, 6), torch.ones(1, 1))
    return Frame(image[None, None], ones, ones, camera, code, torch.zeros(1, 66, 3), ["0"], (("a",),))


def ramp(height, width):
    """Red is the x coordinate of the pixel centre, green its y coordinate."""
    x, y = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width), torch.zeros(height, width)])


@pytest.mark.parametrize("window", [Window(3, 2, 8, 6, 8, 6), Window(2, 3, 16, 12, 8, 6), Window(4, 4, 8, 8, 12, 12)])
def test_camera_sees_what_the_picture_shows(window):
    """Where a world point falls by the cropped camera, the cropped ramp holds its place in the whole image."""
    cropped = crop_frame(frame_of(ramp(24, 32)), window)
    assert cropped.image.shape[-2:] == (window.height, window.width)
    row, column = window.height // 2, window.width // 2
    place = cropped.image[0, 0, :2, row, column]
    point = torch.cat([place / 100, torch.ones(1)])
    pixel, _ = cropped.camera.project(point[None])
    torch.testing.assert_close(pixel[0, 0, 0], torch.tensor([column + 0.5, row + 0.5]), atol=1e-4, rtol=0)


def test_outside_the_image_nothing_is_visible():
    cropped = crop_frame(frame_of(torch.ones(3, 10, 10)), Window(-3, 0, 13, 10, 13, 10))
    assert torch.equal(cropped.visible[0, 0, 0, 5], torch.tensor([0.0] * 3 + [1.0] * 10))
    assert cropped.image[..., :3].sum() == 0


def test_shrinking_averages_instead_of_picking():
    """Nearest-neighbour resampling, as in the original, would return zeros or ones."""
    checkerboard = (torch.arange(16)[:, None] + torch.arange(16)) % 2
    cropped = crop_frame(frame_of(checkerboard.float().expand(3, -1, -1)), Window(0, 0, 16, 16, 8, 8))
    torch.testing.assert_close(cropped.image, torch.full_like(cropped.image, 0.5), atol=0.02, rtol=0)


def test_windows_depend_on_the_generator_only_and_cover_the_image():
    def draw(seed):
        return sample_window(torch.Generator().manual_seed(seed), (100, 100), (40, 40), (0.8, 1.25))

    assert draw(5) == draw(5)
    windows = [draw(seed) for seed in range(200)]
    assert all(w.left >= 0 and w.left + w.source_width <= 100 for w in windows)
    assert {w.source_width for w in windows} <= set(range(32, 51))
    assert min(w.left for w in windows) < 5
    assert max(w.left + w.source_width for w in windows) > 95


def test_zooming_out_of_the_whole_image_pads_on_all_sides():
    windows = [sample_window(torch.Generator().manual_seed(s), (100, 80), (100, 80), (0.8, 0.8)) for s in range(50)]
    assert all((w.source_height, w.source_width) == (125, 100) for w in windows)
    assert all(-25 <= w.top <= 0 and -20 <= w.left <= 0 for w in windows)
    assert len({w.left for w in windows}) > 5


def test_every_view_gets_its_own_window():
    one, windows = frame_of(ramp(24, 32)), [Window(3, 2, 8, 6, 8, 6), Window(10, 9, 16, 12, 8, 6)]
    camera = replace(one.camera, K=one.camera.K.expand(1, 2, 3, 3), w2c=one.camera.w2c.expand(1, 2, 4, 4))
    images = {name: getattr(one, name).expand(1, 2, -1, -1, -1) for name in ("image", "mask", "visible")}
    both = crop_views(replace(one, camera=camera, camera_ids=(("a", "b"),), **images), windows)
    assert both.camera_ids == (("a", "b"),)
    for view, window in enumerate(windows):
        alone = crop_frame(one, window)
        assert torch.equal(both.image[:, view], alone.image[:, 0])
        assert torch.equal(both.camera.K[:, view], alone.camera.K[:, 0])
