"""The `Date` field (RFC 9110, 6.6.1), made once a second."""

from __future__ import annotations

import time
from email.utils import formatdate


class _Clock:
    __slots__ = ("line", "second")

    def __init__(self) -> None:
        self.second = 0
        self.line = b""


_CLOCK = _Clock()


def date_line() -> bytes:
    """Return the field with the present time and its line end."""
    second = int(time.time())
    if second != _CLOCK.second:
        _CLOCK.second = second
        _CLOCK.line = f"date: {formatdate(second, usegmt=True)}\r\n".encode()
    return _CLOCK.line
