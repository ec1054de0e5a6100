"""Which failed requests are sent again, and how many of them at most: one state machine for both transports. Pure.

A request that the upstream may have acted on is sent again only if its method is safe (RFC 9110, 9.2.1) and the
configuration lists it. One whose connection could not even be opened was never sent, so any method may try elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from proxy.http.request import SAFE_METHODS
from proxy.upstream.receiver import FaultKind

NEVER = float("inf")
STALE_AFTER = 4.0
"""Seconds after which a kept connection is not trusted with a request that can't be repeated."""
_SHARE = 0.1
_RESERVE = 10.0
_RESETS = frozenset({FaultKind.RESET, FaultKind.GARBAGE})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The `retries` block of an upstream.

    Args:
        attempts: how often a request is sent again at most.
        connect: a request whose connection could not be opened is sent again.
        reset: so is one whose connection was reset before a response.
        statuses: the statuses of responses that count as failures.
        methods: the methods that may be sent again.
    """

    attempts: int
    connect: bool
    reset: bool
    statuses: frozenset[int]
    methods: frozenset[str]

    def repeats(self, method: str) -> bool:
        """Return whether a request of this method may be sent again after it was sent."""
        return self.attempts > 0 and method in self.methods and method in SAFE_METHODS

    def after_fault(self, method: str, kind: FaultKind) -> bool:
        """Return whether a request that ended in this fault may be sent again."""
        if kind is FaultKind.CONNECT:
            return self.attempts > 0 and self.connect
        return self.reset and kind in _RESETS and self.repeats(method)

    def after_status(self, method: str, status: int) -> bool:
        """Return whether a request may be sent again after a response with this status."""
        return status in self.statuses and self.repeats(method)


NO_RETRIES = RetryPolicy(0, connect=False, reset=False, statuses=frozenset(), methods=frozenset())


class RetryBudget:
    """A budget of one retry for ten requests, and a reserve of ten, so that retries can't overload an upstream."""

    __slots__ = ("_seen", "_tokens", "refused", "spent")

    def __init__(self) -> None:
        self._tokens = _RESERVE
        self._seen = 0
        self.spent = 0
        self.refused = 0

    def acquire(self, requests: int) -> bool:
        """Take one retry from the budget; False if it is spent. `requests`: how many were sent so far, with retries."""
        first = requests - self.spent
        self._tokens = min(_RESERVE, self._tokens + _SHARE * (first - self._seen))
        self._seen = first
        if self._tokens < 1:
            self.refused += 1
            return False
        self._tokens -= 1
        self.spent += 1
        return True


def longest_idle(method: str) -> float:
    """Return for how many seconds a kept connection may have been idle to be used for a request."""
    return NEVER if method in SAFE_METHODS else STALE_AFTER


@dataclass(slots=True)
class RetryState:
    """What has become of one request so far, and whether it may be sent again.

    Args:
        policy: of the upstream.
        afford: takes one retry from the upstream's budget; False where that is spent.
        endpoints: how many urls the upstream has.
        method: of the request.
        whole: its body, if any, is in memory, so that it can be sent again from the start.
    """

    policy: RetryPolicy
    afford: Callable[[], bool]
    endpoints: int
    method: str
    whole: bool
    spent: int = 0
    tried: list[Any] = field(default_factory=list)
    _stale: bool = False

    def again_after_fault(self, kind: FaultKind, endpoint: object) -> bool:
        """Return whether to send again after a fault; the endpoint that failed is avoided from then on.

        A kept connection that turned out to be closed costs nothing, once. What never reached an upstream costs none of
        the budget.
        """
        if kind is FaultKind.STALE and not self._stale and self.whole and self.method in SAFE_METHODS:
            self._stale = True
            return True
        self.tried.append(endpoint)
        if not self.policy.after_fault(self.method, kind):
            return False
        if kind is FaultKind.CONNECT:
            return len(self.tried) < max(self.endpoints, 1 + self.policy.attempts)
        return self._spend()

    def again_after_status(self, status: int, endpoint: object) -> bool:
        """Return whether to send again after a response with this status."""
        if not self.policy.after_status(self.method, status) or not self._spend():
            return False
        self.tried.append(endpoint)
        return True

    def _spend(self) -> bool:
        if not self.whole or self.spent >= self.policy.attempts or not self.afford():
            return False
        self.spent += 1
        return True
