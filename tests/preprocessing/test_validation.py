"""Everything that can be wrong with a capture is told with its file, what was found and what was expected."""

import json
import re
import shutil

import numpy as np
import pytest
from ball_capture import AZIMUTHS, FRAMES, HEIGHT, WIDTH, ball_mask, camera_at, noise
from PIL import Image

from gha.capture import check_capture, open_capture
from gha.errors import InputError
from gha.preprocessing import validate_capture
from gha.preprocessing.validation_picture import draw_picture
from gha.preprocessing.validation_report import describe, describe_problems, to_json


def validate(root, **options):
    return validate_capture(root, workers=1, **options)


def change_npz(path, **arrays):
    np.savez(path, **{**dict(np.load(path)), **arrays})


def change_json(root, name="capture.json", **values):
    path = root / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def save(path, array):
    Image.fromarray(array).save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))


def params(root, frame):
    return root / f"params/{frame}/params.npz"


def camera(root, frame, name):
    return root / f"cameras/{frame}/camera_{name}.npz"


def test_a_good_capture_has_no_problems(ball, original_ball):
    for root in (ball, original_ball):
        found = validate(root)
        assert not found.problems
        assert found.usable
        assert describe_problems(found) == "usable"
        assert describe_problems(validate(root, pictures=False)) == "usable; pictures were not decoded"
        check_capture(open_capture(root))


def remove(name):
    return lambda root: (root / name).unlink()


def truncate(root):
    path = root / "images/0001/image_a.jpg"
    path.write_bytes(path.read_bytes()[:1500])


def shear(root):
    change_npz(camera(root, "0002", "b"), extrinsic=np.hstack([2 * np.eye(3), np.ones((3, 1))]))


def pose_of_another_moment(root):
    change_npz(params(root, "0003"), pose=np.array([[0, np.deg2rad(55), 0, 0, 0, 0]]))


def move_the_head_in_the_tracking(root):
    """Landmarks, vertices and pose agree, 13 centimetres above where the pictures show the head."""
    for name in ("lmk_3d.npy", "vertices.npy"):
        path = root / "params/0001" / name
        np.save(path, np.load(path) + np.array([0.0, 0.13, 0.0]))
    change_npz(params(root, "0001"), pose=np.array([[0, np.deg2rad(5), 0, 0, 0.13, 0]]))


def copy(source, target):
    return lambda root: shutil.copy(root / source, root / target)


def look_away(root):
    """A camera turned around: world to camera, but z backward and x left."""
    path = camera(root, "0000", "b")
    change_npz(path, extrinsic=np.diag([-1.0, 1.0, -1.0]) @ np.load(path)["extrinsic"])


def shift_principal_point(root):
    path = camera(root, "0000", "b")
    change_npz(path, intrinsic=np.load(path)["intrinsic"] + np.array([[0, 0, 500], [0, 0, 0], [0, 0, 0]]))


def sixteen_bits(root):
    save(root / "images/0002/mask_d.png", np.zeros((HEIGHT, WIDTH), np.uint16))


def blurred_noise():
    return np.asarray(Image.fromarray(noise(1)).reduce(12).resize((WIDTH, HEIGHT)))


BREAKS = {
    "missing image": (remove("images/0001/image_a.jpg"), r"images/0001/image_a.jpg \(or .png\): file not found"),
    "missing mask": (remove("images/0004/mask_c.png"), r"images/0004/mask_c.jpg \(or .png\): file not found"),
    "missing camera": (remove("cameras/0003/camera_b.npz"), r"cameras/0003/camera_b.npz: file not found"),
    "missing params": (remove("params/0002/params.npz"), r"params/0002/params.npz: file not found"),
    "missing landmarks": (remove("params/0002/lmk_3d.npy"), r"params/0002/lmk_3d.npy: file not found"),
    "missing vertices": (remove("params/0002/vertices.npy"), r"params/0002/vertices.npy: file not found"),
    "truncated image": (truncate, r"images/0001/image_a.jpg: found a damaged picture .*, expected a whole one"),
    "no picture": (
        lambda root: (root / "images/0001/image_d.jpg").write_bytes(b"hello"),
        r"images/0001/image_d.jpg: not a readable picture .*, expected JPEG or PNG",
    ),
    "mask of another size": (
        lambda root: save(root / "images/0001/mask_a.png", np.zeros((50, 60), np.uint8)),
        r"images/0001/mask_a.png: found 60 x 50 pixels, expected 120 x 96",
    ),
    "image of another size": (
        lambda root: save(root / "images/0000/image_a.jpg", noise(99)[:40, :80]),
        r"images/0000/image_a.jpg: found 80 x 40 pixels, expected 120 x 96",
    ),
    "sixteen bits": (sixteen_bits, r"images/0002/mask_d.png: found pixel format I;16, expected 8 bits per channel"),
    "empty mask": (
        lambda root: save(root / "images/0001/mask_a.png", np.zeros((HEIGHT, WIDTH), np.uint8)),
        r"images/0001/mask_a.png: found an empty mask, expected the subject in it",
    ),
    "full mask": (
        lambda root: save(root / "images/0001/mask_a.png", np.full((HEIGHT, WIDTH), 255, np.uint8)),
        r"images/0001/mask_a.png: found a mask that covers the whole picture, expected background",
    ),
    "mask of something else": (
        lambda root: save(root / "images/0001/mask_a.png", np.roll(ball_mask(), 60, axis=1)),
        r"images/0001/mask_a.png: found \d+% of \d+ projected landmarks on the mask, expected nearly all",
    ),
    "image of one colour": (
        lambda root: save(root / "images/0001/image_a.jpg", np.zeros((HEIGHT, WIDTH, 3), np.uint8)),
        r"images/0001/image_a.jpg: found grey level 0 everywhere, expected a photograph",
    ),
    "no rotation": (shear, r"camera_b.npz: extrinsic is no rotation \(found .* det R = 8; expected 0 and 1\)"),
    "zero focal length": (
        lambda root: change_npz(camera(root, "0002", "b"), intrinsic=np.diag([0.0, 300, 1])),
        r"cameras/0002/camera_b.npz: found focal lengths 0 and 300 in intrinsic, expected pixels > 0",
    ),
    "camera turned around": (
        look_away,
        r"cameras/0000/camera_b.npz: found 68 of 68 landmarks behind the camera, expected none \(is extrinsic world-to",
    ),
    "head out of the picture": (
        shift_principal_point,
        r"cameras/0000/camera_b.npz: found 0% of the landmarks in the picture of 120 x 96 pixels, expected most",
    ),
    "camera that moved": (
        copy("cameras/0002/camera_a.npz", "cameras/0002/camera_b.npz"),
        r"cameras/0002/camera_b.npz: found the camera turned by 40 degrees and moved by 0.684 world units against "
        r"frame 0000 and 4 frames in all, expected it to stand still",
    ),
    "nan": (
        lambda root: change_npz(params(root, "0001"), exp_coeff=np.full((1, 4), np.nan)),
        r"params/0001/params.npz: exp_coeff: found 4 NaN or infinite values, expected finite numbers",
    ),
    "expression width": (
        lambda root: change_npz(params(root, "0001"), exp_coeff=np.zeros((1, 5))),
        r"params/0001/params.npz: exp_coeff: found shape \[1, 5\], expected \[any, 4\]",
    ),
    "missing key": (
        lambda root: np.savez(params(root, "0001"), pose=np.zeros((1, 6))),
        r"params/0001/params.npz: found keys \['pose'\], expected 'exp_coeff'",
    ),
    "landmark shape": (
        lambda root: np.save(root / "params/0001/lmk_3d.npy", np.zeros((51, 3))),
        r"params/0001/lmk_3d.npy: found shape \[51, 3\], expected \[66, 3\] or \[68, 3\]",
    ),
    "landmark count": (
        lambda root: np.save(root / "params/0000/lmk_3d.npy", np.load(root / "params/0000/lmk_3d.npy")[:66]),
        r"params/0000/lmk_3d.npy: frame 0000: found 66 landmarks, expected 68 as in frame 0001",
    ),
    "vertex count": (
        lambda root: np.save(root / "params/0001/vertices.npy", np.load(root / "params/0001/vertices.npy")[:399]),
        r"params/0001/vertices.npy: frame 0001: found 399 face vertices, expected 400 as in frame 0000",
    ),
    "pose of another moment": (
        pose_of_another_moment,
        r"params/0003/params.npz: pose disagrees with lmk_3d.npy and vertices.npy: .* turned by 45 degrees, .* scaled "
        r"by 1; expected about 0, 0, 1",
    ),
    "head elsewhere": (
        move_the_head_in_the_tracking,
        r"images/0001/mask_a.png: found \d+% of \d+ projected landmarks on the mask, expected nearly all",
    ),
    "same picture in two cameras": (
        copy("images/0001/image_a.jpg", "images/0001/image_d.jpg"),
        r"images/0001/image_d.jpg: found the picture of images/0001/image_a.jpg, expected what another camera sees",
    ),
    "visible map of another size": (
        lambda root: ((root / "visible").mkdir(), save(root / "visible/visible_b.png", np.ones((5, 5), np.uint8))),
        r"visible/visible_b.png: found 5 x 5 pixels, expected 120 x 96",
    ),
    "visible map empty": (
        lambda root: (
            (root / "visible").mkdir(),
            save(root / "visible/visible_b.png", np.zeros((HEIGHT, WIDTH), np.uint8)),
        ),
        r"visible/visible_b.png: found 0 everywhere, which hides every pixel; expected 255",
    ),
    "picture of the empty stage damaged": (
        lambda root: ((root / "background").mkdir(), (root / "background/image_b.jpg").write_bytes(b"not a picture")),
        r"background/image_b.jpg: not a readable picture",
    ),
    "frames of the same number": (
        lambda root: shutil.copytree(root / "images/0001", root / "images/1"),
        r"images: duplicate ids '0001' and '1'; expected every id once",
    ),
    "unfinished": (
        lambda root: change_json(root, complete=False),
        r"capture.json: found an unfinished capture; run the command that makes it again",
    ),
    "capture.json is none": (
        lambda root: (root / "capture.json").write_text("{"),
        r"capture.json: not valid JSON",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_every_kind_of_damage_is_told(broken, name):
    damage, message = BREAKS[name]
    damage(broken)
    found = validate(broken)
    assert not found.usable
    lines = "\n".join(problem.message(broken) for problem in found.problems if problem.fatal)
    assert any(line.startswith(str(broken)) for line in lines.splitlines())
    assert re.search(message, lines), lines


WARNINGS = {
    "duplicate frame": (
        copy("images/0001/image_a.jpg", "images/0002/image_a.jpg"),
        r"images/0002/image_a.jpg: found the picture of images/0001/image_a.jpg, expected another moment",
    ),
    "held out and trained on": (
        copy("images/0001/image_a.jpg", "images/0004/image_a.jpg"),
        r"images/0004/image_a.jpg: found the picture of images/0001/image_a.jpg; one of the two is held out",
    ),
    "blurred picture": (
        lambda root: save(root / "images/0001/image_a.jpg", blurred_noise()),
        r"images/0001/image_a.jpg: found sharpness [\d.]+, expected about [\d.e+]+ as in other frames",
    ),
    "picture of the empty stage of another size": (
        lambda root: (
            (root / "background").mkdir(),
            save(root / "background/image_b.jpg", np.ones((5, 5, 3), np.uint8)),
        ),
        r"background/image_b.jpg: found 5 x 5 pixels, expected 120 x 96; outlines keep the studio",
    ),
    "a head that grows": (
        lambda root: change_npz(params(root, "0001"), scale=np.array([0.107])),
        r"params/0001/params.npz: found scale 0.107, expected 0.1 as in most frames; a head does not grow",
    ),
    "tracked but not filmed": (
        lambda root: shutil.copytree(root / "params/0001", root / "params/0009"),
        r"params/0009: found no folder images/0009",
    ),
    "sequences": (
        lambda root: change_json(root, sequences={"EMO": ["0000", "0077"]}),
        r"capture.json: sequence EMO names frames \['0077'\] without pictures",
    ),
    "version of the face model": (
        lambda root: change_json(root, face_model="procedural", face_model_version="7"),
        r"capture.json: found version '7' of face model procedural, expected '1' as in this library; fit anew",
    ),
    "resolution": (
        lambda root: change_json(root, resolution=[480, 600]),
        r"images/\*/image_a: found 120 x 96 pixels, expected 600 x 480 as capture.json says",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WARNINGS)
def test_what_deserves_a_look_is_a_warning(broken, name):
    damage, message = WARNINGS[name]
    damage(broken)
    found = validate(broken)
    assert found.usable
    assert len(found.problems) == (4 if name == "resolution" else 1)
    assert re.search(message, found.problems[0].message(broken))
    assert f"usable, with {len(found.problems)} warning" in describe_problems(found)


def test_all_problems_of_a_split_are_told(broken):
    split = {"train_frames": ["0000", "77"], "test_frames": ["0000"], "train_cameras": ["z"], "test_cameras": []}
    change_json(broken, split=split)
    texts = [problem.message() for problem in validate(broken).problems]
    assert "capture.json: the split names frames ['77'] that the capture does not have" in texts
    assert "capture.json: the split names cameras ['z'] that the capture does not have" in texts
    assert "capture.json: frames ['0000'] are both trained on and held out; expected one of the two" in texts


def test_split_of_the_original_layout(broken_original):
    path = broken_original / "splits.json"
    path.write_text(json.dumps({"train": ["0000"], "test": ["9"], "train_cameras": ["a"], "held_out_cameras": []}))
    messages = [problem.message() for problem in validate(broken_original).problems]
    assert messages == ["splits.json: the split names frames ['9'] that the capture does not have"]
    path.write_text(json.dumps({"train": "0000"}))
    messages = [problem.message() for problem in validate(broken_original).problems]
    assert messages == ["splits.json: train is '0000', expected a list of names"]


def test_small_copy_of_another_mask(broken_original):
    path = broken_original / "images/0002/mask_lowres_b.jpg"
    save(path, np.roll(np.asarray(Image.open(path)), 90, axis=1))
    found = validate(broken_original)
    (problem,) = found.problems
    message = r"images/0002/mask_lowres_b.jpg: found \d+ grey levels of difference to the full-size mask, expected"
    assert re.match(message, problem.message())
    assert not found.usable


def test_damaged_small_copy_and_visible_map_of_a_view(broken_original):
    (broken_original / "images/0002/image_lowres_b.jpg").write_bytes(b"no")
    save(broken_original / "images/0002/visible_b.png", np.ones((7, 7), np.uint8))
    messages = "\n".join(problem.message() for problem in validate(broken_original).problems)
    assert "images/0002/image_lowres_b.jpg: not a readable picture" in messages
    assert "images/0002/visible_b.png: found 7 x 7 pixels, expected 120 x 96" in messages


def test_expression_widths_that_differ(broken_original):
    change_npz(params(broken_original, "0000"), exp_coeff=np.zeros((1, 5)))
    messages = [problem.message() for problem in validate(broken_original).problems]
    assert messages == [
        "params/0000/params.npz: frame 0000: found 5 expression coefficients, expected 4 as in frame 0001"
    ]


def test_an_expression_that_never_moves(broken):
    for frame in FRAMES:
        change_npz(params(broken, frame), exp_coeff=np.full((1, 4), 0.3))
    found = validate(broken)
    assert [p.message() for p in found.problems] == [
        "params: none of 4 expression coefficients moves in 5 frames; expected some to"
    ]
    assert found.statistics.still == found.capture.expression_names


def test_a_scale_in_another_unit(broken):
    for frame in FRAMES:
        change_npz(params(broken, frame), scale=np.array([1e-4]))
    found = validate(broken)
    assert len(found.groups()) == 1
    assert len(found.problems) == len(FRAMES)
    points = open_capture(broken).landmarks("0000").double()
    size = (points - points.mean(0)).norm(dim=-1).square().mean().sqrt() / 1e-4
    assert found.problems[0].message() == (
        f"params/0000/params.npz: found landmarks {size:.3g} decimetres about their centre after undoing pose and "
        "scale, expected the size of a face, 0.25 to 2.5 (is scale in world units per decimetre?)"
    )


def test_cameras_in_the_same_place_and_of_other_proportions(broken):
    for frame in FRAMES:
        shutil.copy(camera(broken, frame, "a"), camera(broken, frame, "b"))
        for kind, suffix in (("image", "jpg"), ("mask", "png")):
            path = broken / f"images/{frame}/{kind}_d.{suffix}"
            save(path, np.ascontiguousarray(np.asarray(Image.open(path))[:, 12:-12]))
    found = validate(broken)
    kinds = {problem.kind for problem in found.problems}
    assert "cameras in the same place" in kinds
    shapes = [problem for problem in found.problems if problem.kind == "proportions of the pictures"]
    assert shapes[0].message() == (
        "images/*/image_d: found 96 x 96 pixels, expected width / height = 1.25 as for the other cameras"
    )


def test_a_capture_without_calibration_is_still_examined(broken):
    shutil.rmtree(broken / "cameras")
    (broken / "images/0001/mask_a.png").unlink()
    found = validate(broken)
    messages = [problem.message() for problem in found.problems]
    assert messages[0] == "cameras: no camera files found; expected camera_{id}.npz"
    assert "images/0001/mask_a.jpg (or .png): file not found" in messages
    assert len(found.views) == len(FRAMES) * len(AZIMUTHS)


def test_a_capture_without_tracking_is_still_examined(broken):
    shutil.rmtree(broken / "params")
    (broken / "images/0001/mask_a.png").unlink()
    found = validate(broken)
    assert sum(problem.kind == "params missing" for problem in found.problems) == len(FRAMES)
    assert any(problem.kind == "mask missing" for problem in found.problems)
    assert "unknown: no frame has usable tracking" in describe(found)


def test_a_camera_that_the_first_frame_lacks(broken):
    camera(broken, "0000", "d").unlink()
    found = validate(broken)
    assert found.capture.camera_ids == tuple(AZIMUTHS)
    assert [problem.message() for problem in found.problems] == ["cameras/0000/camera_d.npz: file not found"]


def test_what_is_neither_trained_on_nor_held_out_does_not_stop_training(broken):
    frames = {"train_frames": ["0000", "0001"], "test_frames": ["0002"]}
    change_json(broken, split={**frames, "train_cameras": ["a"], "test_cameras": ["b"]})
    (broken / "images/0003/mask_a.png").unlink()
    (broken / "images/0000/mask_d.png").unlink()
    found = validate(broken)
    assert len(found.problems) == 2
    assert found.usable
    check_capture(open_capture(broken))
    (broken / "images/0002/mask_b.png").unlink()
    assert not validate(broken).usable


def test_quick_reads_headers_only(broken):
    truncate(broken)
    save(broken / "images/0001/mask_a.png", np.zeros((50, 60), np.uint8))
    messages = [problem.message() for problem in validate(broken, pictures=False).problems]
    assert messages == ["images/0001/mask_a.png: found 60 x 50 pixels, expected 120 x 96"]


def test_a_thousand_identical_problems_are_one_line(broken):
    for frame in FRAMES:
        for name in AZIMUTHS:
            (broken / f"images/{frame}/mask_{name}.png").unlink()
    truncate(broken)
    found = validate(broken)
    lines = describe_problems(found).splitlines()
    assert lines[0] == "error: mask missing: images/0000/mask_a.jpg (or .png): file not found"
    assert lines[1].startswith("       and 19 more of this kind (images/0000/mask_b.jpg (or .png), images/0000/mask_c")
    assert lines[1].endswith(" ...)")
    assert lines[2].startswith("error: image unusable: images/0001/image_a.jpg: found a damaged picture")
    assert lines[3] == "not usable: 21 errors (image unusable, mask missing)"
    report = json.loads(json.dumps(to_json(found)))
    assert report["summary"][0]["count"] == 20
    assert len({problem["where"] for problem in report["problems"] if problem["kind"] == "mask missing"}) == 20
    assert not report["usable"]


def test_threads_do_not_change_the_result(broken):
    truncate(broken)
    (broken / "images/0002/mask_b.png").unlink()
    one, many = (to_json(validate_capture(broken, workers=workers)) for workers in (1, 4))
    assert one == many


def test_no_capture_there(tmp_path):
    with pytest.raises(InputError, match="folder not found; expected a capture"):
        validate(tmp_path / "nothing")
    with pytest.raises(InputError, match="no folder images/ found; expected a capture"):
        validate(tmp_path)


def test_calibrations_that_differ_by_rounding_have_not_moved(broken):
    random = np.random.default_rng(0)
    for frame in FRAMES:
        for name in AZIMUTHS:
            path = camera(broken, frame, name)
            change_npz(path, extrinsic=np.load(path)["extrinsic"] + 1e-5 * random.standard_normal((3, 4)))
    assert not validate(broken).problems


def test_moving_cameras_are_not_reported_as_moved(broken):
    for index, frame in enumerate(FRAMES):
        for name, azimuth in AZIMUTHS.items():
            moved = camera_at(azimuth + index)
            change_npz(camera(broken, frame, name), extrinsic=moved.w2c[:3].double().numpy())
    assert validate(broken).usable


def test_absurd_numbers_are_told_and_do_not_spread(broken):
    change_npz(params(broken, "0001"), scale=np.array([1e-30]))
    path = camera(broken, "0002", "a")
    change_npz(path, extrinsic=np.load(path)["extrinsic"] + 1e13 * np.eye(3, 4, 3))
    found = validate(broken)
    texts = [problem.message() for problem in found.problems]
    assert "cameras/0002/camera_a.npz: extrinsic: found 1e+13, expected numbers of at most 1e+12" in texts
    assert any(text.startswith("params/0001/params.npz: found scale 1e-30, expected 0.1 as in most") for text in texts)
    describe(found)
    draw_picture(found)
    json.dumps(to_json(found), allow_nan=False)


@pytest.mark.parametrize("seed", range(12))
def test_random_damage_never_stops_it(ball, original_ball, tmp_path, seed):
    """Lost, cut, scribbled and exchanged files: whatever happens, there is a report."""
    root = shutil.copytree((ball, original_ball)[seed % 2], tmp_path / "capture")
    random = np.random.default_rng(seed)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    for path, source, kind in zip(*(random.choice(files, 5, replace=False) for _ in "ab"), range(5), strict=True):
        content = bytearray(path.read_bytes())
        if kind == 0:
            path.unlink()
        elif kind == 1 and source.exists():
            path.write_bytes(source.read_bytes())
        elif kind == 2:
            path.write_bytes(content[: random.integers(len(content))])
        else:
            for place in random.integers(len(content), size=15):
                content[place] = random.integers(256)
            path.write_bytes(content)
    found = validate(root)
    assert found.problems
    assert describe_problems(found).splitlines()[-1].startswith(("usable", "not usable"))
    json.dumps(to_json(found), allow_nan=False)
