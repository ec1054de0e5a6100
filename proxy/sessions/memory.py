"""Sessions in the memory of this process, for tests and first steps. A restart loses sessions and user ids."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from proxy.sessions.live_memory import MemoryLive
from proxy.sessions.store import (
    EXECUTIONS_KEPT,
    MAX_ENDED,
    MAX_LOGOUTS,
    Logout,
    Session,
    SessionEnded,
    StoreError,
    nobody_waits,
)

_MAX_SESSIONS = 1_000_000
_MAX_BYTES = 1024**3
_MAX_EXECUTIONS = 100_000
_MAX_TICKETS = 100_000


class MemoryStore:
    """A `SessionStore` that uses dictionaries."""

    def __init__(self) -> None:
        self._sessions: dict[bytes, Session] = {}
        self._sizes: dict[bytes, int] = {}
        self._bytes = 0
        self._by_user: dict[int, dict[bytes, None]] = {}
        self._by_id: dict[str, bytes] = {}
        self._users: dict[tuple[str, str], int] = {}
        self._tickets: dict[bytes, tuple[bytes, float]] = {}
        self._executions: dict[str, tuple[int, float]] = {}
        self._logouts: dict[bytes, float] = {}
        self._ended: dict[bytes, float] = {}
        self.live = MemoryLive()
        self.on_ended: Callable[[], None] = nobody_waits

    async def create(self, key: bytes, session: Session, *, max_per_user: int) -> Session:
        if len(self._sessions) >= _MAX_SESSIONS or self._bytes >= _MAX_BYTES:
            raise StoreError(f"the memory store is full ({len(self._sessions)} sessions); use sessions.store: file")
        if session.kept_until and key in self._ended:
            raise SessionEnded
        stored = session if session.user_id else session.with_user_id(self._user_id(session))
        user_id = stored.user_id
        self._remove(key)
        keys = self._by_user.setdefault(user_id, {})
        if max_per_user:
            for oldest in list(keys)[: max(0, len(keys) + 1 - max_per_user)]:
                self._drop(oldest)
        self._sessions[key] = stored
        size = len(stored.encode())
        self._bytes += size
        self._sizes[key] = size
        self._by_user.setdefault(user_id, {})[key] = None
        self._by_id[stored.id] = key
        return stored

    def _user_id(self, session: Session) -> int:
        person = (session.identity.issuer, session.identity.subject)
        return self._users.setdefault(person, len(self._users) + 1)

    async def get(self, key: bytes) -> Session | None:
        return self._sessions.get(key)

    def peek(self, key: bytes) -> Session | None:
        """Return the session as `get` does, without waiting."""
        return self._sessions.get(key)

    def touch(self, key: bytes, now: float) -> None:
        session = self._sessions.get(key)
        if session is not None:
            self._sessions[key] = session.with_last_use(now)

    async def end(self, key: bytes) -> bool:
        return self._drop(key)

    async def end_id(self, session_id: str, allowed: Callable[[Session], bool]) -> bool:
        key = self._by_id.get(session_id)
        if key is None or not allowed(self._sessions[key]):
            return False
        return self._drop(key)

    async def end_user(self, user_id: int) -> int:
        return sum(self._drop(key) for key in list(self._by_user.get(user_id, ())))

    async def end_by_logout(self, logout: Logout) -> Sequence[Session] | None:
        if logout.name in self._logouts:
            return None
        if len(self._logouts) < MAX_LOGOUTS:
            self._logouts[logout.name] = logout.until
        ended = {key: session for key, session in self._sessions.items() if logout.ends(session)}
        for key in ended:
            self._drop(key)
        return list(ended.values())

    async def of_user(self, user_id: int) -> Sequence[Session]:
        return [self._sessions[key] for key in self._by_user.get(user_id, ())]

    async def all(self, limit: int) -> Sequence[Session]:
        return list(self._sessions.values())[:limit]

    def count(self) -> int:
        return len(self._sessions)

    async def purge(self, now: float, idle_timeout: float) -> int:
        dead = [key for key, session in self._sessions.items() if not session.alive(now, idle_timeout)]
        for ticket in [ticket for ticket, (_, expires_at) in self._tickets.items() if expires_at <= now]:
            del self._tickets[ticket]
        for known in [known for known, until in self._logouts.items() if until <= now]:
            del self._logouts[known]
        for ended in [ended for ended, until in self._ended.items() if until <= now]:
            del self._ended[ended]
        for name in [name for name, (_, at) in self._executions.items() if at < now - EXECUTIONS_KEPT]:
            del self._executions[name]
        return sum(self._drop(key) for key in dead)

    async def store_ticket(self, ticket: bytes, key: bytes, expires_at: float) -> None:
        if len(self._tickets) >= _MAX_TICKETS:
            del self._tickets[next(iter(self._tickets))]
        self._tickets[ticket] = (key, expires_at)

    async def redeem_ticket(self, ticket: bytes, now: float) -> bytes | None:
        key, expires_at = self._tickets.pop(ticket, (None, 0.0))
        return key if expires_at > now else None

    def store_execution_owner(self, execution_id: str, user_id: int, now: float) -> None:
        if execution_id in self._executions:
            return
        if len(self._executions) >= _MAX_EXECUTIONS:
            del self._executions[next(iter(self._executions))]
        self._executions[execution_id] = (user_id, now)

    async def execution_owner(self, execution_id: str, *, wait: bool = False) -> int | None:
        found = self._executions.get(execution_id)
        return found[0] if found else None

    async def check(self) -> None:
        return None

    async def close(self) -> None:
        return None

    def _drop(self, key: bytes) -> bool:
        """End a session."""
        session = self._remove(key)
        if session is None:
            return False
        if session.kept_until > time.time():
            if len(self._ended) >= MAX_ENDED:
                del self._ended[next(iter(self._ended))]
            self._ended[key] = session.kept_until
        self.on_ended()
        return True

    def _remove(self, key: bytes) -> Session | None:
        """Remove a session, and return it."""
        session = self._sessions.pop(key, None)
        if session is None:
            return None
        self._bytes -= self._sizes.pop(key)
        self._by_id.pop(session.id, None)
        keys = self._by_user.get(session.user_id, {})
        keys.pop(key, None)
        if not keys:
            self._by_user.pop(session.user_id, None)
        return session
