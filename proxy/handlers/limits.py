"""Applies a rate limit to requests: whose request it is, and the answer to one too many."""

from __future__ import annotations

import time
from collections.abc import Hashable

from proxy.errors import TooManyRequests
from proxy.policy.ratelimit import LimitKey, RateLimiter, Refusal, address_key


class Limiter:
    """One rate limit. `needs_session`: it can be applied only when it is known who is asking."""

    __slots__ = ("_kind", "_rate", "needs_session")

    def __init__(self, rate: RateLimiter) -> None:
        self._rate = rate
        self._kind = rate.settings.key
        self.needs_session = self._kind in (LimitKey.SESSION, LimitKey.USER)

    def _key(self, address: str, session: bytes, user_id: int | None, route: str) -> Hashable:
        if self._kind is LimitKey.SESSION and session:
            return session
        if self._kind is LimitKey.USER and user_id is not None:
            return ("user", user_id)
        return route if self._kind is LimitKey.ROUTE else address_key(address)

    def allows(self, address: str, session: bytes, user_id: int | None, route: str) -> bool:
        """Whether a request would be allowed; it is not counted."""
        return self._rate.allows(self._key(address, session, user_id, route), time.monotonic())

    def take(self, address: str, session: bytes, user_id: int | None, route: str) -> None:
        """Count a request. Raises TooManyRequests. Without a session its address counts."""
        refusal = self._rate.take(self._key(address, session, user_id, route), time.monotonic())
        if refusal is not None:
            raise too_many(refusal)


def too_many(refusal: Refusal) -> TooManyRequests:
    """The answer to a request over a limit."""
    name = refusal.settings.name
    return TooManyRequests(refusal.retry_after, detail=f"over the rate limit {name}", headers=refusal.fields)
