"""The state between requests: pending logins, codes, browser sessions and refresh tokens.

Every table has a maximum size and a lifetime, and removes its oldest entry when it is full. Handles are random, and the
keys are their SHA-256, so that a lookup does not compare secrets byte by byte.
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
    """A bounded map from random handles to values; an entry expires after `lifetime` seconds."""

    def __init__(self, lifetime: float, limit: int = TABLE_LIMIT, clock: Clock = time.monotonic) -> None:
        self._lifetime = lifetime
        self._limit = limit
        self._clock = clock
        self._entries: dict[bytes, tuple[float, Value]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, value: Value) -> str:
        """Store a value and return its new handle."""
        handle = secrets.token_urlsafe(32)
        self.put(handle, value)
        return handle

    def put(self, handle: str, value: Value) -> None:
        """Store a value under a given handle; its lifetime starts now."""
        now = self._clock()
        key = _digest(handle)
        self._entries.pop(key, None)
        self._drop_expired(now)
        while len(self._entries) >= self._limit:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = (now + self._lifetime, value)

    def get(self, handle: str) -> Value | None:
        """Return the value of a handle; None if it is unknown or has expired."""
        found = self._entries.get(_digest(handle))
        return found[1] if found and found[0] > self._clock() else None

    def pop(self, handle: str) -> Value | None:
        """Remove a handle and return its value as `get` does."""
        found = self._entries.pop(_digest(handle), None)
        return found[1] if found and found[0] > self._clock() else None

    def remove(self, condition: Callable[[Value], bool]) -> int:
        """Remove every valid entry whose value meets the condition, and return their number."""
        now = self._clock()
        found = [key for key, (until, value) in self._entries.items() if until > now and condition(value)]
        for key in found:
            del self._entries[key]
        return len(found)

    def _drop_expired(self, now: float) -> None:
        # All entries have the same lifetime, so the expired entries are the first ones.
        while self._entries:
            oldest = next(iter(self._entries))
            if self._entries[oldest][0] > now:
                return
            del self._entries[oldest]


def _digest(handle: str) -> bytes:
    return hashlib.sha256(handle.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class Session:
    """The session of a browser. `sid` is public, because it is in id_tokens; the value of the cookie is secret."""

    sid: str
    subject: str
    auth_time: int


@dataclass(frozen=True, slots=True)
class Authorization:
    """The permission of a client to act for a user: the data for tokens.

    Args:
        client_id: the client.
        subject: the user.
        scope: the granted scopes.
        audience: the API identifier, or None.
        nonce: the nonce of the login, or None.
        sid: the id of the browser session, or None.
        auth_time: the time of the login, in seconds since 1970, or None.
        gty: the grant type, for access tokens, or None.
    """

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
    """A refresh token. It is replaced at each use; a token and all its successors form a `family`."""

    grant: Authorization
    family: str


class RefreshTokens:
    """The refresh tokens. The use of a token that was replaced revokes its whole family (RFC 9700, 4.14)."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._live: Table[RefreshToken] = Table(REFRESH_SECONDS, clock=clock)
        self._spent: Table[str] = Table(REFRESH_SECONDS, clock=clock)
        self._revoked: Table[bool] = Table(REFRESH_SECONDS, clock=clock)

    def issue(self, grant: Authorization, family: str) -> str:
        """Return a new token of `family`."""
        return self._live.add(RefreshToken(grant, family))

    def find(self, token: str) -> RefreshToken | None:
        """Return a valid token; None if it is unknown, or if it was used before, which revokes its family."""
        spent = self._spent.get(token)
        if spent is not None:
            self.revoke(spent)
            return None
        found = self._live.get(token)
        return None if found is None or self._revoked.get(found.family) else found

    def rotate(self, token: str, found: RefreshToken) -> str:
        """Mark `token` as used, and return its replacement."""
        self._live.pop(token)
        self._spent.put(token, found.family)
        return self.issue(found.grant, found.family)

    def revoke(self, family: str) -> None:
        """Revoke every token of the family."""
        self._revoked.put(family, True)
