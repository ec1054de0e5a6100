"""Who started an execution: noted from the responses to starts, on both transports, by proxyRequest and by GraphQL."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.integration.harness import TRANSPORTS, Running, behind_gateway

pytestmark = pytest.mark.usefixtures("each_store")

RULES = """
acl:
  roles: {staff: {emails: ["*@staff.test"]}}
  rules:
    - {allow: [execute], roles: [staff], playbooks: ["**"]}
"""
NAMED = {"path": "team/flow"}
PROXY = """
mutation ($e: String!, $b: JSON) { proxyRequest(input: {method: "POST", endpoint: $e, body: $b}) { status } }
"""
STARTS: list[tuple[str, Any, Any, list[str]]] = [
    ("/execute", NAMED, {"execution_id": "1", "status": "started"}, ["1"]),
    ("/execute", NAMED, {"execution_id": "1", "status": "duplicate"}, []),
    ("/execute", NAMED, {"execution_id": "1", "status": "DUPLICATE"}, []),
    ("/executions/9/rerun", {}, {"execution_id": "1", "status": "started"}, ["1"]),
    (
        "/execute/batch",
        {"executions": [NAMED, NAMED, NAMED]},
        {
            "results": [
                {"status": "started", "execution_id": "1"},
                {"status": "duplicate", "execution_id": "2"},
                {"status": "error"},
            ]
        },
        ["1"],
    ),
    (
        "/catalog/playbooks/generate/ai",
        {"generator_playbook_path": "team/flow"},
        {"ai_execution_id": "1", "execution_id": "2"},
        ["1"],
    ),
    # what an MCP server runs is chosen by the user who has registered it
    ("/mcp/team/flow/lifecycle/deploy", {}, {"execution_id": "1", "status": "started", "agent_path": "system/x"}, []),
]


@asynccontextmanager
async def answering(folder: Path, started: Any, *, fast: bool) -> AsyncIterator[Running]:
    """A gateway before a server that gives this response to every start."""

    async def noetl(request: web.BaseRequest) -> web.StreamResponse:
        detail = {"path": "team/flow", "status": "RUNNING", "workload": {}}
        return web.json_response(detail if request.method == "GET" else started)

    async with behind_gateway(folder, rules=RULES, fast=fast) as (gateway, upstream):
        upstream.answer = noetl
        yield gateway


async def owned(gateway: Running, token: str) -> list[str]:
    """Return the executions that a user may view as their owner."""
    headers = {"authorization": f"Bearer {token}"}
    found = []
    for execution_id in ("1", "2"):
        async with gateway.client.get(f"{gateway.url}/noetl/executions/{execution_id}", headers=headers) as answer:
            assert answer.status in (200, 403)
            found += [execution_id] if answer.status == 200 else []
    return found


@TRANSPORTS
@pytest.mark.parametrize("way", ["relay", "proxyRequest"])
@pytest.mark.parametrize(("path", "body", "answer", "expected"), STARTS)
async def test_user_owns_what_the_response_says_was_started(
    tmp_path: Path, fast: bool, way: str, path: str, body: Any, answer: Any, expected: list[str]
) -> None:
    async with answering(tmp_path, answer, fast=fast) as gateway:
        token = await gateway.session()
        headers = {"authorization": f"Bearer {token}"}
        await owned(gateway, token)  # so that a connection upstream is kept
        url, sent = f"{gateway.url}/noetl{path}", body
        if way == "proxyRequest":
            url, sent = f"{gateway.url}/graphql", {"query": PROXY, "variables": {"e": f"/api{path}", "b": body}}
        async with gateway.client.post(url, json=sent, headers=headers) as response:
            assert response.status == 200
            assert "errors" not in json.loads(await response.read())
        assert await owned(gateway, token) == expected


@TRANSPORTS
@pytest.mark.parametrize(
    "mutation", ['executePlaybook(name: "team/flow") { id }', 'rerunExecution(executionId: "9") { id }']
)
@pytest.mark.parametrize(("status", "expected"), [("started", ["1"]), ("duplicate", [])])
async def test_user_owns_what_graphql_has_started(
    tmp_path: Path, fast: bool, mutation: str, status: str, expected: list[str]
) -> None:
    async with answering(tmp_path, {"execution_id": "1", "status": status}, fast=fast) as gateway:
        token = await gateway.session()
        headers, sent = {"authorization": f"Bearer {token}"}, {"query": f"mutation {{ {mutation} }}"}
        async with gateway.client.post(f"{gateway.url}/graphql", json=sent, headers=headers) as response:
            assert "errors" not in await response.json()
        assert await owned(gateway, token) == expected


@TRANSPORTS
async def test_execution_keeps_its_owner(tmp_path: Path, fast: bool) -> None:
    async with answering(tmp_path, {"execution_id": "1", "status": "started"}, fast=fast) as gateway:
        first, second = await gateway.session("a@staff.test"), await gateway.session("b@staff.test")
        for token in (first, second):
            headers = {"authorization": f"Bearer {token}"}
            async with gateway.client.post(f"{gateway.url}/noetl/execute", json=NAMED, headers=headers) as response:
                assert response.status == 200
        assert (await owned(gateway, first), await owned(gateway, second)) == (["1"], [])
