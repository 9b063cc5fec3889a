"""Every kind of bad input is refused by name, with what was found and what was expected."""

import json
import pickle
import zipfile

import numpy as np
import pytest
from PIL import Image
from tiny_capture import CAMERAS

from gha.capture import check_capture, open_capture
from gha.errors import InputError


def change_npz(path, **arrays):
    np.savez(path, **{**dict(np.load(path)), **arrays})


def test_no_capture_there(tmp_path):
    with pytest.raises(InputError, match="no folder images/ found; expected a capture"):
        open_capture(tmp_path)


def test_frame_folders_that_mean_the_same_number(broken):
    (broken / "images/002").mkdir()
    with pytest.raises(InputError, match="duplicate ids '002' and '2'"):
        open_capture(broken)


def test_truncated_jpeg(broken):
    path = broken / "images/2/image_7.jpg"
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"images/2/image_7.jpg: found a damaged picture .*expected a whole one"):
        open_capture(broken).read("2", ["7"])


def test_file_that_is_no_picture(broken):
    (broken / "images/2/mask_7.png").write_bytes(b"hello")
    with pytest.raises(InputError, match=r"mask_7.png: not a readable picture"):
        open_capture(broken).read("2", ["7"])


def test_mask_of_another_size(broken):
    Image.new("L", (100, 90), 255).save(broken / "images/2/mask_7.png")
    with pytest.raises(InputError, match=r"mask_7.png: found 100 x 90 pixels, expected 280 x 300"):
        open_capture(broken).read("2", ["7"])


def test_small_copy_of_other_proportions(broken):
    Image.new("L", (256, 256), 255).save(broken / "images/2/mask_lowres_7.png")
    with pytest.raises(InputError, match=r"mask_lowres_7.png: found 256 x 256 .* smaller copy of the same proportions"):
        open_capture(broken).read("2", ["7"], 128)


def test_mask_of_sixteen_bits(broken):
    Image.fromarray(np.zeros((300, 280), np.uint16)).save(broken / "images/2/mask_7.png")
    with pytest.raises(InputError, match=r"mask_7.png: found pixel format I;16, expected 8 bits"):
        open_capture(broken).read("2", ["7"])


def test_empty_mask(broken):
    Image.new("L", (280, 300), 0).save(broken / "images/2/mask_7.png")
    with pytest.raises(InputError, match=r"mask_7.png: found an empty mask, expected the subject in it"):
        open_capture(broken).read("2", ["7"])


def test_missing_image_and_missing_mask(broken):
    (broken / "images/10/image_12.jpg").unlink()
    with pytest.raises(InputError, match=r"images/10/image_12.jpg \(or .png\): file not found"):
        open_capture(broken).read("10", ["12"])
    with pytest.raises(InputError, match=r"1 files are missing: images/10/image_12.jpg"):
        check_capture(open_capture(broken))


def test_unknown_frame_and_camera(broken):
    capture = open_capture(broken)
    with pytest.raises(InputError, match=r"no frame '5'; frames are 2, 10, 11"):
        capture.read("5", ["7"])
    with pytest.raises(InputError, match=r"no camera '8'; cameras are 7, 12"):
        capture.camera("8")


def test_missing_camera_of_a_frame(broken):
    (broken / "cameras/11/camera_12.npz").unlink()
    capture = open_capture(broken)
    with pytest.raises(InputError, match=r"cameras/11/camera_12.npz: file not found"):
        capture.read("11", ["12"])
    with pytest.raises(InputError, match=r"cameras/11/camera_12.npz"):
        check_capture(capture)


def test_zero_focal_length(broken):
    change_npz(broken / "cameras/2/camera_7.npz", intrinsic=np.diag([0.0, 400.0, 1.0]))
    with pytest.raises(
        InputError, match=r"camera_7.npz: found focal lengths 0 and 400 in intrinsic, expected pixels > 0"
    ):
        open_capture(broken).camera("7")


def test_skew(broken):
    intrinsic = np.array([[400.0, 5, 140], [0, 400, 150], [0, 0, 1]])
    change_npz(broken / "cameras/2/camera_7.npz", intrinsic=intrinsic)
    with pytest.raises(InputError, match=r"camera_7.npz: found intrinsic .*without skew"):
        open_capture(broken).camera("7")


@pytest.mark.parametrize("matrix", [2 * np.eye(3), np.diag([1.0, 1.0, -1.0]), np.zeros((3, 3))])
def test_extrinsic_that_is_no_rotation(broken, matrix):
    change_npz(broken / "cameras/2/camera_7.npz", extrinsic=np.hstack([matrix, np.zeros((3, 1))]))
    with pytest.raises(InputError, match=r"camera_7.npz: extrinsic is no rotation \(found .* expected 0 and 1\)"):
        open_capture(broken).camera("7")


def test_extrinsic_of_another_shape(broken):
    change_npz(broken / "cameras/2/camera_7.npz", extrinsic=np.eye(4))
    with pytest.raises(InputError, match=r"camera_7.npz: extrinsic: found shape \[4, 4\], expected \[3, 4\]"):
        open_capture(broken).camera("7")


def test_nan_in_an_npz(broken):
    pose = np.full((1, 6), np.nan)
    change_npz(broken / "params/10/params.npz", pose=pose)
    with pytest.raises(InputError, match=r"params/10/params.npz: pose: found 6 NaN or infinite values"):
        check_capture(open_capture(broken))


def test_expression_of_the_wrong_width(broken):
    change_npz(broken / "params/10/params.npz", exp_coeff=np.zeros((1, 5)))
    with pytest.raises(InputError, match=r"params/10/params.npz: exp_coeff: found shape \[1, 5\], expected \[any, 4\]"):
        open_capture(broken).codes(["10"])


def test_expression_widths_that_differ_between_frames(original_capture, tmp_path):
    import shutil

    root = shutil.copytree(original_capture, tmp_path / "copy")
    change_npz(root / "params/11/params.npz", exp_coeff=np.zeros((1, 5)))
    with pytest.raises(InputError, match=r"frame 11: found 5 expression coefficients, expected 4 as in frame 2"):
        check_capture(open_capture(root))


def test_numbers_of_vertices_that_differ_between_frames(broken):
    np.save(broken / "params/10/vertices.npy", np.zeros((999, 3)))
    with pytest.raises(
        InputError, match=r"params/10/vertices.npy: frame 10: found 999 face vertices, expected 1000 as in frame 2"
    ):
        check_capture(open_capture(broken))


def test_identity_widths_that_differ_and_a_missing_identity(broken):
    arrays = dict(np.load(broken / "params/10/params.npz"))
    arrays.pop("id_coeff")
    np.savez(broken / "params/10/params.npz", **arrays)
    check_capture(open_capture(broken))
    change_npz(broken / "params/11/params.npz", id_coeff=np.zeros((1, 5)))
    with pytest.raises(InputError, match=r"frame 11: found 5 identity coefficients, expected 3 as in frame 2"):
        check_capture(open_capture(broken))


def test_the_number_of_further_problems_is_told(broken):
    for frame in ("2", "11"):
        change_npz(broken / f"params/{frame}/params.npz", pose=np.full((1, 6), np.nan))
    with pytest.raises(InputError, match=r"params/2/params.npz: pose: .*\(and 1 more problems of this sort\)"):
        check_capture(open_capture(broken))


def test_scale_that_is_not_positive(broken):
    change_npz(broken / "params/10/params.npz", scale=np.zeros(1))
    with pytest.raises(InputError, match=r"params.npz: found scale 0, expected world units per decimetre > 0"):
        open_capture(broken).codes()


def test_missing_key(broken):
    np.savez(broken / "params/10/params.npz", pose=np.zeros((1, 6)))
    with pytest.raises(InputError, match=r"params.npz: found keys \['pose'\], expected 'exp_coeff'"):
        open_capture(broken).codes()


def test_landmarks_of_another_count(broken):
    np.save(broken / "params/2/lmk_3d.npy", np.zeros((51, 3)))
    with pytest.raises(InputError, match=r"lmk_3d.npy: found shape \[51, 3\], expected \[66, 3\] or \[68, 3\]"):
        open_capture(broken).landmarks("2")


class Exploit:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code from a data file was run')",))


def test_pickles_are_never_loaded(broken):
    hostile = np.array([Exploit()], dtype=object)
    change_npz(broken / "params/2/params.npz", pose=hostile)
    with pytest.raises(InputError, match=r"params.npz: not a readable npz of plain arrays"):
        open_capture(broken).codes()
    np.save(broken / "params/2/lmk_3d.npy", hostile, allow_pickle=True)
    with pytest.raises(InputError, match=r"lmk_3d.npy: not a readable npy of plain numbers"):
        open_capture(broken).landmarks("2")
    (broken / "cameras/2/camera_7.npz").write_bytes(pickle.dumps(Exploit()))
    with pytest.raises(InputError, match=r"camera_7.npz: not a readable npz"):
        open_capture(broken).camera("7")


def test_oversized_npz(broken):
    path = broken / "params/2/params.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("pose.npy", "w") as member:
        for _ in range(520):
            member.write(bytes(2**20))
    assert path.stat().st_size < 2**21
    with pytest.raises(InputError, match=r"params.npz: found \d+ bytes of arrays, expected at most"):
        open_capture(broken).codes()


def change_info(root, **values):
    path = root / "capture.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"complete": False}, "found an unfinished capture; run the command that makes it again"),
        ({"schema": 99}, "found schema 99, expected 1"),
        ({"colour": 1}, r"unknown keys \['colour'\]"),
        ({"resolution": 300}, r"resolution is 300, expected \[height, width\] in pixels"),
        ({"resolution": [300, 0]}, r"resolution is \[300, 0\], expected \[height, width\] in pixels"),
        ({"fps": "fast"}, "fps is fast, expected frames per second > 0"),
        ({"fps": 0}, "fps is 0, expected frames per second > 0"),
        ({"split": ["7"]}, r"split is \['7'\], expected null or an object of four lists"),
        ({"sequences": ["a"]}, r"sequences is \['a'\], expected an object of lists of frames"),
        ({"expression_names": ["a", "a"]}, r"expression_names names \['a'\] more than once"),
        ({"expression_names": ["a"]}, r"exp_coeff: found shape \[1, 4\], expected \[any, 1\]"),
    ],
)
def test_bad_capture_json(broken, values, message):
    change_info(broken, **values)
    with pytest.raises(InputError, match=message):
        open_capture(broken).codes()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train_frames": ["2", "2"]}, r"train_frames names \['2'\] more than once"),
        ({"train_frames": ["2", "77"]}, r"the split names frames \['77'\] that the capture does not have"),
        ({"test_frames": ["2"]}, r"frames \['2'\] are both trained on and held out"),
        ({"train_cameras": []}, "found no cameras to train on, expected at least one"),
        ({"train_cameras": "7"}, "train_cameras is '7', expected a list of names"),
    ],
)
def test_bad_splits(broken, changed, message):
    split = json.loads((broken / "capture.json").read_text())["split"]
    change_info(broken, split={**split, **changed})
    with pytest.raises(InputError, match=message):
        open_capture(broken)


def test_cameras_of_different_sizes_need_an_explicit_size(broken):
    for kind, mode in (("image", "RGB"), ("mask", "L")):
        for path in (broken / "images/2").glob(f"{kind}_12.*"):
            Image.new(mode, (140, 300), "white").save(path)
    for path in (broken / "images/2").glob("*_lowres_12.*"):
        path.unlink()
    capture = open_capture(broken)
    with pytest.raises(InputError, match=r"differ in size .*give \(height, width\)"):
        capture.read("2", CAMERAS)
    assert capture.read("2", CAMERAS, (50, 50)).image.shape == (2, 3, 50, 50)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"capture.json: not valid JSON"),
        ("[]", r"capture.json: found a JSON list, expected dict"),
        ('{"schema": 1}', r"capture.json: no resolution found, expected \[height, width\]"),
    ],
)
def test_capture_json_that_is_none(broken, text, message):
    (broken / "capture.json").write_text(text)
    with pytest.raises(InputError, match=message):
        open_capture(broken)
