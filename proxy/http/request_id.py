"""Request ids: the client's if it is well formed, else a new one, unique in this process and across processes."""

from __future__ import annotations

import itertools
import os
import re
import secrets

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class _Ids:
    """A random prefix and a counter, renewed in a forked process."""

    def __init__(self) -> None:
        self.renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        self.prefix = secrets.token_hex(8).encode()
        self.numbers = itertools.count(secrets.randbits(62) + 1)


_IDS = _Ids()


def is_request_id(value: bytes) -> bool:
    """Return whether a value of `X-Request-Id` is kept: 1 to 128 characters of `[A-Za-z0-9._-]`."""
    return _REQUEST_ID.fullmatch(value) is not None


def new_request_id() -> bytes:
    """Return a new id of 32 hexadecimal characters."""
    return b"%b%016x" % (_IDS.prefix, next(_IDS.numbers))
