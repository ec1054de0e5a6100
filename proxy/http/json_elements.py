"""Large JSON arrays, parsed element by element. Pure.

A parser holds the interpreter until it returns, also in a thread: a list of 20 MB in one piece would stop the event
loop. Between two elements, other threads get their turn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from proxy.http.json import json_text

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def elements(data: bytes, member: str | None) -> Iterator[tuple[Any, str]]:
    """Yield the elements of an array, each with its text.

    Args:
        data: JSON, with nothing behind it.
        member: the name of the member of an object that is the array, and is there once; None if `data` is the array.

    Raises:
        ValueError: the data is not such JSON.
        RecursionError: an element is nested too deeply.
    """
    scanner = _Scanner(json_text(data))
    yield from scanner.array() if member is None else scanner.member(member)
    scanner.end()


class _Scanner:
    """Reads JSON value by value. Everything raises ValueError for what is not as expected."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def _skip_space(self) -> None:
        space = _SPACE.match(self._text, self._at)
        self._at = space.end() if space is not None else self._at

    def _next_is(self, char: str) -> bool:
        """Read a character, if it is the next."""
        self._skip_space()
        found = self._text.startswith(char, self._at)
        self._at += found
        return found

    def _require(self, char: str) -> None:
        if not self._next_is(char):
            raise ValueError(f"no {char}")

    def _value(self) -> tuple[Any, str]:
        """Read a value; return it, and its text."""
        self._skip_space()
        start = self._at
        value, self._at = _DECODER.raw_decode(self._text, start)
        return value, self._text[start : self._at]

    def array(self) -> Iterator[tuple[Any, str]]:
        """Yield each element of an array, and its text."""
        self._require("[")
        if self._next_is("]"):
            return
        while True:
            yield self._value()
            if not self._next_is(","):
                break
        self._require("]")

    def member(self, wanted: str) -> Iterator[tuple[Any, str]]:
        """Yield the same of a member of an object."""
        self._require("{")
        seen = False
        while True:
            name, _ = self._value()
            self._require(":")
            if name != wanted:
                self._value()
            elif seen:
                raise ValueError(f"{wanted} is there twice")
            else:
                seen = True
                yield from self.array()
            if not self._next_is(","):
                break
        self._require("}")
        if not seen:
            raise ValueError(f"no {wanted}")

    def end(self) -> None:
        """Require that nothing follows."""
        self._skip_space()
        if self._at != len(self._text):
            raise ValueError("more than one value")
