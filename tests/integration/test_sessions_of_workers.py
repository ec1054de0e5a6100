"""A session's end, wherever it is told, is known to every worker at once, in either transport."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from proxy.sessions.file import FileStore
from proxy.sessions.store import Logout
from tests.integration.spawned import Spawned, gateway_process

ROOT = Path(__file__).parents[2]
PATHS = pytest.mark.parametrize("path", ["/noetl/x", "/api/auth/me"])
Clients = list[aiohttp.ClientSession]


@asynccontextmanager
async def used_by_both(folder: Path, path: str) -> AsyncIterator[tuple[Spawned, Clients]]:
    """A gateway of two workers, and clients with one kept connection each, by which both have served the session."""
    async with gateway_process(folder, server="workers: 2") as gateway, AsyncExitStack() as stack:
        await gateway.logged("worker.ready", 2)
        clients = []
        for _ in range(12):
            client = aiohttp.ClientSession(headers=gateway.bearer, connector=aiohttp.TCPConnector(limit=1))
            clients.append(await stack.enter_async_context(client))
        for _ in range(3):
            assert await statuses(clients, gateway.url + path) == {200}
        yield gateway, clients


async def statuses(clients: Clients, url: str) -> set[int]:
    """What the clients get."""
    found = set()
    for client in clients:
        async with client.get(url) as answer:
            found.add(answer.status)
    return found


@PATHS
async def test_a_logout_at_one_worker_is_known_to_the_other_at_once(tmp_path: Path, path: str) -> None:
    async with used_by_both(tmp_path, path) as (gateway, clients):
        async with clients[0].post(f"{gateway.url}/api/auth/logout") as out:
            assert out.status == 200
        assert await statuses(clients, gateway.url + path) == {401}


@PATHS
async def test_sessions_that_the_command_ends_are_ended_in_both_workers_at_once(tmp_path: Path, path: str) -> None:
    async with used_by_both(tmp_path, path) as (gateway, clients):
        command = ("sessions", "end", "--user", "anna@staff.test", "--config", str(gateway.file))
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "proxy", *command, cwd=ROOT)
        assert await process.wait() == 0
        assert await statuses(clients, gateway.url + path) == {401}


@PATHS
async def test_what_an_identity_provider_ends_is_ended_in_both_workers_at_once(tmp_path: Path, path: str) -> None:
    async with used_by_both(tmp_path, path) as (gateway, clients):
        store = FileStore(tmp_path / "sessions")
        ended = await store.end_by_logout(Logout("http://localhost:1/", "anna", "", b"1" * 32, time.time() + 60))
        await store.close()
        assert ended is not None
        assert await statuses(clients, gateway.url + path) == {401}
