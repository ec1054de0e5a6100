"""Events of an execution by GraphQL: on both servers and both transports, in pages, while the execution runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from mock_noetl.server import NoetlServer, build, serve, start
from tests.integration.harness import TENANT, TRANSPORTS, Running, behind_gateway, gateway_running

RULES = """
acl:
  roles: {staff: {emails: ["*@staff.test"]}}
  rules:
    - {allow: ["*"], roles: [staff], playbooks: ["**"]}
    - {allow: [execute], emails: [runner@else.test], playbooks: ["**"]}
    - {allow: [view], emails: [few@seers.test], playbooks: ["my_playbook"]}
"""
QUERY = """
query ($id: ID!, $first: Int, $after: String) {
  execution(id: $id) { status events(first: $first, after: $after) { id type step status at result } }
}
"""
CANCEL = 'mutation { cancelExecution(executionId: "7") { status events { id } } }'
DIALECTS = pytest.mark.parametrize("dialect", ["python", "rust"])
EXACT = 2**53


@dataclass(slots=True)
class Behind:
    """A gateway before a NoETL server, with a user. `fast`: the last response came by the fast path."""

    gateway: Running
    headers: dict[str, str]
    fast: bool = False

    async def run(self, query: str = QUERY, **variables: Any) -> dict[str, Any]:
        """Return the response for a document."""
        before = self.gateway.served_fast
        sent = {"query": query, "variables": variables}
        async with self.gateway.client.post(f"{self.gateway.url}/graphql", json=sent, headers=self.headers) as response:
            found: dict[str, Any] = await response.json()
        self.fast = self.gateway.served_fast > before
        return found

    async def page(self, execution_id: str, **variables: Any) -> list[dict[str, Any]]:
        """Return a page of events, which is complete."""
        answer = await self.run(id=execution_id, **variables)
        assert answer.keys() == {"data"}, answer
        found: list[dict[str, Any]] = answer["data"]["execution"]["events"]
        return found


@dataclass(frozen=True, slots=True)
class Mock:
    """A sandbox server, and its address."""

    program: NoetlServer
    url: str


@asynccontextmanager
async def before_mock(folder: Path, dialect: str, *, fast: bool) -> AsyncIterator[tuple[Behind, Mock]]:
    """A gateway before the sandbox server of a dialect."""
    program = build(dialect)
    async with serve(program) as server:
        text = f"{TENANT}{RULES}upstreams: {{noetl: {{urls: ['{server.url}']}}}}\n"
        async with gateway_running(folder, text, fast=fast) as gateway:
            yield Behind(gateway, await gateway.bearer()), Mock(program, server.url)


async def sent_by(mock: Mock, execution_id: str) -> list[dict[str, Any]]:
    """Return the events as the server sends them, sorted by their ids."""
    async with httpx.AsyncClient(base_url=mock.url, trust_env=False) as client:
        detail = (await client.get(f"/api/executions/{execution_id}?page_size=500")).raise_for_status().json()
    return sorted(detail["events"], key=lambda event: int(event["event_id"]))


@TRANSPORTS
@DIALECTS
async def test_events_of_a_running_execution_come_once_in_pages(tmp_path: Path, fast: bool, dialect: str) -> None:
    async with before_mock(tmp_path, dialect, fast=fast) as (behind, mock):
        execution_id = start(mock.program, "examples/slow", {"pace": "100ms"})
        found: list[dict[str, Any]] = []
        after, pages = None, 0
        while not any(event["type"] == "playbook.completed" for event in found):
            page = await behind.page(execution_id, first=4, after=after)
            assert len(page) <= 4
            found, pages = found + page, pages + bool(page)
            after = found[-1]["id"] if found else None
        await asyncio.sleep(0.5)  # some events follow the end
        while page := await behind.page(execution_id, first=4, after=found[-1]["id"]):
            found += page
        expected = await sent_by(mock, execution_id)
        assert [event["id"] for event in found] == [str(event["event_id"]) for event in expected]
        assert min(int(event["id"]) for event in found) > EXACT
        assert pages > 3
        assert behind.fast is fast


@TRANSPORTS
@DIALECTS
async def test_event_has_the_same_members_of_either_server(tmp_path: Path, fast: bool, dialect: str) -> None:
    async with before_mock(tmp_path, dialect, fast=fast) as (behind, mock):
        execution_id = start(mock.program, "examples/slow", {"pace": "1ms"})

        page: list[dict[str, Any]] = []
        while not any(event["type"] == "playbook.completed" for event in page):
            page = await behind.page(execution_id, first=1000)
        done = next(event for event in page if event["type"] == "call.done")
        assert done.keys() == {"id", "type", "step", "status", "at", "result"}
        assert (done["step"], done["status"]) == ("start", "completed")
        assert all(len(event["at"]) == 32 and event["at"].endswith("+00:00") for event in page)
        assert [event["at"] for event in page] == sorted(event["at"] for event in page)
        assert all("_" not in event["type"] and event["type"].islower() for event in page)
        raw = next(e for e in await sent_by(mock, execution_id) if str(e["event_id"]) == done["id"])
        digits = str(raw["result"]["context"]["command_id"])
        assert int(digits.partition(":")[0]) > EXACT
        assert done["result"] == {**raw["result"], "context": {**raw["result"]["context"], "command_id": digits}}


@dataclass(slots=True)
class Server:
    """A server whose execution 7 has events that a test decides; `grows` are added with each request.

    The Python server sends pages, newest first; the Rust server the newest 2000. `targets` are those of its requests.
    """

    dialect: str
    count: int = 0
    grows: int = 0
    results: dict[int, Any] = field(default_factory=dict)
    detail_status: int = 200
    targets: list[str] = field(default_factory=list)

    def id(self, number: int) -> int:
        return 10**17 + 1 + 2 * number

    def event(self, number: int) -> dict[str, Any]:
        about = {
            "event_type": "step.enter",
            "node_name": "a",
            "status": "STARTED",
            "created_at": "2026-01-01T00:00:00Z",
        }
        return {"event_id": self.id(number), **about, "result": self.results.get(number)}

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        self.targets.append(request.path_qs)
        await request.read()
        if request.path.endswith("/status"):
            return web.json_response(self.status())
        if not request.path.startswith("/api/executions/7"):
            return web.json_response({"status": "ok"})
        if self.detail_status != 200:
            return web.json_response({"detail": "no"}, status=self.detail_status)
        document = self.detail(request.query)
        self.count += self.grows
        return web.json_response({"path": "team/flow", **document})

    def status(self) -> dict[str, Any]:
        running = {"current_step": "a", "completed_steps": [], "failed": False, "completed": False, "variables": {}}
        return running if self.dialect == "python" else {"status": "RUNNING", "current_step": "a", "progress": {}}

    def detail(self, query: Any) -> dict[str, Any]:
        numbers = [n for n in range(self.count - 1, -1, -1) if self.id(n) > int(query.get("since_event_id", 0))]
        if self.dialect == "rust":
            newest = range(self.count - 1, max(-1, self.count - 2001), -1)
            return {"workload": {}, "events": [self.event(n) for n in newest]}
        page, size = int(query.get("page", 1)), int(query.get("page_size", 100))
        assert 10 <= size <= 500
        part = numbers[(page - 1) * size : page * size]
        return {"events": [self.event(n) for n in part], "pagination": {"total_events": len(numbers)}}


@asynccontextmanager
async def before_server(
    folder: Path, dialect: str, *, fast: bool, email: str = "anna@staff.test", known: bool = True
) -> AsyncIterator[tuple[Behind, Server]]:
    """A gateway before such a server. `known`: the gateway knows the playbook of the execution."""
    server = Server(dialect)
    async with behind_gateway(folder, rules=RULES, fast=fast) as (gateway, upstream):
        upstream.answer = server.answer
        if known:
            anna = Behind(gateway, await gateway.bearer())
            await anna.run('{ execution(id: "7") { events(first: 1) { id } } }')
        server.targets.clear()
        yield Behind(gateway, await gateway.bearer(email)), server


@TRANSPORTS
@DIALECTS
@pytest.mark.parametrize("first", [7, 100, 1000])
async def test_many_events_come_once_while_more_are_recorded(
    tmp_path: Path, fast: bool, dialect: str, first: int
) -> None:
    async with before_server(tmp_path, dialect, fast=fast) as (behind, server):
        server.count, server.grows = 1_500, 60 if first == 1000 else 3
        found: list[str] = []
        for _ in range(4):
            server.targets.clear()
            page = await behind.page("7", first=first, after=found[-1] if found else None)
            found += [event["id"] for event in page]
            assert len([target for target in server.targets if "/status" not in target]) <= 5
        expected = [str(server.id(number)) for number in range(len(found))]
        assert found == expected
        assert len(found) >= min(4 * first, 1_500)


@TRANSPORTS
async def test_oldest_events_of_the_python_server_are_on_its_last_pages(tmp_path: Path, fast: bool) -> None:
    async with before_server(tmp_path, "python", fast=fast) as (behind, server):
        server.count = 950
        assert [event["id"] for event in await behind.page("7", first=60)] == [str(server.id(n)) for n in range(60)]
        pages = [target.partition("?")[2] for target in server.targets if "?page=" in target]
        assert pages == [f"page={number}&page_size=100" for number in (1, 9, 10)]


@TRANSPORTS
async def test_events_that_the_rust_server_no_longer_sends_are_reported(tmp_path: Path, fast: bool) -> None:
    async with before_server(tmp_path, "rust", fast=fast) as (behind, server):
        server.count = 2_100
        answer = await behind.run(id="7", first=2)
        events = answer["data"]["execution"]["events"]
        assert [event["id"] for event in events] == [str(server.id(100)), str(server.id(101))]
        assert answer["extensions"] == {"truncated": True}
        assert "extensions" in await behind.run(id="7", first=2, after=str(server.id(98)))
        assert "extensions" not in await behind.run(id="7", first=2, after=str(server.id(100)))
        server.count = 1_999
        assert "extensions" not in await behind.run(id="7", first=2)


@TRANSPORTS
@DIALECTS
async def test_events_that_are_not_selected_are_not_requested(tmp_path: Path, fast: bool, dialect: str) -> None:
    async with before_server(tmp_path, dialect, fast=fast) as (behind, server):
        await behind.run('{ execution(id: "7") { status } }')
        server.targets.clear()
        await behind.run('{ execution(id: "7") { status } }')
        assert server.targets == ["/api/executions/7/status"]
        await behind.run(id="7", first=0)
        assert server.targets == ["/api/executions/7/status"] * 2


@TRANSPORTS
@DIALECTS
@pytest.mark.parametrize("known", [True, False], ids=["known playbook", "unknown playbook"])
async def test_execution_of_another_playbook_gives_no_events(
    tmp_path: Path, fast: bool, dialect: str, known: bool
) -> None:
    async with before_server(tmp_path, dialect, fast=fast, email="few@seers.test", known=known) as (behind, server):
        server.count = 5
        answer = await behind.run(id="7")
        assert answer["data"] is None
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
        assert len(server.targets) == (0 if known else 1)


@TRANSPORTS
async def test_events_need_a_rule_to_view_also_where_a_mutation_returns_them(tmp_path: Path, fast: bool) -> None:
    async with before_server(tmp_path, "python", fast=fast, email="runner@else.test") as (behind, server):
        server.count = 5
        answer = await behind.run(CANCEL)
        assert answer["data"]["cancelExecution"] == {"status": "running", "events": None}
        (error,) = answer["errors"]
        assert (error["path"], error["extensions"]["code"]) == (["cancelExecution", "events"], "FORBIDDEN")


WRONG = ["", "-1", "x", "07", "7.0", "٣", str(2**63), "9" * 40, "1e3"]


@TRANSPORTS
@pytest.mark.parametrize("after", WRONG)
async def test_wrong_cursor_is_bad_user_input_beside_the_status(tmp_path: Path, fast: bool, after: str) -> None:
    async with before_server(tmp_path, "python", fast=fast) as (behind, _):
        answer = await behind.run(id="7", after=after)
        assert answer["data"]["execution"] == {"status": "running", "events": None}
        (error,) = answer["errors"]
        assert (error["message"], error["path"]) == ("after must be the id of an event", ["execution", "events"])
        assert error["extensions"]["code"] == "BAD_USER_INPUT"


@TRANSPORTS
async def test_first_is_from_0_to_1000(tmp_path: Path, fast: bool) -> None:
    async with before_server(tmp_path, "python", fast=fast) as (behind, server):
        server.count = 1_200
        for first in (-1, 1001):
            (error,) = (await behind.run(id="7", first=first))["errors"]
            assert (error["message"], error["extensions"]["code"]) == (
                "first must be from 0 to 1000",
                "BAD_USER_INPUT",
            )
        assert [len(await behind.page("7", first=first)) for first in (0, 1, 1000, None)] == [0, 1, 1000, 100]


@TRANSPORTS
async def test_failure_of_the_server_leaves_the_status(tmp_path: Path, fast: bool) -> None:
    async with before_server(tmp_path, "python", fast=fast) as (behind, server):
        server.detail_status = 500
        answer = await behind.run(id="7")
        assert answer["data"]["execution"] == {"status": "running", "events": None}
        (error,) = answer["errors"]
        assert (error["path"], error["extensions"]["code"]) == (["execution", "events"], "UPSTREAM_UNAVAILABLE")


@TRANSPORTS
@DIALECTS
async def test_result_that_json_can_not_express_is_an_error_of_its_field(
    tmp_path: Path, fast: bool, dialect: str
) -> None:
    async with before_server(tmp_path, dialect, fast=fast) as (behind, server):
        server.count = 3
        server.results = {0: {"execution_id": 2**60 + 1, "n": 2**60 + 1}, 1: {"text": "\ud800"}, 2: [1, None]}
        answer = await behind.run(id="7")
        results = [event["result"] for event in answer["data"]["execution"]["events"]]
        assert results == [{"execution_id": str(2**60 + 1), "n": 2**60 + 1}, None, [1, None]]
        (error,) = answer["errors"]
        assert error["path"] == ["execution", "events", 1, "result"]
        assert error["extensions"]["code"] == "UPSTREAM_UNAVAILABLE"


@TRANSPORTS
@DIALECTS
async def test_several_selections_of_events_have_their_own_pages(tmp_path: Path, fast: bool, dialect: str) -> None:
    async with before_server(tmp_path, dialect, fast=fast) as (behind, server):
        server.count = 5
        query = '{ execution(id: "7") { a: events(first: 1) { id } b: events(first: 2, after: "%s") { id } } }'
        answer = await behind.run(query % server.id(2))
        assert answer["data"]["execution"] == {
            "a": [{"id": str(server.id(0))}],
            "b": [{"id": str(server.id(3))}, {"id": str(server.id(4))}],
        }
