"""The stored form of a session in Redis: fields of fixed length that scripts read, and its JSON. Pure."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from proxy.sessions.store import Session, StoreError

_KEY, _USED, _USER, _HEAD = 32, 50, 66, 124
NO_SID = b" " * 40


class Record(NamedTuple):
    """A session that was read: its key, the session, and its form without the time of its last use."""

    key: bytes
    session: Session
    data: bytes


def person(issuer: str, subject: str) -> bytes:
    """Return the name of a user among the users."""
    return hashlib.sha256(f"{issuer}\0{subject}".encode()).digest()


def sid_mark(issuer: str, sid: str) -> bytes:
    """Return the mark of a `sid`: 40 characters, blank without one."""
    return hashlib.sha256(f"{issuer}\0{sid}".encode()).hexdigest()[:40].encode() if sid else NO_SID


def used_text(seconds: float) -> bytes:
    """Return a time as a text of fixed length, from which the same number is read."""
    return b"%018.7f" % max(0.0, min(seconds, 9_999_999_999.0))


def read_record(data: bytes) -> Record:
    """Return the session of a stored form. Raises StoreError if it is malformed."""
    try:
        used, user_id = float(data[_KEY:_USED]), int(data[_USED:_USER])
    except ValueError:
        raise StoreError("a stored session can't be read") from None
    session = Session.decode(data[_HEAD:]).with_user_id(user_id).with_last_use(used)
    return Record(data[:_KEY], session, data[:_KEY] + data[_USED:])
