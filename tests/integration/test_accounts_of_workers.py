"""`provider: playbook` with several workers: the callback comes to any of them."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from tests.integration.accounts import VALID, Noetl
from tests.integration.harness import PATIENCE, TENANT, eventually
from tests.integration.spawned import gateway_process

CACHED = "sessions: {path: sessions, cache_for: 1s}\n"
PLAYBOOK = TENANT.replace("auth: {", "auth: {provider: playbook, ")


async def test_callback_to_any_worker_reaches_the_one_that_waits(tmp_path: Path) -> None:
    noetl = Noetl()
    async with gateway_process(
        tmp_path, "logging: {format: json}\n", server="workers: 3", logging="", tenant=PLAYBOOK
    ) as gateway:
        gateway.upstream.answer, noetl.gateway_url = noetl.answer, gateway.url
        await gateway.logged("worker.ready", 3)
        connector, timeout = aiohttp.TCPConnector(force_close=True), aiohttp.ClientTimeout(total=PATIENCE)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as client:

            async def status(number: int) -> int:
                headers = {"authorization": f"Bearer {number:032x}"}
                async with client.get(f"{gateway.url}/noetl/things", headers=headers) as response:
                    return response.status

            for begin in range(0, 24, 4):
                assert await asyncio.gather(*map(status, range(begin, begin + 4))) == [200] * 4
            await eventually(lambda: len(noetl.delivered) == 24)
            assert all(body["delivered"] for _, body in noetl.delivered)
            # what one worker has learned, all know
            assert await asyncio.gather(*map(status, range(24))) == [200] * 24
            assert len(noetl.calls) == 24
            await noetl.post({"request_id": "nobody-waits", "status": "success", "data": VALID})
            assert noetl.delivered[-1][1]["delivered"] is False


@pytest.mark.parametrize("by_ticket", [False, True], ids=["by token", "by ticket"])
async def test_streams_at_all_workers_end_when_noetl_has_ended_their_sessions(tmp_path: Path, by_ticket: bool) -> None:
    noetl = Noetl(in_process=True)
    more = "logging: {format: json}\nlive: {follow: false}\n"
    async with gateway_process(tmp_path, more, server="workers: 3", logging="", tenant=PLAYBOOK) as gateway:
        gateway.file.write_text(gateway.file.read_text().replace("sessions: {path: sessions}\n", CACHED))
        gateway.signal(signal.SIGHUP)
        await gateway.logged("reload.done", 3)
        gateway.upstream.answer, noetl.gateway_url = noetl.answer, gateway.url
        connector, timeout = aiohttp.TCPConnector(force_close=True, limit=0), aiohttp.ClientTimeout(total=PATIENCE)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as client, AsyncExitStack() as stack:
            streams = []
            for number in range(9):
                headers = {"authorization": f"Bearer {number:032x}"}
                async with client.post(f"{gateway.url}/api/auth/ticket", headers=headers) as response:
                    ticket = (await response.json())["ticket"]
                query = f"?ticket={ticket}" if by_ticket else ""
                opened = client.get(f"{gateway.url}/events{query}", headers={} if by_ticket else headers)
                streams.append(await stack.enter_async_context(opened))
                await streams[-1].content.readuntil(b"\n\n")
            noetl.answers["validate"] = {"valid": False}
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*(stream.content.read() for stream in streams))
