"""Properties of a parsed request, which are read without changing it."""

from __future__ import annotations

from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

_SMALL_BODY = 64 * 1024


def whole_body(payload: StreamReader) -> bytes | None:
    """Return the body of a request, left where it is; None if it is not small, or not all of it has arrived."""
    if payload is EMPTY_PAYLOAD:
        return b""
    if type(payload) is not StreamReader or not payload.is_eof() or payload.exception() is not None:
        return None
    return b"".join(payload._buffer) if payload.total_bytes <= _SMALL_BODY and not payload._buffer_offset else None


def is_all(data: bytes, body: bytes, message: RawRequestMessage, *, begins: bool) -> bool:
    """Return whether a message that was read from these bytes ends where they end: the parser is between two.

    Where it does not begin with them, they may begin within the blank line that ends its head; what is found then is
    one in the body, or behind it.
    """
    if message.chunked or (not begins and data[:1] in (b"\r", b"\n")):
        return False
    return data.find(b"\r\n\r\n") + 4 + len(body) == len(data)


def closing_behind(message: RawRequestMessage, *, last: bool) -> RawRequestMessage:
    """Return a message so that its connection closes, if the parser can't be trusted behind it.

    It would take the last trailer of a body in chunks for a field of the next request; and it drops what follows a
    request for an upgrade that it does not know. `last`: nothing follows.
    """
    return message._replace(should_close=True) if message.chunked or (message.upgrade and not last) else message
