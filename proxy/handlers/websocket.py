"""WebSocket tunnels (RFC 6455): the handshake is judged like any request, then bytes pass both ways untouched.

What frames hold is not looked at. A tunnel ends when either side does, when nothing moves for the upstream's
`idle_timeout`, when its session ends, and when this process is about to end.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

from aiohttp import web

from proxy.errors import BadRequest, Forbidden
from proxy.exchange import Exchange
from proxy.handlers.streams import Drain
from proxy.upstream.connection import Connection
from proxy.upstream.heads import Head
from proxy.upstream.sink import Fault

_HELD = 64 * 1024
_GOING_AWAY = b"\x88\x02\x03\xe9"
_LOOK_SECONDS = 5.0
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")


class ClientSide(Protocol):
    """The client's connection, as far as a tunnel uses it."""

    def open_tunnel(self, tunnel: Tunnel) -> bytes:
        """Hand all that comes from now on to the tunnel; what has come already is returned."""

    def send(self, data: bytes) -> None:
        """Write to the client."""

    def blocked(self) -> bool:
        """Whether the client takes no more just now."""

    def hold_back(self, held: bool) -> None:
        """Read no more from the client for now, or read on."""


def asks_for_websocket(exchange: Exchange) -> bool:
    """Whether a request asks for a WebSocket (RFC 6455, 4.1)."""
    headers = exchange.request.headers
    named = {token.strip().lower() for value in headers.getall("connection", []) for token in value.split(",")}
    return exchange.request.method == "GET" and "upgrade" in named and headers.get("upgrade", "").lower() == "websocket"


def check_handshake(exchange: Exchange, allowed: Callable[[str], bool]) -> None:
    """Raise BadRequest for a handshake that is none, Forbidden for one from a page of a foreign origin."""
    headers = exchange.request.headers
    if headers.get("sec-websocket-version") != "13" or not _KEY.fullmatch(headers.get("sec-websocket-key", "")):
        raise BadRequest("Not a WebSocket handshake of version 13")
    origin = headers.get("origin")
    own = f"{exchange.scheme}://{headers.get('host', '')}"
    if origin is not None and origin != own and not allowed(origin):
        raise Forbidden("Origin not allowed", detail=f"WebSocket from {origin!r}")


class Frames:
    """Follows the frames of one direction by their lengths, to know when none is half sent (RFC 6455, 5.2)."""

    __slots__ = ("_head", "_left")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0

    @property
    def between(self) -> bool:
        """Whether all that was sent so far is whole frames."""
        return not self._head and not self._left

    def feed(self, data: bytes) -> None:
        """More of the stream."""
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


class Tunnel:
    """The bytes between a client and an upstream that has said 101. The sink of the upstream's side."""

    def __init__(self, client: ClientSide, connection: Connection, idle: float, drain: Drain) -> None:
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

    async def run(self, alive: Callable[[], Awaitable[bool]]) -> str:
        """Pass bytes until it is over; why it is. `alive` says whether the session still is."""
        self._connection.sink = self
        self._connection.resume()
        sending = asyncio.create_task(self._send())
        self._drain.tell(self._leave)
        try:
            while not self.why:
                try:
                    async with asyncio.timeout(min(_LOOK_SECONDS, self._idle)):
                        await self._over.wait()
                except TimeoutError:
                    if time.monotonic() - self._moved >= self._idle:
                        self.why = "nothing moved"
                    elif not await alive():
                        self.why = "the session ended"
            return self.why
        finally:
            self._drain.tell_no_more(self._leave)
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

    def _leave(self) -> None:
        """This process is about to end: the client is told to go (RFC 6455, 7.4.1), between two frames."""
        if not self.why and self._frames.between:
            self._client.send(_GOING_AWAY)
            self._end("the gateway is going away")

    def _end(self, why: str) -> None:
        self.why = self.why or why
        self._over.set()

    # Sink

    def on_head(self, head: Head) -> None:
        """The head has been passed on before the tunnel was opened."""

    def on_body(self, data: bytes) -> None:
        if self.why:
            return
        self._moved = time.monotonic()
        self._frames.feed(data)
        self._client.send(data)
        if self._drain.started:
            self._leave()

    def on_batch(self) -> None:
        if self._client.blocked():
            self._connection.pause()

    def on_end(self) -> None:
        self._end("the upstream ended it")

    def on_fault(self, fault: Fault) -> None:
        self._end(f"the upstream ended it: {fault}")


def client_side(request: web.BaseRequest) -> ClientSide:
    """The client's connection of a request."""
    return cast(ClientSide, request.protocol)
