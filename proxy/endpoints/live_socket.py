"""`GET /ws`: the events of a client over a WebSocket (RFC 6455): each message of `/events` in one text message.

The messages have no ids. Instead, a ping with the number of the event follows each one: the pong, which every client
sends by itself, says that it has arrived. What was not confirmed is sent again to a client that resumes.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial
from typing import Any

from wsproto.frame_protocol import CloseReason

from proxy.endpoints.ending import GOING_AWAY, SESSION_ENDED
from proxy.endpoints.open_streams import OpenStream, OpenStreams
from proxy.endpoints.socket import Socket, offers, require_handshake
from proxy.errors import Unauthorized
from proxy.exchange import RequestContext
from proxy.http.json import is_text, read_json, write_json
from proxy.http.response import OwnHeads
from proxy.live.messages import PING, hello, notification
from proxy.observe.metrics import SOCKET

PROTOCOL = "noetl.v1"
_MOST = 64 * 1024
_PING = notification(PING, {})
_PONG = {"jsonrpc": "2.0", "method": "pong"}
_PARSE_ERROR, _NO_METHOD = (-32700, "Parse error"), (-32601, "Method not found")
_REASONS = {GOING_AWAY: CloseReason.GOING_AWAY, SESSION_ENDED: CloseReason.POLICY_VIOLATION}


@dataclass(frozen=True, slots=True)
class LiveSocketHandler:
    """The endpoint, with what it needs."""

    streams: OpenStreams
    heads: OwnHeads

    async def handle(self, context: RequestContext) -> None:
        """Send the events of a client until either side closes, its session ends, or the gateway stops.

        Raises:
            UpgradeRequired: the request is no WebSocket handshake of version 13.
            Unauthorized: no live session.
        """
        require_handshake(context)
        if await self.streams.principal(context) is None:
            raise Unauthorized
        client_id = await self.streams.client_id(context)
        async with self.streams.open(context, client_id, SOCKET, confirms=True) as stream:
            await self._serve(context, stream)

    async def _serve(self, context: RequestContext, stream: OpenStream) -> None:
        waiting = await self.streams.hub.waiting(stream.client_id)
        confirmed = partial(self.streams.confirmed, stream)
        socket = Socket(_MOST, lambda text: socket.send(_response(text)), stream.end, confirmed)
        socket.accept(context, self.heads, PROTOCOL if offers(context, PROTOCOL) else None)
        drain = context.writer.client.drain
        socket.send(hello(stream.client_id, waiting))
        socket.send(_PING)
        async with contextlib.aclosing(self.streams.events(stream)) as events:
            async for event in events:
                socket.send(_PING if event is None else event.data)
                if event is not None:
                    socket.ping(b"%d" % event.number)
                await drain()
        await socket.close(_REASONS.get(stream.over, CloseReason.NORMAL_CLOSURE))


def _response(text: str) -> bytes:
    """Return the response to a message of the client: it may send `ping` (JSON-RPC 2.0, 5)."""
    try:
        message = read_json(text.encode())
    except (ValueError, RecursionError):
        return _error(None, *_PARSE_ERROR)
    given: dict[str, Any] = message if isinstance(message, dict) else {}
    identity = {"id": given["id"]} if is_text(given.get("id")) or isinstance(given.get("id"), int) else {}
    if given.get("method") == "ping":
        return write_json({**_PONG, **identity})
    return _error(identity.get("id"), *_NO_METHOD)


def _error(identity: Any, code: int, text: str) -> bytes:
    return write_json({"jsonrpc": "2.0", "id": identity, "error": {"code": code, "message": text}})
