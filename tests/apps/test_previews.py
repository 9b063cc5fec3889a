"""Pictures: clamping, layout, colours, files."""

import numpy as np
import pytest
import torch
from PIL import Image

from gha.apps import previews


def test_floats_are_clamped_not_wrapped():
    image = torch.tensor([-0.5, 0.0, 0.5, 1.0, 1.004, 2.0, float("nan"), float("inf")]).view(1, 1, 8)
    assert previews.to_uint8(image)[0, :, 0].tolist() == [0, 0, 128, 255, 255, 255, 0, 255]


def test_bytes_pass_unchanged():
    array = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert previews.to_uint8(array) is array


def test_row_brings_pictures_to_one_height():
    row = previews.make_row([torch.zeros(3, 4, 6), torch.ones(1, 8, 10)])
    assert row.shape == (8, 12 + 10, 3)
    assert row[:, :12].max() == 0
    assert row[:, 12:].min() == 255


def test_grid_pads_short_rows():
    grid = previews.make_grid([np.full((2, 5, 3), 9, np.uint8), np.full((3, 2, 3), 7, np.uint8)])
    assert grid.shape == (5, 5, 3)
    assert grid[2:, :2].min() == 7
    assert grid[2:, 2:].max() == 0


def test_error_heat_runs_from_black_to_white():
    truth = torch.zeros(3, 1, 4)
    prediction = torch.tensor([0.0, 0.1, 0.2, 0.3]).expand(3, 1, 4)
    heat = previews.error_heat(prediction, truth, full_scale=0.3)
    assert heat[:, 0].T.tolist() == [
        pytest.approx(color, abs=1e-5) for color in ([0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1])
    ]


def test_captions_change_a_copy_only():
    picture = np.zeros((20, 60, 3), np.uint8)
    captioned = previews.write_captions(picture, [(2, 2, "truth")])
    assert captioned.max() > 200
    assert picture.max() == 0


def test_png_round_trip_makes_folders(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    previews.save_png(tmp_path / "a" / "b.png", picture)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a" / "b.png")), picture)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.png"]


@pytest.mark.parametrize("picture", [torch.zeros(4, 2, 2), torch.zeros(1, 3, 2, 2), np.zeros((2, 2, 3))])
def test_other_shapes_are_refused(picture):
    with pytest.raises(ValueError, match="expected"):
        previews.to_uint8(picture)
