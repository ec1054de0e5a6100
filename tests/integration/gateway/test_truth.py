"""What the gateway asks a NoETL server about executions, and what it makes of the answers, on both transports."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.integration.harness import RULES, TRANSPORTS, Running, Upstream, behind_gateway

STATE = '{ executionStatus(executionId: "7") { status completed completedSteps error endTime result } }'
PYTHON = {"current_step": "b", "failed": False, "completed": False, "variables": {}, "start_time": "t"}
RUST = {"execution_id": 7, "current_step": "b", "is_cancelled": False}


@dataclass(slots=True)
class Server:
    """A NoETL server whose status and detail a test decides. `asked` are the paths of its requests."""

    status: dict[str, Any] = field(default_factory=dict)
    detail: dict[str, Any] = field(default_factory=dict)
    others: dict[str, tuple[int, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, and note its path."""
        await request.read()
        self.asked.append(request.path)
        if request.path in self.others:
            status, text = self.others[request.path]
            return web.Response(status=status, text=text)
        if request.path == "/api/executions/7/status":
            return web.json_response(self.status)
        return web.json_response({"path": "team/flow", **self.detail})


@dataclass(slots=True)
class Behind:
    """A gateway in front of such a server, with a signed-in user."""

    gateway: Running
    upstream: Upstream
    server: Server
    headers: dict[str, str]

    async def ask(self, query: str) -> dict[str, Any]:
        """Run a document, and return the response; `server.asked` is what it took."""
        self.server.asked.clear()
        url = f"{self.gateway.url}/graphql"
        async with self.gateway.client.post(url, json={"query": query}, headers=self.headers) as response:
            found: dict[str, Any] = await response.json()
            return found

    async def state(self) -> dict[str, Any]:
        """Return the state of the execution."""
        answer = await self.ask(STATE)
        found: dict[str, Any] = answer["data"]["executionStatus"]
        return found


@asynccontextmanager
async def in_front(folder: Path, *, fast: bool) -> AsyncIterator[Behind]:
    """A gateway that knows the playbook of the execution."""
    async with behind_gateway(folder, rules=RULES, fast=fast) as (gateway, upstream):
        server = Server()
        upstream.answer = server.answer
        behind = Behind(gateway, upstream, server, await gateway.bearer())
        async with gateway.client.get(f"{gateway.url}/noetl/executions/7", headers=behind.headers) as response:
            assert response.status == 200
        yield behind


def event(number: int, kind: str, step: str = "a", status: str = "COMPLETED", **more: Any) -> dict[str, Any]:
    return {"event_id": number, "event_type": kind, "node_name": step, "status": status, **more}


@TRANSPORTS
async def test_poll_of_a_running_execution_is_one_request(tmp_path: Path, fast: bool) -> None:
    async with in_front(tmp_path, fast=fast) as behind:
        for steps in ([], ["a"], ["b", "a"], ["b", "a"]):
            behind.server.status = {**PYTHON, "completed_steps": steps}
            state = await behind.state()
            assert (state["completedSteps"], behind.server.asked) == (sorted(steps), ["/api/executions/7/status"])
        behind.server.detail = {"workload": {}, "events": [event(1, "command.completed", status="success")]}
        behind.server.status = {**RUST, "status": "RUNNING", "progress": {"completed_steps": 1}}
        assert (await behind.state())["completedSteps"] == ["a"]
        assert behind.server.asked == ["/api/executions/7/status", "/api/executions/7"]
        assert (await behind.state())["completedSteps"] == ["a"]
        assert behind.server.asked == ["/api/executions/7/status"]


@TRANSPORTS
async def test_claimed_end_is_disproved_once_until_something_happens(tmp_path: Path, fast: bool) -> None:
    async with in_front(tmp_path, fast=fast) as behind:
        behind.server.status = {**PYTHON, "failed": True, "completed_steps": ["a"], "end_time": "t1"}
        failed = event(1, "call.error", error="no")
        behind.server.detail = {"events": [failed], "pagination": {"total_events": 1}}
        for requests in (2, 1, 1):
            assert (await behind.state())["status"] == "running"
            assert len(behind.server.asked) == requests
        behind.server.status["end_time"] = "t2"
        behind.server.detail["events"] = [event(2, "playbook.failed", created_at="t2"), failed]
        state = await behind.state()
        assert [state[name] for name in ("status", "error", "endTime", "completedSteps")] == ["failed", "no", "t2", []]


@TRANSPORTS
async def test_end_of_an_execution_is_asked_for_once(tmp_path: Path, fast: bool) -> None:
    async with in_front(tmp_path, fast=fast) as behind:
        behind.server.status = {**PYTHON, "completed": True, "completed_steps": ["a"]}
        behind.server.detail = {"events": [event(1, "playbook.completed")], "pagination": {"total_events": 1}}
        assert (await behind.state())["status"] == "completed"
        assert len(behind.server.asked) == 3
        assert (await behind.state())["status"] == "completed"
        assert behind.server.asked == []


@TRANSPORTS
async def test_server_behind_an_address_may_change(tmp_path: Path, fast: bool) -> None:
    async with in_front(tmp_path, fast=fast) as behind:
        cancel = f"{behind.gateway.url}/noetl/executions/7/cancel"
        behind.server.status = {**PYTHON, "completed_steps": ["a"]}
        assert (await behind.state())["completedSteps"] == ["a"]
        behind.server.status = {**RUST, "status": "COMPLETED", "progress": {}}
        done = event(1, "call.done", result={"context": {"call_index": 0, "result": {"context": {"data": 5}}}})
        behind.server.detail = {"workload": {}, "completed_at": "t", "events": [done]}
        state = await behind.state()
        assert (state["status"], state["result"], state["endTime"]) == ("completed", 5, "t")
        async with behind.gateway.client.post(cancel, json={}, headers=behind.headers) as response:
            assert response.status == 200
        assert behind.server.asked[-1] == "/api/executions/7/cancel"  # the Rust server refuses it itself


@TRANSPORTS
async def test_relayed_cancel_of_an_ended_execution_is_not_forwarded(tmp_path: Path, fast: bool) -> None:
    async with in_front(tmp_path, fast=fast) as behind:
        behind.server.status = {**PYTHON, "completed": True, "completed_steps": []}
        behind.server.detail = {"events": [event(1, "playbook.completed")], "pagination": {"total_events": 1}}
        cancel = f"{behind.gateway.url}/noetl/executions/7/cancel"
        async with behind.gateway.client.post(cancel, json={}, headers=behind.headers) as response:
            answer = await response.json()
        proxied = await behind.ask(
            'mutation { proxyRequest(input: {method: "POST", endpoint: "/api/executions/7/cancel"}) { status data } }'
        )
        assert answer == {
            "status": "already_completed",
            "execution_id": "7",
            "cancelled_executions": [],
            "message": "Execution 7 is already COMPLETED",
        }
        assert proxied["data"]["proxyRequest"] == {"status": 200, "data": answer}
        assert not any(path.endswith("/cancel") for path in behind.server.asked)


@TRANSPORTS
async def test_list_that_stops_says_so(tmp_path: Path, fast: bool) -> None:
    async with in_front(tmp_path, fast=fast) as behind:
        numbers = iter(range(10**9))

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            if int(request.query["page"]) == 4:
                return web.json_response({"detail": "Requested page is too deep."}, status=422)
            page = [{"execution_id": next(numbers), "path": "x", "status": "FAILED"} for _ in range(200)]
            return web.json_response(page)

        behind.upstream.answer = answer
        found = await behind.ask('{ executions(path: "x", first: 601) { path } }')
        assert (len(found["data"]["executions"]), found["extensions"]) == (600, {"truncated": True})
        found = await behind.ask('{ executions(path: "x", first: 600) { path } }')
        assert (len(found["data"]["executions"]), "extensions" in found) == (600, False)


@TRANSPORTS
@pytest.mark.parametrize("status", [400, 415, 422])
async def test_plain_text_of_a_refusal_is_bad_user_input(tmp_path: Path, fast: bool, status: int) -> None:
    async with in_front(tmp_path, fast=fast) as behind:
        behind.server.others["/api/execute"] = (status, "Failed to deserialize the JSON body")
        answer = await behind.ask('mutation { executePlaybook(name: "/team/flow") { id } }')
        (error,) = answer["errors"]
        assert error["message"] == "Failed to deserialize the JSON body"
        assert error["extensions"]["code"] == "BAD_USER_INPUT"


@TRANSPORTS
@pytest.mark.parametrize("execution_id", ["9" * 20, str(2**63), "0x7", "", "７"])
async def test_id_that_no_server_gives_is_not_found_without_a_request(
    tmp_path: Path, fast: bool, execution_id: str
) -> None:
    async with in_front(tmp_path, fast=fast) as behind:
        answer = await behind.ask(f"{{ executionStatus(executionId: {json.dumps(execution_id)}) {{ status }} }}")
        assert (answer["errors"][0]["extensions"]["code"], behind.server.asked) == ("NOT_FOUND", [])


@TRANSPORTS
async def test_rerun_without_a_known_workload_is_an_error(tmp_path: Path, fast: bool) -> None:
    async with in_front(tmp_path, fast=fast) as behind:
        answer = await behind.ask('mutation { rerunExecution(executionId: "7") { id } }')
        assert answer["errors"][0]["extensions"]["code"] == "UPSTREAM_UNAVAILABLE"
        assert "/api/execute" not in behind.server.asked


@TRANSPORTS
async def test_clients_declare_variables_of_the_types_of_the_field(tmp_path: Path, fast: bool) -> None:
    query = """mutation ($k: ExecutableResourceKind) {
      executePlaybook(name: "team/flow", resourceKind: $k) { ...F } } fragment F on ExecuteResult { __typename id }"""
    async with in_front(tmp_path, fast=fast) as behind:
        behind.server.detail = {"execution_id": "8"}
        answer = await behind.ask(query)
        assert answer["data"]["executePlaybook"] == {"__typename": "ExecuteResult", "id": "8"}
