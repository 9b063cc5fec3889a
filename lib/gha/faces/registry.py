"""Face models by name or by the path of the user's own files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gha.errors import InputError

from .face_model import FaceModel
from .procedural import ProceduralHead


def load_face_model(name_or_path: str | Path, **options: Any) -> FaceModel:
    """A face model.

    Args:
        name_or_path: ``"procedural"`` for the built-in head, or the folder of OBJ files or packed ``.npz`` of
            ICT-FaceKit.
        **options: keywords of the model's constructor, such as ``texture_size``.
    """
    if str(name_or_path) == ProceduralHead.name:
        return ProceduralHead(**options)
    path = Path(name_or_path)
    if not path.exists():
        raise InputError(f'face model: expected "procedural" or a path to ICT-FaceKit, found {str(name_or_path)!r}')
    from .ict import IctHead  # only where it is used: it reads large files

    return IctHead(path, **options)
