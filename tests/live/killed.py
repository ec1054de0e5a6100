"""A gateway process that is killed between a callback and the client's return."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import aiohttp

from tests.integration.gateway.live_server import Executions, call_back, run
from tests.integration.harness import PATIENCE, Running
from tests.integration.spawned import gateway_process
from tests.live.streams import stream_of


async def killed(folder: Path, transport: str) -> str:
    """Return what the client saw. Raises AssertionError if a result was lost, or came twice."""
    async with (
        gateway_process(folder, "live: {follow: false}\n") as gateway,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as client,
    ):
        gateway.upstream.answer = Executions().answer
        running = Running(None, gateway.port, client)  # type: ignore[arg-type]
        first, second = [
            (await run(running, gateway.bearer, "tab"))["data"]["executePlaybook"]["requestId"] for _ in range(2)
        ]
        assert (await call_back(running, request_id=first, data="kept"))[0] == 202
        gateway.signal(signal.SIGKILL)
        await gateway.ended()
        await asyncio.to_thread(gateway.program.stop)
        await asyncio.to_thread(gateway.program.start)
        async with stream_of(running, transport, gateway.bearer, "tab") as stream:
            assert [each["requestId"] for each in stream.hello["pendingRequests"]] == [second]
            assert [each["data"] for each in await stream.results(1)] == ["kept"]
            assert (await call_back(running, request_id=first, data="again"))[1] == {"status": "duplicate"}
            assert (await call_back(running, request_id=second, data="later"))[1] == {"status": "delivered"}
            assert [each["data"] for each in await stream.results(1)] == ["later"]
    return "kept, delivered once"
