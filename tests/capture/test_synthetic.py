"""Synthetic captures: the same bytes always, resumable, and pictures that agree with the codes beside them."""

import hashlib
import json
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from film_scenes import EggHead
from PIL import Image
from scipy.spatial import Delaunay

from gha.apps import make_capture as command
from gha.capture import check_capture, open_capture
from gha.capture.film_textures import srgb_to_linear
from gha.capture.synthetic import SCALE, CaptureRecipe, _jobs, make_capture, set_stage
from gha.errors import InputError

RECIPE = CaptureRecipe(frames=5, cameras=4, resolution=96, seed=3, held_out_cameras=1)


def digest(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def head():
    return EggHead()


@pytest.fixture(scope="module")
def filmed(head, tmp_path_factory):
    """Read only: a small capture."""
    return make_capture(head, tmp_path_factory.mktemp("synthetic"), RECIPE, workers=2, progress=False)


def red_spot(image):
    """Centre of the saturated red pixels (x, y), or None."""
    red = srgb_to_linear(image / 255.0)
    weight = np.clip(red[..., 0] - red[..., 1] * 2 - 0.05, 0, None)
    if weight.sum() < 0.5:
        return None
    rows, columns = np.indices(weight.shape)
    return np.array([(weight * (columns + 0.5)).sum(), (weight * (rows + 0.5)).sum()]) / weight.sum()


def test_the_reader_accepts_it(filmed, head):
    capture = open_capture(filmed)
    assert len(capture.frame_ids) == 5
    assert len(capture.camera_ids) == 4
    assert capture.expression_names == head.expression_names
    assert capture.split.test_frames == ("0004",)
    assert len(capture.split.test_cameras) == 1
    info = json.loads((filmed / "capture.json").read_text())
    assert info["complete"]
    assert info["face_model"] == "egg"
    assert info["recipe"]["seed"] == 3
    assert {frame for frames in info["sequences"].values() for frame in frames} == set(capture.frame_ids)
    check_capture(capture)
    assert len(list((filmed / "visible").iterdir())) == len(list((filmed / "background").iterdir())) == 4


def test_one_worker_makes_the_same_bytes(filmed, head, tmp_path):
    make_capture(head, tmp_path, RECIPE, workers=1, progress=False)
    assert digest(tmp_path) == digest(filmed)


def test_an_interrupted_run_continues(filmed, head, tmp_path):
    make_capture(head, tmp_path, RECIPE, workers=2, progress=False)
    kept = tmp_path / "images" / "0001" / "image_222200037.jpg"
    kept = kept if kept.exists() else sorted((tmp_path / "images" / "0001").glob("image_*.jpg"))[0]
    lost = sorted((tmp_path / "images" / "0003").glob("image_*.jpg"))[0]
    lost.unlink()
    (tmp_path / "capture.json").write_text((tmp_path / "capture.json").read_text().replace("true", "false", 1))
    stamp = kept.stat().st_mtime_ns
    make_capture(head, tmp_path, RECIPE, workers=2, progress=False)
    assert kept.stat().st_mtime_ns == stamp
    assert digest(tmp_path) == digest(filmed)


def test_another_recipe_does_not_mix_in(filmed, head):
    with pytest.raises(InputError, match="holds another capture"):
        make_capture(head, filmed, CaptureRecipe(frames=5, cameras=4, resolution=96, seed=4), progress=False)


def test_codes_place_the_face(filmed, head):
    capture = open_capture(filmed)
    for frame in capture.frame_ids:
        code = capture.codes([frame])[0]
        canonical = head.vertices(torch.zeros(2), code.expression)[head.face_region]
        assert torch.allclose(code.to_world(canonical), capture.vertices(frame), atol=1e-6)
        assert capture.facial_landmarks(frame).shape == (68, 3)
    assert not torch.equal(capture.codes().pose[1], capture.codes().pose[2])
    assert (capture.codes().pose[0] == 0).all()


def test_the_head_turns_about_its_neck_and_the_body_stays(head):
    stage = set_stage(head, RECIPE)
    moved, canonical = stage.vertices(stage.code(2)), head.vertices(torch.zeros(2), stage.code(2).expression)
    body = head.head_weights == 0
    assert body.any()
    assert torch.allclose(moved[body], SCALE * canonical[body])
    assert (moved - SCALE * canonical).norm(dim=1).max() > 0.005
    pivot = stage.code(2).to_world(head.neck_pivot[None]) - SCALE * torch.from_numpy(stage.performance.shift[2])
    assert torch.allclose(pivot, SCALE * head.neck_pivot[None], atol=1e-6)


def test_pictures_show_what_the_codes_say(filmed, head):
    """A red spot on the nose is seen where code and camera put it."""
    capture = open_capture(filmed)
    seen = 0
    for frame in capture.frame_ids:
        code = capture.codes([frame])[0]
        nose = code.to_world(head.vertices(torch.zeros(2), code.expression))[head.nose]
        for camera_id in capture.camera_ids:
            image = np.asarray(Image.open(filmed / "images" / frame / f"image_{camera_id}.jpg")).astype(float)
            spot = red_spot(image)
            expected = capture.camera(camera_id).project(nose[None])[0][0].numpy()
            if spot is not None:
                seen += 1
                assert np.linalg.norm(spot - expected) < 1.5
    assert seen >= 12


def test_masks_are_the_coverage_of_the_posed_head(filmed, head):
    stage = set_stage(head, RECIPE)
    capture = open_capture(filmed)
    vertices = stage.vertices(stage.code(3))
    for camera_id in capture.camera_ids:
        mask = np.asarray(Image.open(filmed / "images" / "0003" / f"mask_{camera_id}.png"))
        pixels = capture.camera(camera_id).project(vertices)[0].numpy()
        # The silhouette of a convex body is the convex hull of its points.
        columns, rows = np.meshgrid(np.arange(96) + 0.5, np.arange(96) + 0.5)
        inside = Delaunay(pixels).find_simplex(np.stack([columns.ravel(), rows.ravel()], -1)).reshape(96, 96) >= 0
        assert mask.shape == (96, 96)
        assert abs(mask.sum() / 255 - inside.sum()) < 0.02 * inside.sum()
        assert ((mask > 127) != inside).mean() < 0.01


def test_landmarks_project_inside_the_mask(filmed):
    capture = open_capture(filmed)
    for frame in capture.frame_ids:
        for camera_id in capture.camera_ids:
            mask = np.asarray(Image.open(filmed / "images" / frame / f"mask_{camera_id}.png"))
            pixels = capture.camera(camera_id).project(capture.landmarks(frame))[0].floor().long()
            assert (mask[pixels[:, 1].numpy(), pixels[:, 0].numpy()] > 0).mean() > 0.97


def test_exposure_differs_between_cameras_and_masks_do_not(filmed, head, tmp_path):
    recipe = CaptureRecipe(frames=5, cameras=4, resolution=96, seed=3, held_out_cameras=1, exposure_variation=0.15)
    make_capture(head, tmp_path, recipe, progress=False)
    rig = set_stage(head, recipe).rig
    for camera_id, gain in zip(rig.camera_ids, rig.gains, strict=True):
        name = f"images/0002/image_{camera_id}.jpg"
        plain, changed = (srgb_to_linear(np.asarray(Image.open(root / name)) / 255.0) for root in (filmed, tmp_path))
        ratio = changed.mean((0, 1)) / plain.mean((0, 1))
        assert np.allclose(ratio, gain, rtol=0.05)
        mask = f"images/0002/mask_{camera_id}.png"
        assert (filmed / mask).read_bytes() == (tmp_path / mask).read_bytes()


def test_layout_of_the_original(head, tmp_path):
    recipe = CaptureRecipe(frames=3, cameras=2, resolution=64, held_out_cameras=0, original=True, backdrop="black")
    make_capture(head, tmp_path, recipe, progress=False)
    capture = open_capture(tmp_path)
    assert not (tmp_path / "capture.json").exists()
    assert capture.facial_landmarks("0001").shape == (66, 3)
    camera_id = capture.camera_ids[0]
    with Image.open(tmp_path / "images" / "0001" / f"mask_{camera_id}.jpg") as mask:
        assert mask.mode == "RGB"
    assert (tmp_path / "images" / "0001" / f"visible_{camera_id}.jpg").exists()
    assert (tmp_path / "images" / "0001" / f"image_lowres_{camera_id}.jpg").exists()
    detected = np.load(tmp_path / "landmarks" / "0001" / f"lmk_{camera_id}.npy")
    assert detected.shape == (68, 3)
    kept = [i for i in range(68) if i not in (48, 54)]
    projected = capture.camera(camera_id).project(capture.facial_landmarks("0001"))[0].numpy()
    assert np.abs(detected[kept, :2] - projected).max() < 1e-2
    background = np.asarray(Image.open(tmp_path / "background" / f"image_{camera_id}.jpg"))
    assert background.max() == 0


def test_identity_zero_is_the_models_own_person(head):
    assert (set_stage(head, RECIPE).identity == 0).all()
    one, other = (set_stage(head, CaptureRecipe(frames=3, identity=i)).identity for i in (1, 2))
    assert not torch.equal(one, other)
    assert torch.equal(one, set_stage(head, CaptureRecipe(frames=9, identity=1, seed=5)).identity)


def test_recipes_are_checked():
    with pytest.raises(InputError, match="backdrop: found 'green'"):
        CaptureRecipe(backdrop="green")
    for name, value in (
        ("resolution", 8), ("held_out", 1.0), ("frames", 2), ("frames", 10**12), ("cameras", 17), ("seed", -1),
        ("held_out_cameras", 16), ("exposure_variation", float("nan")), ("supersample", -1), ("lens_blur", 11.0),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f"{name}: found {value}, expected"):
            CaptureRecipe(**{name: value})


def test_an_output_without_a_name_is_refused(capsys):
    with pytest.raises(SystemExit):
        command.main(["--output", ""])
    assert "--output: found nothing, expected a folder" in capsys.readouterr().err


def test_command_line_defaults_are_the_recipe():
    arguments = command.build_parser().parse_args(["--output", "x"])
    defaults = CaptureRecipe()
    for name in ("identity", "frames", "cameras", "resolution", "seed", "motion", "held_out", "held_out_cameras"):
        assert getattr(arguments, name) == getattr(defaults, name)
    assert "captures/small" in command.build_parser().format_help()


def test_the_command_films_and_says_so(head, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("gha.faces.registry.load_face_model", lambda name, **options: head)
    arguments = ["--output", str(tmp_path / "out"), "--frames", "3", "--cameras", "2", "--resolution", "48"]
    assert command.main([*arguments, "--held-out-cameras", "1", "--workers", "1", "--quiet"]) == 0
    assert "3 frames x 2 cameras" in capsys.readouterr().out
    assert open_capture(tmp_path / "out").split.test_frames == ("0002",)


def test_an_error_while_filming_ends_every_thread(head, tmp_path):
    """A thread inside compiled code when Python ends would abort the process instead of reporting the error."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "0001").touch()
    with pytest.raises(OSError, match="0001"):
        make_capture(head, tmp_path, replace(RECIPE, frames=6), workers=3, progress=False)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("filming")]


@pytest.mark.parametrize(("count", "workers"), [(1, 8), (5, 2), (3, 1)])
def test_jobs_hold_every_view_once_and_share_the_last_frames(count, workers):
    cameras = [f"{i:02d}" for i in range(6)]
    jobs = _jobs([(i, f"{i:04d}", cameras) for i in range(count)], workers)
    views = [(index, camera) for index, _, some in jobs for camera in some]
    assert views == [(index, camera) for index in range(count) for camera in cameras]
    assert len(jobs[-1][2]) == (6 if workers == 1 else 2)
