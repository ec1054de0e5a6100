"""How many denials are written to the audit log one by one: a few per address and user; the others are counted. Pure.

Otherwise anyone could fill the log with denials until its older files are deleted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from proxy.policy.ratelimit import LimitKey, LimitSettings, RateLimiter

EACH = LimitSettings("audit", 1, 60.0, 20, LimitKey.IP)
"""The lines of one address without a session, or of one user: 20 at once, and one a minute."""
ALL_ADDRESSES = LimitSettings("audit", 60, 60.0, 200, LimitKey.ROUTE)
"""The lines of all requests without a session together."""
MAX_NAMED = 20
_MAX_COUNTED = 10_000


class Denied(NamedTuple):
    """Whose denials count together: those of a user, or those of an address without a session."""

    user_id: int | None
    address: str


class Counted(NamedTuple):
    """The number of denials that were not written; `who` is None for those of `others` users or addresses together."""

    who: Denied | None
    signed_in: bool
    number: int
    others: int


class DenialBudget:
    """Decides which denials are written, and counts the others."""

    __slots__ = ("_all", "_counts", "_each")

    def __init__(self) -> None:
        self._each: RateLimiter = RateLimiter(EACH)
        self._all: RateLimiter = RateLimiter(ALL_ADDRESSES)
        self._counts: Counter[Denied] = Counter()

    def admits(self, who: Denied, now: float) -> bool:
        """Return True if a denial at `now`, in seconds of a monotonic clock, is written; otherwise count it."""
        written = self._each.acquire(who, now) is None
        if written and who.user_id is None:
            written = self._all.acquire("", now) is None
        if not written:
            known = who in self._counts or len(self._counts) < _MAX_COUNTED
            self._counts[who if known else Denied(None, "")] += 1
        return written

    @property
    def has_counted(self) -> bool:
        """Whether there are denials that were not written since the last call of `take_counts`."""
        return bool(self._counts)

    def take_counts(self) -> Iterator[Counted]:
        """Return and reset the counts: those of the most active users and addresses, and those of the others."""
        counts, self._counts = self._counts, Counter()
        for signed_in in (True, False):
            of_kind = Counter({who: n for who, n in counts.items() if (who.user_id is not None) is signed_in})
            ranked = of_kind.most_common()
            yield from (Counted(who, signed_in, count, 0) for who, count in ranked[:MAX_NAMED])
            rest = ranked[MAX_NAMED:]
            if rest:
                yield Counted(None, signed_in, sum(count for _, count in rest), len(rest))
