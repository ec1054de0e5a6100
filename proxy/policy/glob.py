"""Globs over paths: `?` one character, `*` any run within a segment, `**` as a whole segment any number of them.

Case-sensitive, anchored at both ends, no escapes and no character classes. `a/**` matches `a` and `a/b/c`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache


class GlobError(ValueError):
    """A glob that is not well formed."""


@dataclass(frozen=True, slots=True)
class Glob:
    """A compiled glob. `matches` takes the text to judge."""

    text: str
    _regex: re.Pattern[str] = field(repr=False, compare=False)
    _before: str = field(default="", repr=False, compare=False)

    def matches(self, text: str) -> bool:
        """Whether the whole of `text` matches."""
        return self._regex.fullmatch(self._before + text) is not None


def _compile(text: str, one: str) -> str:
    """The regular expression of a glob without `**`; `one` is what `?` stands for.

    All but the last of the parts that follow a `*` are taken where they first occur, and never elsewhere: that is
    enough to find a match, and no text can make it try many ways.
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
    """Compile a glob over `/`-separated segments. Raises GlobError where `**` is not a whole segment."""
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
    """Compile a glob over a text without segments, such as an e-mail address: `*` is any run of characters."""
    if not text:
        raise GlobError("an empty pattern matches nothing")
    return Glob(text, re.compile(_compile(text, "."), re.DOTALL))


def covers(general: str, special: str) -> bool:
    """Whether every text that the path glob `special` matches is matched by `general` too.

    Sound, not complete: False where it can't tell.
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
    """Whether some text may match both path globs. Never False where one does; may be True where none does."""
    return _meet(tuple(one.split("/")), tuple(other.split("/")))


@lru_cache(maxsize=4096)
def _meet(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    if not one or not other:
        return all(segment == "**" for segment in one + other)
    if one[0] == "**":
        return _meet(one[1:], other) or _meet(one, other[1:])
    if other[0] == "**":
        return _meet(one, other[1:]) or _meet(one[1:], other)
    return _segments_meet(one[0], other[0]) and _meet(one[1:], other[1:])


def _segments_meet(one: str, other: str) -> bool:
    if set("*?") & set(one) and set("*?") & set(other):
        return True
    wild, plain = (one, other) if set("*?") & set(one) else (other, one)
    return re.fullmatch(_segment(wild), plain) is not None
