"""A client's stream of events, over server-sent events or over a WebSocket: the same for a test."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.integration.harness import PATIENCE, Running

TRANSPORTS = ("events", "ws")


class Ended(Exception):
    """The stream has ended, or was cut."""


class Refused(Exception):
    """The stream was not opened. The text is the status."""


@dataclass
class Stream:
    """An open stream. `last` is the id of the last event, which only server-sent events have."""

    source: aiohttp.ClientResponse | aiohttp.ClientWebSocketResponse
    hello: dict[str, Any] = field(default_factory=dict)
    last: str = ""
    arrived: bytes = b""

    @property
    def client_id(self) -> str:
        """The id of the client."""
        return str(self.hello["clientId"])

    async def next(self) -> dict[str, Any]:
        """Return the next message. Raises Ended."""
        async with asyncio.timeout(PATIENCE):
            if isinstance(self.source, aiohttp.ClientWebSocketResponse):
                message = await self.source.receive()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    raise Ended
                return dict(json.loads(message.data))
            return await self._next_event(self.source)

    async def _next_event(self, source: aiohttp.ClientResponse) -> dict[str, Any]:
        try:
            while b"\n\n" not in self.arrived:
                part = await source.content.readany()
                if not part:
                    raise Ended
                self.arrived += part
        except aiohttp.ClientError:
            raise Ended from None
        block, _, self.arrived = self.arrived.partition(b"\n\n")
        fields = dict(line.split(": ", 1) for line in block.decode().strip().splitlines() if ": " in line)
        if "data" not in fields:
            return {}
        self.last = fields.get("id", self.last)
        return dict(json.loads(fields["data"]))

    async def settle(self) -> None:
        """Let the gateway know what has arrived: over a WebSocket by pongs, which a browser sends at once."""
        if isinstance(self.source, aiohttp.ClientWebSocketResponse):
            await self.source.send_str('{"jsonrpc": "2.0", "method": "ping"}')
            while (await self.next()).get("method") != "pong":
                pass

    def cut(self) -> None:
        """Break the connection, with whatever has arrived and was not read."""
        if isinstance(self.source, aiohttp.ClientWebSocketResponse):
            transport = self.source.get_extra_info("socket")
            transport.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer = self.source._writer  # noqa: SLF001 - aiohttp has no way to cut a WebSocket
            assert writer is not None
            writer.transport.abort()
        elif self.source.connection is not None and self.source.connection.transport is not None:
            self.source.connection.transport.abort()

    async def results(self, count: int) -> list[dict[str, Any]]:
        """Return the parameters of the next results. Raises Ended."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            message = await self.next()
            if message.get("method") == "playbook/result":
                found.append(message["params"])
        return found

    async def rest(self) -> list[dict[str, Any]]:
        """Return the parameters of all results until the stream ends."""
        found: list[dict[str, Any]] = []
        try:
            while True:
                found += await self.results(1)
        except Ended:
            return found


@asynccontextmanager
async def stream_of(
    gateway: Running, transport: str, headers: dict[str, str], client_id: str = "", last: str = ""
) -> AsyncIterator[Stream]:
    """Open a stream, and read its first message. Raises Refused."""
    query = f"client_id={client_id}" if client_id else ""
    if transport == "ws":
        query += f"&last_event_id={last}" if last else ""
        try:
            opened = await gateway.client.ws_connect(f"{gateway.url}/ws?{query}", headers=headers, max_msg_size=0)
        except aiohttp.WSServerHandshakeError as error:
            raise Refused(str(error.status)) from None
        async with opened:
            stream = Stream(opened)
            stream.hello = (await stream.next())["result"]
            yield stream
        return
    more = {"last-event-id": last} if last else {}
    async with gateway.client.get(f"{gateway.url}/events?{query}", headers={**headers, **more}) as response:
        if response.status != 200:
            raise Refused(str(response.status))
        stream = Stream(response)
        stream.hello = (await stream.next())["result"]
        yield stream
