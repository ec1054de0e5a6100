"""What an operator is told when the disk refuses: what is wrong, and what to do about it."""

from __future__ import annotations

import errno
import os

import lmdb

_ROOM = "no room left ({}): free some, or name a folder on a larger disk in sessions.path; running sessions go on"
_REMEDIES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _ROOM,
    errno.EROFS: "it can't be written ({}): mount it for writing, or name another folder in sessions.path",
    errno.EACCES: "it can't be written ({}): give it to the gateway's user, or name another folder in sessions.path",
    errno.EPERM: "it can't be written ({}): give it to the gateway's user, or name another folder in sessions.path",
    errno.EIO: f"the disk fails, or has {_ROOM}",  # LMDB calls a write of which only a part fitted in so
}


def of_the_system(error: Exception) -> bool:
    """Whether it is the operating system that refuses, and not what the files hold."""
    return _number(error) > 0


def told(error: Exception) -> str:
    """What is wrong, and what to do."""
    if isinstance(error, lmdb.PanicError):
        return f"a write was cut off ({error}): restart the gateway"
    number = _number(error)
    return _REMEDIES[number].format(os.strerror(number)) if number in _REMEDIES else str(error)


def _number(error: Exception) -> int:
    if isinstance(error, OSError):
        return error.errno or 0
    # LMDB's own codes are negative.
    code = getattr(error, "code", 0)
    return code if isinstance(code, int) else 0
