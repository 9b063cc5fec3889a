"""A room of the library imports only from rooms listed before it."""

import ast
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[1] / "lib" / "gha"
ROOMS = ["geometry", "rendering", "networks", "faces", "capture", "preprocessing", "exchange", "avatars", "training"]
ROOMS += ["apps"]
COMMON = {"errors", "files", "limits", "numba_compile", "__version__"}


def imported_rooms(path):
    """First names below ``gha`` of everything a file imports, at any depth of the file."""
    folder = path.relative_to(LIBRARY).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".") if node.module else []
            package = ["gha", *folder][: 1 + len(folder) - (node.level - 1)] if node.level else []
            targets = [[*package, *module, alias.name] for alias in node.names]
        else:
            continue
        yield from (target[1] for target in targets if target[0] == "gha" and len(target) > 1)


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_from_rooms_before_them(room):
    allowed = COMMON | set(ROOMS[: ROOMS.index(room) + 1])
    for path in (LIBRARY / room).glob("**/*.py"):
        forbidden = set(imported_rooms(path)) - allowed
        assert not forbidden, f"{path.relative_to(LIBRARY)} imports from {sorted(forbidden)}"


@pytest.mark.parametrize("room", ["exchange", "avatars", "training"])
def test_what_trains_does_not_need_what_prepares(room):
    # A capture on disk is all that training knows of where it came from; command lines connect the two.
    for path in (LIBRARY / room).glob("**/*.py"):
        assert "preprocessing" not in set(imported_rooms(path)), path.relative_to(LIBRARY)


def test_every_folder_is_a_room():
    assert {path.parent.name for path in LIBRARY.glob("*/__init__.py")} <= set(ROOMS)


def test_omegaconf_stays_in_apps():
    for path in LIBRARY.glob("**/*.py"):
        if path.parent.name != "apps":
            assert "omegaconf" not in path.read_text(encoding="utf-8"), path
