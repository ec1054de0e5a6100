"""Responses as bytes: the status line, the header fields and the framing of the body (RFC 9112)."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus

from .messages import Response

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_WITHOUT_BODY = frozenset({204, 304})


def has_body(status: int, method: str) -> bool:
    """Return whether a response has a body (RFC 9110, 6.4.1)."""
    return method != "HEAD" and status not in _WITHOUT_BODY and status >= 200


def framing(response: Response, version: str = "1.1") -> str:
    """Return the field that says how long the body is; empty if the end of the connection does."""
    if response.status in _WITHOUT_BODY:
        return ""
    if response.stream is None:
        return f"content-length: {len(response.body)}\r\n"
    if response.length is not None:
        return f"content-length: {response.length}\r\n"
    return "transfer-encoding: chunked\r\n" if version == "1.1" else ""


def encode_head(response: Response, defaults: str, framed: str, close: bool) -> bytes:
    """Return the status line and the header fields.

    Args:
        response: the response.
        defaults: the lines that every response of the server has, each with its line end.
        framed: the line that `framing` returned, or another one in its place.
        close: the connection is closed after this response.
    """
    line = _LINES.get(response.status) if not response.reason else None
    lines = [line or f"HTTP/1.1 {response.status} {response.reason}\r\n", defaults, framed]
    if response.content_type is not None and (response.body or response.stream or framed != "content-length: 0\r\n"):
        lines.append(f"content-type: {response.content_type}\r\n")
    lines += [f"{name}: {value}\r\n" for name, value in response.headers]
    lines.append("connection: close\r\n\r\n" if close else "\r\n")
    return "".join(lines).encode("latin-1", "replace")


def chunk(part: bytes) -> bytes:
    """Return a part of a body as a chunk (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(part), part)


LAST_CHUNK = b"0\r\n\r\n"


class DefaultFields:
    """The lines that every response has: `date`, of one second, and `server` if it has a name."""

    def __init__(self, server: str) -> None:
        self._server = f"server: {server}\r\n" if server else ""
        self._second = -1
        self._lines = ""

    def at(self, instant: float) -> str:
        """Return the lines for an instant in seconds since 1970."""
        if int(instant) != self._second:
            self._second = int(instant)
            self._lines = f"date: {formatdate(self._second, usegmt=True)}\r\n{self._server}"
        return self._lines
