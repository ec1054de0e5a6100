"""The members that NoETL's GUI reads of each response, from `gui.tsv`, and JSON as its JavaScript reads it.

A member is the way to it from the top: `entries[].path` is that of every entry, of which there is at least one. A rule
is a word of `RULES`, or `=` and the value, which is JSON or a name that the replay knows.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

_EXACT = 2**53
_STATUS = frozenset({"PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"})


class Rounded(float):
    """A whole number that JavaScript rounds."""


@dataclass(frozen=True, slots=True)
class Read:
    """A member that the GUI reads. `by` names the part of the GUI."""

    request: str
    member: str
    rule: str
    by: str


def table() -> list[Read]:
    """Return the rows of `gui.tsv`, in the order of the requests."""
    with Path(__file__).with_name("gui.tsv").open(newline="") as file:
        return [Read(*row) for row in list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]]


def javascript(data: bytes) -> Any:
    """Return the value of a JSON text; numbers are doubles, and whole ones over 2**53 are `Rounded`."""
    return json.loads(data, parse_int=lambda text: Rounded(text) if abs(int(text)) > _EXACT else int(text))


def rounded(value: Any, way: str = "") -> Iterator[str]:
    """Yield where a value has numbers that JavaScript rounds."""
    if isinstance(value, Rounded):
        yield way or "the whole"
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from rounded(member, f"{way}.{name}" if way else name)
    elif isinstance(value, list):
        for member in value:
            yield from rounded(member, f"{way}[]")


def members(value: Any, way: str) -> list[Any]:
    """Return the values at a member. Raises LookupError for one that is missing, or for a list without elements."""
    name, _, rest = way.partition(".")
    if not way:
        return [value]
    base, brackets, _ = name.partition("[]")
    if base:
        if not isinstance(value, dict) or base not in value:
            raise LookupError(f"no {base}")
        value = value[base]
    if not brackets:
        return members(value, rest)
    if not isinstance(value, list) or not value:
        raise LookupError(f"no elements in {base or 'the list'}")
    return [found for element in value for found in members(element, rest)]


def _is_time(value: Any) -> bool:
    try:
        return isinstance(value, str) and "T" in value and datetime.fromisoformat(value) is not None
    except ValueError:
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool | Rounded) and value >= 0


RULES: dict[str, Callable[[Any], bool]] = {
    "any": lambda value: True,
    "text": lambda value: isinstance(value, str) and value != "",
    "id": lambda value: isinstance(value, str) and value.isascii() and value.isdecimal(),
    "time": _is_time,
    "number": _is_number,
    "count": lambda value: type(value) is int and value > 0,
    "percent": lambda value: _is_number(value) and value <= 100,
    "bool": lambda value: isinstance(value, bool),
    "list": lambda value: isinstance(value, list),
    "list+": lambda value: isinstance(value, list) and value != [],
    "object": lambda value: isinstance(value, dict),
    "word": lambda value: value in _STATUS,
}
"""What a value must be; with a question mark at the end it may be null, too."""


def fits(value: Any, rule: str, names: Mapping[str, Any]) -> bool:
    """Return whether a value is as a rule says; `names` are values that a rule may name."""
    if rule.startswith("="):
        expected = _expected(rule[1:], names)
        return bool(value == expected and type(value) is type(expected))
    return (rule.endswith("?") and value is None) or RULES[rule.removesuffix("?")](value)


def _expected(text: str, names: Mapping[str, Any]) -> Any:
    if text in names:
        return names[text]
    if text.startswith("[") and text[1:-1] in names:
        return [names[text[1:-1]]]
    return text if text in _STATUS else json.loads(text)
