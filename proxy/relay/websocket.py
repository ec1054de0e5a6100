"""WebSocket tunnels (RFC 6455): the handshake is authorized like any request, then bytes are forwarded unchanged.

What frames hold is not looked at. A tunnel ends when either side does, when nothing moves for the upstream's
`idle_timeout`, when its session ends, and when this process is about to end.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from dataclasses import dataclass
from typing import Protocol, cast

from proxy.errors import BadGateway, BadRequest, Forbidden, UpgradeRequired
from proxy.exchange import RequestContext
from proxy.guards import RouteGuards, is_trusted_origin
from proxy.http.response import Framing
from proxy.noetl.surface import Judged
from proxy.relay.event_streams import Drain
from proxy.relay.forwarding import authorize, forward, outgoing
from proxy.relay.relayed import RelayedRoute
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.heads import ResponseHead
from proxy.upstream.receiver import Fault, ResponseReceiver

_HELD = 64 * 1024
_GOING_AWAY = b"\x88\x02\x03\xe9"
_INTERNAL_ERROR = b"\x88\x02\x03\xf3"
_LOOK_SECONDS = 5.0
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
_HANDSHAKE = b"connection: upgrade\r\nupgrade: websocket\r\n"
_NO_FRAMING = Framing(b"", chunked=False, by_close=False)


class ClientBytes(Protocol):
    """What takes the bytes of a client behind a handshake."""

    def from_client(self, data: bytes) -> None:
        """The client has sent something."""

    def client_blocked(self, blocked: bool) -> None:
        """The client takes no more for now, or takes more again."""


class ClientSide(Protocol):
    """The client's connection, as far as a tunnel uses it."""

    def open_tunnel(self, tunnel: ClientBytes) -> bytes:
        """Hand all bytes that come from now on to the tunnel; return what has come already."""

    def send(self, data: bytes) -> None:
        """Write to the client."""

    def blocked(self) -> bool:
        """Return whether the client does not read just now."""

    def hold_back(self, held: bool) -> None:
        """Stop reading from the client, or read on."""


@dataclass(frozen=True, slots=True)
class WebSocketRelay:
    """Relays the WebSockets of one route; `guards` name the origins whose pages may open one."""

    route: RelayedRoute
    guards: RouteGuards

    def wants(self, context: RequestContext) -> bool:
        """Return whether a request asks for a WebSocket. `Upgrade` has no meaning in HTTP/1.0 (RFC 9110, 7.8)."""
        return (
            context.head.method == "GET" and not context.writer.http_1_0 and context.head.fields.upgrades_to_websocket
        )

    async def handle(self, context: RequestContext, path: str, judged: Judged) -> None:
        """Authorize the handshake, forward it, and open the tunnel if the upstream agrees.

        Raises:
            BadRequest: a malformed handshake.
            UpgradeRequired: another version than 13.
            Forbidden: no rule allows it, or a page of a foreign origin.
            BadGateway: the upstream agrees to another protocol.
        """
        route = self.route
        check_handshake(self.guards, context)
        await authorize(route, context, judged)
        wanted = outgoing(route, context, path, None, None, handshake=_HANDSHAKE)
        start = time.perf_counter()
        try:
            async with route.upstream.request(wanted, timeout=route.timeout) as answer:
                if answer.status != 101:
                    await forward(route, context, answer)
                    return
                head = answer.response_head
                if (b"upgrade", b"websocket") not in [(name, value.strip().lower()) for name, value in head.headers]:
                    raise BadGateway(detail="the upstream answered a WebSocket handshake with another protocol")
                planned = route.response_plan.head(101, head.reason, head.headers, chunked=False, upgrade=True)
                context.status = 101
                context.writer.close = True
                ending = context.ending(route.cors_lines(context.head), dated=planned.dated, close=False)
                context.writer.start(planned.lines, ending, _NO_FRAMING)
                client = cast(ClientSide, context.writer.client)
                idle = route.upstream.pool.settings.idle_timeout
                session = context.principal.key if context.principal is not None else b""
                tunnel = Tunnel(client, answer.connection, idle, route.drain, session)
                for early in answer.take_arrived():
                    client.send(early)
                waiting = client.open_tunnel(tunnel)
                if waiting:
                    tunnel.from_client(waiting)
                context.detail = await tunnel.run()
        finally:
            context.upstream_seconds += time.perf_counter() - start


def check_handshake(guards: RouteGuards, context: RequestContext) -> None:
    """Raise the error of a WebSocket handshake that is malformed, or comes from a page of a foreign origin."""
    fields = context.head.fields
    if fields.value(b"sec-websocket-version") != "13":
        raise UpgradeRequired
    if context.body.exists or not _KEY.fullmatch(fields.value(b"sec-websocket-key") or ""):
        raise BadRequest("Not a WebSocket handshake of version 13")
    if fields.origin is not None and not is_trusted_origin(guards, context.head, fields.origin):
        raise Forbidden("Origin not allowed", detail=f"WebSocket from {fields.origin!r}")


class Frames:
    """A parser of the lengths of frames in one direction, to know when none is half sent (RFC 6455, 5.2)."""

    __slots__ = ("_head", "_left")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0

    @property
    def between(self) -> bool:
        """Whether everything sent so far is whole frames."""
        return not self._head and not self._left

    def feed(self, data: bytes) -> None:
        """Parse more of the stream."""
        at, end = 0, len(data)
        while at < end:
            if self._left:
                taken = min(self._left, end - at)
                self._left -= taken
                at += taken
                continue
            self._head += data[at : at + 1]
            at += 1
            size = self._head_size()
            if size and len(self._head) == size:
                self._left = self._payload()
                self._head = b""

    def _head_size(self) -> int:
        if len(self._head) < 2:
            return 0
        length = self._head[1] & 0x7F
        return 2 + {126: 2, 127: 8}.get(length, 0) + (4 if self._head[1] & 0x80 else 0)

    def _payload(self) -> int:
        length = self._head[1] & 0x7F
        if length == 126:
            return int.from_bytes(self._head[2:4])
        return int.from_bytes(self._head[2:10]) if length == 127 else length


class Tunnel(ResponseReceiver):
    """The bytes between a client and an upstream that has said 101. The sink of the upstream's side."""

    def __init__(
        self, client: ClientSide, connection: UpstreamConnection, idle: float, drain: Drain, session: bytes
    ) -> None:
        """Make a tunnel; it ends when nothing moves for `idle` seconds. `session` is the key of the user's session."""
        self._drain = drain
        self._frames = Frames()
        self._client = client
        self._connection = connection
        self._idle = idle
        self._moved = time.monotonic()
        self._from_client: deque[bytes] = deque()
        self._held = 0
        self._more = asyncio.Event()
        self._over = asyncio.Event()
        self.session = session
        self.why = ""

    def from_client(self, data: bytes) -> None:
        """The client has sent something."""
        self._moved = time.monotonic()
        self._from_client.append(data)
        self._held += len(data)
        if self._held > _HELD:
            self._client.hold_back(True)
        self._more.set()

    def client_blocked(self, blocked: bool) -> None:
        """The client takes no more for now, or takes more again."""
        if blocked:
            self._connection.pause()
        else:
            self._connection.resume()

    async def run(self) -> str:
        """Forward bytes until the tunnel ends; return why it ended."""
        self._connection.receiver = self
        self._connection.resume()
        sending = asyncio.create_task(self._send())
        self._drain.watch(self)
        try:
            while not self.why:
                try:
                    async with asyncio.timeout(min(_LOOK_SECONDS, self._idle)):
                        await self._over.wait()
                except TimeoutError:
                    if time.monotonic() - self._moved >= self._idle:
                        self.why = "nothing moved"
            return self.why
        finally:
            self._drain.unwatch(self)
            sending.cancel()
            self._connection.abandon(self)

    async def _send(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            while self._from_client:
                data = b"".join(self._from_client)
                self._from_client.clear()
                self._connection.write(data)
                await self._connection.drain()
                if self._held > _HELD:
                    self._client.hold_back(False)
                self._held = 0

    def leave(self) -> None:
        """End the tunnel with the process (RFC 6455, 7.4.1: going away), between two frames."""
        self._close(_GOING_AWAY, "the gateway is going away")

    def session_ended(self) -> None:
        """End the tunnel with its session."""
        self._end("the session ended")

    def store_failed(self) -> None:
        """End the tunnel as the session store can't be used (RFC 6455, 7.4.1: internal error)."""
        self._close(_INTERNAL_ERROR, "the session store can't be used")
        self._end("the session store can't be used")

    def _close(self, frame: bytes, why: str) -> None:
        if not self.why and self._frames.between:
            self._client.send(frame)
            self._end(why)

    def _end(self, why: str) -> None:
        self.why = self.why or why
        self._over.set()

    # ResponseReceiver

    def on_head(self, head: ResponseHead) -> None:
        """The head was forwarded before the tunnel was opened."""

    def on_body(self, data: bytes) -> None:
        if self.why:
            return
        self._moved = time.monotonic()
        self._frames.feed(data)
        self._client.send(data)
        if self._drain.started:
            self.leave()

    def on_batch(self) -> None:
        if self._client.blocked():
            self._connection.pause()

    def on_end(self) -> None:
        self._end("the upstream ended it")

    def on_fault(self, fault: Fault) -> None:
        self._end(f"the upstream ended it: {fault}")
