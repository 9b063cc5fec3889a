"""Masks: the built-in method against true ones, adapters of models, and a whole capture."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from gha.apps.cli import main
from gha.capture import layout
from gha.errors import InputError
from gha.faces.registry import load_face_model
from gha.preprocessing.clean_plate import matte_from_plate
from gha.preprocessing.crop import CropWindow
from gha.preprocessing.extraction import ExtractionSettings
from gha.preprocessing.extraction_run import extract_identities
from gha.preprocessing.guided_filter import guided_filter
from gha.preprocessing.matting import mask_capture
from gha.preprocessing.matting_measures import matte_errors
from gha.preprocessing.matting_models import NetworkMethod, PlateMethod, SelfieMethod, keep_largest
from gha.preprocessing.miniature import Miniature, truth_path, write_miniature

RECIPE = Miniature(person=3, sequences={"EMO": 1, "EXP": 4, "FREE": 1}, cameras=2, width=220, height=320, seed=3)
WINDOW = CropWindow(*RECIPE.crop, 256)


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """Read only: the built-in head with hair in front of a wall: raw files and a capture without masks."""
    root = tmp_path_factory.mktemp("filmed")
    write_miniature(root / "raw", load_face_model("procedural", texture_size=512), RECIPE)
    settings = ExtractionSettings(crop=RECIPE.crop, size=256)
    extract_identities(root / "raw", root / "captures", ["031"], settings, progress=False)
    return root


@pytest.fixture
def capture(filmed, tmp_path):
    """A capture without masks that a test may change."""
    return shutil.copytree(filmed / "captures/031", tmp_path / "capture")


def picture(path):
    return np.asarray(Image.open(path))


def view(folder, frame, camera):
    rgb = picture(layout.image_stem(folder, "image", frame, camera).with_suffix(".jpg"))
    return rgb, picture(folder / f"background/image_{camera}.jpg"), picture(folder / f"visible/visible_{camera}.png")


def truth_of(filmed, sequence, timestep, camera):
    return WINDOW.apply(picture(truth_path(filmed / "raw", "031", sequence, f"{timestep:05d}_{camera}.png"))) / 255


def cameras(folder):
    return sorted(path.stem.removeprefix("visible_") for path in (folder / "visible").iterdir())


def test_the_built_in_method_finds_the_true_matte(filmed):
    folder = filmed / "captures/031"
    scores = []
    for frame, sequence, timestep in (("0000", "EMO", 0), ("0002", "EXP", 3), ("0003", "FREE", 0)):
        for camera in cameras(folder):
            rgb, plate, visible = view(folder, frame, camera)
            alpha = matte_from_plate(rgb, plate, visible) / 255
            valid = visible > 0
            errors = matte_errors(alpha, np.where(valid, truth_of(filmed, sequence, timestep, camera), 0), valid)
            assert errors.absolute < 0.008, (frame, camera)
            assert errors.edge_absolute < 0.07, (frame, camera)
            assert errors.boundary_f > 0.94, (frame, camera)
            assert (alpha[~valid] == 0).all()
            scores.append(errors.boundary_f)
    assert np.mean(scores) > 0.98


def scene(shade=1.0, noise=2.0, colour=(150, 110, 90), seed=0):
    """A disc in front of a wall with a soft shadow beside it: picture, plate, true alpha."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:160, :160]
    wall = 110 + 30 * np.sin(rows / 9)[..., None] + 25 * np.cos(columns / 7)[..., None] * [1.0, 0.8, 0.6]
    alpha = np.clip(40.5 - np.hypot(rows - 90, columns - 70), 0, 1)
    shadow = 1 - (1 - shade) * np.exp(-((np.hypot(rows - 80, columns - 115) / 28) ** 4))
    behind = wall * shadow[..., None]
    rgb = alpha[..., None] * np.array(colour) + (1 - alpha[..., None]) * behind
    noisy = [np.uint8(np.clip(x + noise * generator.normal(size=x.shape), 0, 255)) for x in (rgb, wall)]
    return *noisy, alpha


@pytest.mark.parametrize("noise", [0.0, 2.0, 6.0])
@pytest.mark.parametrize("shade", [1.0, 0.8])
def test_shadows_and_noise_are_no_subject(noise, shade):
    rgb, plate, truth = scene(shade, noise)
    errors = matte_errors(matte_from_plate(rgb, plate) / 255, truth)
    assert errors.absolute < 0.01
    assert errors.boundary_f > 0.97


def test_holes_of_the_colour_of_the_wall_are_filled():
    rgb, plate, truth = scene()
    rgb = rgb.copy()
    rgb[85:95, 60:70] = plate[85:95, 60:70]
    assert matte_from_plate(rgb, plate)[85:95, 60:70].min() > 200
    assert truth[85:95, 60:70].min() == 1


def test_only_the_largest_thing_is_the_subject():
    rgb, plate, _ = scene()
    rgb = rgb.copy()
    rgb[10:20, 140:150] = 250
    assert matte_from_plate(rgb, plate)[8:22, 138:152].max() == 0


def test_a_picture_of_the_empty_stage_has_no_subject():
    _, plate, _ = scene()
    with pytest.raises(InputError, match="found nothing in the picture that is not on the plate"):
        matte_from_plate(plate, plate)
    with pytest.raises(InputError, match=r"found a plate of \[80, 160, 3\] for a picture of \[160, 160, 3\]"):
        matte_from_plate(plate, plate[:80])


def test_the_guided_filter_keeps_edges_of_the_guide_and_linear_functions():
    generator = np.random.default_rng(0)
    guide = generator.random((40, 40, 3))
    linear = guide @ [0.3, -0.2, 0.5] + 0.1
    assert np.abs(guided_filter(linear, guide, 4, 1e-8) - linear).max() < 1e-3
    step = np.zeros((40, 40, 3))
    step[:, 20:] = 1.0
    noisy = step[..., 0] + 0.2 * generator.normal(size=(40, 40))
    smooth = guided_filter(noisy, step, 6, 1e-3)
    assert np.abs(smooth - step[..., 0]).max() < 0.12
    # Values without weight do not count.
    weights = np.ones((40, 40))
    weights[10:14, 10:14] = 0
    holed = np.where(weights > 0, 0.5, 9.0)
    assert np.abs(guided_filter(holed, guide, 6, 1e-3, weights) - 0.5).max() < 1e-6


def test_errors_of_a_matte():
    truth = np.zeros((64, 64))
    truth[16:48, 16:48] = 1
    perfect = matte_errors(truth, truth)
    assert (perfect.absolute, perfect.edge_absolute, perfect.boundary_f) == (0, 0, 1)
    moved = matte_errors(np.roll(truth, 4, axis=1), truth)
    assert moved.absolute == pytest.approx(2 * 4 * 32 / 64**2)
    assert moved.boundary_f < 0.75
    assert matte_errors(np.zeros((64, 64)), truth).boundary_f == 0
    half = np.arange(64)[None, :] < 32
    assert matte_errors(np.where(half, truth, 1), truth, np.broadcast_to(half, (64, 64))).absolute == 0


def test_a_capture_is_masked_once_and_continues(filmed, capture):
    first = mask_capture(capture, PlateMethod(), progress=False)
    views = len(list(capture.glob("images/*/image_2*.jpg")))
    assert (first.written, first.failed) == (views, {})
    masks = sorted(capture.glob("images/*/mask_2*.png"))
    assert len(masks) == views
    again = matte_from_plate(*view(capture, "0000", cameras(capture)[0]))
    assert (picture(masks[0]) == again).all()
    masks[0].unlink()
    masks[1].write_bytes(b"")
    times = {path: path.stat().st_mtime_ns for path in masks[2:]}
    assert mask_capture(capture, PlateMethod(), "2", progress=False).written == 2
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert (picture(masks[0]) == again).all()
    assert mask_capture(capture, PlateMethod(), overwrite=True, progress=False).written == views


def test_missing_plates_are_refused_and_never_black(capture):
    camera = cameras(capture)[0]
    (capture / f"background/image_{camera}.jpg").unlink()
    with pytest.raises(InputError, match=rf"background/image_{camera}.jpg: file not found; cameras {camera} have no"):
        mask_capture(capture, PlateMethod(), progress=False)
    masking = mask_capture(capture, PlateMethod(), allow_missing_plates=True, progress=False)
    assert masking.written == 4
    assert not list(capture.glob(f"images/*/mask_{camera}.png"))
    (capture / f"background/image_{cameras(capture)[1]}.jpg").unlink()
    with pytest.raises(InputError, match="have no picture of the empty stage"):
        mask_capture(capture, PlateMethod(), overwrite=True, allow_missing_plates=True, progress=False)


def test_a_view_without_subject_is_named_and_the_others_are_masked(capture, caplog):
    camera = cameras(capture)[0]
    stem = layout.image_stem(capture, "image", "0001", camera)
    Image.fromarray(view(capture, "0001", camera)[1]).save(stem.with_suffix(".jpg"), quality=95)
    masking = mask_capture(capture, PlateMethod(), progress=False)
    assert list(masking.failed) == [f"images/0001/image_{camera}.jpg"]
    assert masking.written == 7
    assert f"images/0001/image_{camera}.jpg: no mask: found nothing" in caplog.text
    assert main(["remove-background", str(capture), "--quiet", "--parallel", "1"]) == 1


class Brightness(torch.nn.Module):
    """A network that calls what is bright the subject."""

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        return (picture.mean(1, keepdim=True) > 0.5).float()


class Difference(torch.nn.Module):
    """A network with the inputs, outputs and settings of BackgroundMattingV2."""

    def __init__(self):
        super().__init__()
        self.refine_sample_pixels = 1
        self.backbone_scale = 1.0

    def forward(self, src: torch.Tensor, bgr: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        assert src.shape[2] % 32 == 0 and self.refine_sample_pixels == 80000  # noqa: PT018
        return ((src - bgr).abs().sum(1, keepdim=True) > 0.2).float(), src


def saved(module, path):
    torch.jit.script(module).save(str(path))
    return path


def test_torchscript_models_with_and_without_plate(tmp_path):
    rgb, plate, truth = scene(colour=(250, 250, 250), noise=0.0)
    rgb, plate = rgb[:150, :140], plate[:150, :140]  # no multiple of anything
    alone = NetworkMethod("torchscript", saved(Brightness(), tmp_path / "bright.pt"))(rgb, None, None)
    assert (alone == 255 * (rgb.mean(-1) > 127.5)).all()
    both = NetworkMethod("torchscript", saved(Difference(), tmp_path / "bgm.pt"), needs_plate=True)
    visible = np.full(rgb.shape[:2], 255, np.uint8)
    visible[:, :60] = 0
    alpha = both(rgb, plate, visible)
    assert matte_errors(alpha[:, 60:] / 255, truth[:150, 60:140]).absolute < 0.02
    assert (alpha[:, :60] == 0).all()


def test_files_that_are_no_models_are_refused_by_name(tmp_path):
    rgb, _, _ = scene()
    bad = tmp_path / "weights.pth"
    torch.save({"a": torch.zeros(3)}, bad)
    with pytest.raises(InputError, match=r"weights.pth: not a TorchScript model"):
        NetworkMethod("torchscript", bad)(rgb, None, None)
    with pytest.raises(InputError, match=r"nowhere.onnx: file not found; expected a onnx model"):
        NetworkMethod("onnx", tmp_path / "nowhere.onnx")(rgb, None, None)
    with pytest.raises(InputError, match=r"nowhere.tflite: file not found"):
        SelfieMethod(tmp_path / "nowhere.tflite")(rgb, None, None)


def test_a_model_that_cannot_be_used_is_told_once_and_touches_nothing(capture, tmp_path, capsys):
    mask_capture(capture, PlateMethod(), progress=False)
    before = {path: path.read_bytes() for path in (capture / "masks.json", *capture.glob("images/*/mask*"))}
    (tmp_path / "weights.pth").write_bytes(b"no model")
    model = ["--model", str(tmp_path / "weights.pth"), "--parallel", "1", "--quiet"]
    assert main(["remove-background", str(capture), "--method", "torchscript", "--overwrite", *model]) == 1
    assert capsys.readouterr().err.count("weights.pth: not a TorchScript model") == 1
    assert {path: path.read_bytes() for path in before} == before


def test_a_model_that_wants_other_inputs_is_told(tmp_path):
    method = NetworkMethod("torchscript", saved(Difference(), tmp_path / "bgm.pt"))  # without a plate
    with pytest.raises(InputError, match=r"bgm.pt: the model failed on 1 pictures \(.*missing value for argument"):
        method(scene()[0], None, None)


def test_overwriting_that_is_interrupted_leaves_no_masks_of_before(capture, tmp_path):
    mask_capture(capture, PlateMethod(), progress=False)
    method = NetworkMethod("torchscript", saved(Wrong(), tmp_path / "wrong.pt"))  # fails on every picture
    assert len(mask_capture(capture, method, overwrite=True, progress=False).failed) == 8
    assert not list(capture.glob("images/*/mask*"))


def test_a_model_is_given_back_whatever_happens(capture, monkeypatch):
    """MediaPipe prints a traceback when the interpreter exits with a model open."""
    released = []
    monkeypatch.setattr(PlateMethod, "release", lambda self: released.append(1))
    mask_capture(capture, PlateMethod(), progress=False)
    (capture / "masks.json").write_text('{"method": "another"}')
    with pytest.raises(InputError, match="masks were made by 'another'"):
        mask_capture(capture, PlateMethod(), progress=False)
    assert len(released) == 2


def test_a_faint_second_thing_is_dropped():
    alpha = np.zeros((20, 30))
    alpha[5:18, 3:12], alpha[4, 3:12], alpha[2:5, 20:25] = 1, 0.02, 0.4
    found = keep_largest(alpha)
    assert (found[2:5, 20:25] == 0).all()
    assert (found[:, :15] == alpha[:, :15]).all()


class Wrong(torch.nn.Module):
    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        return picture


def test_a_model_that_returns_no_alpha_is_refused(tmp_path):
    rgb, _, _ = scene()
    method = NetworkMethod("torchscript", saved(Wrong(), tmp_path / "wrong.pt"))
    with pytest.raises(InputError, match=r"found an output of shape \[1, 3, 160, 160\], expected alpha"):
        method(rgb, None, None)


@pytest.mark.parametrize("fixed", [False, True])
def test_onnx_models(fixed, tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    side = 64 if fixed else None
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info(name, kind, [1, 3, side, side]) for name in ("src", "bgr")]
    output = helper.make_tensor_value_info("pha", kind, [1, 1, side, side])
    nodes = [
        helper.make_node("Sub", ["src", "bgr"], ["difference"]),
        helper.make_node("Abs", ["difference"], ["size"]),
        helper.make_node("ReduceMax", ["size"], ["most"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["most", "five"], ["scaled"]),
        helper.make_node("Min", ["scaled", "one"], ["pha"]),
    ]
    constants = [helper.make_tensor(name, kind, [], [value]) for name, value in (("five", 5.0), ("one", 1.0))]
    model = helper.make_model(
        helper.make_graph(nodes, "difference", inputs, [output], constants),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    path = tmp_path / "difference.onnx"
    onnx.save(model, str(path))
    rgb, plate, truth = scene(colour=(250, 250, 250), noise=0.0)
    alpha = NetworkMethod("onnx", path, needs_plate=True)(rgb, plate, None)
    assert alpha.shape == (160, 160)
    assert matte_errors(alpha / 255, truth).absolute < (0.04 if fixed else 0.02)
    with pytest.raises(InputError, match=r"the model has inputs \['src', 'bgr'\], expected 1"):
        NetworkMethod("onnx", path)(rgb, None, None)


def test_selfie_segmentation_finds_a_person(shared_data):
    pytest.importorskip("mediapipe")
    folder = shared_data / "capture/images/0000"
    rgb, truth = picture(folder / "image_222200037.jpg"), picture(folder / "mask_222200037.jpg")[..., 0] / 255
    method = SelfieMethod(shared_data / "weights/selfie_segmentation.tflite")
    alpha = method(rgb, None, None)
    method.release()
    # It also sees shoulders where this bust has none.
    assert matte_errors(alpha[:180] / 255, truth[:180]).absolute < 0.03
    bad = shared_data / "weights/face_landmarker_v2_with_blendshapes.task"
    with pytest.raises(InputError, match="not a segmentation model"):
        SelfieMethod(bad)(rgb, None, None)


def test_masks_of_two_methods_are_not_mixed(capture, tmp_path):
    first = NetworkMethod("torchscript", saved(Brightness(), tmp_path / "bright.pt"))
    mask_capture(capture, first, progress=False)
    next(capture.glob("images/*/mask_2*.png")).unlink()
    with pytest.raises(InputError, match=r"masks.json: 7 masks were made by 'torchscript bright.pt"):
        mask_capture(capture, PlateMethod(), progress=False)
    assert mask_capture(capture, PlateMethod(), overwrite=True, progress=False).written == 8
    assert json.loads((capture / "masks.json").read_text())["method"].startswith("plate ")


def test_masks_in_the_originals_form_are_left_alone(broken_original):
    before = {path: path.read_bytes() for path in broken_original.glob("images/*/mask*")}
    masking = mask_capture(broken_original, NetworkMethod("onnx", broken_original / "none.onnx"), progress=False)
    assert masking.written == 0
    assert {path: path.read_bytes() for path in broken_original.glob("images/*/mask*")} == before


def test_the_command_wants_a_model_where_it_needs_one(capture, capsys):
    for arguments in (["--method", "selfie"], ["--model", "x.pt"]):
        with pytest.raises(SystemExit):
            main(["remove-background", str(capture), *arguments])
    assert "method plate takes none" in capsys.readouterr().err
