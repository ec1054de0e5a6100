"""A gateway for one case: its store, the server behind it, and a signed-in user."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from proxy.sessions.file import FileStore
from proxy.sessions.memory import MemoryStore
from proxy.sessions.store import SessionStore
from tests.integration.gateway.live_server import Executions
from tests.integration.harness import behind_gateway
from tests.live.cases import Case

STORES = ("memory", "file")
QUIET = "live: {follow: false}"


@asynccontextmanager
async def store_of(kind: str, folder: Path) -> AsyncIterator[SessionStore]:
    """An empty store."""
    yield FileStore(folder / "sessions") if kind == "file" else MemoryStore()  # the gateway closes it


@asynccontextmanager
async def place(folder: Path, transport: str, kind: str) -> AsyncIterator[Case]:
    """A gateway with a store of this kind."""
    async with store_of(kind, folder) as store:
        async with behind_gateway(folder, store=store, more=QUIET) as (gateway, upstream):
            server = Executions()
            upstream.answer = server.answer
            yield Case(gateway, server, transport, await gateway.bearer())
