"""A NoETL server for tests of events, and a reader of event streams."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import aiohttp
from aiohttp import web

from tests.integration.harness import PATIENCE, Running

RUN = (
    'mutation Run($c: String, $v: JSON) { executePlaybook(name: "team/flow", clientId: $c, variables: $v) '
    "{ executionId requestId status } }"
)


class Message(NamedTuple):
    """A server-sent event: its id, its type, and its data, parsed."""

    id: str
    kind: str
    data: Any


@dataclass(slots=True)
class Executions:
    """Starts executions with the ids 101, 102 and so on, with one status; `started` are the bodies of starts."""

    status: dict[str, Any] = field(default_factory=lambda: {"completed_steps": [], "completed": False, "failed": False})
    detail: dict[str, Any] = field(default_factory=dict)
    started: list[dict[str, Any]] = field(default_factory=list)
    polls: int = 0
    may_start: asyncio.Event | None = None
    refuse: int = 0

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        text = await request.text()
        if request.path == "/api/execute":
            if self.refuse:
                return web.json_response({"detail": "no"}, status=self.refuse)
            self.started.append(json.loads(text))
            if self.may_start is not None:
                await self.may_start.wait()
            return web.json_response({"execution_id": str(100 + len(self.started)), "status": "started"})
        if request.path.endswith("/status"):
            self.polls += 1
            return web.json_response(self.status)
        return web.json_response({"path": "team/flow", **self.detail})

    def complete(self, steps: list[str], result: dict[str, Any]) -> None:
        """Let all executions end; each step returns the result."""
        events: list[dict[str, Any]] = []
        for step in steps:
            events.append({"event_type": "call.done", "node_name": step, "result": {"context": result}})
            events.append({"event_type": "step.exit", "node_name": step})
        events.append({"event_type": "playbook.completed", "node_name": "team/flow"})
        for number, event in enumerate(events):
            event |= {"event_id": number + 1, "status": "COMPLETED", "created_at": f"2026-01-05T10:15:3{number}Z"}
        self.detail = {"events": events[::-1], "pagination": {"total_events": len(events)}}
        self.status = {"completed_steps": steps, "completed": True, "failed": False, "current_step": steps[-1]}


class Events:
    """An open stream."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.client_id = ""
        self.hello: dict[str, Any] = {}

    async def next(self) -> Message:
        """Return the next event, also a ping."""
        async with asyncio.timeout(PATIENCE):
            text = (await self.response.content.readuntil(b"\n\n")).decode()
        fields = dict(line.split(": ", 1) for line in text.strip().splitlines())
        return Message(fields.get("id", ""), fields.get("event", ""), json.loads(fields.get("data", "null")))

    async def news(self) -> Message:
        """Return the next event that is no ping."""
        while (found := await self.next()).kind == "ping":
            pass
        return found

    async def result(self) -> Message:
        """Return the next result."""
        while (found := await self.next()).kind != "playbook/result":
            pass
        return found


@asynccontextmanager
async def events(
    gateway: Running,
    headers: dict[str, str],
    client_id: str = "",
    last: str | None = None,
    query: str = "",
    client: aiohttp.ClientSession | None = None,
) -> AsyncIterator[Events]:
    """Open a stream, with this client or the gateway's, and read its first message."""
    url = f"{gateway.url}/events?{query}" + (f"&client_id={client_id}" if client_id else "")
    more = {} if last is None else {"last-event-id": last}
    async with (client or gateway.client).get(url, headers={**headers, **more}) as response:
        assert response.status == 200, await response.text()
        stream = Events(response)
        first = await stream.next()
        assert (first.kind, first.id) == ("message", "")
        stream.hello = first.data["result"]
        stream.client_id = stream.hello["clientId"]
        yield stream


def small_buffers(address: aiohttp.AddrInfoType) -> socket.socket:
    """Return a socket that receives little ahead: how much others do is a setting of the system, up to tens of MiB."""
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    return made


async def run(gateway: Running, headers: dict[str, str], client_id: str | None, **variables: Any) -> dict[str, Any]:
    """Start the playbook, and return the whole response."""
    document = {"query": RUN, "variables": {"c": client_id, "v": variables}}
    async with gateway.client.post(f"{gateway.url}/graphql", json=document, headers=headers) as response:
        found: dict[str, Any] = await response.json()
        return found


async def call_back(
    gateway: Running, what: str = "callback/async", headers: Mapping[str, str] | None = None, **document: Any
) -> tuple[int, Any]:
    """Send a callback, and return the status and the JSON of its response."""
    url = f"{gateway.url}/api/internal/{what}"
    body, fields = io.BytesIO(json.dumps(document).encode()), {"content-type": "application/json", **(headers or {})}
    async with gateway.client.post(url, data=body, headers=fields) as response:
        return response.status, await response.json()
