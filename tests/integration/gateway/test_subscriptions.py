"""Subscriptions over event streams of their own and over WebSockets: what both have in common."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest
from aiohttp import web

from proxy.config.compile import compile_config
from proxy.config.load import load
from tests.integration.gateway.live_server import Executions, events, run
from tests.integration.gateway.subscriptions import EventReader, Socket, distinct, document, ready
from tests.integration.harness import Running, Upstream, eventually

STAFF = "anna@staff.test"


class Outcome(NamedTuple):
    """What a client sees of an operation: a result, its errors, or its end."""

    kind: str
    body: Any


class Watching(Protocol):
    """One subscription."""

    async def next(self) -> Outcome:
        """Return what comes next."""


class _OverEvents:
    def __init__(self, reader: EventReader) -> None:
        self.reader = reader

    async def next(self) -> Outcome:
        event = await self.reader.next()
        if event is None:
            return Outcome("end", None)
        if event.kind == "next" and "errors" in event.data and event.data.get("data") is None:
            return Outcome("error", event.data["errors"])
        return Outcome(event.kind, event.data)


class _OverSocket:
    def __init__(self, opened: Socket) -> None:
        self.opened = opened

    async def next(self) -> Outcome:
        message = await self.opened.next()
        assert message["id"] == "1"
        return Outcome(message["type"], message.get("payload"))


@asynccontextmanager
async def over_events(gateway: Running, headers: dict[str, str], body: Any = None) -> AsyncIterator[Watching]:
    async with distinct(gateway, headers, body) as reader:
        yield _OverEvents(reader)


@asynccontextmanager
async def over_socket(gateway: Running, headers: dict[str, str], body: Any = None) -> AsyncIterator[Watching]:
    async with ready(gateway, headers) as opened:
        await opened.subscribe("1", body)
        yield _OverSocket(opened)


BOTH = pytest.mark.parametrize("over", [over_events, over_socket], ids=["events", "websocket"])


def status_of(outcome: Outcome) -> str:
    """Return the status of the execution in a result."""
    assert outcome.kind == "next", outcome
    found: str = outcome.body["data"]["execution"]["status"]
    return found


@BOTH
async def test_the_state_at_once_each_change_and_the_end(gateway: Running, upstream: Upstream, over: Any) -> None:
    server = Executions()
    upstream.answer = server.answer
    async with over(gateway, await gateway.bearer()) as watching:
        assert (await watching.next()).body == {
            "data": {"execution": {"executionId": "101", "status": "running", "completedSteps": []}}
        }
        server.status = {"completed_steps": ["a"], "completed": False, "failed": False}
        assert (await watching.next()).body["data"]["execution"]["completedSteps"] == ["a"]
        server.complete(["a", "b"], {"n": 1})
        assert (await watching.next()).body == {
            "data": {"execution": {"executionId": "101", "status": "completed", "completedSteps": ["a", "b"]}}
        }
        assert (await watching.next()).kind == "complete"


@BOTH
async def test_an_ended_execution_is_one_result(gateway: Running, upstream: Upstream, over: Any) -> None:
    server = Executions()
    server.complete(["a"], {})
    upstream.answer = server.answer
    async with over(gateway, await gateway.bearer()) as watching:
        assert status_of(await watching.next()) == "completed"
        assert (await watching.next()).kind == "complete"
    await eventually(lambda: gateway.serving.process.follower.followed == 0)


@BOTH
async def test_a_query_has_one_result(gateway: Running, over: Any) -> None:
    async with over(gateway, await gateway.bearer(), {"query": "{ me { email } }"}) as watching:
        assert (await watching.next()).body == {"data": {"me": {"email": STAFF}}}
        assert (await watching.next()).kind == "complete"


@BOTH
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"query": "subscription {"}, "BAD_USER_INPUT"),
        ({"query": "subscription { execution(executionId: 5) { status } }"}, "BAD_USER_INPUT"),
        ({"query": "subscription { a: execution { nothing } }"}, "BAD_USER_INPUT"),
        (document("x/y"), "NOT_FOUND"),
        ({"query": document()["query"]}, "BAD_USER_INPUT"),
        ({"query": 'subscription { execution(executionId: "1") { id ' + "a:id " * 2000 + "} }"}, "LIMIT_EXCEEDED"),
        ({"query": "query A { version } query B { version }"}, "BAD_USER_INPUT"),
    ],
)
async def test_a_wrong_operation_is_errors_and_the_end(
    gateway: Running, upstream: Upstream, over: Any, body: dict[str, Any], code: str
) -> None:
    upstream.answer = Executions().answer
    async with over(gateway, await gateway.bearer(), body) as watching:
        outcome = await watching.next()
        assert outcome.kind == "error"
        assert outcome.body[0]["extensions"]["code"] == code
        if over is over_events:
            assert (await watching.next()).kind == "complete"


@BOTH
async def test_what_a_user_may_not_view_is_forbidden(gateway: Running, upstream: Upstream, over: Any) -> None:
    upstream.answer = Executions().answer
    async with over(gateway, await gateway.bearer("eve@elsewhere.test")) as watching:
        outcome = await watching.next()
        assert (outcome.kind, outcome.body[0]["extensions"]) == ("error", {"code": "FORBIDDEN", "status": 403})
    assert gateway.serving.process.follower.followed == 0


@BOTH
async def test_an_execution_that_is_not_there_is_an_error(gateway: Running, upstream: Upstream, over: Any) -> None:
    async def nothing(request: Any) -> Any:
        return web.json_response({"detail": "Execution not found"}, status=404)

    upstream.answer = nothing
    async with over(gateway, await gateway.bearer()) as watching:
        outcome = await watching.next()
        assert (outcome.kind, outcome.body[0]["extensions"]["code"]) == ("error", "NOT_FOUND")


async def reload(gateway: Running, folder: Path, change: Any) -> None:
    """Load a changed configuration."""
    file = folder / "gateway.yaml"
    before = file.read_text()
    after = change(before)
    assert after != before
    file.write_text(after)
    assert await gateway.serving.reload(lambda: compile_config(load(file, {})))


@BOTH
async def test_a_reload_that_takes_the_right_away_ends_it(
    gateway: Running, upstream: Upstream, tmp_path: Path, over: Any
) -> None:
    server = Executions()
    upstream.answer = server.answer
    async with over(gateway, await gateway.bearer()) as watching:
        assert status_of(await watching.next()) == "running"
        await reload(gateway, tmp_path, lambda text: text.replace('playbooks: ["**"]', 'playbooks: ["other/**"]'))
        outcome = await watching.next()
        assert (outcome.kind, outcome.body[0]["extensions"]["code"]) == ("error", "FORBIDDEN")
    await eventually(lambda: gateway.serving.process.follower.followed == 0)


ROUTE = "routes: [{path: /graphql, handler: graphql, %s}]\n"


@BOTH
@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda text: text + ROUTE % "allow_from: [192.0.2.0/24]", "FORBIDDEN"),
        (lambda text: text + "builtin_routes: false\nroutes: [{path: /health, handler: health}]\n", "NOT_FOUND"),
    ],
    ids=["address", "route"],
)
async def test_a_reload_that_closes_the_route_ends_it(
    gateway: Running, upstream: Upstream, tmp_path: Path, over: Any, change: Any, code: str
) -> None:
    upstream.answer = Executions().answer
    async with over(gateway, await gateway.bearer()) as watching:
        assert status_of(await watching.next()) == "running"
        await reload(gateway, tmp_path, change)
        outcome = await watching.next()
        assert (outcome.kind, outcome.body[0]["extensions"]["code"]) == ("error", code)


@BOTH
async def test_a_reload_that_changes_nothing_for_it_lets_it_go_on(
    gateway: Running, upstream: Upstream, tmp_path: Path, over: Any
) -> None:
    server = Executions()
    upstream.answer = server.answer
    async with over(gateway, await gateway.bearer()) as watching:
        assert status_of(await watching.next()) == "running"
        await reload(gateway, tmp_path, lambda text: text + "live: {heartbeat: 20s}\n")
        server.complete(["a"], {})
        assert status_of(await watching.next()) == "completed"
        assert (await watching.next()).kind == "complete"


@BOTH
async def test_one_poll_serves_all_who_watch(gateway: Running, upstream: Upstream, over: Any) -> None:
    server = Executions()
    upstream.answer = server.answer
    headers = await gateway.bearer()
    async with events(gateway, headers, "tab") as stream:
        await run(gateway, headers, "tab")
        async with over(gateway, headers) as first, over(gateway, await gateway.bearer("otto@staff.test")) as second:
            for watching in (first, second):
                assert status_of(await watching.next()) == "running"
            assert gateway.serving.process.follower.followed == 1
            before = server.polls
            await eventually(lambda: server.polls >= before + 2)
            server.complete(["a"], {"n": 1})
            for watching in (first, second):
                assert status_of(await watching.next()) == "completed"
            assert (await stream.result()).data["params"]["data"] == {"n": 1}
    polls = server.polls
    await asyncio.sleep(0.6)
    assert server.polls == polls


@BOTH
async def test_polls_end_when_nobody_watches(gateway: Running, upstream: Upstream, over: Any) -> None:
    server = Executions()
    upstream.answer = server.answer
    async with over(gateway, await gateway.bearer()) as watching:
        assert status_of(await watching.next()) == "running"
    await eventually(lambda: gateway.serving.process.follower.followed == 0)
    assert gateway.serving.process.operations.subscriptions == 0


@BOTH
@pytest.mark.gateway(more="live: {follow: false}")
async def test_subscriptions_poll_also_where_requests_are_not_followed(
    gateway: Running, upstream: Upstream, over: Any
) -> None:
    server = Executions()
    upstream.answer = server.answer
    async with over(gateway, await gateway.bearer()) as watching:
        assert status_of(await watching.next()) == "running"
        server.complete(["a"], {})
        assert status_of(await watching.next()) == "completed"


@BOTH
async def test_the_events_of_an_execution_may_be_selected(gateway: Running, upstream: Upstream, over: Any) -> None:
    server = Executions()
    server.complete(["a"], {})
    upstream.answer = server.answer
    query = 'subscription { one: execution(executionId: "101") { id events(first: 2) { type step } } }'
    async with over(gateway, await gateway.bearer(), {"query": query}) as watching:
        outcome = await watching.next()
        assert outcome.kind == "next", outcome
        assert outcome.body["data"]["one"] == {
            "id": "101",
            "events": [{"type": "call.done", "step": "a"}, {"type": "step.exit", "step": "a"}],
        }
