"""Configuration: YAML and ``key=value`` overrides into plain dataclasses, everything unexpected refused by name.

A schema is a plain dataclass, beside the thing it configures; a docstring under each field is its documentation::

    @dataclass
    class Optimisation:
        steps: int = 1000
        \"\"\"Number of optimiser steps.\"\"\"

Only this package knows OmegaConf: what the library sees is an instance of the dataclass.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gha.errors import InputError
from gha.files import write_atomically
from gha.limits import find_violations

Schema = TypeVar("Schema")


def load_config(schema: type[Schema], path: Path | str | None = None, overrides: Sequence[str] = ()) -> Schema:
    """The defaults of a dataclass, changed by a YAML file, then by overrides.

    Args:
        schema: a dataclass with a type on each field; nested dataclasses are sections.
        path: YAML file, or None for the defaults.
        overrides: ``key=value`` with dots between sections and YAML values: ``losses.silhouette=1e-4``.

    Raises:
        InputError: lists every unknown key, wrong type and value beyond its limits (:mod:`gha.limits`), with its file,
            what was found and expected.
    """
    config = OmegaConf.structured(schema)
    if path is not None:
        _apply(config, schema, _read_yaml(Path(path)), str(path))
    if overrides:
        _apply(config, schema, _parse_overrides(overrides, schema), "command line")
    source = "command line" if path is None else f"{path}, command line" if overrides else str(path)
    try:
        missing = [name for key in OmegaConf.missing_keys(config) for name in _required_keys(schema, key)]
        if missing:
            raise InputError(
                f"{source}: no value for {', '.join(sorted(missing))}, which has no default; "
                "give it as key=value or in a file with --config"
            )
        loaded = typing.cast(Schema, OmegaConf.to_object(config))
    except OmegaConfBaseException as error:
        raise InputError(f"{source}: {_first_line(error)}") from error
    _complain(source, find_violations(loaded))
    return loaded


def save_config(config: Any, path: Path | str) -> None:
    """Write a dataclass instance as YAML that :func:`load_config` reads back to an equal one."""
    write_atomically(path, OmegaConf.to_yaml(OmegaConf.create(config_to_dict(config))))


def config_to_dict(config: Any) -> dict[str, Any]:
    """A dataclass instance as nested dictionaries of what JSON can hold, for example for a checkpoint's manifest."""
    return {field.name: _plain(getattr(config, field.name)) for field in fields(config)}


def read_saved_config(schema: type, path: Path | str) -> dict[str, Any]:
    """Values by dotted key of what :func:`save_config` wrote, with defaults for keys that are younger than the file."""
    defaults = typing.cast(dict[str, Any], OmegaConf.to_container(OmegaConf.structured(schema)))
    return flatten_keys(defaults) | flatten_keys(_read_yaml(Path(path)))


def flatten_keys(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` to ``{"a.b": 1}``."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten_keys(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _plain(value: Any) -> Any:
    """One value of a config as JSON would hold it."""
    if is_dataclass(value):
        return config_to_dict(value)
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value


def _read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping, with interpolations left as they are."""
    if not path.is_file():
        beside = sorted(entry.name for entry in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        hint = f"{path.parent}/ holds {', '.join(beside)}" if beside else f"no YAML file in {path.parent}/ either"
        raise InputError(f"no configuration file {path}: {hint}")
    try:
        loaded = OmegaConf.load(path)
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(loaded, DictConfig):
        raise InputError(f"{path}: expected a mapping of keys to values at the top level, found a list")
    return typing.cast(dict[str, Any], OmegaConf.to_container(loaded, resolve=False))


def _parse_overrides(overrides: Sequence[str], schema: type) -> dict[str, Any]:
    """``["a.b=1"]`` to ``{"a": {"b": 1}}``; the value of a text field is taken literally."""
    tree: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not all(key.split(".")):
            raise InputError(f"command line: expected key=value, found {override!r}")
        *sections, name = key.split(".")
        node = tree
        for section in sections:
            node = node.setdefault(section, {})
            if not isinstance(node, dict):
                raise InputError(f"command line: {override!r} contradicts an earlier value of {section}")
        node[name] = text if _is_text(_type_at(schema, key)) else _parse_value(override, text)
    return tree


def _parse_value(override: str, text: str) -> Any:
    """One YAML value of the command line; OmegaConf's reading, in which ``1e-4`` is a number."""
    try:
        return OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]), resolve=False)["value"]  # type: ignore[index, call-overload]
    except yaml.YAMLError as error:
        raise InputError(f"command line: the value of {override!r} is not valid YAML") from error


def _apply(config: DictConfig, schema: type, tree: Mapping[str, Any], source: str) -> None:
    """Merge ``tree`` into ``config``, collecting every problem before complaining."""
    problems: list[str] = []
    _merge(config, schema, tree, "", problems, known=_all_keys(schema))
    _complain(source, problems)


def _complain(source: str, problems: Sequence[str]) -> None:
    """All problems in one error, if there are any."""
    if problems:
        lines = problems if len(problems) == 1 else ["", *(f"  {problem}" for problem in problems)]
        raise InputError(f"{source}: " + "\n".join(lines))


def _merge(
    node: DictConfig, schema: type, tree: Mapping[str, Any], prefix: str, problems: list[str], known: list[str]
) -> None:
    """Merge one section key by key, so that each problem is reported with its full key."""
    OmegaConf.set_readonly(node, False)  # frozen dataclasses are schemas like any other
    hints = typing.get_type_hints(schema)
    for key, value in tree.items():
        full_key = f"{prefix}{key}"
        if key not in hints:
            problems.append(_unknown_key(full_key, prefix, hints, known))
            continue
        section = _section_type(hints[key])
        if section and isinstance(value, Mapping):
            if OmegaConf.is_missing(node, key) or node[key] is None:
                node[key] = OmegaConf.structured(section)
            _merge(node[key], section, value, f"{full_key}.", problems, known)
        elif hints[key] is str and not isinstance(value, str):
            problems.append(f'{full_key}: expected text, found {value!r}; put it in quotes, as in {key}: "031"')
        else:
            try:
                node.merge_with({key: _unread_boolean(value, hints[key])})
            except (OmegaConfBaseException, TypeError, ValueError):
                problems.append(f"{full_key}: expected {_describe_type(hints[key])}, found {value!r}")


def _unknown_key(full_key: str, prefix: str, hints: Mapping[str, Any], known: list[str]) -> str:
    """The complaint about a key that does not exist, with the likeliest one meant."""
    name = full_key.removeprefix(prefix)
    by_name = {key.rpartition(".")[2]: key for key in reversed(known)} | {
        sibling: prefix + sibling for sibling in hints
    }
    for names in (hints, by_name):
        close = difflib.get_close_matches(name, names, 1, 0.7)
        if close:
            return f"{full_key}: unknown key; did you mean {by_name[close[0]]}?"
    return f"{full_key}: unknown key; {prefix.rstrip('.') or 'the top level'} has {', '.join(hints)}"


def _all_keys(schema: type, prefix: str = "") -> list[str]:
    """Dotted names of every key of a schema, sections included."""
    keys = []
    for name, hint in typing.get_type_hints(schema).items():
        keys.append(prefix + name)
        section = _section_type(hint)
        if section:
            keys += _all_keys(section, f"{prefix}{name}.")
    return keys


def _type_at(schema: type, key: str) -> Any:
    """The type of a dotted key, or None where there is no such key."""
    hint: Any = schema
    for name in key.split("."):
        section = _section_type(hint)
        hint = typing.get_type_hints(section).get(name) if section else None
    return hint


def _is_text(hint: Any) -> bool:
    """Whether a value is text: any, or one of a few words."""
    words = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
    return hint is str or (bool(words) and all(isinstance(word, str) for word in words))


def _unread_boolean(value: Any, hint: Any) -> Any:
    """``off`` where it is one of the words of a field: YAML reads on, off, yes and no as booleans."""
    if isinstance(value, bool) and typing.get_origin(hint) is typing.Literal:
        words = ("on", "yes", "true") if value else ("off", "no", "false")
        return next((word for word in typing.get_args(hint) if word in words), value)
    return value


def _required_keys(schema: type, key: str) -> list[str]:
    """The dotted keys without default that a missing key stands for: its own, or those of a section."""
    section = _section_type(_type_at(schema, key))
    if section is None:
        return [key]
    required = OmegaConf.missing_keys(OmegaConf.structured(section))
    return [name for inner in required for name in _required_keys(schema, f"{key}.{inner}")]


def _section_type(hint: Any) -> type | None:
    """The dataclass a field holds, directly or optionally, or None for a plain value."""
    for candidate in (hint, *_union_members(hint)):
        if isinstance(candidate, type) and is_dataclass(candidate):
            return candidate
    return None


def _union_members(hint: Any) -> tuple[Any, ...]:
    """The members of ``A | B``, empty for anything else."""
    return typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else ()


def _describe_type(hint: Any) -> str:
    """A type in words, for error messages."""
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
    if hint in words:
        return words[hint]
    if hint is type(None):
        return "null"
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(map(str, typing.get_args(hint)))
    if _union_members(hint):
        return " or ".join(_describe_type(member) for member in _union_members(hint))
    if typing.get_origin(hint) is list:
        return "a list such as [a, b]"
    if _section_type(hint):
        return "a section with the keys " + ", ".join(field.name for field in fields(hint))
    return str(hint).removeprefix("<class '").removesuffix("'>")


def _first_line(error: Exception) -> str:
    """OmegaConf appends details of its own types on further lines."""
    return str(error).splitlines()[0]
