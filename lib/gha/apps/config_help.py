"""What the keys of a configuration mean, read from the source text without importing it.

A configuration lives beside what it configures, and that imports torch; help must be there at once. So the class
definitions are parsed instead of run: names, types, defaults, and the docstring under each field.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import gha

_PACKAGE_ROOT = Path(gha.__file__).parent.parent


@dataclass(frozen=True)
class Key:
    """One key of a configuration.

    Attributes:
        name: dotted name.
        kind: its type as written.
        default: its default as written; None where a value must be given, and for the heading of a section.
        meaning: the docstring under the field; empty where there is none.
        is_section: whether this is the heading of a section, whose own keys follow.
    """

    name: str
    kind: str
    default: str | None
    meaning: str
    is_section: bool = False


@dataclass(frozen=True)
class _Source:
    """A parsed module."""

    path: Path
    tree: ast.Module


def describe_config(schema: type | str) -> str:
    """Every key of a configuration with default and meaning, one per paragraph, for ``--help``.

    Args:
        schema: a dataclass, or its place as ``"gha.training.mesh_stage:MeshTrainingConfig"``.
    """
    return "\n".join(map(_paragraph, list_keys(schema)))


def _paragraph(key: Key) -> str:
    """One key as text."""
    if key.is_section:
        return f"\n  {key.name}: {key.meaning}"
    value = "(required)" if key.default is None else f"= {key.default}"
    meaning = textwrap.fill(key.meaning, 110, initial_indent="      ", subsequent_indent="      ")
    return f"  {key.name}: {key.kind} {value}" + (f"\n{meaning}" if meaning else "")


def list_keys(schema: type | str) -> list[Key]:
    """Every key of a configuration, sections expanded, in the order of their definition."""
    if isinstance(schema, type):
        source = _parse(Path(inspect.getsourcefile(schema) or ""))
        name = schema.__qualname__
    else:
        module, _, name = schema.partition(":")
        source = _parse(_module_path(module))
    found = _find_class(source, name)
    if found is None:
        raise LookupError(f"no class {name} in {source.path}")
    return _keys_of(*found, prefix="", changed={})


def _keys_of(source: _Source, definition: ast.ClassDef, prefix: str, changed: dict[str, str]) -> list[Key]:
    """Keys of a class; ``changed`` holds defaults that the section it is used in gives it."""
    keys: list[Key] = []
    for base in definition.bases:
        inherited = _find_class(source, ast.unparse(base))
        keys += _keys_of(*inherited, prefix, changed) if inherited else []
    for statement, following in zip(definition.body, [*definition.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        name, kind, meaning = statement.target.id, ast.unparse(statement.annotation), _docstring(following)
        section = _section(source, statement.annotation)
        if section:
            meaning = meaning or (ast.get_docstring(section[1]) or "").partition("\n")[0]
            keys.append(Key(prefix + name, kind, None, meaning, is_section=True))
            keys += _keys_of(*section, f"{prefix}{name}.", _defaults_given(section[1], statement.value))
        else:
            keys.append(Key(prefix + name, kind, changed.get(name, _default(statement.value)), meaning))
    return keys


def _section(source: _Source, annotation: ast.expr) -> tuple[_Source, ast.ClassDef] | None:
    """The dataclass an annotation names (``Losses`` or ``Losses | None``), or None for a plain value."""
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name) and node.id[0].isupper():
            found = _find_class(source, node.id)
            if found and any("dataclass" in ast.unparse(decorator) for decorator in found[1].decorator_list):
                return found
    return None


def _find_class(source: _Source, name: str) -> tuple[_Source, ast.ClassDef] | None:
    """A class by name: defined in this module, or imported into it from within the library."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ClassDef) and node.name == name.rpartition(".")[2]:
            return source, node
        if isinstance(node, ast.ImportFrom):
            original = next((alias.name for alias in node.names if (alias.asname or alias.name) == name), None)
            path = _imported_path(source, node) if original else None
            if original and path:
                return _find_class(_parse(path), original)
    return None


def _imported_path(source: _Source, node: ast.ImportFrom) -> Path | None:
    """The file that ``from ... import`` reads, or None outside the library."""
    if node.level == 0:
        return _module_path(node.module or "") if (node.module or "").split(".")[0] == "gha" else None
    folder = source.path.parents[node.level - 1]
    return _as_file(folder.joinpath(*(node.module or "").split(".")))


def _module_path(module: str) -> Path:
    """The file of a module of the library."""
    return _as_file(_PACKAGE_ROOT.joinpath(*module.split(".")))


def _as_file(path: Path) -> Path:
    """``x`` as ``x.py``, or as the package ``x/__init__.py``."""
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _parse(path: Path) -> _Source:
    """Read and parse one file."""
    return _Source(path, ast.parse(path.read_text(encoding="utf-8")))


def _docstring(statement: ast.stmt | None) -> str:
    """The text of a docstring on one line without markup, empty for any other statement."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return " ".join(str(statement.value.value).replace("``", "").split())
    return ""


def _default(value: ast.expr | None) -> str | None:
    """A default as a user would write it: factories are shown as what they make."""
    if isinstance(value, ast.Call) and ast.unparse(value.func).rpartition(".")[2] == "field":
        keywords = {keyword.arg: keyword.value for keyword in value.keywords}
        made = keywords.get("default", keywords.get("default_factory"))
        if isinstance(made, ast.Lambda):
            return ast.unparse(made.body)
        return {"list": "[]", "dict": "{}", "tuple": "()"}.get(ast.unparse(made), ast.unparse(made)) if made else None
    return None if value is None else ast.unparse(value)


def _defaults_given(section: ast.ClassDef, value: ast.expr | None) -> dict[str, str]:
    """What ``field(default_factory=lambda: Losses(0.1, normal=2))`` changes in the defaults of ``Losses``."""
    fields = [
        node.target.id for node in section.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    for node in ast.walk(value) if value else ():
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == section.name:
            given = dict(zip(fields, map(ast.unparse, node.args), strict=False))
            return given | {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg}
    return {}
