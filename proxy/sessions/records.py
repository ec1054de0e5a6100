"""The tables of the file store, and the operations on them within one transaction; no threads, no waiting."""

from __future__ import annotations

import hashlib
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from proxy.sessions.store import EXECUTIONS_KEPT, MAX_ENDED, MAX_LOGOUTS, Logout, Session, SessionEnded, StoreError

FORMAT = b"noetl-edge sessions 1"
TABLES = ("meta", "sessions", "users", "by_user", "expiry", "tickets", "executions", "by_sid", "logouts", "ended")
_NUMBER = struct.Struct(">Q")
Transaction = Any


def pack(number: float) -> bytes:
    """Return whole seconds, or an id, as bytes that sort like the numbers."""
    return _NUMBER.pack(int(number))


def unpack(data: bytes) -> int:
    """Return the number that `pack` has encoded."""
    return int(_NUMBER.unpack_from(data)[0])


def _digest(issuer: str, name: str) -> bytes:
    return hashlib.sha256(f"{issuer}\0{name}".encode()).digest()


@dataclass(frozen=True, slots=True)
class Records:
    """The open tables.

    Args:
        meta: the format of the store and the last user id.
        sessions: key to session.
        users: digest of issuer and subject to user id.
        by_user: user id, creation time and key of each session.
        expiry: time of expiry and key of each session.
        tickets: ticket to time of expiry and session key.
        executions: execution id to time and user id.
        by_sid: digest of issuer and `sid`, and key, of each session that has a `sid`.
        logouts: name of a logout token that was used, to the time until which it is stored.
        ended: key of a session of NoETL that was ended here, to the time until which it is stored.
    """

    meta: Any
    sessions: Any
    users: Any
    by_user: Any
    expiry: Any
    tickets: Any
    executions: Any
    by_sid: Any
    logouts: Any
    ended: Any

    @classmethod
    def open(cls, env: Any) -> Records:
        """Return the tables of an environment; create those that do not exist."""
        return cls(*(env.open_db(name.encode()) for name in TABLES))

    def load(self, txn: Transaction, key: bytes) -> Session | None:
        """Return the session of a key, or None. Raises StoreError."""
        data = txn.get(key, db=self.sessions)
        return None if data is None else Session.decode(data)

    def create(self, txn: Transaction, key: bytes, session: Session, max_per_user: int) -> tuple[Session, int]:
        """Do as `SessionStore.create`; return the session, and the number of those that ended."""
        if session.kept_until and txn.get(key, db=self.ended) is not None:
            raise SessionEnded
        stored = session.with_user_id(self._user_id(txn, session))
        self._remove(txn, key)
        ended = self._drop_beyond(txn, stored.user_id, max_per_user - 1) if max_per_user else 0
        txn.put(key, stored.encode(), db=self.sessions)
        txn.put(self._owner(stored, key), b"", db=self.by_user)
        txn.put(pack(stored.expires_at) + key, b"", db=self.expiry)
        if stored.identity.sid:
            txn.put(_digest(stored.identity.issuer, stored.identity.sid) + key, b"", db=self.by_sid)
        return stored, ended

    def _drop_beyond(self, txn: Transaction, user_id: int, most: int) -> int:
        """End the oldest sessions of a user beyond `most`; `by_user` orders those of one millisecond by key.

        Returns how many ended.
        """
        mine = list(self.keys_of_user(txn, user_id))
        if len(mine) <= most:
            return 0
        for key in sorted(mine, key=lambda key: self._created_at(txn, key))[: len(mine) - most]:
            self.drop(txn, key)
        return len(mine) - most

    def _created_at(self, txn: Transaction, key: bytes) -> float:
        """Return when a session was created; 0 for one that cannot be read, so that it ends before the others."""
        try:
            session = self.load(txn, key)
        except StoreError:
            return 0.0
        return 0.0 if session is None else session.created_at

    def _user_id(self, txn: Transaction, session: Session) -> int:
        name = _digest(session.identity.issuer, session.identity.subject)
        if session.user_id:
            txn.put(name, pack(session.user_id), db=self.users)
            return session.user_id
        known = txn.get(name, db=self.users)
        if known is not None:
            return unpack(known)
        last = txn.get(b"last_user_id", db=self.meta)
        user_id = (unpack(last) if last else 0) + 1
        txn.put(b"last_user_id", pack(user_id), db=self.meta)
        txn.put(name, pack(user_id), db=self.users)
        return user_id

    def _owner(self, session: Session, key: bytes) -> bytes:
        return pack(session.user_id) + pack(session.created_at * 1000) + key

    def drop(self, txn: Transaction, key: bytes) -> bool:
        """End a session; return True if it existed."""
        existed, session = self._remove(txn, key)
        if session is not None and session.kept_until > time.time():
            if txn.stat(db=self.ended)["entries"] >= MAX_ENDED:
                first = next(iter(txn.cursor(db=self.ended)))[0]
                txn.delete(bytes(first), db=self.ended)
            txn.put(key, pack(session.kept_until + 1), db=self.ended)
        return existed

    def _remove(self, txn: Transaction, key: bytes) -> tuple[bool, Session | None]:
        """Remove a session; return whether it existed, and the session if it can be read."""
        data = txn.pop(key, db=self.sessions)
        if data is None:
            return False, None
        try:
            session = Session.decode(data)
        except StoreError:
            return True, None
        txn.delete(self._owner(session, key), db=self.by_user)
        txn.delete(pack(session.expires_at) + key, db=self.expiry)
        if session.identity.sid:
            txn.delete(_digest(session.identity.issuer, session.identity.sid) + key, db=self.by_sid)
        return True, session

    def touch(self, txn: Transaction, key: bytes, now: float) -> None:
        """Set the time of the last use of a session, if it has not ended."""
        data = txn.get(key, db=self.sessions)
        seen = None if data is None else Session.encoded_with_use(data, now)
        if seen is not None:
            txn.put(key, seen, db=self.sessions)

    def keys_of_user(self, txn: Transaction, user_id: int) -> Iterator[bytes]:
        """Yield the session keys of a user, oldest first."""
        return self._entries(txn, self.by_user, pack(user_id), 16)

    def _entries(self, txn: Transaction, table: Any, prefix: bytes, skipped: int) -> Iterator[bytes]:
        cursor = txn.cursor(db=table)
        found = cursor.set_range(prefix)
        while found and cursor.key().startswith(prefix):
            yield bytes(cursor.key()[skipped:])
            found = cursor.next()

    def end_by_logout(self, txn: Transaction, logout: Logout) -> list[Session] | None:
        """End the sessions that a logout token names, and return them; None if the token was used before."""
        if txn.get(logout.name, db=self.logouts) is not None:
            return None
        if txn.stat(db=self.logouts)["entries"] < MAX_LOGOUTS:
            txn.put(logout.name, pack(logout.until), db=self.logouts)
        ended = []
        for key in list(self._keys_of_logout(txn, logout)):
            session = self.load(txn, key)
            if session is not None and logout.ends(session):
                self.drop(txn, key)
                ended.append(session)
        return ended

    def _keys_of_logout(self, txn: Transaction, logout: Logout) -> Iterator[bytes]:
        if not logout.subject:
            return self._entries(txn, self.by_sid, _digest(logout.issuer, logout.sid), 32)
        known = txn.get(_digest(logout.issuer, logout.subject), db=self.users)
        return iter(()) if known is None else self.keys_of_user(txn, unpack(known))

    def by_id(self, txn: Transaction, session_id: str) -> bytes | None:
        """Return the key of a session by its public id, which is the beginning of the key."""
        try:
            prefix = bytes.fromhex(session_id)
        except ValueError:
            return None
        cursor = txn.cursor(db=self.sessions)
        if len(prefix) != 12 or not cursor.set_range(prefix) or not cursor.key().startswith(prefix):
            return None
        return bytes(cursor.key())

    def purge(self, txn: Transaction, now: float, most: int) -> tuple[int, bool]:
        """Delete up to `most` expired entries per table; return the number of sessions, and True if more may remain."""
        dead = 0
        for entry in self._expired(txn, self.expiry, now, most):
            if self._still_alive(txn, entry[8:], now):
                continue
            self.drop(txn, entry[8:])
            txn.delete(entry, db=self.expiry)
            dead += 1
        more = dead == most
        limits = ((self.tickets, now), (self.logouts, now), (self.ended, now), (self.executions, now - EXECUTIONS_KEPT))
        for table, limit in limits:
            expired = (bytes(name) for name, data in txn.cursor(db=table) if unpack(data) <= limit)
            old = list(islice(expired, most))
            for name in old:
                txn.delete(name, db=table)
            more = more or len(old) == most
        return dead, more

    def _still_alive(self, txn: Transaction, key: bytes, now: float) -> bool:
        """Return True if a session has not expired yet within the current second; False if it can't be read."""
        try:
            session = self.load(txn, key)
        except StoreError:
            return False
        return session is not None and session.alive(now, 0)

    def _expired(self, txn: Transaction, table: Any, now: float, most: int) -> list[bytes]:
        limit = pack(now)
        found: list[bytes] = []
        for entry in txn.cursor(db=table).iternext(keys=True, values=False):
            if entry[:8] > limit or len(found) >= most:
                break
            found.append(bytes(entry))
        return found

    def redeem_ticket(self, txn: Transaction, ticket: bytes, now: float) -> bytes | None:
        """Delete a ticket, and return its session key if the ticket has not expired."""
        data = txn.pop(ticket, db=self.tickets)
        return bytes(data[8:]) if data is not None and unpack(data) > now else None


def prepare(env: Any, records: Records, folder: str) -> None:
    """Write the format to a new folder. Raises StoreError if the folder has another format."""
    with env.begin(write=True) as txn:
        mark = txn.get(b"format", db=records.meta)
        if mark is None and txn.stat(db=records.sessions)["entries"] == 0:
            txn.put(b"format", FORMAT, db=records.meta)
        elif mark != FORMAT:
            raise StoreError(f"{folder} contains data of another program or version; use an empty folder")
