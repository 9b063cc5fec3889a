import ast
import importlib
import inspect
import pkgutil
from dataclasses import dataclass, field, fields, is_dataclass

import pytest

import gha
from gha.apps.config_help import describe_config, list_keys


@dataclass
class Inner:
    """An inner section."""

    rate: float = 1e-3
    """How fast
    it goes."""
    size: int = 3


@dataclass
class Base:
    """What all have."""

    name: str
    """Who."""


@dataclass
class Outer(Base):
    """All of it."""

    values: list[int] = field(default_factory=lambda: [1, 2])
    empty: dict[str, int] = field(default_factory=dict)
    plain: Inner = field(default_factory=Inner)
    """A plain section."""
    changed: Inner = field(default_factory=lambda: Inner(0.5, size=4))
    absent: Inner | None = None


def test_names_defaults_and_meanings():
    keys = {key.name: key for key in list_keys(Outer)}
    assert list(keys)[:4] == ["name", "values", "empty", "plain"]
    assert keys["name"].default is None
    assert keys["name"].meaning == "Who."
    assert keys["values"].default == "[1, 2]"
    assert keys["empty"].default == "{}"
    assert keys["plain"].meaning == "A plain section."
    assert keys["changed"].meaning == "An inner section."
    assert keys["plain.rate"].meaning == "How fast it goes."
    assert (keys["plain.rate"].default, keys["plain.size"].default) == ("0.001", "3")
    assert (keys["changed.rate"].default, keys["changed.size"].default) == ("0.5", "4")
    assert keys["absent.size"].kind == "int"


def test_the_text_for_help():
    text = describe_config(Outer)
    assert "  name: str (required)\n      Who." in text
    assert "  plain.rate: float = 0.001\n      How fast it goes." in text


def library_schemas():
    """Every dataclass of the library whose name ends in Config."""
    found = set()
    for module in pkgutil.walk_packages(gha.__path__, "gha."):
        path = importlib.util.find_spec(module.name).origin
        with open(path, encoding="utf-8") as file:
            tree = ast.parse(file.read())
        found |= {
            f"{module.name}:{node.name}"
            for node in tree.body
            if isinstance(node, ast.ClassDef) and node.name.endswith("Config") and node.decorator_list
        }
    return sorted(found)


@pytest.mark.parametrize("place", library_schemas())
def test_help_tells_the_truth_about_the_library(place):
    module, _, name = place.partition(":")
    schema = getattr(importlib.import_module(module), name)
    keys = list_keys(place)
    assert keys == list_keys(schema)
    required = {
        entry.name
        for entry in fields(schema)
        if inspect.signature(schema).parameters[entry.name].default is inspect.Parameter.empty
    }
    instance = schema(**{entry: None for entry in required})
    for key in keys:
        assert key.meaning, f"{place}: {key.name} has no docstring"
        if not key.is_section and key.name.split(".")[0] not in required:
            value = instance
            for part in key.name.split("."):
                value = getattr(value, part)
            assert is_dataclass(value) or ast.literal_eval(key.default) == value, f"{place}: {key.name}"
