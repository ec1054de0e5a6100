"""A gateway for one case: its store, the server behind it, and a signed-in user."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from proxy.sessions.file import FileStore
from proxy.sessions.memory import MemoryStore
from proxy.sessions.redis.address import read_address
from proxy.sessions.redis.connection import RedisSettings
from proxy.sessions.redis.store import RedisStore
from proxy.sessions.store import SessionStore
from tests.integration.gateway.live_server import Executions
from tests.integration.harness import behind_gateway
from tests.live.cases import Case
from tests.redis_server import RedisServer, wanted

STORES = ("memory", "file", "redis")
QUIET = "live: {follow: false}"


@asynccontextmanager
async def store_of(kind: str, folder: Path) -> AsyncIterator[SessionStore]:
    """An empty store, which the gateway closes."""
    if kind != "redis":
        yield FileStore(folder / "sessions") if kind == "file" else MemoryStore()
        return
    server = RedisServer(wanted())
    try:
        await asyncio.to_thread(server.start)
        yield RedisStore(RedisSettings(read_address(server.url)))
    finally:
        server.remove()


@asynccontextmanager
async def place(folder: Path, transport: str, kind: str) -> AsyncIterator[Case]:
    """A gateway with a store of this kind."""
    async with store_of(kind, folder) as store:
        async with behind_gateway(folder, store=store, more=QUIET) as (gateway, upstream):
            server = Executions()
            upstream.answer = server.answer
            yield Case(gateway, server, transport, await gateway.bearer())
