"""Rate limits of requests: the key that a request counts for, and the error above the limit."""

from __future__ import annotations

import time
from collections.abc import Hashable

from proxy.errors import TooManyRequests
from proxy.policy.ratelimit import LimitKey, RateLimiter, Rejection, address_key


class RateLimit:
    """One rate limit. `needs_session`: it can be applied only when the user is known."""

    __slots__ = ("_kind", "_limiter", "_refused", "needs_session")

    def __init__(self, limiter: RateLimiter, refused: dict[str, int]) -> None:
        """Apply `limiter`; `refused` counts the requests that were refused, by the name of their limit."""
        self._limiter = limiter
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
        rejection = self._limiter.acquire(key, time.monotonic())
        if rejection is not None:
            name = rejection.settings.name
            self._refused[name] = self._refused.get(name, 0) + 1
            raise too_many_requests(rejection)


def too_many_requests(rejection: Rejection) -> TooManyRequests:
    """Return the error of a request over a limit."""
    name = rejection.settings.name
    return TooManyRequests(rejection.retry_after, detail=f"over the rate limit {name}", headers=rejection.fields)
