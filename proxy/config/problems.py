"""Problems of a configuration, each with its place."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

Path = tuple[str | int, ...]
_SHORT = 4
_PLAIN_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,27}")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in a file. Line and column start at 1; line 0 means a source without lines, such as a variable."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake: its place, its key, and a text that says what is wrong and what to write instead."""

    place: Place
    key: str
    text: str

    def __str__(self) -> str:
        line = f"{self.place}: {self.key}: {self.text}" if self.key else f"{self.place}: {self.text}"
        return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)


class ConfigError(Exception):
    """The configuration is invalid. `problems` holds every mistake, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(map(str, self.problems)))


def hide_secrets(secrets: Iterable[str], problems: Iterable[Problem]) -> list[Problem]:
    """Return the problems with every secret in their texts replaced; a short secret is replaced only in quotes."""
    shown = list(problems)
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        wanted = secret if len(secret) >= _SHORT else f'"{secret}"'
        shown = [replace(one, text=one.text.replace(wanted, "[hidden]")) for one in shown]
    return shown


def key_of_unknown(path: Path) -> str:
    """Return the path of an unknown key as text, without the key if it does not look like one.

    It may be a line of a file that is no configuration, with something secret.
    """
    plain = isinstance(path[-1], int) or _PLAIN_KEY.fullmatch(path[-1])
    return key_of(path if plain else path[:-1])


def key_of(path: Path) -> str:
    """Return a path as text: `("acl", "rules", 0, "allow")` is `acl.rules[0].allow`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def suggest(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean "…"?)` if a known word is similar, otherwise an empty text."""
    names = list(known)
    same = [name for name in names if name.lower() == word.lower()]
    close = same or difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f' (did you mean "{close[0]}"?)' if close else ""
