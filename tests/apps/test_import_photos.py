import pytest

from gha.apps import cli


def test_a_folder_without_calibration_is_refused(tmp_path, capsys):
    assert cli.main(["import-photos", str(tmp_path), str(tmp_path / "capture"), "--hold-out-every", "5"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "cameras.json" in error
    assert not (tmp_path / "capture").exists()


def test_holding_out_everything_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main(["import-photos", str(tmp_path), str(tmp_path / "capture"), "--hold-out-every", "1"])
    assert "--hold-out-every: found 1, expected at least 2" in capsys.readouterr().err
