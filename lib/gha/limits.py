"""What the values of a configuration may be: said beside its fields, checked once for every command."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar

Config = TypeVar("Config")

_ATTRIBUTE = "__limits__"
_OTHERS = ""  # no field has this name


@dataclass(frozen=True)
class Limit:
    """What one field may be.

    Attributes:
        expected: in words, for the error message.
        accepts: whether a value is allowed, given it and the configuration it belongs to.
    """

    expected: str
    accepts: Callable[[Any, Any], bool]


def limited(others: Limit | None = None, /, **limits: Limit) -> Callable[[type[Config]], type[Config]]:
    """Class decorator of a configuration: limits by the names of its fields, and one for all other numbers."""

    def decorate(schema: type[Config]) -> type[Config]:
        setattr(schema, _ATTRIBUTE, limits if others is None else {**limits, _OTHERS: others})
        return schema

    return decorate


def at_least(low: float) -> Limit:
    """``low`` or more."""
    return Limit(f"at least {low:.10g}", lambda value, _: value >= low)


def above(low: float) -> Limit:
    """More than ``low``."""
    return Limit(f"above {low:.10g}", lambda value, _: value > low)


def between(low: float, high: float) -> Limit:
    """From ``low`` to ``high``, both included."""
    return Limit(f"{low:.10g} to {high:.10g}", lambda value, _: low <= value <= high)


def zero_or_at_least(low: float) -> Limit:
    """0, which stands for a default, or ``low`` and more."""
    return Limit(f"0 or at least {low:g}", lambda value, _: value == 0 or value >= low)


def zero_or_between(low: float, high: float) -> Limit:
    """0, which stands for a default, or from ``low`` to ``high``, both included."""
    return Limit(f"0 or {low:g} to {high:g}", lambda value, _: value == 0 or low <= value <= high)


def numbers(count: int, low: float = -math.inf, high: float = math.inf) -> Limit:
    """A list of ``count`` numbers from ``low`` to ``high``."""
    span = "" if math.isinf(low) else f" from {low:g} to {high:g}"
    return Limit(
        f"{count} numbers{span}",
        lambda value, _: len(value) == count and all(low <= number <= high for number in value),
    )


def find_violations(config: Any, prefix: str = "") -> list[str]:
    """One line per value of a configuration, sections included, that is not finite or beyond its limit."""
    limits: dict[str, Limit] = getattr(type(config), _ATTRIBUTE, {})
    lines = []
    for field in fields(config):
        value, key = getattr(config, field.name), f"{prefix}{field.name}"
        limit = limits.get(field.name, limits.get(_OTHERS) if _is_number(value) else None)
        if is_dataclass(value):
            lines += find_violations(value, f"{key}.")
        elif not _is_finite(value):
            lines.append(f"{key}: found {value!r}, expected {limit.expected if limit else 'finite numbers'}")
        elif limit and not limit.accepts(value, config):
            lines.append(f"{key}: found {value!r}, expected {limit.expected}")
    return lines


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    """Whether there is no NaN and no infinity in a number or in lists of numbers; anything else is finite."""
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)
