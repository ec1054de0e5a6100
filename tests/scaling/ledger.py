"""What clients were answered, what they saw of it afterwards, and whether that agrees. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

ACCEPTED_SECONDS = 1.0
"""How long after the answer to a logout a gateway may still accept the session."""
_ENOUGH = 50
"""Fewer of anything would prove nothing."""


class Row(NamedTuple):
    """A line of the table: what was promised, how often it was answered, how often it was broken, and a remark."""

    promise: str
    answered: int
    broken: int
    remark: str = ""


@dataclass(slots=True)
class Ledger:
    """The facts of a run.

    Args:
        alive: tokens of sessions whose login was answered.
        ended: the time of the answer to the logout, by token.
        lost: tokens of sessions that were alive and refused.
        revived: tokens that were accepted too long after their end.
        longest: the longest time for which an ended session was accepted, in seconds.
        owed: results whose callback was answered, by request id; `followed` those without a callback.
        seen: how often the client has seen the result of a request, in each position of its stream once.
        statuses: the statuses of relayed requests with a session that is alive; 0 stands for a broken connection.
    """

    alive: set[str] = field(default_factory=set)
    ended: dict[str, float] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    revived: set[str] = field(default_factory=set)
    longest: float = 0.0
    owed: set[str] = field(default_factory=set)
    followed: set[str] = field(default_factory=set)
    seen: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)

    def used_alive(self, token: str, status: int) -> None:
        """Note the status of a request with a session that must be valid; others than 200 and 401 decide nothing."""
        self.statuses[status] += 1
        if status == 401 and token in self.alive:
            self.lost.add(token)

    def used_ended(self, token: str, status: int, sent_at: float) -> None:
        """Note the status of a request, sent at a time, with a session that has ended."""
        after = sent_at - self.ended[token]
        if status == 200 and after > 0:
            self.longest = max(self.longest, after)
            if after > ACCEPTED_SECONDS:
                self.revived.add(token)

    @property
    def missing(self) -> int:
        """How many results have not been seen yet."""
        return len((self.owed | self.followed) - self.seen.keys())

    def rows(self) -> list[Row]:
        """Return the table."""
        twice = sum(count - 1 for count in self.seen.values())
        owed, followed = self.owed - self.seen.keys(), self.followed - self.owed - self.seen.keys()
        return [
            Row("answered logins are valid at each gateway", len(self.alive) + len(self.ended), len(self.lost)),
            Row(
                f"ended sessions are refused after {ACCEPTED_SECONDS:g} s",
                len(self.ended),
                len(self.revived),
                f"longest {self.longest * 1000:.0f} ms",
            ),
            Row("results whose callback was answered arrive", len(self.owed), len(owed)),
            Row("results without a callback arrive", len(self.followed - self.owed), len(followed)),
            Row("results arrive once", len(self.seen), twice),
        ]

    def verdict(self) -> list[str]:
        """Return what is wrong; nothing if all promises were kept, often enough to mean something."""
        broken = [f"{row.promise}: {row.broken} of {row.answered} not" for row in self.rows() if row.broken]
        few = [f"{row.promise}: only {row.answered}" for row in self.rows() if row.answered < _ENOUGH]
        return broken + few


def table(rows: Sequence[Row]) -> str:
    """Return the table for people."""
    width = max(len(row.promise) for row in rows)
    lines = [f"{'what clients were promised':{width}}  answered  broken"]
    lines += [f"{row.promise:{width}}  {row.answered:8}  {row.broken:6}  {row.remark}".rstrip() for row in rows]
    return "\n".join(lines)
