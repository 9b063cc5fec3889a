"""From raw videos to frames: both layouts, crops, colours, time, and what happens when something is missing."""

import json
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from gha.capture import layout, open_capture
from gha.capture.info import read_info
from gha.errors import InputError
from gha.preprocessing.colour_correction import TERMS, correct_colours
from gha.preprocessing.crop import CropWindow
from gha.preprocessing.extraction import ExtractionSettings, plan_identity
from gha.preprocessing.extraction_run import extract_identities
from gha.preprocessing.miniature import Miniature, truth_path
from gha.preprocessing.raw_tree import find_identities, read_identity, select_names
from gha.preprocessing.raw_video import read_header, read_pictures, write_video

CROP = Miniature().crop
SMALL_CROP = CropWindow(*CROP, 96)
SMALL = ExtractionSettings(crop=CROP, size=96)
PLAIN = ExtractionSettings(crop=(0, 0, 110, 160), size=160, colour_correction=False)
SHORT, SHORT_CAMERA = "EXP-1-head", "221501007"


def extract(root, output, settings=SMALL, names=("031",), parallel="1"):
    return extract_identities(root, output, names, settings, parallel, progress=False)


@pytest.fixture(scope="module")
def capture(raw_v2, tmp_path_factory):
    """Read only: the recording of version 2, extracted."""
    [extraction] = extract(raw_v2, tmp_path_factory.mktemp("captures"))
    return extraction


def picture(path):
    return np.asarray(Image.open(path)).astype(np.float64)


def image(root, frame, camera):
    return picture(layout.image_stem(root, "image", frame, camera).with_suffix(".jpg"))


def truth(raw, sequence, timestep, camera):
    return picture(truth_path(raw, "031", sequence, f"{timestep:05d}_{camera}.png")) / 255


def video(raw, sequence, camera):
    return raw / "031/sequences" / sequence / f"images/cam_{camera}.mp4"


def test_people_sequences_and_cameras_are_found(raw_v1, raw_v2):
    assert find_identities(raw_v1) == ("031", "036")
    assert find_identities(raw_v2) == ("031",)
    assert list(read_identity(raw_v2, "031").sequences) == ["EMO-1-shout+laugh", SHORT, "EXP-6-tongue-1", "FREE"]
    first = read_identity(raw_v1, "036")
    # Natural order, which is neither that of the file system nor that of bytes.
    assert list(first.sequences) == ["FREE", "SEN-2-vow", "SEN-10-port_strong_smokey"]
    assert first.colours is None
    assert len(first.backgrounds) == 2


def test_version_1_becomes_a_capture_of_every_person(raw_v1, tmp_path):
    extractions = extract(raw_v1, tmp_path, names=("031", "036"))
    assert [e.folder.name for e in extractions] == ["031", "036"]
    for extraction in extractions:
        capture = open_capture(extraction.folder)
        assert len(capture.frame_ids) == 2 + 3 + 2
        assert capture.split.test_frames == ("0000", "0001")  # FREE
        assert capture.info.sequences["SEN-10-port_strong_smokey"] == ("0005", "0006")
        assert capture.resolution(capture.camera_ids[0]) == (96, 96)
    camera = open_capture(extractions[0].folder).camera_ids[0]
    one, other = (image(extraction.folder, "0003", camera) for extraction in extractions)
    assert np.abs(one - other).mean() > 1  # not the same person


def test_excluded_sequences_are_left_out_and_free_is_held_out(capture):
    info, complete = read_info(capture.folder / "capture.json")
    assert complete
    assert list(info.sequences) == ["EMO-1-shout+laugh", SHORT, "FREE"]
    assert info.split.test_frames == info.sequences["FREE"]
    assert not set(info.split.train_frames) & set(info.split.test_frames)
    assert info.fps == pytest.approx(73 / 3)


def test_a_short_video_lacks_its_own_views_and_moves_nothing_else(capture, raw_v2):
    """D15: frame numbers are not counted per camera."""
    assert capture.missing == {"0007": (SHORT_CAMERA,), "0008": (SHORT_CAMERA,)}
    info, _ = read_info(capture.folder / "capture.json")
    assert info.recipe["missing_views"] == {"0007": [SHORT_CAMERA], "0008": [SHORT_CAMERA]}
    assert not {"0007", "0008"} & {*info.split.train_frames, *info.split.test_frames}
    assert not layout.image_stem(capture.folder, "image", "0007", SHORT_CAMERA).with_suffix(".jpg").exists()
    # Every camera, the short one included, shows the same moment of the sequence that follows.
    for camera in open_capture(capture.folder).camera_ids:
        for index, frame in enumerate(info.sequences["FREE"]):
            recorded = next(
                rgb for _, rgb in read_pictures(video(raw_v2, "FREE", camera), [3 * index], Fraction(73), Fraction(0))
            )
            developed = SMALL_CROP.apply(recorded)
            colours = json.loads((raw_v2 / "031/calibration/color_calibration.json").read_text())[camera]
            expected = correct_colours(developed, np.array(colours))
            seen = image(capture.folder, frame, camera)
            inside = SMALL_CROP.visible((160, 110)) > 0
            assert np.abs(seen - expected)[inside].mean() < 2.5


def test_a_picture_that_is_missing_in_the_middle_shifts_nothing(broken_v2, tmp_path):
    """D15: time decides which timestep a picture belongs to, not how many came before it."""
    path = video(broken_v2, "EMO-1-shout+laugh", SHORT_CAMERA)
    pictures = dict(read_pictures(path, range(13), Fraction(73), Fraction(0)))
    kept = [t for t in pictures if t not in (2, 3, 4)]
    write_video(path, [pictures[t] for t in kept], Fraction(73), kept)
    [extraction] = extract(broken_v2, tmp_path / "one", PLAIN)
    assert extraction.missing["0001"] == (SHORT_CAMERA,)
    assert "0002" not in extraction.missing
    for frame, timestep in (("0000", 0), ("0002", 6), ("0004", 12)):
        assert np.abs(image(extraction.folder, frame, SHORT_CAMERA) - pictures[timestep]).mean() < 4


def test_a_damaged_video_loses_the_damaged_pictures_only(broken_v2, tmp_path):
    path = video(broken_v2, "EMO-1-shout+laugh", SHORT_CAMERA)
    whole = extract(broken_v2, tmp_path / "whole", PLAIN)[0].folder
    content = bytearray(path.read_bytes())
    damage = int(0.9 * len(content))
    content[damage : damage + 40] = b"\x55" * 40
    path.write_bytes(content)
    [extraction] = extract(broken_v2, tmp_path / "damaged", PLAIN)
    lost = {frame for frame in extraction.missing if frame < "0005"}
    assert 1 <= len(lost) < 5
    assert all(extraction.missing[frame] == (SHORT_CAMERA,) for frame in lost)
    for frame in {"0000", "0001", "0002", "0003", "0004"} - lost:
        assert (image(extraction.folder, frame, SHORT_CAMERA) == image(whole, frame, SHORT_CAMERA)).all()


def test_an_unreadable_video_is_reported_and_absent(broken_v2, tmp_path, caplog):
    path = video(broken_v2, SHORT, SHORT_CAMERA)
    path.write_bytes(b"\0" * 1000)
    [extraction] = extract(broken_v2, tmp_path, PLAIN)
    assert {frame for frame, cameras in extraction.missing.items()} == {"0005", "0006", "0007", "0008"}
    assert f"{path}: not a readable video" in caplog.text
    assert f"{SHORT}: camera {SHORT_CAMERA} lacks 4 of 4 frames" in caplog.text


def test_pixels_change_as_the_colour_matrix_says(raw_v2, capture, tmp_path):
    """D16: colours of the cameras are calibrated where the recording says how."""
    [plain] = extract(raw_v2, tmp_path, ExtractionSettings(crop=CROP, size=96, colour_correction=False))
    matrices = json.loads((raw_v2 / "031/calibration/color_calibration.json").read_text())
    visible = picture(capture.folder / "visible/visible_220700191.png") > 0
    for camera, matrix in matrices.items():
        before, after = (image(e.folder, "0000", camera) for e in (plain, capture))
        linear = np.where(before <= 0.04045 * 255, before / 255 / 12.92, ((before / 255 + 0.055) / 1.055) ** 2.4)
        light = np.clip(linear @ np.array(matrix).T, 0, 1)
        expected = 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
        assert np.abs(before - after)[visible].mean() > 3
        assert np.abs(expected - after)[visible].mean() < 1.5
    # The cameras agree on the colour of the egg better than before.
    assert colour_spread(capture, raw_v2) < 0.5 * colour_spread(plain, raw_v2)


def colour_spread(extraction, raw):
    """Standard deviation over cameras of the mean colour of the head."""
    means = []
    for camera in open_capture(extraction.folder).camera_ids:
        alpha = cropped_truth(raw, "EMO-1-shout+laugh", 0, camera)
        means.append(image(extraction.folder, "0000", camera)[alpha > 250].mean(0))
    return np.std(means, axis=0).mean()


def cropped_truth(raw, sequence, timestep, camera):
    return SMALL_CROP.apply(np.uint8(np.round(255 * truth(raw, sequence, timestep, camera))))


def test_polynomial_colour_calibration():
    """All expansions of the method; monomials as published for one colour (colour-science, BSD-3)."""
    published = [0.17224810, 0.09170660, 0.06416938, 0.01579629, 0.01105305, 0.00588476, 0.02966941, 0.00841010]
    published += [0.00411771, 0.00101364, 0.00272088, 0.00053967, 0.00070927, 0.00190387, 0.00144862, 0.00037762]
    published += [0.00511050, 0.00077126, 0.00026423, 0.00017460, 0.00009296, 0.00006504]
    red, green, blue = published[:3]
    monomials = [red**r * green**g * blue**b for r, g, b in TERMS[22]]
    assert np.allclose(monomials, published, atol=1e-8)
    flat = np.full((2, 2, 3), (200, 100, 50), np.uint8)
    for count in TERMS:
        matrix = np.zeros((3, count))
        matrix[:, :3] = np.eye(3)[[1, 0, 2]]
        assert (correct_colours(flat, matrix) == (100, 200, 50)).all()
    squares = np.zeros((3, 10))
    squares[0, 6] = squares[1, 9] = 1.0  # red becomes its square, green becomes one
    linear = ((200 / 255 + 0.055) / 1.055) ** 2.4
    expected = 255 * (1.055 * (linear**2) ** (1 / 2.4) - 0.055)
    assert np.abs(correct_colours(flat, squares)[0, 0] - [expected, 255, 0]).max() <= 1


def test_cameras_follow_crop_and_size(raw_v2, capture):
    """A landmark lands where the raw calibration puts it, moved by the crop and scaled."""
    raw = json.loads((raw_v2 / "031/calibration/camera_params.json").read_text())
    points = torch.from_numpy(np.load(truth_path(raw_v2, "031", "FREE", "landmarks.npy"))[3]).double()
    reader = open_capture(capture.folder)
    for camera, w2c in raw["world_2_cam"].items():
        w2c, K = np.array(w2c), np.array(raw["intrinsics"])
        local = points.numpy() @ w2c[:3, :3].T + w2c[:3, 3]
        pixels = (local @ K.T)[:, :2] / local[:, 2:]
        expected = (pixels - CROP[:2]) * 96 / 130
        found, _ = reader.camera(camera, "0010").to(dtype=torch.float64).project(points)
        assert np.abs(found.numpy() - expected).max() < 1e-3


def test_outside_is_black_and_invisible(capture):
    visible = picture(capture.folder / "visible/visible_220700191.png")
    assert set(np.unique(visible)) == {0.0, 255.0}
    # Ten of 130 columns on either side are padding: 7.4 of 96, and a pixel that is partly padding is invisible.
    assert (visible[:, :7] == 0).all()
    assert (visible[:, 9:-9] == 255).all()
    seen = image(capture.folder, "0000", "220700191")
    assert seen[:, :5].max() < 12
    assert not list((capture.folder / "images").glob("*/visible*"))  # once per camera


def test_shrinking_does_not_alias():
    """D13: stripes finer than the result's pixels become grey, not other stripes."""
    stripes = np.zeros((2600, 2600, 3), np.uint8)
    stripes[:, ::2] = 255
    small = CropWindow(0, 0, 2600, 2600, 256).apply(stripes)[20:-20, 20:-20]
    assert np.abs(small.astype(float) - 127.5).max() < 4
    assert CropWindow(0, 0, 2200, 3208, 802).size == (802, 550)


def test_backgrounds_go_through_the_same_crop_and_colours(capture, raw_v2):
    for camera in open_capture(capture.folder).camera_ids:
        plate = picture(capture.folder / f"background/image_{camera}.jpg")
        assert plate.shape == (96, 96, 3)
        seen = image(capture.folder, "0000", camera)
        behind = (cropped_truth(raw_v2, "EMO-1-shout+laugh", 0, camera) == 0) & (
            picture(capture.folder / f"visible/visible_{camera}.png") > 0
        )
        assert np.median(np.abs(seen - plate)[behind]) < 8


def test_an_extraction_continues_where_it_stopped(raw_v2, capture, tmp_path):
    [first] = extract(raw_v2, tmp_path)
    assert first.written == 50
    files = sorted(first.folder.glob("images/*/*.jpg"))
    for path in files[::7]:
        path.unlink()
    kept = {path: path.stat().st_mtime_ns for path in files if path.exists()}
    (first.folder / "images/0000").joinpath(".image_220700191.jpg.1.2.tmp").write_bytes(b"half")
    [second] = extract(raw_v2, tmp_path)
    assert second.written == len(files) - len(kept)
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    for path in files:
        assert path.read_bytes() == (capture.folder / path.relative_to(first.folder)).read_bytes()
    [third] = extract(raw_v2, tmp_path)
    assert third.written == 0


def test_an_interrupted_extraction_is_no_capture_yet(raw_v2, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("gha.preprocessing.extraction_run._extract_video", stop)
    with pytest.raises(KeyboardInterrupt):
        extract(raw_v2, tmp_path)
    (tmp_path / "031/images/0000").mkdir(parents=True)
    with pytest.raises(InputError, match="unfinished capture"):
        open_capture(tmp_path / "031")


def test_later_steps_are_not_overwritten(raw_v2, tmp_path):
    [first] = extract(raw_v2, tmp_path)
    path = first.folder / "capture.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "expression_names": ["jawOpen"], "face_model": "egg"}))
    extract(raw_v2, tmp_path)
    info, complete = read_info(path)
    assert (info.expression_names, info.face_model, complete) == (("jawOpen",), "egg", True)


def test_another_extraction_is_not_mixed_in(raw_v2, tmp_path):
    extract(raw_v2, tmp_path)
    with pytest.raises(InputError, match=r"holds another extraction: found frame_step = 3, expected 2"):
        extract(raw_v2, tmp_path, ExtractionSettings(crop=CROP, size=96, frame_step=2))
    with pytest.raises(InputError, match=r"found size = \[96, 96\], expected \[64, 64\]"):
        extract(raw_v2, tmp_path, ExtractionSettings(crop=CROP, size=64))


def test_several_processes_give_the_same_bytes(raw_v2, capture, tmp_path):
    [again] = extract(raw_v2, tmp_path, parallel="2")
    files = sorted(path.relative_to(capture.folder) for path in capture.folder.glob("**/*") if path.is_file())
    assert files == sorted(path.relative_to(again.folder) for path in again.folder.glob("**/*") if path.is_file())
    assert all((capture.folder / path).read_bytes() == (again.folder / path).read_bytes() for path in files)


def test_names_are_chosen_by_part_or_pattern():
    names = ("EMO-1-shout+laugh", "EXP-1-head", "EXP-6-tongue-1", "FREE")
    assert select_names(names, ("exp",), ("Tongue",), "x") == ("EXP-1-head",)
    assert select_names(names, ("E*-1-*", "FREE"), (), "x") == ("EMO-1-shout+laugh", "EXP-1-head", "FREE")
    with pytest.raises(InputError, match=r"x: 'SEN' matches none of EMO-1-shout\+laugh, "):
        select_names(names, ("SEN",), (), "x")
    with pytest.raises(InputError, match="nothing is left"):
        select_names(names, ("FREE",), ("F*",), "x")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cameras": ("1", "220700191")}, "identity 031 has no 1; found 220700191, 221501007"),
        ({"held_out_cameras": ("7",)}, "held-out cameras: identity 031 has no 7"),
        (
            {"cameras": ("220700191",), "held_out_cameras": ("221501007",)},
            "held-out cameras: identity 031 has no 221501007; found 220700191",
        ),
        (
            {"cameras": ("220700191",), "held_out_cameras": ("220700191",)},
            "held-out cameras: all of 220700191 are held out; expected some to train on",
        ),
        ({"include": ("FREE",)}, r"all sequences of 031 \(FREE\) are held out"),
        ({"include": ("SEN",)}, "'SEN' matches none of EMO-1"),
        ({"crop": (-200, 304, 2600, 2600)}, r"pictures are 110 x 160, and the crop .* shows 0 % picture"),
        ({"crop": (0, 0, 0, 5)}, "expected a window"),
    ],
)
def test_settings_that_do_not_fit_are_refused(raw_v2, settings, message):
    with pytest.raises(InputError, match=message):
        plan_identity(raw_v2, "031", ExtractionSettings(**{"crop": CROP, "size": 96, **settings}))


def test_a_held_out_sequence_that_is_not_there_is_told(raw_v2, caplog):
    with caplog.at_level("WARNING", logger="gha"):
        plan = plan_identity(raw_v2, "031", ExtractionSettings(crop=CROP, size=96, held_out=("FREEE",)))
    assert plan.held_out == ()
    assert "031: no sequence matches FREEE: none is held out" in caplog.text


def test_nothing_is_written_where_parallel_makes_no_sense(raw_v2, tmp_path):
    with pytest.raises(InputError, match="parallel: found 'many'"):
        extract_identities(raw_v2, tmp_path / "out", ["031"], ExtractionSettings(crop=CROP, size=96), "many")
    assert not (tmp_path / "out").exists()


def test_settings_out_of_range_are_refused():
    with pytest.raises(InputError, match="frame_step: found 0, expected at least 1"):
        ExtractionSettings(frame_step=0)


def damage_json(path, change):
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def no_focal(values):
    values["intrinsics"][0][0] = 0.0


def mirror(values):
    values["world_2_cam"]["220700191"][0] = [-x for x in values["world_2_cam"]["220700191"][0]]


def not_a_number(values):
    values["world_2_cam"]["220700191"][0][3] = float("nan")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (no_focal, r"camera_params.json: intrinsics is \[\[0.0, "),
        (mirror, r"camera_params.json: camera 220700191: found .* expected a rotation"),
        (not_a_number, r"camera_params.json: camera 220700191: found 1 NaN"),
        (lambda values: values.pop("intrinsics"), r"found keys \['world_2_cam'\], expected 'intrinsics'"),
        (lambda values: values["world_2_cam"].pop("220700191"), "no camera 220700191, which has videos"),
        (lambda values: values["world_2_cam"].update({"220700191": [1, "a"]}), "expected a matrix of numbers"),
    ],
)
def test_a_bad_calibration_is_refused_by_name(broken_v2, change, message):
    damage_json(broken_v2 / "031/calibration/camera_params.json", change)
    with pytest.raises(InputError, match=message):
        plan_identity(broken_v2, "031", SMALL)


def test_bad_colours_are_refused_by_name(broken_v2):
    path = broken_v2 / "031/calibration/color_calibration.json"
    damage_json(path, lambda values: values.update({"220700191": [[1, 2], [3, 4], [5, 6]]}))
    with pytest.raises(InputError, match=r"color_calibration.json: camera 220700191: found shape \[3, 2\], expected"):
        plan_identity(broken_v2, "031", SMALL)
    damage_json(path, lambda values: values.pop("220700191"))
    with pytest.raises(InputError, match="no matrix for camera 220700191"):
        plan_identity(broken_v2, "031", SMALL)
    plan_identity(broken_v2, "031", PLAIN)


def test_a_download_without_recordings_is_refused(tmp_path):
    with pytest.raises(InputError, match="found no recordings; expected sequence_"):
        find_identities(tmp_path)
    with pytest.raises(InputError, match="folder not found"):
        find_identities(tmp_path / "nowhere")


def test_missing_files_are_named(broken_v2):
    with pytest.raises(InputError, match="no identity '077'; found 031"):
        read_identity(broken_v2, "077")
    (broken_v2 / "031/calibration/camera_params.json").unlink()
    with pytest.raises(InputError, match=r"camera_params.json: file not found; expected the calibration of identity"):
        read_identity(broken_v2, "031")


def test_videos_of_another_size_are_refused(broken_v2):
    path = video(broken_v2, "FREE", SHORT_CAMERA)
    write_video(path, [np.zeros((100, 110, 3), np.uint8)] * 4, Fraction(73))
    with pytest.raises(InputError, match=f"{SHORT_CAMERA}.mp4: found 110 x 100 pixels, expected 110 x 160 as in"):
        plan_identity(broken_v2, "031", SMALL)


def test_a_text_is_no_video(tmp_path):
    path = tmp_path / "cam_1.mp4"
    path.write_text("hello")
    with pytest.raises(InputError, match=r"cam_1.mp4: not a readable video"):
        read_header(path)
    with pytest.raises(InputError, match="file not found"):
        read_header(tmp_path / "cam_2.mp4")
