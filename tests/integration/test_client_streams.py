"""`subscribe` and `live_events` of both clients: what they yield, how they resume, and how they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.client import (
    AsyncClient,
    Client,
    ConnectionFailed,
    ExecutionStatus,
    ExecutionTimeout,
    Forbidden,
    LiveEvent,
    NotFound,
    Unauthorized,
)
from tests.integration.gateway.live_server import Executions, call_back
from tests.integration.harness import PATIENCE, Running, behind_gateway, eventually

Make = Callable[[str, str], Any]


@asynccontextmanager
async def running(folder: Path, more: str = "") -> AsyncIterator[tuple[Running, Executions, str]]:
    """A gateway before a server that starts executions, and a session token."""
    async with behind_gateway(folder, more=more) as (gateway, upstream):
        server = Executions()
        upstream.answer = server.answer
        yield gateway, server, await gateway.session()


class Reading:
    """An iterator of either client, read from the event loop."""

    def __init__(self, found: AsyncIterator[Any] | Iterator[Any]) -> None:
        self._found = found

    async def next(self) -> Any:
        """Return what comes next; None at the end."""
        async with asyncio.timeout(PATIENCE):
            if isinstance(self._found, AsyncIterator):
                return await anext(self._found, None)
            return await asyncio.to_thread(next, self._found, None)

    async def close(self) -> None:
        """Stop reading."""
        if isinstance(self._found, AsyncIterator):
            await self._found.aclose()  # type: ignore[attr-defined]
        else:
            await asyncio.to_thread(self._found.close)  # type: ignore[attr-defined]


@pytest.fixture(params=[Client, AsyncClient], ids=["blocking", "async"])
async def made(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    """Makes clients of each kind, of an url and a session token, and closes them."""
    clients: list[Any] = []

    def make(url: str, token: str) -> Any:
        clients.append(request.param(url, session_token=token))
        return clients[-1]

    yield make
    for client in clients:
        if isinstance(client, AsyncClient):
            await client.aclose()
        else:
            client.close()


async def cut(gateway: Running) -> None:
    """Close all connections of clients at once."""
    for connection in gateway.serving.listener.connections:
        connection.cut()  # type: ignore[attr-defined]
    streams = gateway.serving.process.measures.metrics.live_streams
    await eventually(lambda: not any(streams.values()))


async def test_subscribe_yields_each_status_up_to_the_end(tmp_path: Path, made: Make) -> None:
    async with running(tmp_path) as (gateway, server, token):
        reading = Reading(made(gateway.url, token).subscribe("101"))
        first = await reading.next()
        assert isinstance(first, ExecutionStatus)
        assert (first.execution_id, first.status, first.completed) == ("101", "running", False)
        server.status = {"completed_steps": ["a"], "completed": False, "failed": False}
        assert (await reading.next()).completed_steps == ("a",)
        server.complete(["a", "b"], {"rows": 3})
        last = await reading.next()
        assert (last.completed, last.result) == (True, {"rows": 3})
        assert await reading.next() is None


async def test_subscribe_resumes_and_repeats_nothing(tmp_path: Path, made: Make) -> None:
    async with running(tmp_path) as (gateway, server, token):
        reading = Reading(made(gateway.url, token).subscribe("101"))
        assert (await reading.next()).status == "running"
        following = asyncio.ensure_future(reading.next())
        await cut(gateway)
        await eventually(lambda: gateway.serving.process.operations.subscriptions == 1)
        server.complete(["a"], {})
        assert (await following).status == "completed"
        assert await reading.next() is None


async def test_subscribe_gives_up_in_time(tmp_path: Path, made: Make) -> None:
    async with running(tmp_path) as (gateway, _, token):
        reading = Reading(made(gateway.url, token).subscribe("101", timeout=0.5))
        assert (await reading.next()).status == "running"
        with pytest.raises(ExecutionTimeout):
            await reading.next()


async def test_subscribe_reports_what_is_final(tmp_path: Path, made: Make) -> None:
    async with running(tmp_path) as (gateway, _, token):
        with pytest.raises(Forbidden):
            await Reading(made(gateway.url, await gateway.session("eve@x.test")).subscribe("101")).next()
        with pytest.raises(NotFound):
            await Reading(made(gateway.url, token).subscribe("x/y")).next()
        with pytest.raises(Unauthorized):
            await Reading(made(gateway.url, "0" * 32).subscribe("101")).next()
        reading = Reading(made(gateway.url, token).subscribe("101"))
        await reading.next()
        headers = {"authorization": f"Bearer {token}"}
        async with gateway.client.post(f"{gateway.url}/api/auth/logout", headers=headers):
            pass
        with pytest.raises(Unauthorized):
            await reading.next()


async def test_a_gateway_that_is_away_is_an_error_in_the_end(
    tmp_path: Path, made: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.client._stream._LAST_PAUSE", 0.01)
    async with running(tmp_path) as (gateway, _, token):
        url = gateway.url
    with pytest.raises(ConnectionFailed):
        await Reading(made(url, token).subscribe("101")).next()


async def test_live_events_resume_behind_the_last_one(tmp_path: Path, made: Make) -> None:
    async with running(tmp_path, "live: {follow: false}") as (gateway, server, token):
        client = made(gateway.url, token)
        reading = Reading(client.live_events("tab"))
        following = asyncio.ensure_future(reading.next())
        if isinstance(client, AsyncClient):
            assert await client.execute_playbook("team/flow", {"x": 1}, client_id="tab") == "101"
        else:
            start = client.execute_playbook
            assert await asyncio.to_thread(start, "team/flow", {"x": 1}, client_id="tab") == "101"
        request_id = str(server.started[0]["workload"]["request_id"])
        await call_back(gateway, "progress", request_id=request_id, progress=0.5)
        event = await following
        assert isinstance(event, LiveEvent)
        assert (event.type, event.data["progress"]) == ("playbook/progress", 0.5)
        following = asyncio.ensure_future(reading.next())
        await cut(gateway)
        await call_back(gateway, request_id=request_id, data={"rows": 3})
        assert (await following).type == "playbook/state"
        result = await reading.next()
        assert (result.type, result.data["data"]) == ("playbook/result", {"rows": 3})
        assert int(result.id) > int(event.id)
        await reading.close()
