"""What a session is, and what every store can do with one.

Times are aware UTC datetimes outside and seconds since 1970 inside. A store never sees a token, only its key.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol, runtime_checkable

MAX_AGENT = 256
_SEEN = b',"last_seen_at":'


class StoreError(Exception):
    """The store can't be used. The text is for the operator."""


def new_token() -> str:
    """128 random bits as 32 lower-case hexadecimal characters."""
    return secrets.token_hex(16)


def instant(seconds: float) -> str:
    """Seconds since 1970 as RFC 3339 in UTC with offset."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


@dataclass(frozen=True, slots=True)
class Identity:
    """A user as a verified token describes one. `claims` are the token's, for roles and rules; `sid` is the provider's
    own session, where the token named one."""

    issuer: str
    subject: str
    email: str
    display_name: str
    tenant: str
    claims: Mapping[str, Any] = field(default_factory=dict)
    sid: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """A session as it is stored. `id` is public and not a token; `user_id` is 0 until the store has given one."""

    id: str
    user_id: int
    identity: Identity
    created_at: float
    expires_at: float
    last_seen_at: float
    ip: str
    user_agent: str

    def alive(self, now: float, idle_timeout: float) -> bool:
        """Whether the session is valid at `now`; an `idle_timeout` of 0 is none."""
        return now < self.expires_at and (not idle_timeout or now - self.last_seen_at < idle_timeout)

    def encode(self) -> bytes:
        """The stored form: without a `sid`, that of versions that knew none."""
        values = asdict(self)
        if not self.identity.sid:
            del values["identity"]["sid"]
        return json.dumps(values, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Session:
        """Read the stored form. Raises StoreError if it is not one."""
        try:
            values = json.loads(data)
            return cls(**{**values, "identity": Identity(**values["identity"])})
        except (ValueError, TypeError, KeyError):
            raise StoreError("a stored session can't be read") from None

    @staticmethod
    def seen_again(data: bytes, now: float) -> bytes | None:
        """The stored form of the same session, used at `now`; None if it was used later, or is no session.

        Nothing is decoded: only texts follow the time, and within a JSON text no quote is bare.
        """
        before, mark, after = data.rpartition(_SEEN)
        number, comma, rest = after.partition(b",")
        try:
            later = float(number) >= now
        except ValueError:
            return None
        return None if later or not mark else b"".join((before, mark, repr(now).encode(), comma, rest))

    def seen(self, now: float) -> Session:
        """The same session, used at `now`."""
        return replace(self, last_seen_at=now)

    def owned_by(self, user_id: int) -> Session:
        """The same session with the user id that the store has given."""
        return replace(self, user_id=user_id)


def new_session(key: bytes, identity: Identity, *, now: float, lifetime: float, ip: str, user_agent: str) -> Session:
    """A session that begins now and ends after `lifetime` seconds."""
    return Session(key[:12].hex(), 0, identity, now, now + lifetime, now, ip[:64], user_agent[:MAX_AGENT])


@dataclass(frozen=True, slots=True)
class Logout:
    """What an identity provider has told in a logout token (OpenID Connect Back-Channel Logout 1.0, 2.4).

    One of `subject` and `sid` may be empty. `name` tells it from others, and is remembered until `until`.
    """

    issuer: str
    subject: str
    sid: str
    name: bytes
    until: float

    def ends(self, session: Session) -> bool:
        """Whether it ends a session. One of the user's of which no `sid` is known may be the one that is meant."""
        who = session.identity
        if who.issuer != self.issuer or (self.subject and who.subject != self.subject):
            return False
        return not self.sid or who.sid == self.sid or (bool(self.subject) and not who.sid)


class SessionStore(Protocol):
    """Sessions, users and tickets, shared by every process that opens the same store.

    When a method that writes returns, what it wrote survives a crash, except `touch` and `remember_execution`,
    which may lose the last moments. Every method raises StoreError if the store can't be used.
    """

    async def create(self, key: bytes, session: Session, *, max_per_user: int) -> Session:
        """Keep a new session; gives the user a stable id and ends the user's oldest sessions beyond the limit."""

    async def get(self, key: bytes) -> Session | None:
        """The session, also one that has expired; the caller judges."""

    def touch(self, key: bytes, now: float) -> None:
        """Note that a session was used. Does not bring an ended one back."""

    async def end(self, key: bytes) -> bool:
        """End a session; whether there was one."""

    async def end_id(self, session_id: str, *, user_id: int | None) -> bool:
        """End a session by its public id, only if it is this user's (None: anyone's)."""

    async def end_user(self, user_id: int) -> int:
        """End all sessions of a user; how many there were."""

    async def end_told(self, logout: Logout) -> Sequence[Session] | None:
        """End the sessions that a logout is about, and return them; None if it has been told before."""

    async def of_user(self, user_id: int) -> Sequence[Session]:
        """A user's sessions, oldest first."""

    async def all(self, limit: int) -> Sequence[Session]:
        """Sessions of everyone, at most `limit`."""

    def count(self) -> int:
        """How many sessions are kept, ended ones that are not purged yet included."""

    async def purge(self, now: float, idle_timeout: float) -> int:
        """Delete what has expired; how many sessions."""

    async def put_ticket(self, ticket: bytes, key: bytes, expires_at: float) -> None:
        """Keep a ticket for a session."""

    async def take_ticket(self, ticket: bytes, now: float) -> bytes | None:
        """The session key of a ticket, once, and only before it expires."""

    def remember_execution(self, execution_id: str, user_id: int, now: float) -> None:
        """Note who started an execution."""

    async def execution_owner(self, execution_id: str) -> int | None:
        """Who started an execution, as far as is known."""

    async def check(self) -> None:
        """Raise StoreError if the store can't be used just now."""

    async def close(self) -> None:
        """Finish writing and let go."""


@runtime_checkable
class LocalSessions(Protocol):
    """A store whose sessions can be read without waiting."""

    def peek(self, key: bytes) -> Session | None:
        """As `SessionStore.get`; the same object again, for as long as what is stored is the same."""


MAX_LOGOUTS = 100_000
"""How many logouts are remembered at once. Beyond it sessions still end, and a token may be used again within its hour:
it ends sessions again, and nothing else."""

EXECUTIONS_KEPT = 7 * 86400.0
"""Seconds for which it is remembered who started an execution."""
