"""The server's side of a WebSocket (RFC 6455): the response to the handshake, text messages, pings, and the close."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import Callable, Iterator
from typing import cast

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from proxy.errors import UpgradeRequired
from proxy.exchange import RequestContext
from proxy.http.response import Framing, OwnHeads, Response
from proxy.relay.websocket import ClientSide, check_handshake

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_NO_FRAMING = Framing(b"", chunked=False, by_close=False)
_CLOSE_SECONDS = 1.0
CLIENT_CLOSED = "the client closed"


def require_handshake(context: RequestContext) -> None:
    """Raise the error of a request that is no handshake of version 13, or comes from a page of a foreign origin."""
    assert context.service is not None  # noqa: S101 - the request has a route
    if context.writer.http_1_0 or not context.head.fields.upgrades_to_websocket:
        raise UpgradeRequired
    check_handshake(context.service.guards, context)


def offers(context: RequestContext, protocol: str) -> bool:
    """Return whether the client offers a sub-protocol."""
    values = context.head.fields.values(b"sec-websocket-protocol")
    return protocol in [each.strip() for value in values for each in value.split(",")]


class Socket:
    """The frames of one WebSocket.

    Args:
        most: the largest message of the client, in characters.
        receive: called with each text message of the client.
        ended: called once with the reason why there will be no more of them.
        pong: called with the payload of each pong.
    """

    def __init__(
        self,
        most: int,
        receive: Callable[[str], None],
        ended: Callable[[str], None],
        pong: Callable[[bytes | bytearray], None] = lambda payload: None,
    ) -> None:
        self._pong = pong
        self._most = most
        self._receive = receive
        self._ended = ended
        self._frames = Connection(ConnectionType.SERVER)
        self._closed = asyncio.Event()
        self._parts: list[str] = []
        self._size = 0
        self._client: ClientSide | None = None
        self.heard = True
        """Whether the client has sent anything since this was last set to False."""

    def accept(self, context: RequestContext, heads: OwnHeads, protocol: str | None) -> None:
        """Send the response to the handshake, with the sub-protocol if there is one, and begin to receive."""
        key = (context.head.fields.value(b"sec-websocket-key") or "").encode()
        accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        chosen = b"sec-websocket-protocol: %b\r\n" % protocol.encode() if protocol is not None else b""
        start = heads.start(Response(101, ()), context.head.scheme)
        upgrade = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: %b\r\n" % accept
        context.status = 101
        context.writer.close = True
        ending = context.ending(b"", dated=False, close=False)
        context.writer.start(b"%b%b%b" % (start, upgrade, chosen), ending, _NO_FRAMING)
        self._client = cast(ClientSide, context.writer.client)
        early = self._client.open_tunnel(self)
        if early:
            self.from_client(early)

    def send(self, data: bytes) -> None:
        """Send a text message."""
        self._send(TextMessage(data=data.decode()))

    def ping(self, payload: bytes = b"") -> None:
        """Send a ping, which every client answers with a pong that has its payload (RFC 6455, 5.5.2 and 5.5.3)."""
        self._send(Ping(payload))

    def _send(self, event: Event) -> None:
        assert self._client is not None  # noqa: S101 - it was accepted
        with contextlib.suppress(LocalProtocolError):  # the client has closed meanwhile
            self._client.send(self._frames.send(event))

    async def close(self, code: int, reason: str | None = None) -> None:
        """Close, and wait for the client to agree (RFC 6455, 7.1.2), a moment."""
        if self._frames.state is ConnectionState.OPEN:
            self._send(CloseConnection(code, reason))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self._closed.wait()

    def client_blocked(self, blocked: bool) -> None:
        """Read no more from a client that does not read: what it sends may be answered."""
        if self._client is not None:
            self._client.hold_back(blocked)

    def from_client(self, data: bytes) -> None:
        """Handle what the client has sent."""
        self.heard = True
        try:
            self._frames.receive_data(data)
            for event in self._events():
                self._handle(event)
        except RemoteProtocolError as error:
            self._end(error.event_hint or CloseConnection(CloseReason.PROTOCOL_ERROR), "not a WebSocket frame")

    def _events(self) -> Iterator[Event]:
        for event in self._frames.events():
            if self._frames.state is not ConnectionState.CLOSED or isinstance(event, CloseConnection):
                yield event

    def _handle(self, event: Event) -> None:
        if isinstance(event, CloseConnection):
            self._end(event.response(), CLIENT_CLOSED)
        elif isinstance(event, Ping):
            self._send(event.response())
        elif isinstance(event, BytesMessage):
            self._end(CloseConnection(CloseReason.UNSUPPORTED_DATA), "a binary message")
        elif isinstance(event, TextMessage):
            if event.data:
                self._parts.append(event.data)
            self._size += len(event.data)
            if self._size > self._most:
                self._end(CloseConnection(CloseReason.MESSAGE_TOO_BIG), "a message that is too big")
            elif event.message_finished:
                text = "".join(self._parts)
                self._parts, self._size = [], 0
                self._receive(text)
        elif isinstance(event, Pong):
            self._pong(event.payload)
        else:
            self._end(CloseConnection(CloseReason.PROTOCOL_ERROR), "not a WebSocket frame")

    def _end(self, event: Event, why: str) -> None:
        self._send(event)
        self._closed.set()
        self._ended(why)
