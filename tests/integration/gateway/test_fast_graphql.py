"""GraphQL in the fast path, where things go wrong or come at an odd time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from proxy.endpoints import fast_graphql
from proxy.graphql.plans import Ready
from tests.integration.harness import PATIENCE, Running, Upstream, eventually
from tests.integration.transports import MORE, ODD, RUNNING, CountedLine, Line, Seen, noetl, one_transport

QUERY = "query ($id: String!) { executionStatus(executionId: $id) { status } }"
MUTATION = 'mutation { executePlaybook(name: "team/flow") { id } }'
FIELDS = "host: a\r\nauthorization: Bearer TOKEN\r\ncontent-type: application/json\r\n"
LIMITS = "upstreams: {noetl: {urls: ['UPSTREAM'], response_timeout: 150ms, idle_timeout: 150ms}}\n"


def post(token: str, query: str = QUERY, variables: Any = None) -> bytes:
    """A request for the fast path."""
    body = json.dumps({"query": query, "variables": {"id": RUNNING} if variables is None else variables})
    return f"POST /graphql HTTP/1.1\r\n{FIELDS}content-length: {len(body)}\r\n\r\n{body}".replace(
        "TOKEN", token
    ).encode()


@asynccontextmanager
async def warm(folder: Path, more: str = MORE) -> AsyncIterator[tuple[Running, Upstream, Seen, Line, str]]:
    """A gateway that has seen both documents and keeps a connection upstream, and a client that is signed in."""
    async with one_transport(folder, fast=True, more=more) as (gateway, upstream, seen):
        token, line = await gateway.session(), CountedLine(gateway, seen.fast)
        for query in (QUERY, MUTATION, QUERY):
            await line.ask(post(token, query))
        assert seen.fast[-1]
        upstream.seen.clear()
        yield gateway, upstream, seen, line, token
        line.close()
        await eventually(lambda: gateway.server.gateway.upstreams["noetl"].pool.busy == 0)


def error_of(body: bytes) -> Any:
    """The only error of an answer."""
    (error,) = json.loads(body)["errors"]
    return error


async def hang(request: web.BaseRequest) -> web.StreamResponse:
    await asyncio.sleep(PATIENCE)
    return web.Response()


async def reset(request: web.BaseRequest) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def test_an_operation_over_its_time_is_answered_then(tmp_path: Path) -> None:
    more = "graphql: {timeout: 100ms}\n"
    async with warm(tmp_path, more) as (_, upstream, seen, line, token):
        upstream.answer = hang
        _, _, body = await line.ask(post(token))
    assert seen.fast[-1]
    assert json.loads(body)["data"] is None
    assert "path" not in error_of(body)
    assert error_of(body)["extensions"] == {"code": "UPSTREAM_TIMEOUT", "status": 504}
    assert seen.logged[-1][6] == "GraphQL operation over 0.1 s"


async def test_an_upstream_over_its_time_is_an_error_of_the_field(tmp_path: Path) -> None:
    async with warm(tmp_path, LIMITS) as (_, upstream, seen, line, token):
        upstream.answer = hang
        _, _, body = await line.ask(post(token))
    assert seen.fast[-1]
    assert error_of(body)["path"] == ["executionStatus"]
    assert error_of(body)["extensions"] == {"code": "UPSTREAM_TIMEOUT", "status": 504}


async def test_an_upstream_that_resets_is_an_error_of_the_field(tmp_path: Path) -> None:
    async with warm(tmp_path, LIMITS) as (gateway, upstream, seen, line, token):
        pool = gateway.server.gateway.upstreams["noetl"].pool
        kept = pool.take_idle()
        assert kept is not None
        kept.served = 0  # not a kept connection gone stale
        pool.release(kept)
        upstream.answer = reset
        _, _, body = await line.ask(post(token))
    assert seen.fast[-1]
    assert error_of(body)["extensions"] == {"code": "UPSTREAM_UNAVAILABLE", "status": 502}


async def test_a_query_on_a_connection_gone_stale_is_sent_again(tmp_path: Path) -> None:
    async with warm(tmp_path) as (_, upstream, seen, line, token):

        async def once(request: web.BaseRequest) -> web.StreamResponse:
            upstream.answer = noetl
            return await reset(request)

        upstream.answer = once
        _, _, body = await line.ask(post(token))
        assert len(upstream.seen) == 2
    assert seen.fast[-1]
    assert json.loads(body) == {"data": {"executionStatus": {"status": "running"}}}


async def test_a_mutation_on_a_connection_gone_stale_is_not_sent_again(tmp_path: Path) -> None:
    async with warm(tmp_path) as (_, upstream, seen, line, token):
        upstream.answer = reset
        _, _, body = await line.ask(post(token, MUTATION))
        assert len(upstream.seen) == 1
    assert seen.fast[-1]
    assert error_of(body)["extensions"]["status"] == 502


async def test_without_a_kept_connection_one_is_opened(tmp_path: Path) -> None:
    async with warm(tmp_path) as (gateway, upstream, seen, line, token):
        pool = gateway.server.gateway.upstreams["noetl"].pool
        upstream.hang_up()
        await eventually(lambda: pool.size == 0)
        _, _, body = await line.ask(post(token))
    assert seen.fast[-1]
    assert json.loads(body) == {"data": {"executionStatus": {"status": "running"}}}


@pytest.mark.parametrize("kept", [True, False], ids=["on a kept connection", "on a new one"])
async def test_a_client_that_leaves_releases_the_upstream(tmp_path: Path, kept: bool) -> None:
    async with warm(tmp_path) as (gateway, upstream, seen, line, token):
        pool = gateway.server.gateway.upstreams["noetl"].pool
        if not kept:
            upstream.hang_up()
            await eventually(lambda: pool.size == 0)
        upstream.answer = hang
        asking = asyncio.create_task(line.ask(post(token)))
        await eventually(lambda: len(upstream.seen) == 1)
        asking.cancel()
        await asyncio.wait([asking])
        line.reset()
        await eventually(lambda: pool.busy == 0)
        await eventually(lambda: seen.logged[-1][3] == 499)


async def test_an_answer_that_comes_as_the_client_leaves_is_nobody_s(tmp_path: Path) -> None:
    async with warm(tmp_path) as (_gateway, upstream, seen, line, token):
        left, answered = asyncio.Event(), asyncio.Event()

        async def late(request: web.BaseRequest) -> web.StreamResponse:
            await left.wait()
            answered.set()
            return await noetl(request)

        upstream.answer = late
        asking = asyncio.create_task(line.ask(post(token)))
        await eventually(lambda: len(upstream.seen) == 1)
        asking.cancel()
        await asyncio.wait([asking])
        lines = len(seen.logged)
        left.set()
        line.close()
        await answered.wait()
        await eventually(lambda: len(seen.logged) > lines)
    assert len(seen.logged) == lines + 1


async def test_requests_that_come_meanwhile_wait_their_turn(tmp_path: Path) -> None:
    async with warm(tmp_path) as (gateway, _, _, _, token):
        health = b"GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        answer = await gateway.raw(post(token) + post(token, MUTATION) + health)
    first, second, third = answer.index(b"running"), answer.index(b"executePlaybook"), answer.index(b"\r\n\r\nok")
    assert first < second < third


@pytest.mark.parametrize("turns", range(6))
async def test_a_request_behind_one_that_is_still_served_waits_its_turn(tmp_path: Path, turns: int) -> None:
    """Whatever aiohttp's loop is at when it comes: waiting, just called, between a request and its handler, or busy."""
    async with warm(tmp_path) as (gateway, _, _, _, token):
        head = f"GET /noetl/executions/100/slow HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        listener = gateway.serving.listener
        await eventually(lambda: len(listener.connections) == 2)
        connection = listener.connections[-1]
        connection.data_received(head.encode())
        for _ in range(turns):
            await asyncio.sleep(0)
        connection.data_received(post(token))
        connection.data_received(b"GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        async with asyncio.timeout(PATIENCE):
            answer = await reader.read()
        writer.close()
    assert answer.index(b"team/flow") < answer.index(b"running") < answer.index(b"\r\n\r\nok")


async def test_our_own_fault_is_a_500_with_its_stack_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(self: Ready, context: Any) -> Any:
        raise KeyError("a mistake of ours")

    async with warm(tmp_path) as (_, _, seen, line, token):
        with monkeypatch.context() as patch:
            patch.setattr(Ready, "run", fail)
            first, _, body = await line.ask(post(token))
        again, _, _ = await line.ask(post(token))
    assert first == "HTTP/1.1 500 Internal Server Error"
    assert json.loads(body)["error"] == "Internal server error"
    assert again == "HTTP/1.1 200 OK"
    assert "a mistake of ours" in "".join(capsys.readouterr())
    assert seen.fast[-2:] == [True, True]


async def test_a_body_seen_before_is_not_parsed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(data: bytes) -> None:
        raise AssertionError("parsed again")

    async with warm(tmp_path) as (_, _, seen, line, token):
        monkeypatch.setattr(fast_graphql, "parse_json", fail)
        _, _, body = await line.ask(post(token))
    assert seen.fast[-1]
    assert b"running" in body


async def test_execution_status_is_requested_each_time(tmp_path: Path) -> None:
    async with warm(tmp_path) as (_, upstream, _, line, token):

        async def ended(request: web.BaseRequest) -> web.StreamResponse:
            return web.json_response({"status": "COMPLETED", "path": "team/flow"})

        before = await line.ask(post(token))
        upstream.answer = ended
        after = await line.ask(post(token))
    assert b"running" in before[2]
    assert b"completed" in after[2]


async def test_a_session_that_ended_is_not_served_by_what_is_kept_ready(tmp_path: Path) -> None:
    async with warm(tmp_path) as (gateway, _, seen, line, token):
        await gateway.server.gateway.store.end_user(1)
        first, _, _ = await line.ask(post(token))
    assert first == "HTTP/1.1 401 Unauthorized"
    assert not seen.fast[-1]


async def test_small_bodies_of_relays_are_not_sent_twice(tmp_path: Path) -> None:
    async with warm(tmp_path) as (_, upstream, seen, line, token):
        upstream.answer = reset
        request = f"POST /noetl/things HTTP/1.1\r\n{FIELDS}content-length: 2\r\n\r\n{{}}".replace("TOKEN", token)
        first, _, _ = await line.ask(request.encode())
        assert len(upstream.seen) == 1
    assert seen.fast[-1]
    assert first == "HTTP/1.1 502 Bad Gateway"


async def test_value_that_json_cannot_express_is_an_error_of_its_field(tmp_path: Path) -> None:
    query = "query ($id: String!) { executionStatus(executionId: $id) { status variables } }"
    async with warm(tmp_path) as (_, _, seen, line, token):
        for _ in range(2):
            status, _, body = await line.ask(post(token, query, {"id": ODD}))
        assert (seen.fast[-1], status) == (True, "HTTP/1.1 200 OK")
        answer = json.loads(body)
        assert answer["data"] == {"executionStatus": {"status": "running", "variables": None}}
        assert [error["path"] for error in answer["errors"]] == [["executionStatus", "variables"]]
        assert answer["errors"][0]["extensions"] == {"code": "UPSTREAM_UNAVAILABLE", "status": 502}


STATUS = {"completed": False, "failed": False, "completed_steps": [], "current_step": "one", "variables": {}}
STATES = "query ($id: String!) { executionStatus(executionId: $id) { currentStep completedSteps } }"


async def test_a_repeated_answer_gives_the_same_response_and_another_one_gives_another(tmp_path: Path) -> None:
    async with warm(tmp_path) as (_, upstream, seen, line, token):
        answers = [STATUS, STATUS, {**STATUS, "current_step": "two", "completed_steps": ["one"]}, STATUS]

        async def status(request: web.BaseRequest) -> web.StreamResponse:
            return web.json_response(answers[len(upstream.seen) - 1])

        upstream.answer = status
        bodies = [json.loads((await line.ask(post(token, STATES)))[2])["data"]["executionStatus"] for _ in answers]
        assert len(upstream.seen) == len(answers)
    first, second = {"currentStep": "one", "completedSteps": []}, {"currentStep": "two", "completedSteps": ["one"]}
    assert bodies == [first, first, second, first]
    assert seen.fast[-3:] == [True] * 3  # the first one brings the document


async def test_a_repeated_answer_is_not_shown_to_whom_the_rules_refuse(tmp_path: Path) -> None:
    async with warm(tmp_path) as (gateway, upstream, _, line, token):

        async def status(request: web.BaseRequest) -> web.StreamResponse:
            return web.json_response(STATUS)

        upstream.answer = status
        for _ in range(2):
            assert "errors" not in json.loads((await line.ask(post(token, STATES)))[2])
        other = await gateway.session("nobody@elsewhere.test")
        asked = len(upstream.seen)
        _, _, body = await line.ask(post(other, STATES))
        assert error_of(body)["extensions"]["code"] == "FORBIDDEN"
        assert len(upstream.seen) == asked


async def test_an_error_is_not_repeated(tmp_path: Path) -> None:
    async with warm(tmp_path) as (_, upstream, _, line, token):
        answers: list[web.Response] = []

        async def status(request: web.BaseRequest) -> web.StreamResponse:
            return answers.pop(0)

        upstream.answer = status
        codes = []
        for answer in ({"detail": "gone"}, {"detail": "gone"}, STATUS):
            answers = [web.json_response(answer, status=404 if "detail" in answer else 200)]
            document = json.loads((await line.ask(post(token, STATES)))[2])
            codes.append([error["extensions"]["code"] for error in document.get("errors", ())])
        assert codes == [["NOT_FOUND"], ["NOT_FOUND"], []]
