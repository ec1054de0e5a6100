"""A proxy between the gateway and a NoETL server, which records what arrives and forwards it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from yarl import URL

_NOT_FORWARDED = frozenset(
    {"host", "connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding"}
)


@dataclass(frozen=True, slots=True)
class Arrived:
    """A request that has arrived. `target` is its path and query as sent."""

    method: str
    target: str
    body: bytes


Answer = Callable[[Arrived], tuple[int, bytes] | None]


@dataclass(slots=True)
class Recorder:
    """The proxy. `instead` may answer a request, with a status and JSON, in place of the server."""

    url: str = ""
    arrived: list[Arrived] = field(default_factory=list)
    instead: Answer = lambda request: None

    def clear(self) -> None:
        """Remove what was recorded."""
        self.arrived.clear()


@asynccontextmanager
async def recording(server: str) -> AsyncIterator[Recorder]:
    """A recorder in front of `server`, on a free port of 127.0.0.1."""
    recorder = Recorder()
    async with aiohttp.ClientSession(auto_decompress=False, connector=aiohttp.TCPConnector(limit=32)) as client:

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            arrived = Arrived(request.method, request.raw_path, await request.read())
            recorder.arrived.append(arrived)
            found = recorder.instead(arrived)
            if found is not None:
                return web.Response(status=found[0], body=found[1], content_type="application/json")
            fields = [(name, value) for name, value in request.headers.items() if name.lower() not in _NOT_FORWARDED]
            url = URL(server + arrived.target, encoded=True)
            data = arrived.body or None
            async with client.request(
                arrived.method, url, headers=fields, data=data, allow_redirects=False
            ) as response:
                body = await response.read()
                kind = response.headers.get("content-type", "application/octet-stream")
                return web.Response(status=response.status, body=body, headers={"content-type": kind})

        runner = web.ServerRunner(web.Server(handle, auto_decompress=False), handle_signals=False, shutdown_timeout=0.5)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        recorder.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield recorder
        finally:
            await runner.cleanup()
