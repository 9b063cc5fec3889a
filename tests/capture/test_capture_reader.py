"""Reading both layouts: order, sizes, cameras, parameters, splits."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_capture import CAMERAS, HEIGHT, WIDTH, disc, frame_code, rig, smooth_picture

from gha.capture import check_capture, open_capture
from gha.errors import InputError


@pytest.fixture(params=["our_capture", "original_capture"])
def either(request):
    return request.getfixturevalue(request.param)


def test_frames_come_in_natural_order(either):
    assert open_capture(either).frame_ids == ("2", "10", "11")
    assert open_capture(either).camera_ids == ("7", "12")


def test_codes_come_back_in_the_order_asked_for(either):
    codes = open_capture(either).codes(["11", "2"])
    torch.testing.assert_close(codes.expression[0], frame_code(2).expression)
    torch.testing.assert_close(codes.pose[1], frame_code(0).pose)
    assert codes.scale.shape == (2, 1)
    torch.testing.assert_close(codes.identity[0], frame_code(2).identity)


def test_cameras_keep_their_principal_points(either):
    capture = open_capture(either)
    for index, camera_id in enumerate(CAMERAS):
        camera = capture.camera(camera_id, "10")
        torch.testing.assert_close(camera.K, rig().K[index])
        torch.testing.assert_close(camera.w2c, rig().w2c[index])
        assert (camera.width, camera.height) == (WIDTH, HEIGHT)


def test_full_size_pictures_come_back(either):
    frame = open_capture(either).read("10", CAMERAS)
    assert frame.image.dtype == torch.uint8
    assert frame.image.shape == (2, 3, HEIGHT, WIDTH)
    expected = torch.from_numpy(smooth_picture(11)).permute(2, 0, 1)
    assert (frame.image[1].int() - expected.int()).abs().float().mean() < 1.5  # JPEG
    assert ((frame.mask[0, 0] > 127) == (torch.from_numpy(disc()) > 127)).float().mean() > 0.999
    assert frame.visible.min() == 255


def test_our_masks_are_exact(our_capture):
    mask = open_capture(our_capture).read("2", ["7"]).mask
    assert torch.equal(mask[0, 0], torch.from_numpy(disc()))


def test_pixels_and_cameras_shrink_together(either):
    capture = open_capture(either)
    full = capture.read("2", CAMERAS)
    half = capture.read("2", CAMERAS, (150, 140), lowres="never")
    torch.testing.assert_close(half.camera.K[:, :2], full.camera.K[:, :2] / 2)
    assert half.camera.width == half.image.shape[-1] == 140
    expected = torch.nn.functional.avg_pool2d(full.image.float(), 2)
    assert (half.image.float() - expected).abs().max() <= 1


@pytest.mark.parametrize(("size", "expected"), [(None, (300, 280)), (150, (150, 140)), ((64, 32), (64, 32))])
def test_a_size_is_the_longer_side_or_both(our_capture, size, expected):
    frame = open_capture(our_capture).read("2", ["7"], size)
    assert frame.image.shape[-2:] == expected
    assert (frame.camera.height, frame.camera.width) == expected


def test_small_copies_are_used_where_they_are_large_enough(broken):
    for kind in ("image", "mask"):
        for path in (broken / "images/2").glob(f"{kind}_7.*"):
            picture = Image.open(path)
            Image.new(picture.mode, picture.size, 255 if kind == "mask" else (255, 0, 0)).save(path)
    capture = open_capture(broken)
    red = torch.tensor([255.0, 0.0, 0.0])[:, None, None]
    assert (capture.read("2", ["7"], 257).image[0] - red).abs().max() < 3
    assert (capture.read("2", ["7"], 256).image[0] - red).abs().mean() > 20
    assert (capture.read("2", ["7"], 256, lowres="never").image[0] - red).abs().max() < 3


def test_masks_may_lack_a_small_copy(broken):
    (broken / "images/2/mask_lowres_7.png").unlink()
    mask = open_capture(broken).read("2", ["7"], (150, 140)).mask[0, 0]
    expected = torch.nn.functional.avg_pool2d(torch.from_numpy(disc())[None].float(), 2)[0]
    assert (mask - expected).abs().max() <= 1


def test_a_crop_moves_the_principal_point_and_pads_with_nothing(our_capture):
    capture = open_capture(our_capture)
    full = capture.read("2", ["7"])
    crop = capture.read("2", ["7"], crop=(-20, 40, 120, 100))
    assert crop.image.shape == (1, 3, 100, 120)
    assert torch.equal(crop.image[..., 20:], full.image[..., 40:140, :100])
    assert crop.visible[..., :20].max() == 0
    assert crop.visible[..., 20:].min() == 255
    assert crop.mask[..., :20].max() == 0
    torch.testing.assert_close(crop.camera.K[0, :2, 2], full.camera.K[0, :2, 2] - torch.tensor([-20.0, 40.0]))


def test_landmarks_are_followed_by_sampled_face_points(either):
    capture = open_capture(either)
    landmarks = capture.landmarks("10")
    vertices = capture.vertices("10")
    assert landmarks.shape == (66 + 358, 3)
    assert torch.equal(landmarks[:66], capture.facial_landmarks("10"))
    assert torch.equal(landmarks[66], vertices[0])
    assert torch.equal(landmarks[-1], vertices[-1])


def test_a_basel_capture_samples_every_hundredth_vertex(broken):
    vertices = np.random.default_rng(0).random((35709, 3)).astype(np.float32)
    np.save(broken / "params/2/vertices.npy", vertices)
    landmarks = open_capture(broken).landmarks("2")
    assert landmarks.shape == (424, 3)
    assert np.array_equal(landmarks[66:].numpy(), vertices[::100])


def test_a_missing_visible_map_means_visible(broken):
    frame = open_capture(broken).read("2", CAMERAS, 100)
    assert frame.visible.shape == frame.mask.shape
    assert frame.visible.min() == 255


def test_one_visible_map_may_serve_all_frames_of_a_camera(broken):
    (broken / "visible").mkdir()
    visible = np.full((HEIGHT, WIDTH), 255, np.uint8)
    visible[:, :50] = 0
    Image.fromarray(visible).save(broken / "visible/visible_7.png")
    capture = open_capture(broken)
    for frame in ("2", "11"):
        read = capture.read(frame, CAMERAS)
        assert torch.equal(read.visible[0, 0], torch.from_numpy(visible))
        assert read.visible[1].min() == 255


def test_scale_may_have_one_or_two_dimensions(broken):
    path = broken / "params/10/params.npz"
    arrays = dict(np.load(path))
    np.savez(path, **{**arrays, "scale": np.full((1, 1), 0.25, np.float32)})
    assert open_capture(broken).codes(["10"]).scale.tolist() == [[0.25]]


def test_more_rows_of_expression_use_row_zero(broken):
    path = broken / "params/10/params.npz"
    arrays = dict(np.load(path))
    rows = np.stack([np.full(4, 0.5), np.full(4, 9.0)]).astype(np.float32)
    np.savez(path, **{**arrays, "exp_coeff": rows})
    assert open_capture(broken).codes(["10"]).expression.tolist() == [[0.5] * 4]


def test_a_mask_of_three_channels_uses_the_first(broken):
    path = broken / "images/2/mask_7.png"
    gray = np.array(Image.open(path))
    Image.fromarray(np.stack([gray, 0 * gray, 0 * gray], axis=-1)).save(path)
    assert torch.equal(open_capture(broken).read("2", ["7"]).mask[0, 0], torch.from_numpy(gray))


def test_the_split_is_read_from_the_capture(our_capture):
    capture = open_capture(our_capture)
    assert capture.split.train_frames == ("2", "10")
    assert capture.split.test_frames == ("11",)
    assert capture.split.test_cameras == ("12",)
    assert capture.fps == 30.0
    assert capture.expression_names == ("jawOpen", "smile", "blink_L", "blink_R")


def test_without_a_split_everything_trains_and_it_is_said(original_capture, caplog):
    caplog.set_level("INFO")
    capture = open_capture(original_capture)
    assert capture.split.train_frames == ("2", "10", "11")
    assert capture.split.test_cameras == ()
    assert "nothing is held out; all 3 frames and 2 cameras train" in caplog.text
    assert capture.expression_names == ("expression_000", "expression_001", "expression_002", "expression_003")


def test_a_splits_file_is_read(original_capture, tmp_path):
    root = shutil.copytree(original_capture, tmp_path / "copy")
    split = {"train": ["2", "11"], "test": ["10"], "train_cameras": ["12"], "held_out_cameras": ["7"]}
    (root / "splits.json").write_text(json.dumps(split))
    (root / "expression_names.json").write_text(json.dumps(["a", "b", "c", "d"]))
    capture = open_capture(root)
    assert capture.split.train_frames == ("2", "11")
    assert capture.split.test_frames == ("10",)
    assert capture.split.test_cameras == ("7",)
    assert capture.expression_names == ("a", "b", "c", "d")


def test_arguments_override_the_split(our_capture):
    capture = open_capture(our_capture, hold_out_every=3, held_out_cameras=["7"])
    assert capture.split.test_frames == ("11",)
    assert capture.split.train_cameras == ("12",)
    assert open_capture(our_capture, held_out_frames=["2"]).split.train_frames == ("10", "11")
    with pytest.raises(InputError, match=r"held-out frames \['3'\] are not in the capture"):
        open_capture(our_capture, held_out_frames=["3"])
    with pytest.raises(InputError, match="all 2 cameras are held out"):
        open_capture(our_capture, held_out_cameras=["7", "12"])
    with pytest.raises(InputError, match="hold_out_every = 4 for 3 frames"):
        open_capture(our_capture, hold_out_every=4)


def test_a_good_capture_passes_the_check(either):
    check_capture(open_capture(either))


def test_the_shared_capture_loads(shared_data):
    capture = open_capture(shared_data / "capture")
    check_capture(capture)
    assert capture.frame_ids == tuple(f"{index:04d}" for index in range(16))
    split = capture.split
    assert (len(split.train_frames), len(split.test_frames)) == (12, 4)
    assert (len(split.train_cameras), len(split.test_cameras)) == (13, 3)
    assert capture.expression_size == 57
    frame = capture.read("0003", capture.split.test_cameras, 320)
    assert frame.landmarks.shape == (424, 3)
    inside, total = 0, 0
    for camera, mask in zip(range(3), frame.mask[:, 0], strict=True):
        pixels = frame.camera[camera].project(frame.landmarks)[0].long()
        inside += int((mask[pixels[:, 1], pixels[:, 0]] > 127).sum())
        total += len(pixels)
    assert inside / total > 0.98  # tracked points lie on the head in every held-out view


def test_moving_a_frame_turns_bytes_into_unit_floats(our_capture):
    frame = open_capture(our_capture).read("2", CAMERAS, 64)
    moved = frame.to("cpu")
    assert moved.image.dtype == moved.mask.dtype == moved.visible.dtype == torch.float32
    torch.testing.assert_close(moved.image * 255, frame.image.float())
    assert moved.visible.max() == 1
    assert torch.equal(moved.to("cpu").image, moved.image)  # floats are left alone
