"""Rate limits: how many requests a key may make, evenly over time with bursts (GCRA). Pure: the caller brings the time.

A request that is refused costs nothing. Keys are forgotten when they are not used, and when more than the table holds
come at once, the ones used longest ago first; those then begin anew.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum

from proxy.bounded import BoundedCache

MAX_KEYS = 100_000


class LimitKey(StrEnum):
    """Whose requests are counted together."""

    IP = "ip"
    SESSION = "session"
    USER = "user"
    ROUTE = "route"


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """`requests` in `period` seconds, and `burst` of them at once."""

    name: str
    requests: int
    period: float
    burst: int
    key: LimitKey

    @property
    def policy_field(self) -> str:
        """The `ratelimit-policy` field (draft-ietf-httpapi-ratelimit-headers, 3)."""
        return f'"{self.name}";q={self.requests};w={math.ceil(self.period)}'


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request over the limit; `retry_after` in whole seconds."""

    settings: LimitSettings
    retry_after: int

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """The fields of the answer."""
        limit = f'"{self.settings.name}";r=0;t={self.retry_after}'
        return (("ratelimit-policy", self.settings.policy_field), ("ratelimit", limit))


class RateLimiter:
    """Counts the requests of one limit. It remembers, for each key, when its burst would be whole again."""

    __slots__ = ("_each", "_tolerance", "_whole_at", "settings")

    def __init__(self, settings: LimitSettings, max_keys: int = MAX_KEYS) -> None:
        self.settings = settings
        self._each = settings.period / settings.requests
        self._tolerance = self._each * (settings.burst - 1)
        self._whole_at: BoundedCache[Hashable, float] = BoundedCache(max_keys)

    def allows(self, key: Hashable, now: float) -> bool:
        """Whether a request would be allowed; it is not counted."""
        return (self._whole_at.get(key) or 0.0) - now <= self._tolerance

    def take(self, key: Hashable, now: float) -> Refusal | None:
        """Count a request, or refuse it."""
        whole_at = max(self._whole_at.get(key) or 0.0, now)
        wait = whole_at - now - self._tolerance
        if wait > 1e-9:
            return Refusal(self.settings, max(1, math.ceil(wait)))
        self._whole_at.put(key, whole_at + self._each)
        return None


def address_key(address: str) -> Hashable:
    """What stands for a client's address: an IPv6 client has a whole /64 to choose from, so that is one key."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        return int(mapped) if mapped is not None else ("v6", int(parsed) >> 64)
    return int(parsed)
