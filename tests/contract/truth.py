"""Whether what the gateway says about executions and playbooks is true: compared with the server's own answers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.contract.gateway import Client, shipped_gateway
from tests.contract.playbooks import FAILING, FLOW, HANDLED, LAST, LOOP, ONE, QUICK, SLASH, SLOW, Playbook
from tests.contract.recorder import Recorder, recording
from tests.contract.report import Cell, Column
from tests.contract.server import Server

AT_ONCE = 2
RUN_SECONDS = 120.0
SEEN_SECONDS = 3.0
POLLED = {"three quick steps": QUICK, "first step fails, its arc goes on 3 s": HANDLED, "a loop and many steps": LOOP}
START = "mutation ($p: String!, $v: JSON) { executePlaybook(name: $p, variables: $v) { executionId } }"
POLL = "query ($id: String!) { executionStatus(executionId: $id) { status completed } }"
STATE = """query ($id: String!) { executionStatus(executionId: $id) {
  path status completed failed cancelled completedSteps variables result error startTime endTime durationSeconds } }"""
RERUN = "mutation ($id: String!, $v: JSON) { rerunExecution(executionId: $id, variables: $v) { executionId } }"
CANCEL = "mutation ($id: String!) { cancelExecution(executionId: $id) { status completed cancelled } }"
PLAYBOOK = "query ($n: String!) { playbook(name: $n) { description kind variables } }"
LIST = (
    "query ($p: String, $s: String, $n: Int) { executions(path: $p, status: $s, first: $n) { id path status endTime } }"
)
LIST_AFTER = "query ($n: Int, $a: String) { executions(first: $n, after: $a) { id cursor } }"
EVENTS = """query ($id: ID!, $n: Int, $a: String) {
  execution(id: $id) { events(first: $n, after: $a) { id type step status at result } } }"""


@dataclass(slots=True)
class Polled:
    """What tight polling of one kind of playbook has shown. Times are in seconds."""

    runs: int = 0
    early: int = 0
    unseen: int = 0
    stuck: int = 0
    slowest: float = 0.0
    polls: int = 0
    requests: int = 0
    statuses: set[str] = field(default_factory=set)

    def cell(self) -> Cell:
        """Return the cell of the table."""
        text = f"{self.early} early of {self.runs}, seen after {self.slowest:.2f} s, {'/'.join(sorted(self.statuses))}"
        per_poll = f"{self.requests / max(1, self.polls):.2f} requests a poll of {self.polls}"
        unseen = f", {self.unseen} ends never seen" if self.unseen else ""
        unseen += f", {self.stuck} not ended by the server in {RUN_SECONDS:g} s" if self.stuck else ""
        is_right = self.runs > 0 and self.early == 0 and self.unseen == 0 and self.slowest < SEEN_SECONDS
        return Cell(f"{text}, {per_poll}{unseen}", is_right)


async def polled(server: Server, runs: int) -> Column:
    """Run each kind of playbook `runs` times, and ask without a pause whether it has ended."""
    column: Column = {}
    async with recording(server.url) as recorder:
        async with shipped_gateway(recorder.url, fast=True) as fast, shipped_gateway(recorder.url, fast=False) as plain:
            clients = [fast["admin"], plain["admin"]]
            for name, playbook in POLLED.items():
                await server.register(playbook)
                found, limit = Polled(), asyncio.Semaphore(AT_ONCE)
                recorder.clear()
                await asyncio.gather(
                    *(_poll(server, clients[number % 2], playbook, found, limit) for number in range(runs))
                )
                found.requests = sum("/api/executions/" in request.target for request in recorder.arrived)
                column[name,] = found.cell()
    return column


async def _poll(server: Server, client: Client, playbook: Playbook, found: Polled, limit: asyncio.Semaphore) -> None:
    """Poll one run to its end. A run that the server itself does not end in time says nothing about the gateway."""
    async with limit:
        try:
            async with asyncio.timeout(RUN_SECONDS):
                await _poll_one(server, client, playbook, found)
        except TimeoutError:
            found.stuck += 1


async def _poll_one(server: Server, client: Client, playbook: Playbook, found: Polled) -> None:
    execution_id = (await client.data(START, p=playbook.path, v={}))["executionId"]
    looked = time.monotonic()
    while not (state := await client.data(POLL, id=execution_id))["completed"]:
        found.polls += 1
        if time.monotonic() - looked > 2 * SEEN_SECONDS:
            looked, ended = time.monotonic(), await _end_of(server, execution_id)
            if ended is not None and time.time() - ended > 2 * SEEN_SECONDS:
                found.runs, found.unseen = found.runs + 1, found.unseen + 1
                return
    seen = time.time()
    ended = await _end_of(server, execution_id)
    found.runs += 1
    found.statuses.add(state["status"])
    if ended is None or ended > seen:
        found.early += 1
    else:
        found.slowest = max(found.slowest, seen - ended)


async def _end_of(server: Server, execution_id: str) -> float | None:
    """Return when the server's own events record the end of an execution; None if they don't."""
    detail = await server.detail(execution_id)
    ends = [
        event["created_at"]
        for event in detail["events"]
        if event["event_type"].replace("_", ".") in ("playbook.completed", "playbook.failed", "playbook.cancelled")
    ]
    return datetime.fromisoformat(ends[-1]).timestamp() if ends else None


class Comparison:
    """The comparison of the gateway with one server."""

    def __init__(self, server: Server, recorder: Recorder, clients: dict[str, Client]) -> None:
        self.server = server
        self.recorder = recorder
        self.admin = clients["admin"]
        self.developer = clients["developer"]
        self.column: Column = {}

    def note(self, name: str, found: Any, expected: Any) -> None:
        """Add a row: what was found, and whether it is as expected."""
        is_same = found == expected
        text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
        short = text if len(text) <= 60 else f"{text[:57]}..."
        self.column[name,] = Cell(short if is_same else f"{text}, expected {expected!r}"[:300], is_same)

    async def run(self, playbook: Playbook, **variables: Any) -> str:
        """Register and start a playbook; return the id of the execution."""
        await self.server.register(playbook)
        started = await self.admin.data(START, p=playbook.path, v=variables)
        return str(started["executionId"])

    async def ended(self, execution_id: str) -> dict[str, Any]:
        """Return the state of an execution that the gateway says has ended."""
        async with asyncio.timeout(60):
            while True:
                found: dict[str, Any] = await self.admin.data(STATE, id=execution_id)
                if found["completed"]:
                    return found
                await asyncio.sleep(0.02)

    async def playbooks(self) -> None:
        await self.run(QUICK)
        status, listed = await self.server.send("POST", "/api/catalog/list", {})
        assert status == 200, listed
        there = sorted({e["path"] for e in listed["entries"] if str(e["kind"]).lower() == "playbook"})
        found = await self.admin.data("{ playbooks { name description kind variables } }")
        self.note("playbooks", f"{len(found)} of {len(there)}", f"{len(there)} of {len(there)}")
        self.note("playbooks: the same", [item["name"] for item in found] == there, True)
        one = await self.admin.data(PLAYBOOK, n=QUICK.path)
        for name, items in (("playbooks", [item for item in found if item["name"] == QUICK.path]), ("playbook", [one])):
            self.note(f"{name}: variables", [item["variables"] for item in items], [QUICK.workload])
            about = [[item["description"], item["kind"]] for item in items]
            self.note(f"{name}: description, kind", about, [[QUICK.description, "playbook"]])

    async def states(self) -> None:
        quick = await self.run(QUICK, n=7)
        state = await self.ended(quick)
        detail = await self.server.ended(quick)
        self.note("quick: status", state["status"], detail["status"].lower())
        self.note("quick: completed steps", state["completedSteps"], ["start", "middle", "end"])
        self.note("quick: result whole", state["result"], LAST)
        self.note("quick: error", state["error"], None)
        self.note("quick: variables", [state["variables"].get(name) for name in ("n", "greeting")], [7, "hi"])
        end = detail.get("end_time") or detail.get("completed_at")
        self.note("quick: end, as the server has it", _seconds_apart(state["endTime"], end) < 1, True)
        self.note("quick: duration", 0 < (state["durationSeconds"] or 0) < 60, True)
        one = await self.ended(await self.run(ONE))
        self.note("one step: status, result", [one["status"], one["result"]], ["completed", {"only": 1}])
        failing = await self.run(FAILING)
        state, detail = await self.ended(failing), await self.server.ended(failing)
        self.note("failing: status", state["status"], detail["status"].lower())
        self.note("failing: error tells", "out of paper" in (state["error"] or ""), True)
        self.note("failing: steps, result", [state["completedSteps"], state["result"]], [["start"], None])
        handled = await self.run(HANDLED)
        state, detail = await self.ended(handled), await self.server.ended(handled)
        self.note("handled: status", state["status"], detail["status"].lower())
        self.note("handled: error only if failed", (state["error"] is not None) == (state["status"] == "failed"), True)
        self.note("handled: steps", state["completedSteps"], ["clean_up", "end"])
        self.note("handled: result", state["result"], {"state": "cleaned up"})

    async def rerun(self) -> None:
        first = await self.run(QUICK, n=99, greeting="first")
        await self.ended(first)
        again = (await self.admin.data(RERUN, id=first, v={"greeting": "again"}))["executionId"]
        await self.ended(again)
        self.note("rerun: workload of the first start", await self._workload(again), {"n": 99, "greeting": "again"})

    async def _workload(self, execution_id: str) -> Any:
        detail = await self.server.detail(execution_id)
        if "workload" in detail:
            return detail["workload"]
        first = next(event for event in detail["events"] if event["event_type"] == "playbook.initialized")
        return first["context"]["result"]["workload"]

    async def cancel(self) -> None:
        quick = await self.run(QUICK)
        await self.ended(quick)
        before = (await self.server.ended(quick))["status"]
        answer = await self.admin.data(CANCEL, id=quick)
        self.note("cancel of an ended one: GraphQL", [answer["status"], answer["cancelled"]], ["completed", False])
        for name, send in (("relay", self.admin.relay), ("proxyRequest", self.admin.proxied)):
            status, document = await send("POST", f"/executions/{quick}/cancel", {})
            said = document.get("status") if status == 200 and isinstance(document, dict) else status
            self.note(f"cancel of an ended one: {name}", said in ("already_completed", 422), True)
        self.note("cancel of an ended one: the server's status", (await self.server.detail(quick))["status"], before)
        slow = await self.run(SLOW)
        state = await self.admin.data(STATE, id=slow)
        none = [state[name] for name in ("status", "result", "endTime", "durationSeconds")]
        self.note("running: no result, end and duration", none, ["running", None, None, None])
        listed = await self.admin.data(LIST, n=1)
        self.note("running: no end in the list", [listed[0]["id"] == slow, listed[0]["endTime"]], [True, None])
        answer = await self.admin.data(CANCEL, id=slow)
        self.note("cancel of a running one", [answer["status"], answer["completed"]], ["cancelled", True])
        self.note("cancel of a running one: the server", (await self.server.detail(slow))["status"], "CANCELLED")

    async def lists(self) -> None:
        await self.server.register(FLOW)
        flow = await self.server.start(FLOW.path)
        await self.server.ended(flow)
        for _ in range(3):
            await self.ended(await self.run(QUICK))
        found = await self.admin.data(LIST, p=FLOW.path, n=1)
        self.note("executions(path:, first: 1) behind newer ones", [item["id"] for item in found], [flow])
        for status in ("completed", "cancelled"):
            found = await self.admin.data(LIST, s=status.upper(), n=5)
            self.note(
                f"executions(status: {status})", bool(found) and {item["status"] for item in found} == {status}, True
            )

    async def pages(self) -> None:
        loop = await self.run(LOOP)
        found = await self._events(loop)
        while not (await self.admin.data(POLL, id=loop))["completed"]:
            found += await self._events(loop, found[-1]["id"] if found else None)
        await self.server.ended(loop)
        found += await self._events(loop, found[-1]["id"])
        events = sorted((await self.server.ended(loop))["events"], key=lambda event: int(event["event_id"]))
        self.note("events of a running one: each once", len(found) == len({event["id"] for event in found}), True)
        self.note("events of a running one: in order", found == sorted(found, key=lambda e: int(e["id"])), True)
        again = await self._events(loop)
        self.note("events: as the server has them", [e["id"] for e in again], [str(e["event_id"]) for e in events])
        is_utc = all(event["at"].endswith("+00:00") and len(event["at"]) == 32 for event in again)
        self.note("events: times", is_utc, True)
        listed = await self.server.get("/api/executions?page=1&page_size=20&limit=20&offset=0")
        expected, ids, after = [str(item["execution_id"]) for item in listed], list[str](), None
        while len(ids) < len(expected):
            page = await self.admin.data(LIST_AFTER, n=3, a=after)
            ids += [item["id"] for item in page]
            after = page[-1]["cursor"]
            if len(ids) == 6:
                await self.run(QUICK)
        self.note("executions in pages, while one starts", ids[: len(expected)] == expected, True)

    async def _events(self, execution_id: str, after: str | None = None) -> list[dict[str, Any]]:
        """Return the events of an execution after one of them, from small pages."""
        found: list[dict[str, Any]] = []
        while page := (await self.admin.data(EVENTS, id=execution_id, n=7, a=after))["events"]:
            found += page
            after = page[-1]["id"]
        return found

    async def names(self) -> None:
        for name, execution_id in (("an unknown id", "999"), ("an id of 20 digits", "9" * 20)):
            answer = await self.admin.graphql(STATE, id=execution_id)
            self.note(name, answer["errors"][0]["extensions"]["code"], "NOT_FOUND")
        state = await self.ended(await self.run(SLASH))
        self.note("a path with a leading slash", [state["status"], state["path"]], ["completed", SLASH.path])
        catalog_id = await self.server.register(FLOW)
        self.recorder.clear()
        status, _ = await self.developer.relay("POST", "/execute", {"catalog_id": int(catalog_id)})
        asked = [request.target for request in self.recorder.arrived]
        self.note(
            "execute by catalog_id: status, asked", [status, asked], [200, ["/api/catalog/resource", "/api/execute"]]
        )
        answer = await self.admin.graphql(
            f'mutation {{ executePlaybook(name: "{FLOW.path}", variables: {{a: 1e400}}) {{ id }} }}'
        )
        errors = answer.get("errors") or [{"extensions": {"code": answer.get("error")}}]
        self.note(
            "a number that JSON can't express", "data" in answer and errors[0]["extensions"]["code"], "BAD_USER_INPUT"
        )


def _seconds_apart(one: str | None, other: str | None) -> float:
    if one is None or other is None:
        return float("inf")
    return abs((datetime.fromisoformat(one) - datetime.fromisoformat(other)).total_seconds())


async def compared(server: Server, *, fast: bool = True) -> Column:
    """Compare what the gateway says with what the server says; one row for each fact. `fast`: with the fast path."""
    async with recording(server.url) as recorder, shipped_gateway(recorder.url, fast=fast) as clients:
        found = Comparison(server, recorder, clients)
        parts: tuple[Callable[[], Awaitable[None]], ...] = (
            *(found.playbooks, found.states, found.rerun, found.cancel, found.lists, found.pages, found.names),
        )
        for part in parts:
            await part()
        return found.column
