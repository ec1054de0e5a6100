"""Rate limits per key, with bursts (generic cell rate algorithm). Pure: the caller passes the time.

A rejected request does not count. The table of keys is bounded: the least recently used keys are removed, and start
again with a full burst.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum

from proxy.bounded import BoundedCache

MAX_KEYS = 100_000
_MAX_NEWS = 10_000


class LimitKey(StrEnum):
    """Which requests are counted together."""

    IP = "ip"
    SESSION = "session"
    USER = "user"
    ROUTE = "route"


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """A rate limit.

    Args:
        name: the name in the configuration.
        requests: the number of requests per period.
        period: the length of the period, in seconds.
        burst: the number of requests at once.
        key: which requests are counted together.
    """

    name: str
    requests: int
    period: float
    burst: int
    key: LimitKey

    @property
    def policy_field(self) -> str:
        """The value of the header `ratelimit-policy` (draft-ietf-httpapi-ratelimit-headers, 3)."""
        return f'"{self.name}";q={self.requests};w={math.ceil(self.period)}'


@dataclass(frozen=True, slots=True)
class Rejection:
    """The rejection of a request over the limit; `retry_after` is in whole seconds."""

    settings: LimitSettings
    retry_after: int

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """The headers of the response."""
        limit = f'"{self.settings.name}";r=0;t={self.retry_after}'
        return (("ratelimit-policy", self.settings.policy_field), ("ratelimit", limit))


class RateLimiter:
    """The state of one limit: for each key, the time at which its full burst is available again.

    `each` is what a request costs, in seconds. While `shared`, requests are also noted for the other processes.
    """

    __slots__ = ("_news", "_tolerance", "_whole_at", "each", "settings", "shared")

    def __init__(self, settings: LimitSettings, max_keys: int = MAX_KEYS) -> None:
        self.settings = settings
        self.shared = False
        self.each = settings.period / settings.requests
        self._news: dict[Hashable, int] = {}
        self._tolerance = self.each * (settings.burst - 1)
        self._whole_at: BoundedCache[Hashable, float] = BoundedCache(max_keys)

    def allows(self, key: Hashable, now: float) -> bool:
        """Return True if a request would be allowed, without counting it."""
        return (self._whole_at.get(key) or 0.0) - now <= self._tolerance

    def acquire(self, key: Hashable, now: float) -> Rejection | None:
        """Count a request and return None, or return the rejection."""
        whole_at = max(self._whole_at.get(key) or 0.0, now)
        wait = whole_at - now - self._tolerance
        if wait > 1e-9:
            return Rejection(self.settings, max(1, math.ceil(wait)))
        self._whole_at.put(key, whole_at + self.each)
        if self.shared and (key in self._news or len(self._news) < _MAX_NEWS):
            self._news[key] = self._news.get(key, 0) + 1
        return None

    def take_news(self) -> dict[Hashable, int]:
        """Return how many requests were counted for each key since the last call."""
        news, self._news = self._news, {}
        return news

    def set_left(self, key: Hashable, left: float, now: float) -> None:
        """Set the time until the full burst of a key is available, as all processes together have counted."""
        self._whole_at.put(key, now + left + self.each * self._news.get(key, 0))


def address_key(address: str) -> Hashable:
    """Return the key of a client address. An IPv6 /64 has one key, because a client can use all of its addresses."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        return int(mapped) if mapped is not None else ("v6", int(parsed) >> 64)
    return int(parsed)
