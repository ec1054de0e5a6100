"""The journal: the last requests and what was answered, with filters, counts and checks."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .masking import Masks
from .matching import Match
from .messages import Request, Response

MAX_ENTRIES = 10_000
MAX_BYTES = 64 * 1024 * 1024
MAX_BODY_SHOWN = 16 * 1024
_ENTRY_BYTES, _FIELD_BYTES = 1_000, 200


@dataclass(slots=True, eq=False)
class Entry:
    """A request in the journal.

    Args:
        number: its number, from 1 on.
        time: when it came, in seconds since 1970 by the sandbox's clock.
        request: the request.
        rule: the name of the rule that applied, or empty.
        status: the status of the response, once there is one.
        digest: the SHA-256 of its body, unless the body was streamed.
        seconds: how long that took.
        size: about how many bytes of memory the entry takes.
    """

    number: int
    time: float
    request: Request
    rule: str = ""
    status: int | None = None
    digest: bytes = b""
    seconds: float = 0.0
    size: int = 0

    def answer(self, response: Response, seconds: float = 0.0) -> None:
        """Note the response; its body, which may be large, is not kept."""
        self.status, self.seconds = response.status, seconds
        self.digest = hashlib.sha256(response.body).digest() if response.stream is None else b""

    def data(self, masks: Masks, timing: bool = True) -> dict[str, Any]:
        """Return the entry as JSON data, with credentials masked; without `timing` equal runs have equal entries."""
        request = self.request
        shown: dict[str, Any] = {
            "number": self.number,
            "time": self.time,
            "method": request.method,
            "path": request.path,
            "query": masks.query(request.query_string),
            "headers": masks.headers(request.fields),
            "body": masks.body(request.body[:MAX_BODY_SHOWN], request.content_type),
            "body_length": len(request.body),
            "rule": self.rule or None,
            "status": self.status,
            "response_sha256": self.digest.hex() or None,
            "milliseconds": round(self.seconds * 1000, 3),
        }
        if not timing:
            del shown["milliseconds"]
        return shown


class Filter(BaseModel):
    """Which entries of the journal are meant."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: Match = Match()
    status: int | None = None
    rule: str | None = None
    after: int = Field(0, description="Only entries with a higher number.")

    def matches(self, entry: Entry) -> bool:
        """Return whether an entry is meant."""
        if entry.number <= self.after or (self.rule is not None and entry.rule != self.rule):
            return False
        if self.status is not None and entry.status != self.status:
            return False
        return self.match.matches(entry.request)


class Check(Filter):
    """How many requests of a kind are expected."""

    exactly: Annotated[int, Field(ge=0)] | None = None
    at_least: Annotated[int, Field(ge=0)] | None = Field(None, description="Default, if nothing is given: 1.")
    at_most: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _can_hold(self) -> Self:
        least, most = self.at_least or 0, self.at_most
        for name, number in (("exactly", self.exactly), ("at_most", most)):
            if number is not None and number < least:
                raise ValueError(f"at_least {least} and {name} {number} contradict each other: no number is both")
        if self.exactly is not None and most is not None and self.exactly > most:
            raise ValueError(f"exactly {self.exactly} and at_most {most} contradict each other: no number is both")
        return self

    def holds(self, count: int) -> bool:
        """Return whether a number is as expected."""
        if self.exactly is not None and count != self.exactly:
            return False
        if self.at_most is not None and count > self.at_most:
            return False
        least = self.at_least
        if least is None:
            least = 1 if self.exactly is None and self.at_most is None else 0
        return count >= least


class Journal:
    """A bounded list of entries; the oldest ones go first."""

    def __init__(self, limit: int = MAX_ENTRIES, limit_bytes: int = MAX_BYTES, seed: str | None = None) -> None:
        """`seed` makes the masks of credentials the same in all runs."""
        self.masks = Masks.of_seed(seed)
        self._entries: deque[Entry] = deque()
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self.total = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, time: float, request: Request, rule: str = "") -> Entry:
        """Add a request; its response is set later."""
        self.total += 1
        size = _ENTRY_BYTES + _FIELD_BYTES * len(request.fields) + len(request.body) + len(request.target)
        entry = Entry(self.total, time, request, rule, size=size)
        self._entries.append(entry)
        self._bytes += size
        while len(self._entries) > self._limit or self._bytes > self._limit_bytes:
            self._bytes -= self._entries.popleft().size
        return entry

    def clear(self) -> None:
        """Remove all entries; numbers begin at 1 again."""
        self._entries.clear()
        self._bytes = self.total = 0

    def find(self, wanted: Filter) -> Iterator[Entry]:
        """Return the entries that are meant, oldest first."""
        return (entry for entry in self._entries if wanted.matches(entry))

    def counts(self, wanted: Filter) -> dict[str, int]:
        """Return how many of the entries that are meant there are by method, path and status, most frequent first."""
        found: dict[str, int] = {}
        for entry in self.find(wanted):
            status = entry.status if entry.status is not None else "open"
            key = f"{entry.request.method} {entry.request.path[:200]} {status}"
            found[key] = found.get(key, 0) + 1
        return dict(sorted(found.items(), key=lambda item: -item[1])[:200])
