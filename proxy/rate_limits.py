"""Rate limits of requests: the key that a request counts for, and the error above the limit."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Hashable, Iterable, Sequence
from typing import Protocol

from proxy.errors import TooManyRequests
from proxy.policy.ratelimit import LimitKey, LimitSettings, RateLimiter, Rejection, address_key

_AT_ONCE = 500


class RateLimit:
    """One rate limit. `needs_session`: it can be applied only when the user is known."""

    __slots__ = ("_kind", "_refused", "limiter", "needs_session")

    def __init__(self, limiter: RateLimiter, refused: dict[str, int]) -> None:
        """Apply `limiter`; `refused` counts the requests that were refused, by the name of their limit."""
        self.limiter = limiter
        self._refused = refused
        self._kind = limiter.settings.key
        self.needs_session = self._kind in (LimitKey.SESSION, LimitKey.USER)

    def count(self, address: str, session: bytes, user_id: int | None, route: str) -> None:
        """Count a request. Raises TooManyRequests. Without a session its address counts."""
        key: Hashable
        if self._kind is LimitKey.SESSION and session:
            key = session
        elif self._kind is LimitKey.USER and user_id is not None:
            key = ("user", user_id)
        else:
            key = route if self._kind is LimitKey.ROUTE else address_key(address)
        rejection = self.limiter.acquire(key, time.monotonic())
        if rejection is not None:
            name = rejection.settings.name
            self._refused[name] = self._refused.get(name, 0) + 1
            raise too_many_requests(rejection)


def too_many_requests(rejection: Rejection) -> TooManyRequests:
    """Return the error of a request over a limit."""
    name = rejection.settings.name
    return TooManyRequests(rejection.retry_after, detail=f"over the rate limit {name}", headers=rejection.fields)


class SharedCounts(Protocol):
    """Counts the requests of several processes together."""

    async def count_requests(self, counted: Sequence[tuple[str, float, int]]) -> Sequence[float]:
        """Count requests: the name of a key, the seconds that each costs, their number.

        Returns for each key the seconds until its full burst is available. Raises StoreError.
        """


async def share(limits: Iterable[RateLimit], counts: SharedCounts) -> None:
    """Count with other processes what was counted here since the last call. Raises StoreError."""
    for limit in limits:
        limiter = limit.limiter
        limiter.shared = True
        news = list(limiter.take_news().items())
        for first in range(0, len(news), _AT_ONCE):
            some, each = news[first : first + _AT_ONCE], limiter.each
            left = await counts.count_requests([(_name(limiter.settings, key), each, count) for key, count in some])
            now = time.monotonic()
            for (key, _), seconds in zip(some, left, strict=True):
                limiter.set_left(key, seconds, now)


def _name(settings: LimitSettings, key: Hashable) -> str:
    """Return a name of a key that says nothing of whose it is."""
    return hashlib.sha256(f"{settings!r} {key!r}".encode()).hexdigest()[:32]
