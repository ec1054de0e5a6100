"""Globs over paths: `?` matches one character, `*` any characters of a segment, `**` any number of segments.

Globs are case-sensitive, match the whole text, and have no escapes or character classes. `a/**` matches `a` and
`a/b/c`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache


class GlobError(ValueError):
    """A malformed glob."""


@dataclass(frozen=True, slots=True)
class Glob:
    """A compiled glob."""

    text: str
    _regex: re.Pattern[str] = field(repr=False, compare=False)
    _before: str = field(default="", repr=False, compare=False)

    def matches(self, text: str) -> bool:
        """Return True if the whole text matches."""
        return self._regex.fullmatch(self._before + text) is not None


def _compile(text: str, one: str) -> str:
    """Return the regular expression of a glob without `**`; `one` is the expression for `?`.

    Each part after a `*`, except the last, matches at its first occurrence only. This is sufficient to find a match,
    and it prevents backtracking on hostile texts.
    """
    first, *parts = (
        "".join(one if char == "?" else re.escape(char) for char in part)
        for part in re.sub(r"\*+", "*", text).split("*")
    )
    body = [first, *(f"(?>{one}*?{part})" for part in parts[:-1]), *(f"{one}*{part}" for part in parts[-1:])]
    return "".join(body)


def _segment(text: str) -> str:
    return _compile(text, "[^/]")


def path_glob(text: str) -> Glob:
    """Return a compiled glob over `/`-separated segments. Raises GlobError if `**` is not a whole segment."""
    if not text:
        raise GlobError("an empty pattern matches nothing")
    segments = text.split("/")
    if any("**" in segment and segment != "**" for segment in segments):
        raise GlobError('"**" must be a whole segment, as in "a/**"')
    blocks = [""]
    for segment in segments:
        if segment == "**":
            blocks.append("")
        else:
            blocks[-1] += f"/{_segment(segment)}"
    first, *rest = blocks
    middle = (f"(?>(?:/[^/]*)*?{block}(?=/|\\Z))" for block in rest[:-1] if block)
    end = (f"(?:/[^/]*)*{block}" for block in rest[-1:])
    return Glob(text, re.compile("".join((first, *middle, *end)), re.DOTALL), "/")


def text_glob(text: str) -> Glob:
    """Return a compiled glob over a text without segments, such as an e-mail address; `*` matches any characters."""
    if not text:
        raise GlobError("an empty pattern matches nothing")
    return Glob(text, re.compile(_compile(text, "."), re.DOTALL))


def covers(general: str, special: str) -> bool:
    """Return True if the path glob `general` matches every text that `special` matches.

    The test is sound, but not complete: it may return False although `general` covers `special`.
    """
    if general in (special, "**"):
        return True
    wide, narrow = general.split("/"), special.split("/")
    if wide[-1] == "**":
        head = wide[:-1]
        body = narrow[: len(head)]
        return len(body) == len(head) and all(map(_covers_segment, head, body))
    return "**" not in narrow and len(wide) == len(narrow) and all(map(_covers_segment, wide, narrow))


def _covers_segment(general: str, special: str) -> bool:
    if general == special:
        return True
    if "**" in (general, special):
        return False
    if general == "*":
        return True
    return not set("*?") & set(special) and re.fullmatch(_segment(general), special) is not None


def intersects(one: str, other: str) -> bool:
    """Return False if no text can match both path globs. It may return True although no text does."""
    return _intersect(tuple(one.split("/")), tuple(other.split("/")))


@lru_cache(maxsize=4096)
def _intersect(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    if not one or not other:
        return all(segment == "**" for segment in one + other)
    if one[0] == "**":
        return _intersect(one[1:], other) or _intersect(one, other[1:])
    if other[0] == "**":
        return _intersect(one, other[1:]) or _intersect(one[1:], other)
    return _segments_intersect(one[0], other[0]) and _intersect(one[1:], other[1:])


def _segments_intersect(one: str, other: str) -> bool:
    if set("*?") & set(one) and set("*?") & set(other):
        return True
    wild, plain = (one, other) if set("*?") & set(one) else (other, one)
    return re.fullmatch(_segment(wild), plain) is not None
