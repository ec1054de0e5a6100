"""The rules for header edits: which headers a route's `set` and `remove` may name, and which values `set` may give.

A problem is described without the value, which may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_FRAMING = frozenset({"content-length", "transfer-encoding", "trailer", "expect"})
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "te", "upgrade"})  # RFC 9110, 7.6.1
_OF_THE_GATEWAY = frozenset({"x-request-id", "x-session-token", "forwarded", "via", "traceparent"})
_PREFIXES_OF_THE_GATEWAY = ("x-user-", "x-forwarded-")
_CONTROL_NAMES = {"\r": "a line break", "\n": "a line break", "\0": "a NUL character"}


class Direction(StrEnum):
    """Which message an edit changes."""

    REQUEST = "request"
    RESPONSE = "response"


class Part(StrEnum):
    """Which list of an edit has a problem."""

    SET = "set"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class EditProblem:
    """A problem of one entry of an edit.

    Args:
        part: the list with the entry.
        entry: the entry's key in `set`, or its index in `remove`.
        is_value: True if the value in `set` is wrong, False if the name is.
        text: what is wrong; it never contains the value.
    """

    part: Part
    entry: str | int
    is_value: bool
    text: str


def edit_problems(direction: Direction, to_set: Mapping[str, str], to_remove: Sequence[str]) -> Iterator[EditProblem]:
    """Yield every problem of one edit."""
    first_spelling: dict[str, str] = {}
    for name, value in to_set.items():
        wrong_name = name_problem(name, direction)
        first = first_spelling.setdefault(name.lower(), name)
        if wrong_name is None and first != name:
            wrong_name = f'is the same header as "{first}"; keep one of them'
        if wrong_name is not None:
            yield EditProblem(Part.SET, name, False, wrong_name)
        wrong_value = value_problem(value)
        if wrong_value is not None:
            yield EditProblem(Part.SET, name, True, wrong_value)
    for index, name in enumerate(to_remove):
        wrong = name_problem(name, direction)
        if wrong is None and name.lower() in first_spelling:
            wrong = f'"{name}" is in set too; keep it in one of the two lists'
        elif wrong is not None:
            wrong = f'"{name}" {wrong}'
        if wrong is not None:
            yield EditProblem(Part.REMOVE, index, False, wrong)


def name_problem(name: str, direction: Direction) -> str | None:
    """Return why an edit may not name this header, or None if it may.

    Underscores count as hyphens, because many servers behind a gateway read them so.
    """
    if _TOKEN.fullmatch(name) is None:
        return "is not a header name: use letters, digits and hyphens"
    lowered = name.lower().replace("_", "-")
    if lowered in _FRAMING:
        return "frames the message: only the gateway sets or removes it"
    if lowered in _HOP_BY_HOP or lowered.startswith("proxy-"):
        return "is a hop-by-hop header: only the gateway sets or removes it"
    if lowered in _OF_THE_GATEWAY or lowered.startswith(_PREFIXES_OF_THE_GATEWAY):
        return "is set by the gateway: an edit can't set or remove it"
    if direction is Direction.REQUEST and lowered == "host":
        return "is set by the gateway: an edit can't set or remove it"
    if direction is Direction.RESPONSE and lowered.startswith("access-control-"):
        return "is set by the gateway: use the route's cors block"
    return None


def value_problem(value: str) -> str | None:
    """Return why a text can't be a header value, or None if it can; an empty value is allowed (RFC 9110, 5.5)."""
    for position, character in enumerate(value, 1):
        if character in _CONTROL_NAMES:
            return f"has {_CONTROL_NAMES[character]} at character {position}: a header value is one line of text"
        if ord(character) > 0xFF:
            return f"has a character outside Latin-1 at character {position}: a header value is Latin-1 text"
        if character not in " \t" and not character.isprintable():
            return f"has an invisible character at character {position}: a header value is visible text"
    if value != value.strip(" \t"):
        return "starts or ends with a space or tab: remove it"
    return None
