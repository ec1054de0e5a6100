"""Reads the requests of a connection with aiohttp's parser, one at a time, so that each is known whatever follows it.

The parser alone decides what a head is and where a body ends: it reads the same from bytes that are cut anywhere. This
module cuts them, and says what is left over.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from proxy.errors import GatewayError
from proxy.server.aiohttp_release import parser_error
from proxy.server.parsed_message import body_length, head_end, is_all, whole_body


class ReadRequest(NamedTuple):
    """A request whose head was read.

    Args:
        message: its head.
        payload: its body.
        body: the same, if it is small and has arrived whole, else None.
        data: its bytes, if its field block may be kept: they have arrived together, and are all of it.
        head_size: the number of bytes of its head among those that were read.
        rest: the bytes that follow.
    """

    message: RawRequestMessage
    payload: StreamReader
    body: bytes | None
    data: bytes | None
    head_size: int
    rest: bytes


class MessageReader:
    """Reads requests.

    `between`: the parser is between two messages for certain. Of the last request: `content` is its body, `malformed`
    the error in it; `upgraded`: it asks for a tunnel, and `tail` are bytes behind it that the parser has returned.
    """

    __slots__ = ("_parser", "_refused", "_to_come", "between", "content", "malformed", "tail", "upgraded")

    def __init__(self, parser: HttpRequestParser) -> None:
        self._parser = parser
        self._to_come: int | None = 0
        self.between = True
        self.content: StreamReader = EMPTY_PAYLOAD
        self.upgraded = False
        self.tail = b""
        self.malformed: GatewayError | None = None
        self._refused = False

    @property
    def body_arrived(self) -> bool:
        """Whether the body of the last request has arrived."""
        return self._to_come == 0 or self.content.is_eof()

    def read(self, data: bytes, *, idle: bool) -> ReadRequest | None:
        """Read a head and as much of its body as is there; return the request, or None if the head is not complete.

        Args:
            data: what has arrived.
            idle: no part of the head has arrived before.

        Raises:
            HttpProcessingError: the head is malformed.
        """
        begins, self.between = self.between and idle, False
        cut = head_end(data, begins=begins)
        self.content, self._to_come = EMPTY_PAYLOAD, 0
        messages, self.upgraded, self.tail = self._parser.feed_data(data[:cut])
        if not messages:
            return self.read(data[cut:], idle=False) if cut < len(data) else None
        ((message, payload),) = messages
        length = body_length(message, payload)
        end = len(data) if length is None else min(cut + length, len(data))
        self.content, self._to_come = payload, length
        if end > cut:
            self.read_body(data[cut:end])
            if self.malformed is not None:
                payload.set_exception(self.malformed)
        body = None if self.upgraded else whole_body(payload)
        read = data[:end]
        self.between = body is not None and is_all(read, body, message, begins=begins)
        return ReadRequest(message, payload, body, read if begins and self.between else None, cut, data[end:])

    def taken_back(self, offered: ReadRequest | bytes) -> tuple[RawRequestMessage, StreamReader]:
        """Return the head and the body of a request that the fast path gave back. Bytes were not read before."""
        if not isinstance(offered, bytes):
            return offered.message, offered.payload
        ((message, self.content),), _, _ = self._parser.feed_data(offered)
        self._to_come = 0
        return message, self.content

    def read_body(self, data: bytes) -> bytes:
        """Read a part of the body of the last request; return what follows the body.

        What follows a body in chunks is dropped, as the connection closes behind it. No data: the parser, which was
        held back by a reader of the body, may go on.
        """
        content, part, rest = self.content, data, b""
        if self._to_come is not None:
            part, rest = data[: self._to_come], data[self._to_come :]
            self._to_come -= len(part)
        if (part or not data) and not content.is_eof() and self.malformed is None:
            self.between = False
            try:
                _, upgraded, self.tail = self._parser.feed_data(part)
                self.upgraded = self.upgraded or upgraded
            except HttpProcessingError as exc:
                if not content.is_eof():
                    self.malformed = parser_error(exc)
                    self.malformed.__cause__ = exc
        return rest

    def refuse_body(self) -> None:
        """If the body is malformed, let who reads it know, once.

        A reader that was just woken for another part looks for an error only when it waits again.
        """
        if self.malformed is not None and not self._refused:
            self._refused = True
            asyncio.get_running_loop().call_soon(self.content.set_exception, self.malformed)

    def decline_upgrade(self) -> None:
        """Go on behind a request for an upgrade that was answered otherwise."""
        self._parser.set_upgraded(False)
        self.upgraded = False
        self.tail = b""
