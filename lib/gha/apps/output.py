"""Where commands put results that belong to a run."""

from __future__ import annotations

from pathlib import Path


def output_folder(run: str | Path, name: str) -> Path:
    """A folder called ``name`` beside the checkpoints of the run that ``run`` (or a folder inside it) belongs to."""
    path = Path(run)
    for folder in (path, *path.parents):
        if (folder / "checkpoints").is_dir():
            return folder / name
    return path / name
