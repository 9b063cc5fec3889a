"""The folder of one stage of one run: ``runs/{name}/{stage}/`` with config, log, scalars, previews, checkpoints."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from gha.errors import InputError
from gha.files import open_atomically

from .run_lock import RunLock

_LINE_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class RunFolder:
    """Where one stage of one run keeps its files; used as a context manager by the one process that trains there.

    Inside the ``with`` block the folder is locked and everything the library logs also goes to ``log.txt``.

    Args:
        path: the folder; made if missing.
        tensorboard: also write TensorBoard event files.
        writes: False for all but one of several processes that train together: they read checkpoints, and neither lock
            the folder nor write to it.

    Attributes:
        path: the folder itself.
        checkpoints: folder of checkpoints.
        previews: folder of preview pictures.
        config_file: the resolved configuration as YAML.
    """

    def __init__(self, path: Path | str, tensorboard: bool = False, writes: bool = True) -> None:
        self.path = Path(path)
        self.writes = writes
        self.checkpoints = self.path / "checkpoints"
        self.previews = self.path / "previews"
        self.config_file = self.path / "config.yaml"
        self._lock = RunLock(self.path / ".lock")
        self._tensorboard = tensorboard
        self._writer: Any = None
        self._handler: logging.Handler | None = None

    def __enter__(self) -> RunFolder:
        if not self.writes:
            return self
        try:
            self.previews.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except OSError as error:
            raise InputError(f"cannot use the run folder {self.path}: {error.strerror or error}") from error
        self._handler = logging.FileHandler(self.path / "log.txt", encoding="utf-8")
        self._handler.setFormatter(logging.Formatter(_LINE_FORMAT))
        if self._tensorboard:
            self._writer = _summary_writer(self.path / "tensorboard")
        library = logging.getLogger("gha")
        library.addHandler(self._handler)
        if not library.isEnabledFor(logging.INFO):
            library.setLevel(logging.INFO)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._handler is not None:
            logging.getLogger("gha").removeHandler(self._handler)
            self._handler.close()
            self._handler = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._lock.release()

    def log_scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Append one line of JSON to ``scalars.jsonl``, and the same to TensorBoard where that was asked for.

        ``time`` in it is in seconds since 1970.
        """
        if not self.writes:
            return
        with (self.path / "scalars.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "time": round(time.time(), 3), **values}) + "\n")
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def save_preview(self, step: int, picture: np.ndarray) -> Path:
        """Write a picture [H, W, 3] uint8 to ``previews/`` as PNG, and the same to TensorBoard where asked for."""
        from PIL import Image

        path = self.previews / f"step_{step:08d}.png"
        with open_atomically(path) as file:
            Image.fromarray(picture).save(file, "PNG")
        if self._writer is not None:
            self._writer.add_image("preview", picture, step, dataformats="HWC")
        return path


def _summary_writer(folder: Path) -> Any:
    """TensorBoard's writer, imported where it is wanted."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder))
