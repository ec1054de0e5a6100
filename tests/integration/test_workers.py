"""Several workers under one process: how they are told, resized and counted; on real processes."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.integration.harness import PATIENCE, eventually
from tests.integration.spawned import Spawned, gateway_process

TWO = "workers: 2"


async def pids_of(gateway: Spawned, count: int = 2) -> dict[int, int]:
    """The workers' process ids, by their numbers, once so many have become ready."""
    return {line["worker"]: line["pid"] for line in await gateway.logged("worker.ready", count)}


async def connected(gateway: Spawned, count: int) -> list[aiohttp.ClientSession]:
    """Clients with one kept connection each; so many that every worker has some."""
    clients = [aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) for _ in range(count)]
    for client in clients:
        async with client.get(f"{gateway.url}/health") as answer:
            assert answer.status == 200
    return clients


async def test_sigterm_to_the_whole_process_group_cuts_no_request(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        await release.wait()
        return web.Response(text="late")

    async with gateway_process(tmp_path, server=TWO) as gateway:
        gateway.upstream.answer = slow
        pids = await pids_of(gateway)
        clients = await connected(gateway, 12)
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        async with aiohttp.ClientSession(headers=gateway.bearer, timeout=timeout) as client:
            asked = asyncio.create_task(client.get(f"{gateway.url}/noetl/x"))
            await eventually(lambda: bool(gateway.upstream.seen))
            for pid in (*pids.values(), gateway.pid):
                gateway.signal(signal.SIGTERM, pid)
            await gateway.logged("gateway.stopping", 3)
            for pid in pids.values():
                gateway.signal(signal.SIGTERM, pid)
            for other in clients:
                async with other.get(f"{gateway.url}/health") as answer:
                    assert answer.headers["connection"] == "close"
                await other.close()
            release.set()
            late = await asked
            assert await late.text() == "late"
        assert await gateway.ended() == 0


@pytest.mark.parametrize("server", ["workers: 1", TWO], ids=["alone", "two workers"])
async def test_a_second_sigterm_ends_at_once(tmp_path: Path, server: str) -> None:
    async def never(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    async with gateway_process(tmp_path, server=f"{server}, shutdown_grace: 60s") as gateway:
        gateway.upstream.answer = never
        if server == TWO:
            await pids_of(gateway)
        async with aiohttp.ClientSession() as client:
            asked = asyncio.create_task(client.get(f"{gateway.url}/noetl/x", headers=gateway.bearer))
            await eventually(lambda: bool(gateway.upstream.seen))
            gateway.signal(signal.SIGTERM)
            await gateway.logged("gateway.stopping", 3 if server == TWO else 1)
            gateway.signal(signal.SIGTERM)
            with pytest.raises(aiohttp.ClientError):
                await asked
        assert await gateway.ended() == 0
        assert gateway.events("worker.failed") == []
