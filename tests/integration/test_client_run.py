"""`Client.run` and `AsyncClient.run` against a gateway: by events, across broken streams, and by polls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.client import AsyncClient, Client, ExecutionTimeout, Forbidden, NotFound, RunResult
from tests.integration.gateway.live_server import Executions, call_back
from tests.integration.harness import RULES, Running, behind_gateway, eventually

Run = Callable[..., Awaitable[RunResult]]
WITHOUT_EVENTS = """
builtin_routes: false
routes:
  - {path: /graphql, handler: graphql}
"""


@asynccontextmanager
async def running(folder: Path, more: str = "", rules: str = RULES) -> AsyncIterator[tuple[Running, Executions, str]]:
    """A gateway before a server that starts executions, and a session token."""
    async with behind_gateway(folder, more=more, rules=rules) as (gateway, upstream):
        server = Executions()
        upstream.answer = server.answer
        yield gateway, server, await gateway.session()


@pytest.fixture(params=["blocking", "async"])
def run_at(request: pytest.FixtureRequest) -> Run:
    """`run` of each client."""

    async def run(gateway: Running, token: str, name: str = "team/flow", **arguments: Any) -> RunResult:
        if request.param == "async":
            async with AsyncClient(gateway.url, session_token=token) as client:
                return await client.run(name, **arguments)
        with Client(gateway.url, session_token=token) as client:
            return await asyncio.to_thread(lambda: client.run(name, **arguments))

    return run


def request_id(server: Executions) -> str:
    """The id of the request that was started last."""
    return str(server.started[-1]["workload"]["request_id"])


async def test_a_callback_ends_the_run(tmp_path: Path, run_at: Run) -> None:
    async with running(tmp_path, "live: {follow: false}") as (gateway, server, token):
        result = asyncio.ensure_future(run_at(gateway, token, variables={"x": 1}))
        await eventually(lambda: bool(server.started))
        assert server.started[0]["workload"]["x"] == 1
        await call_back(gateway, "progress", request_id=request_id(server), progress=0.5)
        await call_back(gateway, request_id=request_id(server), data={"rows": 3})
        assert await result == RunResult("101", {"rows": 3})


async def test_a_run_that_fails(tmp_path: Path, run_at: Run) -> None:
    async with running(tmp_path, "live: {follow: false}") as (gateway, server, token):
        result = asyncio.ensure_future(run_at(gateway, token))
        await eventually(lambda: bool(server.started))
        await call_back(gateway, request_id=request_id(server), error="boom", data=[1])
        found = await result
        assert found == RunResult("101", [1], "boom")
        assert found.failed


async def test_an_execution_without_callbacks(tmp_path: Path, run_at: Run) -> None:
    async with running(tmp_path) as (gateway, server, token):
        server.complete(["read"], {"rows": 7})
        assert await run_at(gateway, token) == RunResult("101", {"rows": 7})


async def test_a_stream_that_breaks_is_resumed(tmp_path: Path, run_at: Run) -> None:
    async with running(tmp_path, "live: {follow: false}") as (gateway, server, token):
        result = asyncio.ensure_future(run_at(gateway, token))
        await eventually(lambda: bool(server.started))
        for connection in gateway.serving.listener.connections:
            connection.force_close()
        assert (await call_back(gateway, request_id=request_id(server), data=1))[0] in (200, 202)
        assert await result == RunResult("101", 1)


async def test_a_gateway_without_events_is_polled(tmp_path: Path, run_at: Run) -> None:
    async with running(tmp_path, WITHOUT_EVENTS) as (gateway, server, token):
        server.complete(["read"], {"rows": 7})
        assert await run_at(gateway, token) == RunResult("101", {"rows": 7})


async def test_a_time_that_is_over(tmp_path: Path, run_at: Run) -> None:
    async with running(tmp_path, "live: {follow: false}") as (gateway, _, token):
        with pytest.raises(ExecutionTimeout) as error:
            await run_at(gateway, token, timeout=0.5)
        assert error.value.execution_id == "101"


async def test_what_can_not_be_started(tmp_path: Path, run_at: Run) -> None:
    async with running(tmp_path) as (gateway, server, token):
        server.refuse = 404
        with pytest.raises(NotFound):
            await run_at(gateway, token)
    rules = 'acl: {roles: {staff: {emails: ["*@staff.test"]}}, rules: []}\n'
    async with running(tmp_path, rules=rules) as (gateway, _, token):
        with pytest.raises(Forbidden):
            await run_at(gateway, token)
