"""What is wrong with a capture, one thing at a time: where, what was found and what was expected."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gha.errors import InputError


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: what sort of problem, in a few words; problems are counted by it.
        where: the file it is in, relative to the capture.
        text: what was found and what was expected.
        fatal: whether training would stop over it, or learn something wrong; else it is only worth a look.
        frame: the frame it belongs to, if one.
        camera: the camera it belongs to, if one.
    """

    kind: str
    where: str
    text: str
    fatal: bool = True
    frame: str = ""
    camera: str = ""

    def message(self, root: Path | str = "") -> str:
        """The problem as one line; with ``root`` the file has its whole path."""
        return f"{Path(root) / self.where if root else self.where}: {self.text}"


def problem_from(error: InputError, kind: str, root: Path, frame: str = "", camera: str = "") -> Problem:
    """The problem that a reader of files below ``root`` refused; its messages start with the path of the file."""
    where, _, text = str(error).removeprefix(f"{root}/").partition(": ")
    return Problem(kind, where, text, frame=frame, camera=camera)
