"""One of the processes of test_torchrun.py: trains the Gaussian head and writes what it saw and where it ended.

    torchrun ... torchrun_worker.py FOLDER STOP_AT CONFIG key=value ...

Process 1 asks for a stop while it computes step STOP_AT.
"""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path

from gha.apps import train as training
from gha.apps.config import load_config
from gha.apps.training_config import GaussianRunConfig
from gha.training.processes import Processes

original = training.train
rank = Processes.from_environment().rank
seen = []


def watched(stage, *arguments):
    draw = stage.draw

    def record(frame, step, device):
        seen.append([step, frame.frame_id, frame.camera_ids])
        if rank == 1 and step == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGINT)
        return draw(frame, step, device)

    stage.draw = record
    finished = original(stage, *arguments)
    digest = hashlib.sha256()
    for module in stage.modules.values():
        for value in module.state_dict().values():
            digest.update(value.cpu().numpy().tobytes())
    moved = stage.poses.delta.weight.detach().abs().amax(-1) > 0
    frames = sorted(name for name, row in stage.poses.rows.items() if moved[row])
    report = {"seen": seen, "finished": finished, "digest": digest.hexdigest(), "moved": frames}
    (Path(sys.argv[1]) / f"{rank}.json").write_text(json.dumps(report))
    return finished


training.train = watched
try:
    training.train_gaussian(load_config(GaussianRunConfig, sys.argv[3], sys.argv[4:]))
except KeyboardInterrupt:
    sys.exit(0 if sys.argv[2] != "-1" else 1)
