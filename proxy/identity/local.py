"""Signing in with the gateway's own means: it verifies the token and keeps the session."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from proxy.http.credentials import key_of
from proxy.identity.jwks import KeySet
from proxy.identity.tokens import InvalidToken, TenantSettings, verify
from proxy.sessions.store import Session, SessionStore, new_session, new_token


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Lifetimes in hours as configured; `idle_timeout` in seconds, 0 is none."""

    default_hours: float
    max_hours: float
    idle_timeout: float
    max_per_user: int


@dataclass(frozen=True, slots=True)
class LocalProvider:
    """`provider: local`. The tenants are those of the configuration and no others."""

    tenants: Mapping[str, tuple[TenantSettings, KeySet]]
    default_tenant: str | None
    store: SessionStore
    settings: SessionSettings

    async def login(
        self,
        token: str,
        domain: str | None,
        hours: int | None,
        *,
        ip: str,
        user_agent: str,
        instead_of: Sequence[bytes] = (),
    ) -> LoggedIn:
        """Return a new session for the token's user.

        The sessions of the keys `instead_of` end before it begins, so that they do not count where the number of a
        user's sessions is limited.

        Raises InvalidToken, KeySetUnavailable or StoreError.
        """
        name = domain or self.default_tenant
        found = self.tenants.get(name.lower()) if name else None
        if found is None:
            raise InvalidToken("unknown tenant")
        identity = await verify(token, *found)
        lifetime = min(hours or self.settings.default_hours, self.settings.max_hours) * 3600
        session_token = new_token()
        key = key_of(session_token)
        assert key is not None  # noqa: S101 - a new token always has a key
        wanted = new_session(key, identity, now=time.time(), lifetime=lifetime, ip=ip, user_agent=user_agent)
        for old in instead_of:
            if await self.store.get(old) is not None:
                await self.store.end(old)
        session = await self.store.create(key, wanted, max_per_user=self.settings.max_per_user)
        return LoggedIn(session_token, session)

    def alive(self, session: Session) -> bool:
        """Return whether a session is valid now."""
        return session.alive(time.time(), self.settings.idle_timeout)

    def note_use(self, key: bytes, session: Session) -> None:
        """Note that a session is used; the store is told only now and then."""
        now = time.time()
        if now - session.last_seen_at > self._touch_after():
            self.store.touch(key, now)

    def _touch_after(self) -> float:
        return min(60.0, self.settings.idle_timeout / 10) if self.settings.idle_timeout else 60.0


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """What a login made. The token is told to the client once and kept nowhere."""

    token: str
    session: Session

    def __repr__(self) -> str:
        return f"LoggedIn(session={self.session.id})"
