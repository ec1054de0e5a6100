"""Events across processes: several workers, and a gateway that is killed between a result and the client's return."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.integration.gateway.live_server import RUN, Executions
from tests.integration.harness import PATIENCE
from tests.integration.spawned import Spawned, gateway_process

LIVE = "live: {follow: false}\nlogging: {format: json}\n"


@asynccontextmanager
async def client_of(gateway: Spawned) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that opens a connection for each request, so that any worker may get it."""
    connector = aiohttp.TCPConnector(force_close=True)
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    async with aiohttp.ClientSession(headers=gateway.bearer, connector=connector, timeout=timeout) as client:
        yield client


async def started(client: aiohttp.ClientSession, gateway: Spawned, client_id: str) -> str:
    """Start the playbook; return the id of the request."""
    document = {"query": RUN, "variables": {"c": client_id}}
    async with client.post(f"{gateway.url}/graphql", json=document) as response:
        return str((await response.json())["data"]["executePlaybook"]["requestId"])


async def call_back(client: aiohttp.ClientSession, gateway: Spawned, request_id: str, data: Any) -> tuple[int, str]:
    """Send a result; return the status of the response, and what it says."""
    document = {"request_id": request_id, "data": data}
    async with client.post(f"{gateway.url}/api/internal/callback/async", json=document) as response:
        return response.status, (await response.json())["status"]


async def results(stream: aiohttp.ClientResponse, count: int) -> list[Any]:
    """Return the data of the next results of a stream."""
    found: list[Any] = []
    async with asyncio.timeout(PATIENCE):
        while len(found) < count:
            text = (await stream.content.readuntil(b"\n\n")).decode()
            if text.startswith("event: playbook/result"):
                found.append(json.loads(text.partition("data: ")[2])["params"]["data"])
    return found


async def test_a_result_posted_to_any_worker_reaches_the_stream(tmp_path: Path) -> None:
    async with (
        gateway_process(tmp_path, LIVE, server="workers: 3", logging="") as gateway,
        client_of(gateway) as client,
    ):
        gateway.upstream.answer = Executions().answer
        await gateway.logged("worker.ready", 3)
        async with client.get(f"{gateway.url}/events?client_id=tab") as stream:
            await stream.content.readuntil(b"\n\n")
            for number in range(12):
                request_id = await started(client, gateway, "tab")
                assert await call_back(client, gateway, request_id, number) == (200, "delivered")
                assert await results(stream, 1) == [number]  # long before the next ping
        ids = [await started(client, gateway, "tab") for _ in range(5)]
        for number, request_id in enumerate(ids):
            await call_back(client, gateway, request_id, number)
        async with client.get(f"{gateway.url}/events?client_id=tab") as stream:
            assert await results(stream, 5) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("server", ["", "workers: 2"])
async def test_a_gateway_that_is_killed_before_the_client_is_back_loses_nothing(tmp_path: Path, server: str) -> None:
    async with gateway_process(tmp_path, LIVE, server=server, logging="") as gateway, client_of(gateway) as client:
        gateway.upstream.answer = Executions().answer
        if server:
            await gateway.logged("worker.ready", 2)
        request_ids = [await started(client, gateway, "tab") for _ in range(2)]
        assert await call_back(client, gateway, request_ids[0], "kept") == (202, "queued")
        if server:
            for worker in await gateway.logged("worker.ready", 2):
                gateway.signal(signal.SIGKILL, worker["pid"])
            await gateway.logged("worker.ready", 4)
        else:
            gateway.signal(signal.SIGKILL)
            await gateway.ended()
            await asyncio.to_thread(gateway.program.stop)
            await asyncio.to_thread(gateway.program.start)
        async with client.get(f"{gateway.url}/events?client_id=tab") as stream:
            hello = json.loads((await stream.content.readuntil(b"\n\n")).partition(b"data: ")[2])
            assert [each["requestId"] for each in hello["result"]["pendingRequests"]] == request_ids[1:]
            assert await results(stream, 1) == ["kept"]
            assert await call_back(client, gateway, request_ids[0], "again") == (200, "duplicate")
            assert await call_back(client, gateway, request_ids[1], "later") == (200, "delivered")
            assert await results(stream, 1) == ["later"]


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGKILL])
async def test_executions_are_followed_again_after_a_restart(tmp_path: Path, name: signal.Signals) -> None:
    async with gateway_process(tmp_path) as gateway, client_of(gateway) as client:
        server = Executions()
        gateway.upstream.answer = server.answer
        await started(client, gateway, "tab")
        gateway.signal(name)
        await gateway.ended()
        await asyncio.to_thread(gateway.program.stop)
        server.complete(["read"], {"rows": 3})
        await asyncio.to_thread(gateway.program.start)
        async with client.get(f"{gateway.url}/events?client_id=tab") as stream:
            assert await results(stream, 1) == [{"rows": 3}]


async def test_the_end_of_a_session_at_one_worker_ends_the_streams_at_others_at_once(tmp_path: Path) -> None:
    async with (
        gateway_process(tmp_path, LIVE, server="workers: 3", logging="") as gateway,
        client_of(gateway) as client,
    ):
        await gateway.logged("worker.ready", 3)
        streams = [await client.get(f"{gateway.url}/events?client_id=tab") for _ in range(9)]
        async with client.post(f"{gateway.url}/api/auth/logout") as response:
            assert response.status == 200
        async with asyncio.timeout(2):  # the session is looked up every 5 s only
            for stream in streams:
                await stream.read()


async def test_operations_posted_to_any_worker_reach_the_stream_of_their_reservation(tmp_path: Path) -> None:
    async with (
        gateway_process(tmp_path, LIVE, server="workers: 3", logging="") as gateway,
        client_of(gateway) as client,
    ):
        server = Executions()
        gateway.upstream.answer = server.answer
        await gateway.logged("worker.ready", 3)
        url = f"{gateway.url}/graphql"
        async with client.put(url) as response:
            token = {"x-graphql-event-stream-token": await response.text()}
        document = {"query": 'subscription { execution(executionId: "101") { status } }', "extensions": {}}
        async with client.post(url, headers=token, json=with_id(document, "early")) as response:
            assert response.status == 404  # no worker has the stream
        async with client.get(url, headers={**token, "accept": "text/event-stream"}) as stream:
            await stream.content.readuntil(b"\n\n")
            for number in range(9):
                async with client.post(url, headers=token, json=with_id(document, f"n{number}")) as response:
                    assert response.status == 202
                assert b'"status":"running"' in await stream.content.readuntil(b"}}}}\n\n")
            async with client.post(url, headers=token, json=with_id(document, "n0")) as response:
                assert response.status == 409
            async with client.post(
                url, headers=token, json=with_id({**document, "variables": {"x": "y" * 99_000}}, "big")
            ) as response:
                assert response.status in (202, 413)  # 202 at the worker that has the stream
            for number in range(9):
                async with client.delete(f"{url}?operationId=n{number}", headers=token) as response:
                    assert response.status == 200
            server.complete(["a"], {})
            async with client.post(url, headers=token, json=with_id(document, "last")) as response:
                assert response.status == 202
            async with asyncio.timeout(PATIENCE):
                text = await stream.content.readuntil(b'event: complete\ndata: {"id":"last"}\n\n')
        assert b'"id":"n' not in text


async def test_a_reservation_has_one_stream_among_all_workers(tmp_path: Path) -> None:
    async with (
        gateway_process(tmp_path, LIVE, server="workers: 3", logging="") as gateway,
        client_of(gateway) as client,
    ):
        await gateway.logged("worker.ready", 3)
        url = f"{gateway.url}/graphql"
        async with client.put(url) as response:
            fields = {"x-graphql-event-stream-token": await response.text(), "accept": "text/event-stream"}
        opened, refused = [], 0
        for _ in range(12):
            response = await client.get(url, headers=fields)
            if response.status == 200:
                await response.content.readuntil(b"\n\n")
                opened.append(response)
            refused += response.status == 409
        assert (len(opened) > 1, refused > 0) == (True, True)  # other workers, and the same one
        for response in opened[:-1]:
            async with asyncio.timeout(PATIENCE):
                await response.read()  # it has ended
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await opened[-1].read()
        opened[-1].close()


def with_id(document: dict[str, Any], operation_id: str) -> dict[str, Any]:
    """Return the body of a request on a stream of several operations."""
    return {**document, "extensions": {"operationId": operation_id}}
