"""Texts for operators about errors of the disk: the cause and the remedy."""

from __future__ import annotations

import errno
import os

import lmdb

_ROOM = "no space left ({}): free some, or set sessions.path to a larger disk; existing sessions stay valid"
_REMEDIES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _ROOM,
    errno.EROFS: "it is read-only ({}): mount it for writing, or set sessions.path to another folder",
    errno.EACCES: "it is not writable ({}): give it to the gateway's user, or set sessions.path to another folder",
    errno.EPERM: "it is not writable ({}): give it to the gateway's user, or set sessions.path to another folder",
    errno.EIO: f"the disk has failed, or has {_ROOM}",  # LMDB reports EIO for a partial write
}


def is_system_error(error: Exception) -> bool:
    """Return True for an error of the operating system, False for an error in the content of the files."""
    return _number(error) > 0


def describe(error: Exception) -> str:
    """Return the cause of an error, with the remedy if it is known."""
    if isinstance(error, lmdb.PanicError):
        return f"a write was interrupted ({error}): restart the gateway"
    number = _number(error)
    return _REMEDIES[number].format(os.strerror(number)) if number in _REMEDIES else str(error)


def _number(error: Exception) -> int:
    if isinstance(error, OSError):
        return error.errno or 0
    # Error codes of LMDB itself are negative.
    code = getattr(error, "code", 0)
    return code if isinstance(code, int) else 0
