"""The library stays small and documented: lengths, types, docstrings, no print, no bare except."""

import ast
from pathlib import Path
from statistics import median, quantiles

import pytest

LIBRARY = Path(__file__).resolve().parents[1] / "lib" / "gha"
FILES = sorted(LIBRARY.glob("**/*.py"))
TREES = {path.relative_to(LIBRARY).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
Function = ast.FunctionDef | ast.AsyncFunctionDef
PRINTING_IS_THEIR_JOB = {"apps/cli.py", "apps/command.py", "apps/make_capture.py", "apps/validate.py"}


def nodes(*kinds):
    """Every syntax node of the given kinds, with the place it stands at."""
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, kinds):
                yield f"{name}:{getattr(node, 'lineno', 1)}", node


def length(function):
    """Lines of a function without its docstring and decorators."""
    lines = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None:
        lines -= first.end_lineno - first.lineno + 1
    return lines


def test_functions_are_short():
    lengths = {f"{place} {node.name}": length(node) for place, node in nodes(Function)}
    values = list(lengths.values())
    longest = sorted(lengths.items(), key=lambda item: -item[1])[:5]
    assert median(values) <= 10
    assert quantiles(values, n=10)[-1] <= 35, longest
    assert max(values) <= 75, longest


def test_files_are_short():
    sizes = {path.relative_to(LIBRARY).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert median(sizes.values()) <= 160
    long = {name: size for name, size in sizes.items() if size > 350}
    assert not long


def test_parameters_are_typed():
    typed, untyped = 0, []
    for place, node in nodes(Function):
        arguments = node.args
        positional = [*arguments.posonlyargs, *arguments.args]
        named = [argument for argument in [*positional, *arguments.kwonlyargs] if argument.arg not in ("self", "cls")]
        typed += sum(argument.annotation is not None for argument in named)
        untyped += [f"{place} {argument.arg}" for argument in named if argument.annotation is None]
    assert typed / (typed + len(untyped)) >= 0.95, untyped


def public_definitions(tree):
    """Public functions and classes of a module, and public methods of its public classes."""
    for node in tree.body:
        if isinstance(node, (*Function.__args__, ast.ClassDef)) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node)


@pytest.mark.parametrize("name", TREES)
def test_everything_public_is_documented(name):
    tree = TREES[name]
    assert ast.get_docstring(tree) or not tree.body, f"{name} has no module docstring"
    missing = [f"{name}:{node.lineno} {node.name}" for node in public_definitions(tree) if not ast.get_docstring(node)]
    assert not missing


def test_the_library_does_not_print():
    calls = [place for place, node in nodes(ast.Call) if isinstance(node.func, ast.Name) and node.func.id == "print"]
    assert not [place for place in calls if place.split(":")[0] not in PRINTING_IS_THEIR_JOB]


def test_no_error_is_swallowed_unnamed():
    assert not [place for place, node in nodes(ast.ExceptHandler) if node.type is None]
