"""`GET /ws`: the events of a client over a WebSocket (RFC 6455): each message of `/events` in one text message."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from proxy.endpoints.open_streams import GOING_AWAY, SESSION_ENDED, OpenStream, OpenStreams
from proxy.errors import Unauthorized, UpgradeRequired
from proxy.exchange import RequestContext
from proxy.http.json import read_json, write_json
from proxy.http.response import Framing, OwnHeads, Response
from proxy.live.messages import PING, hello, notification
from proxy.relay.websocket import ClientSide, check_handshake

PROTOCOL = "noetl.v1"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MOST = 64 * 1024
_PING = notification(PING, {})
_PONG = {"jsonrpc": "2.0", "method": "pong"}
_PARSE_ERROR, _NO_METHOD = (-32700, "Parse error"), (-32601, "Method not found")
_NO_FRAMING = Framing(b"", chunked=False, by_close=False)
_REASONS = {GOING_AWAY: CloseReason.GOING_AWAY, SESSION_ENDED: CloseReason.POLICY_VIOLATION}


@dataclass(frozen=True, slots=True)
class LiveSocketHandler:
    """The endpoint, with what it needs."""

    streams: OpenStreams
    heads: OwnHeads

    async def handle(self, context: RequestContext) -> Response | None:
        """Send the events of a client until either side closes, its session ends, or the gateway stops.

        Raises:
            UpgradeRequired: the request is no WebSocket handshake of version 13.
            Unauthorized: no live session.
        """
        assert context.service is not None  # noqa: S101 - the request has a route
        if context.writer.http_1_0 or not context.head.fields.upgrades_to_websocket:
            raise UpgradeRequired
        check_handshake(context.service.guards, context)
        if await self.streams.principal(context) is None:
            raise Unauthorized
        client_id = await self.streams.client_id(context)
        async with self.streams.open(context, client_id) as stream:
            await self._serve(context, stream)
        return None

    async def _serve(self, context: RequestContext, stream: OpenStream) -> None:
        waiting = await self.streams.hub.waiting(stream.client_id)
        self._accept(context)
        client = cast(ClientSide, context.writer.client)
        socket = _Socket(client, stream)
        early = client.open_tunnel(socket)
        if early:
            socket.from_client(early)
        drain = context.writer.client.drain
        socket.send(hello(stream.client_id, waiting))
        socket.send(_PING)
        async with contextlib.aclosing(self.streams.events(stream)) as events:
            async for event in events:
                socket.send(_PING if event is None else event.data)
                await drain()
        await socket.close(_REASONS.get(stream.over, CloseReason.NORMAL_CLOSURE))

    def _accept(self, context: RequestContext) -> None:
        """Send the response to the handshake."""
        fields = context.head.fields
        key = (fields.value(b"sec-websocket-key") or "").encode()
        accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        offered = [each.strip() for value in fields.values(b"sec-websocket-protocol") for each in value.split(",")]
        chosen = b"sec-websocket-protocol: %b\r\n" % PROTOCOL.encode() if PROTOCOL in offered else b""
        start = self.heads.start(Response(101, ()), context.head.scheme)
        upgrade = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: %b\r\n" % accept
        context.status = 101
        context.writer.close = True
        ending = context.ending(b"", dated=False, close=False)
        context.writer.start(b"%b%b%b" % (start, upgrade, chosen), ending, _NO_FRAMING)


class _Socket:
    """The frames of one WebSocket."""

    def __init__(self, client: ClientSide, stream: OpenStream) -> None:
        self._client = client
        self._stream = stream
        self._frames = Connection(ConnectionType.SERVER)
        self._closed = asyncio.Event()
        self._text = ""

    def send(self, data: bytes) -> None:
        """Send a text message."""
        self._send(TextMessage(data=data.decode()))

    def _send(self, event: Event) -> None:
        with contextlib.suppress(LocalProtocolError):  # the client has closed meanwhile
            self._client.send(self._frames.send(event))

    async def close(self, reason: CloseReason) -> None:
        """Close, and wait for the client to agree (RFC 6455, 7.1.2), a moment."""
        if self._frames.state is ConnectionState.OPEN:
            self._send(CloseConnection(reason))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._closed.wait()

    def client_blocked(self, blocked: bool) -> None:
        """Do nothing: the stream waits for the client before it sends more."""

    def from_client(self, data: bytes) -> None:
        """The client has sent something."""
        try:
            self._frames.receive_data(data)
            for event in self._events():
                self._answer(event)
        except RemoteProtocolError as error:
            self._end(error.event_hint or CloseConnection(CloseReason.PROTOCOL_ERROR), "not a WebSocket frame")

    def _events(self) -> Iterator[Event]:
        for event in self._frames.events():
            if self._frames.state is not ConnectionState.CLOSED or isinstance(event, CloseConnection):
                yield event

    def _answer(self, event: Event) -> None:
        if isinstance(event, CloseConnection):
            self._send(event.response())
            self._closed.set()
            self._stream.end("the client closed")
        elif isinstance(event, Ping):
            self._send(event.response())
        elif isinstance(event, BytesMessage):
            self._end(CloseConnection(CloseReason.UNSUPPORTED_DATA), "a binary message")
        elif isinstance(event, TextMessage):
            self._text += event.data
            if len(self._text) > _MOST:
                self._end(CloseConnection(CloseReason.MESSAGE_TOO_BIG), "a message that is too big")
            elif event.message_finished:
                text, self._text = self._text, ""
                self.send(_response(text))

    def _end(self, event: Event, why: str) -> None:
        self._send(event)
        self._closed.set()
        self._stream.end(why)


def _response(text: str) -> bytes:
    """Return the response to a message of the client: it may send `ping` (JSON-RPC 2.0, 5)."""
    try:
        message = read_json(text.encode())
    except (ValueError, RecursionError):
        return _error(None, *_PARSE_ERROR)
    given: dict[str, Any] = message if isinstance(message, dict) else {}
    identity = {"id": given["id"]} if isinstance(given.get("id"), str | int) else {}
    if given.get("method") == "ping":
        return write_json({**_PONG, **identity})
    return _error(identity.get("id"), *_NO_METHOD)


def _error(identity: Any, code: int, text: str) -> bytes:
    return write_json({"jsonrpc": "2.0", "id": identity, "error": {"code": code, "message": text}})
