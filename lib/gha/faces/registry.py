"""Face models by name or by the path of the user's own files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gha.errors import InputError

from .face_model import FaceModel
from .procedural import ProceduralHead

KINDS = ("procedural", "ict", "bfm", "flame")


def load_face_model(name_or_path: str | Path, kind: str | None = None, **options: Any) -> FaceModel:
    """A face model.

    Args:
        name_or_path: ``"procedural"`` for the built-in head, or the path of the user's files: folder of OBJ files or
            packed ``.npz`` of ICT-FaceKit, ``BFM09_model_info.mat``, folder or ``.pkl`` of FLAME.
        kind: ``"ict"``, ``"bfm"`` or ``"flame"``; None tells them apart by their names.
        **options: keywords of the model's constructor, such as ``texture_size``.
    """
    if str(name_or_path) == ProceduralHead.name:
        return ProceduralHead(**options)
    path = Path(name_or_path)
    if not path.exists():
        raise InputError(
            f'face model: expected "procedural" or a path to ICT-FaceKit, BFM or FLAME, found {str(name_or_path)!r}'
        )
    kind = kind or _kind_of(path)
    # Only where they are used: they read large files.
    if kind == "bfm":
        from .bfm import BaselFace

        return BaselFace(path, **options)
    if kind == "flame":
        from .flame import FlameHead

        return FlameHead(path, **options)
    from .ict import IctHead

    return IctHead(path, **options)


def _kind_of(path: Path) -> str:
    if path.suffix == ".mat":
        return "bfm"
    if path.suffix == ".pkl" or any(path.glob("*.pkl")):
        return "flame"
    return "ict"
