"""Where to cut what has arrived for the parser, and properties of a parsed request, which are read without changing it.

The parser alone decides what a head is and where a body ends: it reads the same from bytes that are cut anywhere.
"""

from __future__ import annotations

from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from proxy.errors import GatewayError
from proxy.server.dispatcher import Incoming

_SMALL_BODY = 64 * 1024


def head_end(data: bytes, *, begins: bool) -> int:
    """Return where to cut bytes, so that no part holds both a head, or its end, and something that follows it.

    Args:
        data: the bytes.
        begins: a message begins with them, or with the blank lines before it; else they may begin within the blank line
            that ends a head.
    """
    start = len(data) - len(data.lstrip(b"\r\n")) if data[:1] in (b"\r", b"\n") else 0
    if start and not begins:
        return start
    end = data.find(b"\r\n\r\n", start)
    return len(data) if end < 0 else end + 4


def body_length(message: RawRequestMessage, payload: StreamReader) -> int | None:
    """Return the length in bytes of a body; None for a body in chunks, which says itself where it ends."""
    if payload is EMPTY_PAYLOAD:
        return 0
    return None if message.chunked else int(message.headers.get("content-length", "0"))


def incoming(message: RawRequestMessage, payload: StreamReader, *, close: bool) -> Incoming:
    """Return a request for the dispatcher. `close`: the connection ends with its response."""
    error = payload.exception()
    return Incoming(
        message.method,
        message.path,
        (message.version.major, message.version.minor),
        message.raw_headers,
        close,
        None if payload is EMPTY_PAYLOAD else payload,
        error if isinstance(error, GatewayError) else None,
    )


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


def closing_behind(message: RawRequestMessage) -> RawRequestMessage:
    """Return a message so that its connection closes, if the parser can't be trusted behind it.

    It would take the last trailer of a body in chunks for a field of the next request, it ignores an empty
    `transfer-encoding`, which others may read otherwise, and it knows of a request for a WebSocket only behind its
    body, which such a request should not have.
    """
    headers = message.headers
    tunnel = message.upgrade and headers.get("upgrade", "").lower() == "websocket" and "content-length" in headers
    return message._replace(should_close=True) if tunnel or "transfer-encoding" in headers else message
