"""The state between requests: pending logins, codes, browser sessions and refresh tokens.

Every table has a maximum size and a lifetime, and removes its oldest entry when it is full. Handles are random, and the
keys are their SHA-256, so that a lookup does not compare secrets byte by byte.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from mock_server.randomness import handle

Value = TypeVar("Value")

TABLE_LIMIT = 100_000


class Clock(Protocol):
    """A source of the time."""

    def now(self) -> float:
        """Return the time in seconds since 1970."""
        ...


class Table(Generic[Value]):
    """A bounded map from random handles to values; an entry expires after a number of seconds.

    Args:
        clock: the time.
        source: the random source of the handles.
        limit: the maximum number of entries.
    """

    def __init__(self, clock: Clock, source: random.Random, limit: int = TABLE_LIMIT) -> None:
        self._clock = clock
        self._source = source
        self._limit = limit
        self._entries: dict[bytes, tuple[float, Value]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, value: Value, lifetime: float) -> str:
        """Store a value for `lifetime` seconds, and return its new handle."""
        new = handle(self._source)
        self.put(new, value, lifetime)
        return new

    def put(self, name: str, value: Value, lifetime: float) -> None:
        """Store a value under a given handle; its lifetime starts now."""
        now = self._clock.now()
        key = _digest(name)
        self._entries.pop(key, None)
        self._drop_expired(now)
        while len(self._entries) >= self._limit:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = (now + lifetime, value)

    def get(self, name: str) -> Value | None:
        """Return the value of a handle; None if it is unknown or has expired."""
        found = self._entries.get(_digest(name))
        return found[1] if found and found[0] > self._clock.now() else None

    def pop(self, name: str) -> Value | None:
        """Remove a handle and return its value as `get` does."""
        found = self._entries.pop(_digest(name), None)
        return found[1] if found and found[0] > self._clock.now() else None

    def remove(self, condition: Callable[[Value], bool]) -> int:
        """Remove every valid entry whose value meets the condition, and return their number."""
        now = self._clock.now()
        found = [key for key, (until, value) in self._entries.items() if until > now and condition(value)]
        for key in found:
            del self._entries[key]
        return len(found)

    def clear(self) -> None:
        """Remove all entries."""
        self._entries.clear()

    def _drop_expired(self, now: float) -> None:
        # Entries are in the order of their creation, and most have the same lifetime.
        while self._entries:
            oldest = next(iter(self._entries))
            if self._entries[oldest][0] > now:
                return
            del self._entries[oldest]


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()


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
        jkt: the thumbprint of the key that the tokens are bound to (RFC 9449), or None.
    """

    client_id: str
    subject: str
    scope: tuple[str, ...]
    audience: str | None = None
    nonce: str | None = None
    sid: str | None = None
    auth_time: int | None = None
    gty: str | None = None
    jkt: str | None = None


@dataclass(frozen=True, slots=True)
class Code:
    """An authorization code: bound to a client (in `grant`), a redirect URI and, with PKCE, a challenge."""

    grant: Authorization
    redirect_uri: str
    challenge: str | None
    family: str


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token. A token and all its successors form a `family`."""

    grant: Authorization
    family: str


@dataclass(frozen=True, slots=True)
class SpentToken:
    """A refresh token that was replaced at `at`, in seconds since 1970."""

    token: RefreshToken
    at: float


class RefreshTokens:
    """The refresh tokens. The use of a token that was replaced revokes its whole family (RFC 9700, 4.14)."""

    def __init__(self, clock: Clock, source: random.Random) -> None:
        self._clock = clock
        self._live: Table[RefreshToken] = Table(clock, source)
        self._spent: Table[SpentToken] = Table(clock, source)
        self._revoked: Table[bool] = Table(clock, source)

    def issue(self, grant: Authorization, family: str, lifetime: float) -> str:
        """Return a new token of `family`."""
        return self._live.add(RefreshToken(grant, family), lifetime)

    def find(self, token: str, leeway: float = 0.0) -> RefreshToken | None:
        """Return a valid token, or None.

        A token that was replaced more than `leeway` seconds ago revokes its family.
        """
        spent = self._spent.get(token)
        if spent is not None and self._clock.now() - spent.at >= leeway:
            self.revoke(spent.token.family)
            return None
        found = spent.token if spent is not None else self._live.get(token)
        return None if found is None or self._revoked.get(found.family) else found

    def rotate(self, token: str, found: RefreshToken, lifetime: float) -> str:
        """Mark `token` as used, and return its replacement."""
        if self._live.pop(token) is not None:
            self._spent.put(token, SpentToken(found, self._clock.now()), lifetime)
        return self.issue(found.grant, found.family, lifetime)

    def revoke(self, family: str) -> None:
        """Revoke every token of the family."""
        self._revoked.put(family, True, 366 * 86_400.0)

    def clear(self) -> None:
        """Remove all tokens."""
        for table in (self._live, self._spent, self._revoked):
            table.clear()
