"""What test_processes.py runs in two processes; each writes what it found to ``{folder}/{rank}.json``."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from gha.capture.frame import Frame
from gha.errors import InputError, TrainingError
from gha.faces.code import HeadCode
from gha.geometry import Camera
from gha.training.averaging import average_gradients
from gha.training.loop import restore, train
from gha.training.optimizers import RowAdam
from gha.training.processes import Processes
from gha.training.run_folder import RunFolder
from gha.training.sample import Sample
from gha.training.stage import LoopConfig

CPU = torch.device("cpu")


class LineStage:
    """Fits a line with an offset for every frame, of which a step uses some; ``unused`` never gets a gradient."""

    method = "line"
    replayable = False

    def __init__(self, seed=0):
        torch.manual_seed(seed)
        self.line, self.unused = nn.Linear(2, 1), nn.Linear(1, 1)
        self.offsets = nn.Embedding(8, 1)
        self.finished_steps = 0
        self.modules = {"line": self.line, "unused": self.unused, "offsets": self.offsets}
        dense = [*self.line.parameters(), *self.unused.parameters()]
        self.optimizers = {
            "adam": torch.optim.Adam(dense, lr=0.05),
            "offsets": RowAdam(self.offsets.parameters(), lr=0.05),
        }
        self.seen, self.previews, self.renewals, self.ask_at, self.bad = [], [], [], None, None

    def renews(self, update):
        return update % 4 == 0

    def renew(self, anew):
        self.renewals.append((len(self.seen), anew))

    def draw(self, frame, step, device):
        self.seen.append(step)
        if step == self.ask_at:
            os.kill(os.getpid(), signal.SIGINT)
        rows = torch.tensor([int(name) for name in frame.frame_id])
        return Sample(frame, background=torch.tensor(float("nan") if step == self.bad else 1.0), pose_rows=rows)

    def losses(self, sample):
        x = sample.frame.code.expression
        error = self.line(x)[:, 0] + self.offsets(sample.pose_rows)[:, 0] - (2 * x[:, 0] - x[:, 1])
        return {"fit": error.square().mean() * sample.background}

    def preview(self, frame):
        self.previews.append(frame.frame_id)
        return np.zeros((2, 2, 3), np.uint8)

    def metadata(self):
        return {}


def frame(positions):
    """A batch of the samples at these places of the one order of samples."""
    x = torch.tensor([[np.sin(p), np.cos(3 * p)] for p in positions], dtype=torch.float32)
    count = len(positions)
    camera = Camera(torch.eye(4).expand(count, 1, 4, 4), torch.eye(3).expand(count, 1, 3, 3), 2, 2)
    picture = torch.zeros(count, 1, 3, 2, 2, dtype=torch.uint8)
    code = HeadCode(x, torch.zeros(count, 6), torch.ones(count, 1))
    names = [str(p % 8) for p in positions]
    return Frame(picture, picture[:, :, :1], picture[:, :, :1], camera, code, torch.zeros(count, 66, 3), names,
                 tuple(("c",) for _ in positions))  # fmt: skip


def frames(start, processes):
    position = start + processes.rank
    while True:
        yield frame([position])
        position += processes.count


def state(stage):
    return {f"{n}.{k}": v.flatten().tolist() for n, m in stage.modules.items() for k, v in m.state_dict().items()}


def run(folder, processes, steps, ask_at=None, bad=None, seed=0):
    """Train until ``steps``; returns what became of it."""
    stage = LineStage(seed)
    stage.ask_at, stage.bad = ask_at, bad
    config = LoopConfig(steps=steps, log_every=3, preview_every=10, checkpoint_every=10)
    with RunFolder(folder, writes=processes.leads) as place:
        restore(stage, place, CPU)
        finished = train(stage, frames(stage.finished_steps, processes), config, place, CPU, processes)
    return {"finished": finished, "seen": stage.seen, "state": state(stage), "previews": stage.previews,
            "renewals": stage.renewals}  # fmt: skip


def gradients_of(stage, positions):
    """Backward pass of a step with the samples at these places."""
    stage.losses(stage.draw(frame(positions), 0, CPU))["fit"].backward()


def one_step(processes):
    """The gradients that two processes with one sample each arrive at, and the rows that a step with them moves."""
    stage = LineStage()
    parameters = [p for module in stage.modules.values() for p in module.parameters()]
    gradients_of(stage, [3 + processes.rank])
    if processes.leads:  # a parameter that has a gradient in one process only
        stage.unused(torch.ones(1, 1)).sum().backward()
    left_out = average_gradients(parameters, torch.tensor(0.0), processes)
    before = stage.offsets.weight.detach().clone()
    stage.optimizers["offsets"].step()
    moved = (stage.offsets.weight.detach() != before)[:, 0]
    named = [(f"{n}.{k}", p) for n, m in stage.modules.items() for k, p in m.named_parameters()]
    gradients = {name: p.grad.flatten().tolist() for name, p in named}
    objection = average_gradients(parameters, torch.tensor(float(processes.rank == 1)), processes)
    return {
        "gradients": gradients,
        "rows": moved.nonzero().flatten().tolist(),
        "left out": [left_out.item(), objection.item()],
    }


def attempt(work):
    """What a block raised, in words."""
    try:
        work()
    except (InputError, TrainingError, SystemExit) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def refuse_in(processes, rank):
    with processes.together():
        if processes.rank == rank:
            raise InputError("no such picture")


def main(folder):
    processes = Processes.from_environment()
    found = {}
    with processes.joined(CPU):
        found["numbers"] = [processes.rank, processes.count, processes.leads]
        found["any"] = [processes.any(False), processes.any(processes.rank == 1), processes.any(True)]
        found["mean"] = processes.mean(torch.tensor([float(processes.rank), float("inf")])).tolist()
        found["one step"] = one_step(processes)
        found["whole"] = run(folder / "whole", processes, 40, seed=processes.rank)
        found["first part"] = run(folder / "parts", processes, 40, ask_at=17)
        found["second part"] = run(folder / "parts", processes, 40)
        found["bad"] = attempt(lambda: run(folder / "bad", processes, 40, bad=23))
        found["refused"] = [attempt(lambda rank=rank: refuse_in(processes, rank)) for rank in (0, 1, 2)]
        modules = {"line": nn.Linear(2, 1 + processes.rank)}
        found["different"] = attempt(lambda: processes.share(modules))
        if processes.rank == 0:
            found["lost"] = attempt(lambda: processes.any(False))
        (folder / f"{processes.rank}.json").write_text(json.dumps(found))
        os._exit(0)  # in the middle of it, as a process does that is killed; the first one waits for the second


if __name__ == "__main__":
    main(Path(sys.argv[1]))
