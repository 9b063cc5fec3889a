import json
import logging
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from gha.errors import InputError
from gha.training.run_folder import RunFolder

HOLDER = """
import sys, time
from gha.training.run_folder import RunFolder
with RunFolder(sys.argv[1]):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other_process(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "run")], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"locked\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_process_is_refused_and_a_killed_one_is_not(tmp_path, other_process):
    with (
        pytest.raises(InputError, match=rf"run is in use by process {other_process.pid} on "),
        RunFolder(tmp_path / "run"),
    ):
        pass
    other_process.send_signal(signal.SIGKILL)
    other_process.wait()
    with RunFolder(tmp_path / "run"):
        pass


def test_the_lock_is_given_back(tmp_path):
    for _ in range(2):
        with RunFolder(tmp_path) as folder:
            assert json.loads((folder.path / ".lock").read_text())["pid"] == os.getpid()
            with pytest.raises(InputError, match="in use"), RunFolder(tmp_path):
                pass


def test_a_lock_of_another_machine_is_believed(tmp_path):
    (tmp_path / ".lock").write_text('{"pid": 5, "host": "elsewhere"}')
    with pytest.raises(InputError, match=r"process 5 on elsewhere and not released; .* delete"), RunFolder(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot use the run folder .*file/run"), RunFolder(tmp_path / "file" / "run"):
        pass


def test_log_scalars_and_previews(tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (4, 5, 3), dtype=np.uint8)
    before = time.time() - 0.001
    with RunFolder(tmp_path) as folder:
        logging.getLogger("gha.anything").info("the neck is found")
        folder.log_scalars(3, {"rgb": 0.5})
        folder.log_scalars(4, {"rgb": 0.25})
        preview = folder.save_preview(3, picture)
    logging.getLogger("gha.anything").warning("after the run")
    log = (tmp_path / "log.txt").read_text()
    assert "INFO gha.anything: the neck is found" in log
    assert "after the run" not in log
    lines = [json.loads(line) for line in (tmp_path / "scalars.jsonl").read_text().splitlines()]
    times = [line.pop("time") for line in lines]
    assert lines == [{"step": 3, "rgb": 0.5}, {"step": 4, "rgb": 0.25}]
    assert before <= times[0] <= times[1] <= time.time() + 0.001
    assert preview == tmp_path / "previews" / "step_00000003.png"
    assert np.array_equal(np.asarray(Image.open(preview)), picture)


def test_tensorboard_files_are_written_when_asked_for(tmp_path):
    pytest.importorskip("tensorboard")
    with RunFolder(tmp_path, tensorboard=True) as folder:
        folder.log_scalars(1, {"rgb": 0.5})
        folder.save_preview(1, np.zeros((4, 5, 3), np.uint8))
    assert len(list((tmp_path / "tensorboard").glob("events*"))) == 1
