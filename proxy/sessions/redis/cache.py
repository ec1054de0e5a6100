"""The sessions that this process knows, and the rule for how long each may be used without asking Redis. Pure."""

from __future__ import annotations

import time
from dataclasses import dataclass

from proxy.bounded import BoundedCache
from proxy.sessions.redis.link import Link, State
from proxy.sessions.store import MustWait, Session, StoreError

_MOST = 50_000
_MOST_BYTES = 128 * 1024**2
_SIZE_FACTOR = 4
_REFRESH_AT = 0.6
"""Part of its time after which a session that is used is read again in the background."""
ID = 12
"""The length of a session's id, which is the beginning of its key."""


@dataclass(slots=True)
class Cached:
    """A session as it was last read: in which subscription, when, and its stored form without the time of its use."""

    key: bytes
    session: Session
    data: bytes
    epoch: int
    read_at: float


class SessionCache:
    """The known sessions, by the beginnings of their keys.

    Args:
        link: says whether announcements arrive.
        recheck: seconds after which a session is read again.
        grace: seconds for which sessions are valid while Redis is away.
        idle_timeout: seconds without use after which a session ends; 0: never.
    """

    def __init__(self, link: Link, recheck: float, grace: float, idle_timeout: float) -> None:
        self._link = link
        self._recheck, self._grace, self._idle = recheck, grace, idle_timeout
        self._known: BoundedCache[bytes, Cached] = BoundedCache(_MOST, _MOST_BYTES)
        self._reading: dict[bytes, int] = {}
        self._dropped: set[bytes] = set()
        self.stale: set[bytes] = set()
        """Sessions that are used, and are to be read again soon."""

    def find(self, key: bytes) -> Session:
        """Return a known session without waiting.

        Raises:
            MustWait: only Redis can tell.
            StoreError: Redis is away, and the session is not known, or no longer valid without it.
        """
        now, link = time.monotonic(), self._link
        if link.state is State.AWAY:
            session = self.while_away(key)
            if session is None:
                raise StoreError("Redis is away, and the session is not known here, or was not read for too long")
            return session
        known = self._known[key[:ID]]
        if known is None or known.key != key or now >= link.trusted_until or known.epoch != link.epoch:
            raise MustWait
        age = now - known.read_at
        if age > self._recheck * _REFRESH_AT:
            if age > self._recheck:
                raise MustWait
            self.stale.add(key[:ID])
        session = known.session
        if self._idle and time.time() - session.last_seen_at >= self._idle:
            raise MustWait  # it may have been used at another gateway
        return session

    def while_away(self, key: bytes) -> Session | None:
        """Return a session that may be used although Redis does not respond, or None."""
        known, link = self._known[key[:ID]], self._link
        if known is None or known.key != key or known.epoch != link.epoch:
            return None
        lost_at = time.monotonic() if link.state is State.CONNECTED else link.lost_at
        in_time = time.monotonic() < lost_at + self._grace and lost_at <= known.read_at + self._recheck
        return known.session if in_time else None

    def begin(self, key: bytes) -> int:
        """Note that a session is being read; return what `put` needs."""
        name = key[:ID]
        self._reading[name] = self._reading.get(name, 0) + 1
        return self._link.epoch if time.monotonic() < self._link.trusted_until else -1

    def end(self, key: bytes) -> bool:
        """Note that a session was read. Return False if it may have ended or changed meanwhile."""
        name = key[:ID]
        changed = name in self._dropped
        self._reading[name] -= 1
        if not self._reading[name]:
            del self._reading[name]
            self._dropped.discard(name)
        return not changed

    def put(self, key: bytes, session: Session, data: bytes, epoch: int) -> Session:
        """Keep a session that was read; return it, or the same object as before if it has not changed."""
        known = self._known[key[:ID]]
        if known is not None and known.key == key and known.data == data:
            if session.last_seen_at <= known.session.last_seen_at:
                session = known.session
            known.session = session
            if epoch == self._link.epoch:
                known.epoch, known.read_at = epoch, time.monotonic()
        elif epoch == self._link.epoch:
            entry = Cached(key, session, data, epoch, time.monotonic())
            self._known.put(key[:ID], entry, _SIZE_FACTOR * len(data))
        return session

    def touch(self, key: bytes, now: float) -> None:
        """Note the use of a session."""
        known = self._known[key[:ID]]
        if known is not None and known.key == key and known.session.last_seen_at < now:
            known.session = known.session.with_last_use(now)

    def drop(self, name: bytes) -> None:
        """Forget a session by the beginning of its key: it has ended or changed."""
        self._known.drop(name)
        self.stale.discard(name)
        if name in self._reading:
            self._dropped.add(name)

    def keys(self, names: set[bytes]) -> list[bytes]:
        """Return the keys of known sessions."""
        found = (self._known.get(name) for name in names)
        return [known.key for known in found if known is not None]

    def knows(self, name: bytes) -> bool:
        """Return whether a session is cached, by the beginning of its key."""
        return self._known[name] is not None

    def names(self) -> set[bytes]:
        """Return the beginnings of the keys of all known sessions."""
        return self._known.all()
