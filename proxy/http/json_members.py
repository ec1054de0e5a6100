"""JSON texts with some members changed or added, and every other byte as it was. Pure.

Numbers are never parsed and written again: what is not changed is copied.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an object: its name, its value, and where the text of the value begins and ends."""

    name: str
    value: Any
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class JsonObject:
    """A JSON object with its text. `end` is where its closing brace is."""

    text: str
    members: tuple[Member, ...]
    end: int

    @property
    def values(self) -> dict[str, Any]:
        """The values of its members by name; of a name that is there twice, the last."""
        return {member.name: member.value for member in self.members}

    def text_of(self, name: str) -> str | None:
        """Return the text of a member's value; None if there is no such member."""
        found = [member for member in self.members if member.name == name]
        return self.text[found[-1].start : found[-1].end] if found else None

    def edited(self, changed: Mapping[str, str], added: Mapping[str, str]) -> str:
        """Return the text with other values.

        Args:
            changed: texts of values that take the place of those that are there; names that are not there are added.
            added: texts of values for names that are not there.
        """
        parts: list[str] = []
        at = 0
        for member in self.members:
            if member.name in changed:
                parts += (self.text[at : member.start], changed[member.name])
                at = member.end
        names = {member.name for member in self.members}
        new = [f"{json.dumps(name)}:{text}" for name, text in {**added, **changed}.items() if name not in names]
        parts.append(self.text[at : self.end])
        if new:
            parts.append(("," if self.members else "") + ",".join(new))
        parts.append(self.text[self.end :])
        return "".join(parts)


def read_object(text: str) -> JsonObject:
    """Return a JSON object with the places of its members.

    Raises:
        ValueError: the text is not one JSON object.
        RecursionError: it is nested too deeply.
    """
    at = _after_space(text, 0)
    _require(text, at, "{")
    at = _after_space(text, at + 1)
    members: list[Member] = []
    while not text.startswith("}", at):
        if members:
            _require(text, at, ",")
            at = _after_space(text, at + 1)
        name, at = _DECODER.raw_decode(text, at)
        if not isinstance(name, str):
            raise ValueError("a name that is not a text")
        at = _after_space(text, at)
        _require(text, at, ":")
        start = _after_space(text, at + 1)
        value, end = _DECODER.raw_decode(text, start)
        members.append(Member(name, value, start, end))
        at = _after_space(text, end)
    if _after_space(text, at + 1) != len(text):
        raise ValueError("more than one value")
    return JsonObject(text, tuple(members), at)


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found is not None else at


def _require(text: str, at: int, char: str) -> None:
    if not text.startswith(char, at):
        raise ValueError(f"no {char}")


class TextIds:
    """Writes ids that are numbers as texts, digit for digit, at any depth of a JSON text.

    JavaScript reads numbers as doubles, which have 53 bits for an integer; ids have 63.

    Args:
        names: the names of members with an id.
        lists: the names of members with a list of ids.
    """

    def __init__(self, names: Iterable[str], lists: Iterable[str] = ()) -> None:
        # A quote within a text is escaped: what follows {, a comma or space and is in quotes, with a colon behind it,
        # is the name of a member.
        one, many = "|".join(map(re.escape, names)), "|".join(map(re.escape, lists))
        self._one = re.compile(rf'(?<=[{{,\s])("(?:{one})"\s*:\s*)(-?[0-9]+)(?=[\s,}}])')
        self._many = re.compile(rf'(?<=[{{,\s])("(?:{many})"\s*:\s*\[)([0-9,\s]+)(?=\])') if many else None

    def written(self, text: str) -> str:
        """Return a JSON text with its ids as texts. The text must be JSON."""
        text = self._one.sub(r'\1"\2"', text)
        return text if self._many is None else self._many.sub(_quoted_list, text)


def _quoted_list(found: re.Match[str]) -> str:
    return found[1] + re.sub(r"[0-9]+", r'"\g<0>"', found[2])
