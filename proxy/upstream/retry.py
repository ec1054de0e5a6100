"""Which failed requests are sent again, and how many of them at most. Pure.

A request that the upstream may have acted on is sent again only if its method is safe (RFC 9110, 9.2.1) and the
configuration lists it. One whose connection could not even be opened was never sent, so any method may try elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.upstream.sink import FaultKind

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_SHARE = 0.1
_RESERVE = 10.0
_RESETS = frozenset({FaultKind.RESET, FaultKind.GARBAGE})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`attempts`: how often a request is sent again at most. `statuses`: answers that count as failures."""

    attempts: int
    connect: bool
    reset: bool
    statuses: frozenset[int]
    methods: frozenset[str]

    def repeats(self, method: str) -> bool:
        """Whether a request that was sent may be sent again."""
        return self.attempts > 0 and method in self.methods and method in SAFE

    def after_fault(self, method: str, kind: FaultKind) -> bool:
        """Whether a request that ended in this fault may be sent again."""
        if kind is FaultKind.CONNECT:
            return self.attempts > 0 and self.connect
        return self.reset and kind in _RESETS and self.repeats(method)

    def after_status(self, method: str, status: int) -> bool:
        """Whether a request that was answered so may be sent again."""
        return status in self.statuses and self.repeats(method)


NO_RETRIES = RetryPolicy(0, connect=False, reset=False, statuses=frozenset(), methods=frozenset())


class RetryBudget:
    """Allows one retry for ten requests, and a reserve of ten, so that retries never become a flood of their own."""

    __slots__ = ("_seen", "_tokens", "refused", "spent")

    def __init__(self) -> None:
        self._tokens = _RESERVE
        self._seen = 0
        self.spent = 0
        self.refused = 0

    def take(self, requests: int) -> bool:
        """Whether one more retry is allowed; `requests` is how many were sent so far, retries included."""
        first = requests - self.spent
        self._tokens = min(_RESERVE, self._tokens + _SHARE * (first - self._seen))
        self._seen = first
        if self._tokens < 1:
            self.refused += 1
            return False
        self._tokens -= 1
        self.spent += 1
        return True
