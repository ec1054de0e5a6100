"""Clients of GraphQL subscriptions for tests: event streams in both modes, and WebSockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
from aiohttp import WSMsgType

from tests.integration.harness import PATIENCE, Running

EXECUTION = "subscription S($id: String!) { execution(executionId: $id) { executionId status completedSteps } }"
WRONG = "subscription { execution(executionId: 5) { nothing } }"
PROTOCOL = "graphql-transport-ws"
EVENTS = {"accept": "text/event-stream"}


def document(execution_id: str = "101", query: str = EXECUTION, **more: Any) -> dict[str, Any]:
    """Return the body of a request for a subscription."""
    return {"query": query, "variables": {"id": execution_id}, **more}


class Sent(NamedTuple):
    """An event of a stream."""

    kind: str
    data: Any


class EventReader:
    """Reads the events of a response."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.comments = 0
        self.rest = b""

    async def next(self) -> Sent | None:
        """Return the next event; None at the end of the stream."""
        while True:
            async with asyncio.timeout(PATIENCE):
                try:
                    text = (await self.response.content.readuntil(b"\n\n")).decode()
                except asyncio.IncompleteReadError as error:
                    self.rest = error.partial
                    return None
            if not text:
                return None
            fields = dict(line.split(": ", 1) for line in text.strip("\n").split("\n") if ": " in line)
            if "event" not in fields and text.startswith(":"):
                self.comments += 1
                continue
            if "retry" in fields:
                return Sent("retry", int(fields["retry"]))
            return Sent(fields["event"], json.loads(fields["data"]) if fields.get("data") else None)

    async def event(self) -> Sent:
        """Return the next event, which must come."""
        found = await self.next()
        assert found is not None, "the stream has ended"
        return found

    async def all(self) -> list[Sent]:
        """Return the events up to the end."""
        found = []
        while (event := await self.next()) is not None:
            found.append(event)
        return found


@asynccontextmanager
async def distinct(
    gateway: Running, headers: dict[str, str], body: dict[str, Any] | None = None
) -> AsyncIterator[EventReader]:
    """Subscribe on a stream of its own."""
    url, sent = f"{gateway.url}/graphql", body or document()
    async with gateway.client.post(url, json=sent, headers={**headers, **EVENTS}) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        yield EventReader(response)


async def reserve(gateway: Running, headers: dict[str, str]) -> str:
    """Return a reservation."""
    async with gateway.client.put(f"{gateway.url}/graphql", headers=headers) as response:
        assert response.status == 201
        return await response.text()


@asynccontextmanager
async def single(gateway: Running, headers: dict[str, str], token: str) -> AsyncIterator[EventReader]:
    """Open the stream of a reservation."""
    fields = {**headers, **EVENTS, "x-graphql-event-stream-token": token}
    async with gateway.client.get(f"{gateway.url}/graphql", headers=fields) as response:
        assert response.status == 200, await response.text()
        yield EventReader(response)


async def operate(
    gateway: Running, headers: dict[str, str], token: str, identity: str | None, body: dict[str, Any] | None = None
) -> tuple[int, Any]:
    """Start an operation on a stream; return the status and the JSON of the response."""
    sent = {**(body or document()), **({"extensions": {"operationId": identity}} if identity is not None else {})}
    fields = {**headers, "x-graphql-event-stream-token": token}
    async with gateway.client.post(f"{gateway.url}/graphql", json=sent, headers=fields) as response:
        text = await response.text()
        return response.status, json.loads(text) if text else None


class Socket:
    """A WebSocket with the sub-protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def send(self, kind: str, **more: Any) -> None:
        """Send a message."""
        await self.socket.send_json({"type": kind, **more})

    async def subscribe(self, identity: str, body: dict[str, Any] | None = None) -> None:
        """Start an operation."""
        await self.send("subscribe", id=identity, payload=body or document())

    async def next(self) -> dict[str, Any]:
        """Return the next message."""
        async with asyncio.timeout(PATIENCE):
            found: dict[str, Any] = json.loads(await self.socket.receive_str())
            return found

    async def closed(self) -> int | None:
        """Return the code with which the server closes."""
        async with asyncio.timeout(PATIENCE):
            while (await self.socket.receive()).type not in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING):
                pass
        return self.socket.close_code


@asynccontextmanager
async def socket(
    gateway: Running, headers: dict[str, str], query: str = "", *, protocol: str = PROTOCOL, **more: Any
) -> AsyncIterator[Socket]:
    """Open a WebSocket."""
    url = f"{gateway.url}/graphql?{query}"
    async with gateway.client.ws_connect(url, headers=headers, protocols=[protocol], **more) as opened:
        yield Socket(opened)


@asynccontextmanager
async def ready(gateway: Running, headers: dict[str, str]) -> AsyncIterator[Socket]:
    """Open a WebSocket, and initialise it."""
    async with socket(gateway, headers) as opened:
        await opened.send("connection_init")
        assert await opened.next() == {"type": "connection_ack"}
        yield opened
