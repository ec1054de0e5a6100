"""Login with `provider: local`: the gateway verifies the token and stores the session."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from proxy.http.credentials import key_of
from proxy.identity.jwks import KeySet
from proxy.identity.tokens import InvalidToken, TenantSettings, stored_part, unverified, verify
from proxy.sessions.store import Identity, Session, SessionStore, new_session, new_token


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Limits of sessions. Lifetimes are in hours, `idle_timeout` is in seconds; 0 means no limit."""

    default_hours: float
    max_hours: float
    idle_timeout: float
    max_per_user: int


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """What a client signs in with.

    Args:
        token: the identity provider's token.
        domain: the domain of the tenant; None means the default tenant.
        hours: the requested lifetime in hours; None means the default.
        ip: the client's address.
        user_agent: the client's user agent.
        instead_of: the keys of sessions that end first, so that they do not count for the limit per user.
        refresh_token: for playbooks of NoETL; or an empty text.
    """

    token: str
    domain: str | None
    hours: int | None
    ip: str
    user_agent: str
    instead_of: Sequence[bytes] = ()
    refresh_token: str = ""

    def __repr__(self) -> str:
        return f"LoginAttempt({self.domain})"


class LoginProvider(Protocol):
    """Trades a token of an identity provider for a session."""

    async def login(self, attempt: LoginAttempt) -> LoggedIn:
        """Create a session for the user of a token; see `LocalProvider.login`."""


@dataclass(frozen=True, slots=True)
class LocalProvider:
    """The login of `provider: local`, with tokens of the configured tenants only. `claims` are those that are used."""

    tenants: Mapping[str, tuple[TenantSettings, KeySet]]
    default_tenant: str | None
    store: SessionStore
    settings: SessionSettings
    claims: frozenset[str] = frozenset()

    async def login(self, attempt: LoginAttempt) -> LoggedIn:
        """Create a session for the user of a token.

        Raises:
            InvalidToken: the token was rejected.
            KeySetUnavailable: the tenant's keys can't be fetched.
            StoreError: the store is not available.
        """
        _, verified = await self.verify(attempt.token, attempt.domain)
        identity = stored_part(verified, self.claims)
        lifetime = self.hours(attempt.hours) * 3600
        session_token = new_token()
        key = key_of(session_token)
        assert key is not None  # noqa: S101 - a new token always has a key
        ip, user_agent = attempt.ip, attempt.user_agent
        wanted = new_session(key, identity, now=time.time(), lifetime=lifetime, ip=ip, user_agent=user_agent)
        for old in attempt.instead_of:
            if await self.store.get(old) is not None:
                await self.store.end(old)
        session = await self.store.create(key, wanted, max_per_user=self.settings.max_per_user)
        return LoggedIn(session_token, session)

    async def verify(
        self, token: str, domain: str | None, *, signature: bool = True
    ) -> tuple[TenantSettings, Identity]:
        """Return the tenant and the user of a token; without `signature` it is only decoded. Raises as `login`."""
        name = domain or self.default_tenant
        found = self.tenants.get(name.lower()) if name else None
        if found is None:
            known = ", ".join(tenant.domain for tenant, _ in self.tenants.values())
            raise InvalidToken("unknown tenant", detail=f"configured tenants: {known or 'none'}")
        return found[0], await verify(token, *found) if signature else unverified(token, found[0])

    def hours(self, wanted: int | None) -> float:
        """Return the lifetime of a session, in hours."""
        return min(wanted or self.settings.default_hours, self.settings.max_hours)

    @property
    def only_tenant(self) -> str:
        """The domain of the only tenant; empty if there are several."""
        domains = [tenant.domain for tenant, _ in self.tenants.values()]
        return domains[0] if len(domains) == 1 else ""


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """The result of a login. The token is sent to the client once and stored nowhere."""

    token: str
    session: Session

    def __repr__(self) -> str:
        return f"LoggedIn(session={self.session.id})"
