"""What a rule, a filter of the journal or a check applies to: the parts of a request, with `*` for any text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any
from urllib.parse import parse_qsl

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from .messages import Request
from .texts import FieldName, FieldValue, Method, PathPattern, Text


class Glob:
    """A text in which `*` stands for anything but a slash, and `**` for anything.

    All ways to read the stars are followed at the same time, one bit for each: a regular expression would try them one
    after the other, which takes for ever with several stars.
    """

    __slots__ = ("_all", "_end", "_next", "_within", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._next: dict[str, int] = {}
        self._all = self._within = 0
        place = 0
        for part in re.split(r"(\*\*|\*)", text):
            if part == "**":
                self._all |= 1 << place
            elif part == "*":
                self._within |= 1 << place
            else:
                for character in part:
                    self._next[character] = self._next.get(character, 0) | 1 << place
                    place += 1
        self._end = 1 << place

    def fullmatch(self, text: str) -> bool:
        """Return whether a whole text is as expected."""
        at, following, stay, within = 1, self._next.get, self._all, self._within
        for character in text:
            kept = stay if character == "/" else stay | within
            at = (at & following(character, 0)) << 1 | at & kept
            if not at:
                return False
        return bool(at & self._end)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Match(BaseModel):
    """What is expected of a request; what is not given is not compared."""

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))

    method: Annotated[list[Method], BeforeValidator(_listed)] = Field([], description="One method, or a list.")
    path: PathPattern = Field("**", description="The path: `*` is anything but a slash, `**` anything.")
    query: dict[Text, Text] = Field({}, description="Parameters of the query; `*` is anything.")
    headers: dict[FieldName, FieldValue | None] = Field(
        {}, description="Header fields; `*` is anything, null: no such field."
    )
    body: dict[str, Any] = Field({}, description="Members of a JSON object, or parameters of a form.")
    body_contains: Text = Field("", description="A text that the body contains.")

    @cached_property
    def _path(self) -> Glob:
        return Glob(self.path)

    @cached_property
    def _methods(self) -> frozenset[str]:
        return frozenset(method.upper() for method in self.method)

    @cached_property
    def _query(self) -> Mapping[str, Glob]:
        return {name: _anything(value) for name, value in self.query.items()}

    @cached_property
    def _headers(self) -> Mapping[str, Glob | None]:
        return {name.lower(): None if v is None else _anything(v) for name, v in self.headers.items()}

    def matches(self, request: Request) -> bool:
        """Return whether a request is as expected."""
        if self._methods and request.method not in self._methods:
            return False
        if self.path != "**" and not self._path.fullmatch(request.path):
            return False
        if not all(expected.fullmatch(request.query.get(name, "\0")) for name, expected in self._query.items()):
            return False
        if not all(_field(expected, request.headers.get(name)) for name, expected in self._headers.items()):
            return False
        if self.body_contains and self.body_contains.encode() not in request.body:
            return False
        return not self.body or contains(body_members(request), self.body)


def _anything(text: str) -> Glob:
    return Glob(text.replace("*", "**") if "**" not in text else text)


def _field(expected: Glob | None, value: str | None) -> bool:
    return value is None if expected is None else value is not None and expected.fullmatch(value)


def body_members(request: Request) -> Any:
    """Return the JSON value of a body, or the parameters of a form; None if it is neither."""
    if request.content_type == "application/x-www-form-urlencoded":
        return dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
    try:
        return json.loads(request.body)
    except (ValueError, RecursionError):
        return None


def contains(found: Any, expected: Any) -> bool:
    """Return whether a value has all members of another one; lists must be equal."""
    if isinstance(expected, Mapping):
        return isinstance(found, Mapping) and all(n in found and contains(found[n], v) for n, v in expected.items())
    return bool(found == expected) and isinstance(found, bool) == isinstance(expected, bool)
