"""What the tenant remembers between requests: logins under way, codes, browser sessions and refresh tokens.

Every table has a bound and a lifetime, and forgets its oldest entry when full. Handles handed to the outside are random
and only their SHA-256 is a key here, so a lookup does not compare a secret byte by byte.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar("Value")
Clock = Callable[[], float]

TABLE_LIMIT = 10_000
TRANSACTION_SECONDS = 30 * 60.0
CODE_SECONDS = 60.0
SESSION_SECONDS = 24 * 3600.0
REFRESH_SECONDS = 30 * 24 * 3600.0


class Table(Generic[Value]):
    """A bounded map from an unguessable handle to a value, whose entries live `lifetime` seconds."""

    def __init__(self, lifetime: float, limit: int = TABLE_LIMIT, clock: Clock = time.monotonic) -> None:
        self._lifetime = lifetime
        self._limit = limit
        self._clock = clock
        self._entries: dict[bytes, tuple[float, Value]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, value: Value) -> str:
        """Keep `value` and return the new handle to it."""
        handle = secrets.token_urlsafe(32)
        self.put(handle, value)
        return handle

    def put(self, handle: str, value: Value) -> None:
        """Keep `value` under a handle chosen by the caller; its lifetime starts now."""
        now = self._clock()
        key = _digest(handle)
        self._entries.pop(key, None)
        self._drop_expired(now)
        while len(self._entries) >= self._limit:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = (now + self._lifetime, value)

    def get(self, handle: str) -> Value | None:
        """The value, or None when the handle is unknown or its time is over."""
        found = self._entries.get(_digest(handle))
        return found[1] if found and found[0] > self._clock() else None

    def pop(self, handle: str) -> Value | None:
        """Like `get`, and the handle is unknown from now on."""
        found = self._entries.pop(_digest(handle), None)
        return found[1] if found and found[0] > self._clock() else None

    def remove(self, condition: Callable[[Value], bool]) -> int:
        """Forget every live entry whose value meets the condition; how many there were."""
        now = self._clock()
        found = [key for key, (until, value) in self._entries.items() if until > now and condition(value)]
        for key in found:
            del self._entries[key]
        return len(found)

    def _drop_expired(self, now: float) -> None:
        # One lifetime per table: insertion order is expiry order, so the expired entries are all at the front.
        while self._entries:
            oldest = next(iter(self._entries))
            if self._entries[oldest][0] > now:
                return
            del self._entries[oldest]


def _digest(handle: str) -> bytes:
    return hashlib.sha256(handle.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that has signed in. `sid` is public (it is in id_tokens); the cookie's value is not."""

    sid: str
    subject: str
    auth_time: int


@dataclass(frozen=True, slots=True)
class Authorization:
    """What one client may do for one user: everything a token is made from."""

    client_id: str
    subject: str
    scope: tuple[str, ...]
    audience: str | None = None
    nonce: str | None = None
    sid: str | None = None
    auth_time: int | None = None
    gty: str | None = None


@dataclass(frozen=True, slots=True)
class Code:
    """An authorization code: bound to a client (in `grant`), a redirect URI and, with PKCE, a challenge."""

    grant: Authorization
    redirect_uri: str
    challenge: str | None
    family: str


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """One link in a chain of rotating refresh tokens; the whole chain is its `family`."""

    grant: Authorization
    family: str


class RefreshTokens:
    """Refresh tokens that are replaced at each use; using a replaced one revokes the whole family (RFC 9700, 4.14)."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._live: Table[RefreshToken] = Table(REFRESH_SECONDS, clock=clock)
        self._spent: Table[str] = Table(REFRESH_SECONDS, clock=clock)
        self._revoked: Table[bool] = Table(REFRESH_SECONDS, clock=clock)

    def issue(self, grant: Authorization, family: str) -> str:
        """A new token in `family`."""
        return self._live.add(RefreshToken(grant, family))

    def find(self, token: str) -> RefreshToken | None:
        """The usable token behind this string. A spent one gives None and takes its family down with it."""
        spent = self._spent.get(token)
        if spent is not None:
            self.revoke(spent)
            return None
        found = self._live.get(token)
        return None if found is None or self._revoked.get(found.family) else found

    def rotate(self, token: str, found: RefreshToken) -> str:
        """Spend `token` and return the one that replaces it."""
        self._live.pop(token)
        self._spent.put(token, found.family)
        return self.issue(found.grant, found.family)

    def revoke(self, family: str) -> None:
        """Make every token of the family useless."""
        self._revoked.put(family, True)
