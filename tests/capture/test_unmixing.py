import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from gha.capture import open_capture
from gha.capture.film_textures import linear_to_srgb, srgb_to_linear
from gha.capture.synthetic import CaptureRecipe, make_capture
from gha.capture.unmixing import unmix
from gha.faces.registry import load_face_model


def to_bytes(linear):
    return np.rint(linear_to_srgb(linear) * 255).astype(np.uint8)


def test_the_subject_is_found_behind_any_mixture():
    rng = np.random.default_rng(0)
    own = rng.integers(0, 256, (3, 8, 8)).astype(np.uint8)
    plate = rng.integers(100, 256, (3, 8, 8)).astype(np.uint8)
    mask = rng.integers(90, 255, (1, 8, 8)).astype(np.uint8)
    share = mask / 255
    mixed = to_bytes(share * srgb_to_linear(own / 255) + (1 - share) * srgb_to_linear(plate / 255))
    unmix(mixed, mask, plate)
    error = np.abs(srgb_to_linear(mixed / 255) - srgb_to_linear(own / 255))
    # Half a byte of the mixture, seen through the coverage, and half a byte of the result.
    assert (error <= 0.5 / 255 * 2.3 * (1 / share + 1)).all()


def test_small_pictures_are_as_bright_along_outlines_as_the_whole_made_small():
    """Dark hair before a bright wall: made small and then solved, or solved and then made small."""
    rng = np.random.default_rng(2)
    side, factor = 256, 8
    own = np.repeat(rng.integers(20, 120, (3, 1, side)), side, 1).astype(np.uint8)
    plate = np.full_like(own, 190)
    edge = side * (0.5 + 0.1 * np.sin(np.arange(side) / 9)) + rng.normal(0, 6, side)
    share = np.clip(edge - np.arange(side)[:, None] + 0.5, 0, 1)[None]
    mixed = to_bytes(share * srgb_to_linear(own / 255) + (1 - share) * srgb_to_linear(plate / 255))

    def small(pixels):
        return pixels.reshape(-1, side // factor, factor, side // factor, factor).mean((2, 4))

    image, mask = np.rint(small(mixed)).astype(np.uint8), np.rint(small(255 * share)).astype(np.uint8)
    unmix(image, mask, np.rint(small(plate)).astype(np.uint8), factor)
    rim = (mask[0] > 8) & (mask[0] < 247)
    error = (image * (mask / 255) - small(own * share))[:, rim]
    assert abs(error.mean()) < 3
    assert np.sqrt((error**2).mean()) < 5


def test_pixels_of_one_kind_stay_as_they_are():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (3, 4, 6)).astype(np.uint8)
    mask = rng.choice([0, 255], (1, 4, 6)).astype(np.uint8)
    before = image.copy()
    unmix(image, mask, np.full_like(image, 200))
    assert np.array_equal(image, before)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unmixing") / "capture"
    model = load_face_model("procedural", texture_size=128, hair_strands=200)
    make_capture(model, folder, CaptureRecipe(frames=3, cameras=2, resolution=128, held_out_cameras=1))
    return folder


def rim(root):
    """Mean colour of the pixels that the subject covers to about a half."""
    capture = open_capture(root)
    frame = capture.read(capture.frame_ids[0], [capture.camera_ids[0]])
    mask = frame.mask[0, 0].numpy()
    return frame.image[0].numpy()[:, (mask > 80) & (mask < 180)].mean()


def test_a_capture_is_read_without_the_studio_in_its_outlines(root, tmp_path, caplog):
    alone = shutil.copytree(root, tmp_path / "alone")
    shutil.rmtree(alone / "background")
    other = shutil.copytree(root, tmp_path / "other")
    for path in (other / "background").iterdir():
        Image.new("RGB", (60, 60)).save(path)
    assert rim(root) < rim(alone) - 20
    assert rim(other) == rim(alone)
    assert "another size" in caplog.text


def test_a_camera_without_a_picture_of_the_empty_stage_is_told_where_others_have_one(root, tmp_path, caplog):
    some = shutil.copytree(root, tmp_path / "some")
    first = open_capture(some).camera_ids[0]
    (some / "background" / f"image_{first}.jpg").unlink()
    rim(some)
    assert f"outlines of camera {first} keep" in caplog.text


def test_a_part_of_a_picture_is_unmixed_like_the_whole(root):
    capture = open_capture(root)
    frame, camera = capture.frame_ids[0], [capture.camera_ids[0]]
    whole = capture.read(frame, camera, lowres="never").image
    part = capture.read(frame, camera, crop=(30, 40, 64, 48)).image
    assert np.array_equal(part.numpy(), whole[..., 40:88, 30:94].numpy())


def test_a_capture_read_small_is_unmixed_for_its_size(root):
    capture = open_capture(root)
    frame, camera = capture.frame_ids[0], [capture.camera_ids[0]]
    whole = capture.read(frame, camera)
    covered = (whole.image[0] * (whole.mask[0] / 255)).reshape(3, 32, 4, 32, 4).mean((2, 4))
    for size, crop in ((32, None), ((32, 32), (0, 0, 128, 128))):
        small = capture.read(frame, camera, size, crop=crop)
        rim = (small.mask[0, 0] > 8) & (small.mask[0, 0] < 247)
        error = (small.image[0] * (small.mask[0] / 255) - covered)[:, rim]
        assert abs(error.mean()) < 3
        assert error.square().mean().sqrt() < 6


def test_a_picture_of_the_stage_that_is_written_anew_is_read_anew(root, tmp_path):
    copy = shutil.copytree(root, tmp_path / "copy")
    capture = open_capture(copy)
    frame, camera = capture.frame_ids[0], [capture.camera_ids[0]]
    before = capture.read(frame, camera).image.clone()
    Image.new("RGB", (128, 128)).save(copy / "background" / f"image_{camera[0]}.jpg")
    assert not torch.equal(capture.read(frame, camera).image, before)
