"""GraphQL over server-sent events: both modes of the protocol, who may use a stream, and how it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.integration.gateway.live_server import Executions
from tests.integration.gateway.subscriptions import (
    EVENTS,
    EXECUTION,
    WRONG,
    Sent,
    distinct,
    document,
    operate,
    reserve,
    single,
)
from tests.integration.harness import TRANSPORTS, Running, Upstream, behind_gateway, eventually

STREAM_TOKEN = "x-graphql-event-stream-token"


def of(identity: str, status: str) -> Sent:
    """Return the result of a subscription on a stream of several."""
    state = {"executionId": "101", "status": status, "completedSteps": [] if status == "running" else ["a"]}
    return Sent("next", {"id": identity, "payload": {"data": {"execution": state}}})


async def request(
    gateway: Running, method: str, headers: dict[str, str], query: str = "", **more: Any
) -> tuple[int, Any]:
    """Send a request to the endpoint; return the status and the JSON of the response, if it is JSON."""
    async with gateway.client.request(method, f"{gateway.url}/graphql{query}", headers=headers, **more) as response:
        is_json = response.content_type == "application/json"
        return response.status, await response.json() if is_json else await response.text()


@TRANSPORTS
async def test_both_transports_stream_what_accepts_an_event_stream(tmp_path: Any, fast: bool) -> None:
    async with behind_gateway(tmp_path, fast=fast) as (gateway, upstream):
        server = Executions()
        server.complete(["a"], {})
        upstream.answer = server.answer
        for _ in range(2):
            async with distinct(gateway, await gateway.bearer()) as reader:
                found = await reader.all()
                assert [event.kind for event in found] == ["next", "complete"]
                assert found[1].data is None
                assert reader.comments == 1


async def test_a_get_may_subscribe(gateway: Running, upstream: Upstream) -> None:
    server = Executions()
    server.complete(["a"], {})
    upstream.answer = server.answer
    token = await gateway.session()
    query = {"query": EXECUTION, "variables": '{"id": "101"}', "session_token": token}
    async with gateway.client.get(f"{gateway.url}/graphql", params=query, headers=EVENTS) as response:
        assert response.status == 200
        assert b'"completed"' in await response.read()
    query["query"] = 'mutation { cancelExecution(executionId: "1") { id } }'
    async with gateway.client.get(f"{gateway.url}/graphql", params=query, headers=EVENTS) as response:
        assert b"Method not allowed" in await response.read()


async def test_a_subscription_without_a_stream_says_what_it_needs(gateway: Running) -> None:
    status, found = await request(gateway, "POST", await gateway.bearer(), json=document())
    assert status == 200
    assert found["errors"][0]["message"].startswith("A subscription needs a stream: send accept: text/event-stream")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_without_a_session_it_is_401(gateway: Running, method: str) -> None:
    status, found = await request(gateway, method, EVENTS)
    assert (status, found["error"]) == (401, "Invalid or expired session")


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'[{"query":"{me{email}}"}]'])
async def test_a_body_that_is_no_request_is_400(gateway: Running, body: bytes) -> None:
    headers = {**await gateway.bearer(), **EVENTS, "content-type": "application/json"}
    assert (await request(gateway, "POST", headers, data=body))[0] == 400


@pytest.mark.gateway(more="live: {heartbeat: 50ms}")
async def test_a_quiet_stream_has_comments(gateway: Running, upstream: Upstream) -> None:
    server = Executions()
    upstream.answer = server.answer
    async with distinct(gateway, await gateway.bearer()) as reader:
        await reader.next()
        await asyncio.sleep(0.3)
        server.complete(["a"], {})
        await reader.next()
        assert reader.comments > 2


async def test_several_operations_on_one_stream(gateway: Running, upstream: Upstream) -> None:
    server = Executions()
    upstream.answer = server.answer
    headers = await gateway.bearer()
    token = await reserve(gateway, headers)
    async with single(gateway, headers, token) as reader:
        assert await operate(gateway, headers, token, "one") == (202, None)
        assert await reader.next() == of("one", "running")
        assert await operate(gateway, headers, token, "two") == (202, None)
        assert await reader.next() == of("two", "running")
        assert (await operate(gateway, headers, token, "two"))[0] == 409
        assert await operate(gateway, headers, token, "me", {"query": "{ version }"}) == (202, None)
        assert (await reader.event()).data["payload"]["data"]["version"]
        assert await reader.next() == Sent("complete", {"id": "me"})
        fields = {**headers, STREAM_TOKEN: token}
        assert (await request(gateway, "DELETE", fields, "?operationId=one"))[0] == 200
        assert (await request(gateway, "DELETE", fields, "?operationId=one"))[0] == 200
        server.complete(["a"], {})
        assert await reader.next() == of("two", "completed")
        assert await reader.next() == Sent("complete", {"id": "two"})
        assert await operate(gateway, headers, token, "one") == (202, None)
        assert await reader.next() == of("one", "completed")


async def test_errors_of_a_document_are_in_the_response(gateway: Running) -> None:
    headers = await gateway.bearer()
    token = await reserve(gateway, headers)
    async with single(gateway, headers, token):
        status, found = await operate(gateway, headers, token, "one", {"query": WRONG})
        assert (status, found["errors"][0]["extensions"]["code"]) == (400, "BAD_USER_INPUT")
        fields = {**headers, "accept": "application/graphql-response+json"}
        assert (await operate(gateway, fields, token, "one", {"query": WRONG}))[0] == 400
        assert (await operate(gateway, headers, token, None))[0] == 400
        assert (await operate(gateway, headers, token, "x" * 129))[0] == 400


async def test_a_reservation_belongs_to_its_session(gateway: Running) -> None:
    headers, others = await gateway.bearer(), await gateway.bearer()
    token = await reserve(gateway, headers)
    for given in (token, "0" * 64, "x", ""):
        fields = {**others, **EVENTS, STREAM_TOKEN: given}
        assert (await request(gateway, "GET", fields))[0] == 404
        assert (await operate(gateway, others, given, "one"))[0] == 404
        assert (await request(gateway, "DELETE", {**others, STREAM_TOKEN: given}, "?operationId=x"))[0] == 404
    assert (await operate(gateway, headers, token, "one"))[1][
        "error"
    ] == "The stream is not open: open it with GET first"


async def test_a_stream_is_open_once_and_may_be_opened_again(gateway: Running) -> None:
    headers = await gateway.bearer()
    token = await reserve(gateway, headers)
    fields = {**headers, **EVENTS, STREAM_TOKEN: token}
    async with single(gateway, headers, token):
        assert (await request(gateway, "GET", fields))[0] == 409
    await eventually(lambda: gateway.serving.process.measures.metrics.live_streams["graphql_sse"] == 0)
    async with single(gateway, headers, token):
        assert await operate(gateway, headers, token, "one", {"query": "{ version }"}) == (202, None)


@pytest.mark.gateway(more="graphql: {limits: {subscriptions: 2}}")
async def test_a_session_has_a_limit(gateway: Running, upstream: Upstream) -> None:
    server = Executions()
    upstream.answer = server.answer
    headers = await gateway.bearer()
    token = await reserve(gateway, headers)
    async with single(gateway, headers, token) as reader, distinct(gateway, headers) as alone:
        assert await operate(gateway, headers, token, "one") == (202, None)
        await reader.next()
        await alone.next()
        status, found = await operate(gateway, headers, token, "two")
        assert (status, "graphql.limits.subscriptions" in found["error"]) == (429, True)
        assert (await request(gateway, "POST", {**headers, **EVENTS}, json=document()))[0] == 429
        async with distinct(gateway, await gateway.bearer("otto@staff.test")) as other:
            assert (await other.event()).kind == "next"
        server.complete(["a"], {})
        assert [event.kind for event in await alone.all()] == ["next", "complete"]
        async with distinct(gateway, headers) as alone:
            assert (await alone.event()).kind == "next"


async def test_a_stream_ends_with_its_session(gateway: Running, upstream: Upstream) -> None:
    upstream.answer = Executions().answer
    headers = await gateway.bearer()
    token = await reserve(gateway, headers)
    async with single(gateway, headers, token) as reader, distinct(gateway, headers) as alone:
        await operate(gateway, headers, token, "one")
        await reader.next()
        await alone.next()
        async with gateway.client.post(f"{gateway.url}/api/auth/logout", headers=headers) as response:
            assert response.status == 200
        error, complete = await alone.all()
        assert error.data["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED", "status": 401}
        assert complete.kind == "complete"
        error, complete = await reader.all()
        assert error.data["id"] == complete.data["id"] == "one"
        assert error.data["payload"]["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_a_stream_ends_when_the_gateway_stops_and_says_when_to_come_back(
    gateway: Running, upstream: Upstream
) -> None:
    upstream.answer = Executions().answer
    headers = await gateway.bearer()
    token = await reserve(gateway, headers)
    async with single(gateway, headers, token) as reader, distinct(gateway, headers) as alone:
        await alone.next()
        gateway.serving.process.drain.start()
        for stream in (reader, alone):
            (retry,) = await stream.all()
            assert (retry.kind, 500 <= retry.data <= 5000) == ("retry", True)


@pytest.mark.gateway(
    more="sessions: {store: memory, cookie: {enabled: true}}\ncorsAllowedOrigins: ['https://app.test']"
)
async def test_a_cookie_signs_in_and_foreign_pages_get_nothing(gateway: Running) -> None:
    cookie = {"cookie": f"session_token={await gateway.session()}"}
    assert (await request(gateway, "PUT", {**cookie, "origin": "https://evil.test"}))[0] == 403
    assert (await request(gateway, "PUT", {**cookie, "origin": "https://app.test"}))[0] == 201
    assert (await request(gateway, "GET", {**cookie, **EVENTS}, "?query={version}"))[0] == 400
    fields = {"origin": "https://app.test", "access-control-request-method": "PUT"}
    async with gateway.client.options(f"{gateway.url}/graphql", headers=fields) as response:
        assert STREAM_TOKEN in response.headers["access-control-allow-headers"]
        assert "PUT" in response.headers["access-control-allow-methods"]
