"""Where one HTTP/1.1 answer ends and the next begins, for answers to GET and POST. Sans I/O: bytes in, statuses out.

It trusts a server whose answers were verified beforehand: no limits, no trailers, no informational answers.
"""

from __future__ import annotations

import re

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked[ \t]*\r\n", re.IGNORECASE)
_LAST_CHUNK = b"\r\n0\r\n\r\n"


class WireError(Exception):
    """The answer has no end that can be found."""


class Answers:
    """Finds the ends of answers on one connection."""

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0
        self._status = 0
        self._chunked = False

    def feed(self, data: bytes) -> list[int]:
        """The statuses of the answers that are now complete. Raises WireError."""
        self._buffer = self._buffer + data if self._buffer else data
        found = []
        while self._step():
            found.append(self._status)
            self._status = 0
        return found

    def _step(self) -> bool:
        """Whether another answer has been read to its end."""
        if not self._status and not self._head():
            return False
        if self._chunked:
            return self._chunks()
        if len(self._buffer) < self._left:
            self._left -= len(self._buffer)
            self._buffer = b""
            return False
        self._buffer = self._buffer[self._left :]
        return True

    def _head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = self._buffer[: end + 2]
        if not head.startswith(b"HTTP/1."):
            raise WireError(f"not an answer: {head[:40]!r}")
        self._status = int(head[9:12])
        length = _LENGTH.search(head)
        self._chunked = length is None and _CHUNKED.search(head) is not None
        if length is None and not self._chunked and self._status != 204:
            raise WireError("an answer with neither a length nor chunks")
        self._left = int(length[1]) if length else 0
        # The line break before the first chunk's size stays: an empty body has the last chunk only.
        self._buffer = self._buffer[end + 2 if self._chunked else end + 4 :]
        return True

    def _chunks(self) -> bool:
        # A chunk with this very text inside would be cut short; the next answer's head would show it.
        end = self._buffer.find(_LAST_CHUNK)
        if end < 0:
            return False
        self._buffer = self._buffer[end + len(_LAST_CHUNK) :]
        return True
