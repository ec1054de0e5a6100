"""No error of GraphQL tells what happened inside or upstream: no exception, stack, path, address or body.

The one thing of an upstream's that is passed on is the reason that NoETL gives for refusing a request (a 4xx in JSON):
it is meant for the user.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from proxy.graphql import resolvers
from tests.attack.table import Tally
from tests.integration.harness import Answer, Running, behind_gateway

SECRET = "s3cr3t-of-the-inside"
TRACE = f'Traceback (most recent call last):\n  File "/srv/noetl/{SECRET}.py", line 1\nRuntimeError: {SECRET}'
INSIDE = (SECRET, "Traceback", "/srv/", ".py", "RuntimeError", "KeyError", "127.0.0.1", "Errno", "site-packages", "0x")
STATUS = "id path status currentStep completedSteps error startTime endTime durationSeconds"
ODD = {
    **{key: {SECRET: SECRET} for key in ("status", "current_step", "start_time", "end_time", "error", "id")},
    "path": "team/flow",
    "execution_id": "1",
    "completed_steps": [{SECRET: SECRET}],
    "duration_seconds": SECRET,
    "events": [
        {"event_id": SECRET},
        {"event_id": 1, **{key: {SECRET: 1} for key in ("event_type", "created_at", "status")}},
    ],
    "entries": [{"path": "team/flow", **{key: [SECRET] for key in ("version", "kind", "description", "catalog_id")}}],
}
QUERIES = {
    "a status": f'{{ executionStatus(executionId: "1") {{ {STATUS} }} }}',
    "an execution": f'{{ execution(id: "1") {{ {STATUS} }} }}',
    "events": '{ execution(id: "1") { status events { id type step status at result } } }',
    "a list": "{ executions { id path status startTime endTime } }",
    "the catalog": "{ playbooks { name description version kind } }",
    "an entry": '{ playbook(name: "team/flow") { name description version kind } }',
    "a mutation": 'mutation { executePlaybook(name: "team/flow") { id } }',
    "a rerun": 'mutation { rerunExecution(executionId: "1") { id } }',
    "a cancel": 'mutation { cancelExecution(executionId: "1") { status } }',
    "interpreted": 'query ($no: Boolean!) { executionStatus(executionId: "1") { status } version @skip(if: $no) }',
}


def says(status: int, text: str, kind: str = "application/json") -> Answer:
    """An upstream that always answers so."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, text=text, content_type=kind)

    return answer


async def breaks(request: web.BaseRequest) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


UPSTREAMS: dict[str, Answer] = {
    "500 with a stack": says(500, TRACE, "text/plain"),
    "500 with a reason": says(500, json.dumps({"detail": TRACE})),
    "502 of a proxy": says(502, f"<html>{TRACE}</html>", "text/html"),
    "200 that is not JSON": says(200, TRACE, "text/html"),
    "200 of another shape": says(200, json.dumps([SECRET, {"entries": SECRET, "status": [SECRET]}])),
    "200 with wrong types": says(200, json.dumps({"entries": [{"path": [SECRET]}], "status": {SECRET: SECRET}})),
    "200 with odd values": says(200, json.dumps(ODD)),
    "200 with a list of odd values": says(200, json.dumps([ODD])),
    "404 that is not JSON": says(404, TRACE, "text/html"),
    "418 that is not JSON": says(418, TRACE, "text/html"),
    "a broken connection": breaks,
}


async def errors_of(gateway: Running, query: str) -> str:
    """All errors of an answer, as text; of an answer that is none of GraphQL's, the whole."""
    body = {"query": query, "variables": {"no": False} if "$no" in query else {}}
    headers = await gateway.bearer()
    async with gateway.client.post(f"{gateway.url}/graphql", json=body, headers=headers) as answer:
        text = await answer.text()
    document = json.loads(text)
    return json.dumps(document.get("errors", []) if "data" in document else document)


def inside(text: str) -> list[str]:
    """What a text tells that it must not."""
    return [word for word in INSIDE if word in text]


@pytest.mark.parametrize("upstream", UPSTREAMS)
async def test_no_error_tells_what_an_upstream_said(
    tmp_path: Path, tally: Callable[[str], Tally], upstream: str
) -> None:
    with tally("GraphQL errors: upstream") as counts:
        async with behind_gateway(tmp_path) as (gateway, behind):
            behind.answer = UPSTREAMS[upstream]
            for name, query in QUERIES.items():
                for turn in ("first", "on the fast path"):
                    told = await errors_of(gateway, query)
                    counts.check(f"{upstream}, {name}, {turn}", not inside(told), told[:300])


def failing(error: Exception) -> Callable[..., Awaitable[Any]]:
    """A resolver that has a fault."""

    async def resolve(*_: object, **__: object) -> Any:
        raise error

    return resolve


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(TRACE),
        OSError(2, SECRET, f"/srv/{SECRET}"),
        UnicodeDecodeError("utf-8", SECRET.encode(), 0, 1, SECRET),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_no_error_tells_of_a_fault_of_ours(
    tmp_path: Path, tally: Callable[[str], Tally], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    for table in (resolvers.QUERY, resolvers.MUTATION):
        for name in table:
            monkeypatch.setitem(table, name, failing(error))
    with tally("GraphQL errors: inside") as counts:
        async with behind_gateway(tmp_path) as (gateway, _):
            for name in ("a status", "a mutation", "interpreted"):
                for turn in ("first", "again"):
                    told = await errors_of(gateway, QUERIES[name])
                    fine = not inside(told) and '"message": "Internal server error"' in told
                    counts.check(f"{name}, {turn}", fine, told[:300])


async def test_value_that_violates_the_schema_is_not_disclosed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd: dict[str, Any] = {"userId": SECRET, "email": None, "displayName": [SECRET], "roles": SECRET}
    monkeypatch.setitem(resolvers.QUERY, "me", lambda *_: odd)
    async with behind_gateway(tmp_path) as (gateway, _):
        for name in odd:
            told = await errors_of(gateway, f"{{ me {{ {name} }} }}")
            assert '"message": "Internal server error"' in told
            assert inside(told) == []


async def test_invalid_argument_is_reported(tmp_path: Path) -> None:
    async with behind_gateway(tmp_path) as (gateway, _):
        query = 'query ($id: String = "1") { executionStatus(executionId: $id) { status } }'
        body = {"query": query, "variables": {"id": None}}
        headers = await gateway.bearer()
        async with gateway.client.post(f"{gateway.url}/graphql", json=body, headers=headers) as answer:
            (error,) = (await answer.json())["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert "executionId" in error["message"]
