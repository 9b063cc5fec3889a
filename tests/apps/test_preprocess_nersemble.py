"""The command that extracts a download."""

import json
import logging
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gha.apps.cli import main
from gha.capture import open_capture
from gha.capture.check import check_capture
from gha.errors import InputError
from gha.preprocessing.parallel import run_tasks
from gha.preprocessing.raw_video import write_video

CAMERAS = {"1": [0, 0, 0], "2": [0.1, 0, 0]}


@pytest.fixture
def download(tmp_path):
    """Two cameras, two sequences, no head."""
    folder = tmp_path / "raw/031"
    for index, camera in enumerate(CAMERAS):
        for sequence, shade in (("EMO-1", 80), ("FREE", 160)):
            pictures = [np.full((48, 32, 3), shade + 5 * t + index, np.uint8) for t in range(7)]
            write_video(folder / f"sequences/{sequence}/images/cam_{camera}.mp4", pictures, Fraction(73))
        plate = folder / f"sequences/BACKGROUND/image_{camera}.jpg"
        plate.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((48, 32, 3), 40, np.uint8)).save(plate)
    poses = {camera: np.eye(4).tolist() for camera in CAMERAS}
    values = {"world_2_cam": poses, "intrinsics": [[90, 0, 16], [0, 90, 24], [0, 0, 1]]}
    (folder / "calibration").mkdir()
    (folder / "calibration/camera_params.json").write_text(json.dumps(values))
    return tmp_path / "raw"


def run(*arguments):
    return main(["preprocess-nersemble", *map(str, arguments), "--parallel", "1", "--quiet"])


def test_a_download_becomes_a_capture_without_masks_and_parameters(download, tmp_path):
    assert run(download, tmp_path / "captures", "--crop", "0", "8", "32", "32", "--size", "32") == 0
    capture = open_capture(tmp_path / "captures/031")
    assert capture.frame_ids == ("0000", "0001", "0002", "0003", "0004", "0005")
    assert capture.split.test_frames == ("0003", "0004", "0005")
    assert capture.camera("1").K[1, 2] == 24 - 8
    with pytest.raises(InputError, match=r"files are missing: params/0000/params.npz"):
        check_capture(capture)


def test_the_people_can_be_listed(download, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="gha"):
        assert run(download, tmp_path / "captures", "--list") == 0
    assert "031  EMO-1: cameras 1, 2" in caplog.text
    assert "031  2 pictures of the empty stage, without colour calibration" in caplog.text
    assert not (tmp_path / "captures").exists()


def test_what_does_not_fit_is_one_line(download, tmp_path, capsys):
    assert run(download, tmp_path / "captures", "--identities", "077") == 1
    assert "no identity '077'; found 031" in capsys.readouterr().err
    assert run(download, tmp_path / "captures") == 1
    assert "pictures are 32 x 48, and the crop [-200, 304, 2600, 2600]" in capsys.readouterr().err


@pytest.mark.parametrize("parallel", ["1", "2"])
def test_tasks_run_in_one_process_or_several(parallel):
    assert sorted(run_tasks(abs, [-3, 1, -2], parallel)) == [1, 2, 3]


@pytest.mark.parametrize("parallel", ["many", "-1", "dask", "spark://host:1", "4://host"])
def test_other_ways_to_run_are_refused(parallel):
    with pytest.raises(InputError, match=f"parallel: found '{parallel}', expected a number of processes"):
        list(run_tasks(abs, [1], parallel))


@pytest.mark.parametrize(("parallel", "package"), [("ray://localhost:1", "ray"), ("dask://localhost:1", "distributed")])
def test_a_cluster_needs_its_package(parallel, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"pip install {package}"):
        list(run_tasks(abs, [1], parallel))


@pytest.mark.parametrize("size", [1, 3])
def test_tasks_run_on_a_dask_cluster(size):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None, protocol="tcp") as cluster:
        address = cluster.scheduler_address.replace("tcp://", "dask://")
        assert sorted(run_tasks(abs, range(-size, 0), address)) == list(range(1, size + 1))


def test_the_script_is_the_command():
    script = Path(__file__).resolve().parents[2] / "preprocess/preprocess_nersemble.py"
    assert 'run_verb("preprocess-nersemble"' in script.read_text(encoding="utf-8")
