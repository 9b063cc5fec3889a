"""Writing: both layouts to the letter, interruptions, several processes, the same bytes."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_capture import CAMERAS, FRAMES, HEIGHT, WIDTH, disc, frame_code, rig, smooth_picture, write_tiny

from gha.capture import CaptureInfo, CaptureWriter, open_capture
from gha.capture.writer import _gray_png
from gha.errors import InputError


def files_below(root):
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_the_original_form_to_the_letter(original_capture):
    expected = set()
    for frame in FRAMES:
        expected |= {f"params/{frame}/{name}" for name in ("params.npz", "lmk_3d.npy", "vertices.npy")}
        for camera in CAMERAS:
            expected.add(f"cameras/{frame}/camera_{camera}.npz")
            for kind in ("image", "mask", "visible"):
                expected |= {f"images/{frame}/{kind}_{camera}.jpg", f"images/{frame}/{kind}_lowres_{camera}.jpg"}
    assert files_below(original_capture) == expected
    for path in original_capture.rglob("*.jpg"):
        picture = Image.open(path)
        assert (picture.format, picture.mode) == ("JPEG", "RGB")
        assert picture.size == ((239, 256) if "lowres" in path.name else (WIDTH, HEIGHT))
    camera = np.load(original_capture / "cameras/2/camera_7.npz")
    assert {name: (camera[name].shape, str(camera[name].dtype)) for name in camera} == {
        "extrinsic": ((3, 4), "float64"),
        "intrinsic": ((3, 3), "float64"),
    }
    params = np.load(original_capture / "params/2/params.npz")
    assert {name: (params[name].shape, str(params[name].dtype)) for name in params} == {
        "id_coeff": ((1, 3), "float32"),
        "exp_coeff": ((1, 4), "float32"),
        "pose": ((1, 6), "float32"),
        "scale": ((1,), "float32"),
    }


def test_our_form_adds_capture_json_and_keeps_masks_exact(our_capture):
    names = files_below(our_capture)
    assert "capture.json" in names
    assert "images/2/mask_7.png" in names
    assert "images/2/mask_lowres_7.png" in names
    assert not any("visible" in name for name in names)
    assert json.loads((our_capture / "capture.json").read_text())["complete"] is True


def test_the_same_input_gives_the_same_bytes(our_capture, tmp_path):
    again = write_tiny(tmp_path)

    def digests(root):
        return {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in files_below(root)}

    assert digests(again) == digests(our_capture)


def test_no_temporary_file_is_left(our_capture):
    assert not [name for name in files_below(our_capture) if ".tmp" in name]


def test_an_interrupted_capture_is_refused_until_it_is_finished(tmp_path):
    writer = CaptureWriter(tmp_path, CaptureInfo((HEIGHT, WIDTH)))
    writer.write_cameras("0", CAMERAS, rig())
    writer.write_frame_params("0", frame_code(0), torch.zeros(68, 3), torch.zeros(5, 3))
    writer.write_image("0", "7", smooth_picture(0), disc())
    assert writer.is_done("0", "7")
    assert not writer.is_done("0", "12")
    with pytest.raises(InputError, match="unfinished capture"):
        open_capture(tmp_path)
    with pytest.raises(InputError, match=r"4 files were never written, first .*mask_12.png"):
        writer.finish()
    again = CaptureWriter(tmp_path, CaptureInfo((HEIGHT, WIDTH)))
    again.write_image("0", "12", smooth_picture(1), disc())
    again.finish()
    assert open_capture(tmp_path).landmarks("0").shape == (73, 3)


def test_a_view_without_its_mask_is_not_done(tmp_path):
    writer = CaptureWriter(tmp_path, CaptureInfo((HEIGHT, WIDTH)))
    writer.write_image("0", "7", smooth_picture(0), disc())
    (tmp_path / "images/0/mask_7.png").unlink()
    assert not writer.is_done("0", "7")


@pytest.mark.parametrize("name", ["images/0/mask_7.png", "images/0/image_7.jpg", "cameras/0/camera_7.npz",
                                  "params/0/params.npz", "params/0/lmk_3d.npy"])  # fmt: skip
def test_a_view_with_an_empty_file_is_not_done(name, tmp_path):
    """A loss of power can leave names whose content never reached the device."""
    writer = CaptureWriter(tmp_path, CaptureInfo((HEIGHT, WIDTH)))
    writer.write_cameras("0", CAMERAS, rig())
    writer.write_frame_params("0", frame_code(0), torch.zeros(68, 3), torch.zeros(5, 3))
    for camera in CAMERAS:
        writer.write_image("0", camera, smooth_picture(0), disc())
    assert writer.is_done("0", "7")
    (tmp_path / name).write_bytes(b"")
    assert not writer.is_done("0", "7")
    with pytest.raises(InputError, match=f"1 files were never written, first .*{name}"):
        writer.finish()


def test_what_differs_from_another_capture_is_named(tmp_path):
    CaptureWriter(tmp_path, CaptureInfo((HEIGHT, WIDTH), recipe={"motion": "auto", "seed": 0}))
    with pytest.raises(InputError, match=r"\(recipe\.seed differ; found recipe\.seed = 0, expected 3\)"):
        CaptureWriter(tmp_path, CaptureInfo((HEIGHT, WIDTH), recipe={"motion": "auto", "seed": 3}))


def test_another_capture_is_not_overwritten(our_capture):
    with pytest.raises(InputError, match=r"holds another capture .*found fps = 30.0, expected 24.0"):
        CaptureWriter(our_capture, CaptureInfo((HEIGHT, WIDTH), fps=24.0))


def test_pictures_of_another_size_are_refused(tmp_path):
    writer = CaptureWriter(tmp_path, CaptureInfo((50, 60)))
    with pytest.raises(InputError, match=r"found \(280, 300\) \(width, height\), expected \(60, 50\)"):
        writer.write_image("0", "7", smooth_picture(0), disc())
    with pytest.raises(ValueError, match=r"expected uint8 \[H, W, 3\], got float64"):
        writer.write_image("0", "7", np.zeros((50, 60, 3)), np.zeros((50, 60), np.uint8))


def test_several_writers_of_one_capture(tmp_path):
    info = CaptureInfo((HEIGHT, WIDTH))

    def write(camera):
        writer = CaptureWriter(tmp_path, info)
        for frame in FRAMES:
            writer.write_cameras(frame, CAMERAS, rig())
            writer.write_frame_params(frame, frame_code(0), torch.zeros(68, 3), torch.zeros(5, 3))
            writer.write_image(frame, camera, smooth_picture(0), disc())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, CAMERAS * 2))
    CaptureWriter(tmp_path, info).finish()
    assert open_capture(tmp_path).read("11", CAMERAS).image.shape == (2, 3, HEIGHT, WIDTH)


def test_recorded_jpegs_keep_their_bytes(tmp_path):
    recorded = tmp_path / "photo.jpg"
    Image.fromarray(smooth_picture(3)).save(recorded, quality=70)
    writer = CaptureWriter(tmp_path / "capture", CaptureInfo((HEIGHT, WIDTH)))
    writer.write_image("0", "7", recorded, disc())
    assert (tmp_path / "capture/images/0/image_7.jpg").read_bytes() == recorded.read_bytes()
    Image.fromarray(smooth_picture(3)).save(tmp_path / "photo.png")
    with pytest.raises(InputError, match="found PNG, expected a JPEG"):
        writer.write_image("0", "7", tmp_path / "photo.png", disc())


def test_visible_maps_and_backgrounds(tmp_path):
    visible = np.full((HEIGHT, WIDTH), 255, np.uint8)
    CaptureWriter(tmp_path, CaptureInfo((HEIGHT, WIDTH))).write_visible("7", visible)
    assert "visible/visible_7.png" in files_below(tmp_path)
    original = CaptureWriter(tmp_path / "original", CaptureInfo((HEIGHT, WIDTH)), original=True)
    original.write_background("7", smooth_picture(0))
    assert Image.open(tmp_path / "original/background/image_7.jpg").size == (WIDTH, HEIGHT)
    with pytest.raises(ValueError, match="frame_id is missing"):
        original.write_visible("7", visible)


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (65, 64)])
def test_masks_are_whole_png_files(shape, tmp_path):
    mask = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    (tmp_path / "mask.png").write_bytes(_gray_png(mask))
    with Image.open(tmp_path / "mask.png") as picture:
        picture.verify()
    with Image.open(tmp_path / "mask.png") as picture:
        assert picture.mode == "L"
        assert np.array_equal(np.asarray(picture), mask)
