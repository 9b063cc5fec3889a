"""Recorded steps on a GPU, whose samples are drawn beside them."""

import pytest
import torch
from torch import nn

from gha.capture.frame import Frame
from gha.faces.code import HeadCode
from gha.geometry import Camera
from gha.training.optimizers import adam
from gha.training.sample import Sample
from gha.training.update import Update

pytestmark = pytest.mark.cuda
SIZE, STEPS = 1024, 120


class MeanStage:
    """Follows the mean brightness of what it sees, slowly; busy work makes a step longer than sending its sample."""

    method = "mean"
    replayable = True

    def __init__(self, device, busy):
        self.level = nn.Parameter(torch.zeros((), device=device))
        self.busy = torch.rand(busy, busy, device=device)
        self.modules = {}
        self.optimizers = {"adam": adam([{"params": [self.level], "lr": 0.02}], device)}

    def renew(self, anew):
        pass

    def draw(self, frame, step, device):
        return Sample(frame.to(device))

    def losses(self, sample):
        work = self.busy
        for _ in range(8):
            work = torch.nn.functional.normalize(work @ self.busy)
        seen = sample.frame.image
        late = seen[..., -1, -1].mean()
        return {"fit": (self.level - seen.mean()).square() + (self.level - late).square() + 0 * work.mean()}


def frame(brightness):
    picture = torch.full((1, 1, 3, SIZE, SIZE), brightness, dtype=torch.uint8).pin_memory()
    camera = Camera(torch.eye(4).expand(1, 1, 4, 4), torch.eye(3).expand(1, 1, 3, 3), SIZE, SIZE)
    code = HeadCode(torch.zeros(1, 2), torch.zeros(1, 6), torch.ones(1, 1))
    single = picture[:, :, :1]
    return Frame(picture, single, single, camera, code, torch.zeros(1, 66, 3), ["0"], (("c",),))


def test_every_step_sees_its_own_sample_though_the_next_is_sent_meanwhile():
    values = torch.randint(0, 256, (STEPS,), generator=torch.Generator().manual_seed(0)).tolist()
    levels = []
    for device, busy in ((torch.device("cuda"), 2048), (torch.device("cpu"), 2)):
        stage = MeanStage(device, busy)
        update = Update(stage, device)
        for step, value in enumerate(values):
            if step % 40 == 0:
                update.renew(anew=True)
            update(frame(value), step)
        update.require_finite()
        levels.append(stage.level.item())
    assert 0.1 < levels[1] < 0.9
    assert levels[0] == pytest.approx(levels[1], abs=1e-4)
