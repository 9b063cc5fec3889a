"""``gha validate``: exit codes, files, what it prints."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from gha.apps import cli
from gha.capture import CaptureInfo, CaptureWriter
from gha.faces.code import HeadCode
from gha.geometry import Camera


@pytest.fixture
def capture(tmp_path):
    """Two frames of a disc, seen by one camera."""
    import torch

    root = tmp_path / "disc"
    writer = CaptureWriter(root, CaptureInfo((32, 32)))
    camera = Camera.orbit(1.0, 0.0, 0.0, 60.0, 32, 32)
    points = torch.randn(100, 3, generator=torch.Generator().manual_seed(0)) * 0.04
    rows, columns = np.mgrid[:32, :32] - 15.5
    disc = np.where(rows**2 + columns**2 < 15**2, 255, 0).astype(np.uint8)
    for index, frame in enumerate(("0", "1")):
        writer.write_cameras(frame, ["x"], Camera(camera.w2c[None], camera.K[None], 32, 32))
        code = HeadCode(torch.tensor([float(index)]), torch.zeros(6), torch.tensor([0.1]))
        writer.write_frame_params(frame, code, points[:68], points)
        picture = np.random.default_rng(index).integers(0, 255, (32, 32, 3)).astype(np.uint8)
        writer.write_image(frame, "x", picture, disc)
    writer.finish()
    return root


def test_a_usable_capture_is_code_zero(capture, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = {path: os.stat(path).st_mtime_ns for path in capture.rglob("*")}
    assert cli.main(["validate", str(capture)]) == 0
    printed = capsys.readouterr()
    assert "cameras     1, 32 x 32" in printed.out
    assert printed.out.splitlines()[-2] == "usable"
    assert "validating" in printed.err
    folder = tmp_path / "runs/validate/disc"
    assert json.loads((folder / "report.json").read_text())["usable"]
    with Image.open(folder / "picture.png") as picture:
        assert picture.width == 1600
    assert before == {path: os.stat(path).st_mtime_ns for path in capture.rglob("*")}


def test_an_unusable_capture_is_code_one_and_says_why(capture, tmp_path, capsys):
    (capture / "images/1/mask_x.png").unlink()
    arguments = ["validate", str(capture), "--output", str(tmp_path / "out"), "--quiet", "--workers", "1"]
    assert cli.main(arguments) == 1
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.splitlines() == [
        "error: mask missing: images/1/mask_x.jpg (or .png): file not found",
        "not usable: 1 error (mask missing)",
        f"see {tmp_path / 'out/report.json'} and {tmp_path / 'out/picture.png'}",
    ]
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["problems"] == [
        {
            "kind": "mask missing",
            "where": "images/1/mask_x.jpg (or .png)",
            "text": "file not found",
            "fatal": True,
            "frame": "1",
            "camera": "x",
        }
    ]


def test_quick_sees_no_damage_inside_a_picture(capture, tmp_path, capsys):
    Image.new("L", (32, 32)).save(capture / "images/1/mask_x.png")
    arguments = ["validate", str(capture), "--output", str(tmp_path / "out"), "--quiet"]
    assert cli.main([*arguments, "--quick"]) == 0
    assert "usable; pictures were not decoded" in capsys.readouterr().out
    assert cli.main(arguments) == 1
    assert "images/1/mask_x.png: found an empty mask" in capsys.readouterr().out


def test_no_capture_is_code_one(tmp_path, capsys):
    assert cli.main(["validate", str(tmp_path / "nowhere"), "--quiet"]) == 1
    assert capsys.readouterr().err.endswith(
        "nowhere: folder not found; expected a capture (images/, cameras/, params/)\n"
    )


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["a", "--workers", "0"], ["a", "--slow"]])
def test_wrong_arguments_are_code_two(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["validate", *arguments])
    assert caught.value.code == 2
    assert "usage: " in capsys.readouterr().err
