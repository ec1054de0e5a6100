"""Who a request comes from: the session of its token, with the roles and rules of the configuration in force."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from proxy.bounded import BoundedCache
from proxy.errors import GatewayError, Unauthorized
from proxy.http.credentials import OWN_TOKENS, Credentials, TokenForm
from proxy.http.identity_headers import User
from proxy.http.json import write_json
from proxy.observe.logs import get_logger
from proxy.policy.acl import AccessPolicy, Permits, Subject
from proxy.policy.binding import Bind, binding_mismatch
from proxy.sessions.store import (
    MAX_AGENT,
    Identity,
    LocalSessions,
    MustWait,
    Session,
    SessionStore,
    StoreError,
    instant,
)

ADMIN = "admin"
"""The role whose users may end sessions of others."""
_MAX_PRINCIPALS = 10_000
_MAX_PRINCIPALS_BYTES = 32 * 1024**2


class Principal:
    """A signed-in user: the session that says so, and what the rules in force allow.

    `key` is the session's key in the store, empty for a session that was just made. `size` is about the memory that it
    takes with its session, in bytes.
    """

    __slots__ = (
        "document", "expires_at_json", "key", "permits", "session", "size", "subject", "user", "user_id", "user_json",
    )  # fmt: skip

    def __init__(self, key: bytes, session: Session, subject: Subject, permits: Permits) -> None:
        self.key = key
        self.session = session
        self.subject = subject
        self.permits = permits
        self.user_id = session.user_id
        self.user = User(session.user_id, subject.email, subject.roles)
        self.document: dict[str, Any] = {
            "user_id": session.user_id,
            "email": _well_formed(session.identity.email),
            "display_name": _well_formed(session.identity.display_name),
            "roles": [_well_formed(role) for role in sorted(subject.roles)],
        }
        self.user_json = write_json(self.document)
        self.size = 2000 + 6 * len(self.user_json) + 4 * len(str(session.identity.claims))
        self.expires_at_json = write_json(instant(session.expires_at))


def _well_formed(text: str) -> str:
    """Return a claim of a token without lone surrogates, which JSON in UTF-8 can't have."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def may_end(who: Principal, session: Session, *, every_tenant: bool) -> bool:
    """Return True if a user may end a session: one's own; with role `admin` those of one's tenant.

    `every_tenant`: the role covers sessions of all tenants.
    """
    if session.user_id == who.user_id:
        return True
    return ADMIN in who.subject.roles and (every_tenant or session.identity.tenant.lower() == who.subject.tenant)


@dataclass(frozen=True, slots=True)
class TenantTrust:
    """What counts of the tokens of a tenant: the claim with roles, and e-mail addresses that are not said to be
    verified."""

    roles_claim: str | None
    email_assumed: bool


def subject_of_identity(policy: AccessPolicy, who: Identity, trust: TenantTrust | None) -> Subject:
    """Return the user that the rules apply to, with what counts of the token.

    `trust` is None for a user of a tenant that is not configured any more: then nothing counts.
    """
    if trust is None:
        return policy.subject("", "", {}, None)
    email = who.email if trust.email_assumed or who.email_verified else ""
    return policy.subject(email, who.subject, who.claims, trust.roles_claim, tenant=who.tenant.lower())


class WrongBinding(Unauthorized):
    """A session is used from another address or by another client than it is bound to (`sessions.bind`)."""

    denied = True


class SessionSource(Protocol):
    """Where the sessions of requests are looked up."""

    def peek(self, key: bytes) -> Session | None:
        """Return the session of a key, without waiting. Raises MustWait."""

    async def get(self, key: bytes, token: str, address: str, user_agent: str) -> Session | None:
        """Return the session of a key and its token; the token is empty if only the key is known.

        Raises:
            StoreError: the store is not available.
            GatewayError: the upstream that keeps the session is not available.
        """


class StoredSessions:
    """The sessions that the gateway itself has made."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        if isinstance(store, LocalSessions):
            self.peek = store.peek  # type: ignore[method-assign]

    def peek(self, key: bytes) -> Session | None:
        """Raise MustWait: the store has no sessions in this process."""
        raise MustWait

    async def get(self, key: bytes, token: str, address: str, user_agent: str) -> Session | None:
        """Return the session of a key."""
        return await self._store.get(key)


class SessionChecks(Protocol):
    """Counts session checks by their outcome."""

    session_checks: dict[str, int]


class Principals:
    """Finds the principal of a request's credentials. One object for each configuration.

    Args:
        sessions: where sessions are looked up.
        store: of the sessions.
        idle_timeout: seconds without a use after which a session ends; 0 means never.
        policy: gives users their roles and rules.
        bind: what sessions are bound to.
        tenants: what counts of the tokens of each tenant, by its domain in lower case.
        metrics: counts checks as valid, invalid, missing or error.
        tokens: the form of session tokens.
        note: is called with the key and the token of each session that is used, if a source needs them.
    """

    def __init__(
        self,
        sessions: SessionSource,
        store: SessionStore,
        idle_timeout: float,
        policy: AccessPolicy,
        bind: Bind,
        tenants: Mapping[str, TenantTrust],
        metrics: SessionChecks,
        tokens: TokenForm = OWN_TOKENS,
        note: Callable[[bytes, str], None] | None = None,
    ) -> None:
        self.tokens = tokens
        self._store = store
        self._sessions = sessions
        self._peek = sessions.peek
        self._note = note
        self._policy = policy
        self._bind = bind
        self._binds = bind is not Bind.NONE
        self._idle = self.idle_timeout = idle_timeout
        self._touch_after = min(60.0, self._idle / 10) if self._idle else 60.0
        self._tenants = tenants
        bound = any(role.name == ADMIN and role.tenants for role in policy.roles)
        self.admins_of_all = len(tenants) == 1 and not bound
        """Whether the role `admin` covers sessions of all tenants; see `may_end`."""
        self._checks = metrics.session_checks
        self._known: BoundedCache[bytes, Principal] = BoundedCache(_MAX_PRINCIPALS, _MAX_PRINCIPALS_BYTES)

    def of_session(self, key: bytes, session: Session) -> Principal:
        """Return the principal of a session."""
        known = self._known[key] if key else None
        if known is not None and known.session is session:
            return known
        subject = subject_of_identity(
            self._policy, session.identity, self._tenants.get(session.identity.tenant.lower())
        )
        principal = Principal(key, session, subject, self._policy.permits(subject))
        if key:
            self._known.put(key, principal, principal.size)
        return principal

    def find(self, credentials: Credentials, address: str, user_agent: str) -> Principal | None:
        """Return the principal of the first live session, without waiting; None if there is none.

        Raises:
            StoreError: the store can't be used.
            WrongBinding: the session is bound to another address or client.
            MustWait: a session can't be looked up without waiting. Nothing was counted.
        """
        for key in credentials.keys:
            try:
                session = self._peek(key)
            except StoreError:
                self._checks["error"] += 1
                raise
            if session is None:
                self._known.drop(key)
                continue
            now = time.time()
            if session.alive(now, self._idle):
                if self._binds:
                    self._check_binding(session, address, user_agent)
                if now - session.last_seen_at > self._touch_after:
                    self._store.touch(key, now)
                self._checks["valid"] += 1
                if self._note is not None:
                    self._note(key, credentials.tokens[credentials.keys.index(key)])
                known = self._known[key]
                return known if known is not None and known.session is session else self.of_session(key, session)
        self._checks["invalid" if credentials.presented else "missing"] += 1
        return None

    async def fetch(self, credentials: Credentials, address: str, user_agent: str) -> Principal | None:
        """Do as `find`; wait where that is needed.

        Raises:
            GatewayError: what keeps NoETL from validating a session.
        """
        try:
            return self.find(credentials, address, user_agent)
        except MustWait:
            pass
        for key, token in zip(credentials.keys, credentials.tokens, strict=True):
            try:
                session = await self._sessions.get(key, token, address, user_agent)
            except (StoreError, GatewayError):
                self._checks["error"] += 1
                raise
            now = time.time()
            if session is not None and session.alive(now, self._idle):
                self._check_binding(session, address, user_agent)
                if now - session.last_seen_at > self._touch_after:
                    self._store.touch(key, now)
                self._checks["valid"] += 1
                return self.of_session(key, session)
        self._checks["invalid"] += 1
        return None

    def _check_binding(self, session: Session, address: str, user_agent: str) -> None:
        """Raise WrongBinding if a session is used from elsewhere than it is bound to."""
        what = binding_mismatch(self._bind, (session.ip, session.user_agent), (address, user_agent[:MAX_AGENT]))
        if what:
            self._checks["invalid"] += 1
            raise WrongBinding(detail=f"session {session.id} of user {session.user_id} is bound to another {what}")

    async def still_alive(self, key: bytes) -> bool:
        """Return whether a session is still alive, as far as that can be found out. Raises StoreError."""
        try:
            session = await self._sessions.get(key, "", "", "")
        except GatewayError as error:
            get_logger().warning("sessions.not_validated", reason=error.detail or str(error))
            return True
        return session is not None and session.alive(time.time(), self._idle)
