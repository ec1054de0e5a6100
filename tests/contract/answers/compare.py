"""Differences of answers, member by member, and the few that are explained."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from tests.contract.answers.table import FOLDER

_ABSENT = object()
SHOWN = 160


@dataclass(frozen=True, slots=True)
class Difference:
    """One member that differs. `request` is its name in the table, `member` its place in the answer."""

    request: str
    member: str
    recorded: str
    found: str

    def __str__(self) -> str:
        return f"{self.request}\n    {self.member}: recorded {self.recorded}, found {self.found}"


@dataclass(slots=True)
class Explained:
    """A difference that has a reason: both patterns must match. `of`: the servers that it is for."""

    of: frozenset[str]
    request: re.Pattern[str]
    member: re.Pattern[str]
    reason: str
    used: int = field(default=0)

    def covers(self, difference: Difference) -> bool:
        """Return whether it explains a difference, and count that."""
        found = bool(self.request.search(difference.request) and self.member.fullmatch(difference.member))
        self.used += found
        return found


def explanations(server: str) -> list[Explained]:
    """Return the explanations for a server, such as `mock-python`."""
    rows = yaml.safe_load((FOLDER / "explained.yaml").read_text("utf-8")) or []
    made = [
        Explained(frozenset(row["of"]), re.compile(row["request"]), re.compile(row["member"]), row["reason"])
        for row in rows
    ]
    return [one for one in made if server in one.of]


def differences(request: str, recorded: Any, found: Any, member: str = "") -> Iterator[Difference]:
    """Yield where two answers differ."""
    if isinstance(recorded, dict) and isinstance(found, dict):
        for key in dict.fromkeys((*recorded, *found)):
            yield from differences(
                request, recorded.get(key, _ABSENT), found.get(key, _ABSENT), f"{member}.{key}".lstrip(".")
            )
    elif isinstance(recorded, list) and isinstance(found, list):
        if len(recorded) != len(found):
            yield Difference(request, f"{member}.length", str(len(recorded)), str(len(found)))
        for place, (left, right) in enumerate(zip(recorded, found, strict=False)):
            yield from differences(request, left, right, f"{member}[{place}]")
    elif type(recorded) is not type(found) or recorded != found:
        yield Difference(request, member, _shown(recorded), _shown(found))


def _shown(value: Any) -> str:
    text = "nothing" if value is _ABSENT else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def unexplained(found: Sequence[Difference], explained: Sequence[Explained]) -> list[Difference]:
    """Return the differences without a reason."""
    return [difference for difference in found if not any(one.covers(difference) for one in explained)]
