"""The session, and the interface of every session store.

Times are seconds since 1970. A store never receives a token, only its key.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from proxy.sessions.live import LiveStore, SharedLive

MAX_AGENT = 256
_SEEN = b',"last_seen_at":'


class StoreError(Exception):
    """The store is not available. The text is for the operator."""


class SessionEnded(Exception):
    """A session of NoETL was ended at the gateway, so it does not count any more."""


class MustWait(Exception):
    """A session can't be looked up without waiting; `SessionStore.get` waits."""


def new_token() -> str:
    """Return a new token: 128 random bits as 32 lower-case hexadecimal characters."""
    return secrets.token_hex(16)


def instant(seconds: float) -> str:
    """Return a time, in seconds since 1970, as RFC 3339 text in UTC with offset."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


@dataclass(frozen=True, slots=True)
class Identity:
    """A user, as described by a verified token.

    Args:
        issuer: the `iss` claim.
        subject: the `sub` claim.
        email: the e-mail address, or an empty text; the provider need not have verified it.
        display_name: the name to show.
        tenant: the domain of the tenant.
        claims: the other claims of the token, for roles and rules.
        sid: the id of the session at the identity provider, or an empty text.
    """

    issuer: str
    subject: str
    email: str
    display_name: str
    tenant: str
    claims: Mapping[str, Any] = field(default_factory=dict)
    sid: str = ""

    @property
    def email_verified(self) -> bool:
        """Whether the token says that the provider has verified the e-mail address (OpenID Connect Core, 5.1)."""
        return self.claims.get("email_verified") is True


@dataclass(frozen=True, slots=True)
class Session:
    """A session, as it is stored.

    Args:
        id: the public id, which is not a token.
        user_id: the id of the user; 0 until the store assigns one.
        identity: the user.
        created_at: time of creation, in seconds since 1970.
        expires_at: time of expiry.
        last_seen_at: time of the last use.
        ip: the client address of the login.
        user_agent: the user agent of the login.
        verified_at: the time when NoETL last said that the session is valid; 0 for a session that the gateway made.
        kept_until: the time until which NoETL keeps it, which may be later than `expires_at`; else 0.
    """

    id: str
    user_id: int
    identity: Identity
    created_at: float
    expires_at: float
    last_seen_at: float
    ip: str
    user_agent: str
    verified_at: float = 0.0
    kept_until: float = 0.0

    def alive(self, now: float, idle_timeout: float) -> bool:
        """Return True if the session is valid at `now`; an `idle_timeout` of 0 seconds means no timeout."""
        return now < self.expires_at and (not idle_timeout or now - self.last_seen_at < idle_timeout)

    def encode(self) -> bytes:
        """Return the stored form. For one without a `sid`, or not of NoETL, it is as in earlier versions."""
        values = asdict(self)
        if not self.verified_at:
            del values["verified_at"], values["kept_until"]
        if not self.identity.sid:
            del values["identity"]["sid"]
        return json.dumps(values, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Session:
        """Return the session of a stored form. Raises StoreError if it is malformed."""
        try:
            values = json.loads(data)
            return cls(**{**values, "identity": Identity(**values["identity"])})
        except (ValueError, TypeError, KeyError):
            raise StoreError("a stored session can't be read") from None

    @staticmethod
    def encoded_with_use(data: bytes, now: float) -> bytes | None:
        """Return the stored form with `now` as the last use; None if it has a later one, or if the form is malformed.

        The form is not decoded: texts and a number follow the time, and a quote in a JSON text is always escaped.
        """
        before, mark, after = data.rpartition(_SEEN)
        number, comma, rest = after.partition(b",")
        try:
            later = float(number) >= now
        except ValueError:
            return None
        return None if later or not mark else b"".join((before, mark, repr(now).encode(), comma, rest))

    def with_last_use(self, now: float) -> Session:
        """Return the session with `now` as its last use."""
        return replace(self, last_seen_at=now)

    def with_user_id(self, user_id: int) -> Session:
        """Return the session with the user id that the store has assigned."""
        return replace(self, user_id=user_id)


def new_session(key: bytes, identity: Identity, *, now: float, lifetime: float, ip: str, user_agent: str) -> Session:
    """Return a session that begins at `now` and ends after `lifetime` seconds."""
    return Session(key[:12].hex(), 0, identity, now, now + lifetime, now, ip[:64], user_agent[:MAX_AGENT])


@dataclass(frozen=True, slots=True)
class Logout:
    """The content of a logout token of an identity provider (OpenID Connect Back-Channel Logout 1.0, 2.4).

    Args:
        issuer: the issuer of the token.
        subject: the user, or an empty text.
        sid: the session at the identity provider, or an empty text; one of `subject` and `sid` is given.
        name: a digest that identifies the token, so that it is used once only.
        until: the time until which `name` is stored, in seconds since 1970.
    """

    issuer: str
    subject: str
    sid: str
    name: bytes
    until: float

    def ends(self, session: Session) -> bool:
        """Return True if the logout ends this session; that includes sessions of the user without a `sid`."""
        who = session.identity
        if who.issuer != self.issuer or (self.subject and who.subject != self.subject):
            return False
        return not self.sid or who.sid == self.sid or (bool(self.subject) and not who.sid)


class SessionStore(Protocol):
    """Sessions, users and tickets, shared by all processes that open the same store.

    When a method that writes returns, its changes survive a crash; only `touch` and `store_execution_owner` may lose
    the latest changes. Every method raises StoreError if the store is not available.
    """

    on_ended: Callable[[], None]
    """Is called after a call of this object may have ended sessions."""

    @property
    def live(self) -> LiveStore:
        """Return what the store keeps of live executions."""

    async def create(self, key: bytes, session: Session, *, max_per_user: int) -> Session:
        """Store a session, in place of the one of this key; end the oldest sessions of the user beyond the limit.

        The user gets a stable id, unless the session has one already, as those of NoETL have. Raises SessionEnded for a
        session of NoETL that has ended here: its end is stored for as long as NoETL keeps the session.
        """

    async def get(self, key: bytes) -> Session | None:
        """Return the session of a key, or None. It may have expired: the caller checks that."""

    def touch(self, key: bytes, now: float) -> None:
        """Set the time of the last use of a session, if it has not ended."""

    async def end(self, key: bytes) -> bool:
        """End a session; return True if it existed."""

    async def end_id(self, session_id: str, allowed: Callable[[Session], bool]) -> bool:
        """End a session by its public id, if it is allowed; `allowed` is pure, and may be called in any thread."""

    async def end_user(self, user_id: int) -> int:
        """End all sessions of a user; return their number."""

    async def end_by_logout(self, logout: Logout) -> Sequence[Session] | None:
        """End the sessions that a logout token names, and return them; None if the token was used before."""

    async def of_user(self, user_id: int) -> Sequence[Session]:
        """Return the sessions of a user, oldest first."""

    async def all(self, limit: int) -> Sequence[Session]:
        """Return up to `limit` sessions of all users."""

    def count(self) -> int:
        """Return the number of stored sessions, including expired ones that are not purged yet; some seconds old."""

    async def purge(self, now: float, idle_timeout: float) -> int:
        """Delete everything that has expired; return the number of sessions."""

    async def store_ticket(self, ticket: bytes, key: bytes, expires_at: float) -> None:
        """Store a ticket for a session."""

    async def redeem_ticket(self, ticket: bytes, now: float) -> bytes | None:
        """Delete a ticket, and return its session key; None if it is unknown or has expired."""

    def store_execution_owner(self, execution_id: str, user_id: int, now: float) -> None:
        """Store the user who started an execution. A stored user is not replaced."""

    async def execution_owner(self, execution_id: str, *, wait: bool = False) -> int | None:
        """Return the id of the user who started an execution, or None if it is unknown.

        With `wait`, an owner that another process may just be storing is waited for, some tenths of a second.
        """

    async def check(self) -> None:
        """Raise StoreError if the store is not available."""

    async def close(self) -> None:
        """Finish all writes and close the store."""


def nobody_waits() -> None:
    """Do nothing: the first value of `on_ended`."""


@runtime_checkable
class LocalSessions(Protocol):
    """A store with a read that does not wait."""

    def peek(self, key: bytes) -> Session | None:
        """Return the session as `SessionStore.get` does; the same object while the stored session is unchanged.

        Raises MustWait if that is not known here.
        """


MAX_ENDED = 1_000_000
"""Maximum number of ended sessions of NoETL that are stored. If there are more, the first ones are forgotten."""


@runtime_checkable
class SharedStore(Protocol):
    """A store that gateways on several machines share, and which itself lets each of them know what the others do.

    `on_some_ended` is called with the first bytes of the keys of sessions that have ended anywhere, `on_message` with
    what another process has sent.
    """

    on_some_ended: Callable[[Collection[bytes]], None]
    on_message: Callable[[bytes], None]

    @property
    def live(self) -> SharedLive:
        """Return what the store keeps of live executions."""

    def start(self) -> None:
        """Begin to receive what other processes announce; called in the event loop, maybe more than once."""

    async def count_requests(self, counted: Sequence[tuple[str, float, int]]) -> Sequence[float]:
        """Count requests of all processes; see `rate_limits.SharedCounts`."""

    def broadcast(self, data: bytes) -> None:
        """Send a small message to all other processes, without waiting; it may be lost."""


MAX_LOGOUTS = 100_000
"""Maximum number of stored logouts. If there are more, sessions still end, but a logout token can be used again until
it expires; it can only end sessions again."""

EXECUTIONS_KEPT = 7 * 86400.0
"""How long the user who started an execution is stored, in seconds."""
