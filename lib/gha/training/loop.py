"""The one training loop, for every method: draw, predict, compare, step, report, save."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from tqdm import tqdm

from gha.capture.frame import Frame
from gha.errors import CheckpointError

from .averaging import scale_rates
from .checkpoint import has_checkpoint, load_checkpoint, save_checkpoint
from .checkpoint_state import flatten_optimizer_state, restore_optimizer_state
from .interrupts import StopRequest
from .optimizers import cosine_decay
from .processes import ALONE, Processes
from .run_folder import RunFolder
from .stage import LoopConfig, Stage
from .update import Update
from .writing import BackgroundWriter

logger = logging.getLogger(__name__)

_GPU_STEPS_BETWEEN_VOTES = 8
"""Of several processes on GPUs, whose hosts work ahead: asking whether to stop makes all hosts wait for the slowest."""

Watch = Callable[[Stage, int], None]
"""Called after every step with the stage and the number of finished steps; must leave both as they are."""


def train(
    stage: Stage,
    frames: Iterator[Frame],
    config: LoopConfig,
    folder: RunFolder,
    device: torch.device,
    processes: Processes = ALONE,
    watch: Watch | None = None,
) -> int:
    """Train ``stage`` to ``config.steps``, continuing after its last checkpoint.

    Several processes take as many steps at once: of step s to s + N - 1 each computes its own, and all move by the mean
    gradient. Only the leading one writes.

    Args:
        stage: what is trained; its modules are on ``device``. Already restored (see :func:`restore`).
        frames: one batched frame per step of this process, starting with the step to continue at.
        config: length, logging, checkpoints.
        folder: of the run; holds logs, previews and checkpoints.
        device: where frames are moved to.
        processes: that train together.
        watch: looks on, for example to measure; in every process.

    Returns:
        The number of finished steps: ``config.steps`` or, of several processes, a few more; fewer after a request to
        stop.

    Raises:
        TrainingError: a loss is not finite; the message names step, term, frame and cameras.
    """
    start = stage.finished_steps
    _prepare(stage, config, processes)
    base_rates = {name: [float(g["lr"]) for g in opt.param_groups] for name, opt in stage.optimizers.items()}
    update = Update(stage, device, processes)
    votes_every = _GPU_STEPS_BETWEEN_VOTES if device.type == "cuda" and processes.count > 1 else 1
    saved, stopping = True, False
    with StopRequest() as stop, BackgroundWriter() as writer, _progress(stage, config, processes) as bar:
        for step in range(start, config.steps, processes.count):
            number = step // processes.count
            if saved or stage.renews(number):
                update.renew(anew=saved)
            frame = next(frames)
            _set_learning_rates(stage, base_rates, config, step)
            terms = update(frame, step + processes.rank)

            finished = step + processes.count
            stopping = number % votes_every == 0 and processes.any(stop.requested)
            bar.update(processes.count)
            reports = _passes(config.log_every * processes.count, step, finished)
            previews = _passes(config.preview_every, step, finished)
            saved = _passes(config.checkpoint_every, step, finished) or finished >= config.steps or stopping
            if reports or previews or saved:
                update.require_finite()
                stage.finished_steps = finished
                if reports:
                    _report(terms, finished, folder, bar, processes)
                with processes.together():
                    writer.check()
                    if previews and processes.leads:
                        writer.write(partial(folder.save_preview, finished, stage.preview(frame.to(device))))
                    if saved and processes.leads:
                        writer.write(_checkpoint_writing(stage, folder, config))
            if watch is not None:
                watch(stage, finished)
            if stopping:
                break
        with processes.together():
            writer.finish()
        if stopping and stage.finished_steps < config.steps:
            logger.warning("stopped on request after step %d; run the same command to continue", stage.finished_steps)
    return stage.finished_steps


def _checkpoint_writing(stage: Stage, folder: RunFolder, config: LoopConfig) -> Callable[[], object]:
    """What writes a checkpoint of the stage's modules and optimisers as they are now: they are copied at once."""
    tensors = {name: module.state_dict() for name, module in stage.modules.items()}
    for name, optimizer in stage.optimizers.items():
        tensors[f"optimizer_{name}"] = flatten_optimizer_state(optimizer, _named_parameters(stage))
    copies = {
        group: {key: x.detach().to("cpu", copy=True) for key, x in named.items()} for group, named in tensors.items()
    }
    metadata = {"method": stage.method, **stage.metadata()}
    return partial(
        save_checkpoint, folder.checkpoints, stage.finished_steps, copies, metadata, keep=config.keep_checkpoints
    )


def restore(stage: Stage, folder: RunFolder, device: torch.device) -> None:
    """Continue from the run's last checkpoint, if it has one; the stage's ``finished_steps`` says where it stands."""
    if not has_checkpoint(folder.checkpoints):
        return
    checkpoint = load_checkpoint(folder.checkpoints, stage.method, device)
    wanted = {*stage.modules, *(f"optimizer_{name}" for name in stage.optimizers)}
    if wanted != set(checkpoint.tensors):
        raise CheckpointError(
            f"{checkpoint.path}: found {', '.join(sorted(checkpoint.tensors))}, expected {', '.join(sorted(wanted))}"
        )
    for name, module in stage.modules.items():
        module.load_state_dict(checkpoint.tensors[name])
    for name, optimizer in stage.optimizers.items():
        restore_optimizer_state(optimizer, _named_parameters(stage), checkpoint.tensors[f"optimizer_{name}"])
    stage.finished_steps = checkpoint.step
    logger.info("continuing %s after step %d", stage.method, checkpoint.step)


def _prepare(stage: Stage, config: LoopConfig, processes: Processes) -> None:
    """Make the processes start alike, with rates for their number."""
    for module in stage.modules.values():
        module.train()
    if processes.count > 1:
        processes.share(stage.modules)
        scale_rates(stage.optimizers.values(), processes.count, config.process_scaling)
        logger.info("%d processes take as many steps at once; rates: %s", processes.count, config.process_scaling)


def _progress(stage: Stage, config: LoopConfig, processes: Processes) -> tqdm:
    return tqdm(
        total=config.steps, initial=stage.finished_steps, desc=stage.method, unit="step", disable=not processes.leads
    )


def _passes(every: int, step: int, finished: int) -> bool:
    """Whether a multiple of ``every`` steps (0: never) is reached on the way from ``step`` to ``finished``."""
    return every > 0 and finished // every > step // every


def _named_parameters(stage: Stage) -> list[tuple[str, Tensor]]:
    return [
        (f"{name}.{key}", parameter)
        for name, module in stage.modules.items()
        for key, parameter in module.named_parameters()
    ]


def _set_learning_rates(stage: Stage, base: dict[str, list[float]], config: LoopConfig, step: int) -> None:
    """Cosine from 1 to the final factor; a function of the step alone, so nothing needs saving."""
    factor = cosine_decay(step / config.steps, config.final_learning_rate_factor)
    for name, optimizer in stage.optimizers.items():
        for group, rate in zip(optimizer.param_groups, base[name], strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate * factor)
            else:
                group["lr"] = rate * factor


def _report(terms: dict[str, Tensor], step: int, folder: RunFolder, bar: tqdm, processes: Processes) -> None:
    """Log the terms of the loss and their sum, means over the processes."""
    means = processes.mean(torch.stack(list(terms.values()))).tolist()
    values = dict(zip(terms, means, strict=True))
    values["total"] = sum(means)
    folder.log_scalars(step, values)
    bar.set_postfix({name: f"{value:.4f}" for name, value in values.items()})
