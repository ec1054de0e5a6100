"""What reaches a NoETL server through the shipped rules, on both transports, by relay and by `proxyRequest`.

A request that the rules refuse must not arrive. What the gateway looks up to decide (the playbook of an execution or a
catalog id) is asked for once before, so that everything that arrives during a case belongs to it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from yarl import URL

from tests.contract.cases import ALLOW, FILTERED, Case, Known, must_hold, whole_surface
from tests.contract.gateway import Client, Found, shipped_gateway
from tests.contract.playbooks import FLOW, PURGE
from tests.contract.recorder import Arrived, Recorder, recording
from tests.contract.report import Cell, Column
from tests.contract.server import Server

ROLES = ("developer", "analyst", "viewer", "admin")
"""The admin comes last: what the others must not change is compared before."""
_LOOKED_UP = ("/api/executions/", "/api/catalog/resource", "/api/catalog/list")
Send = Callable[[str, str, Any], Awaitable[Found]]


@dataclass(slots=True)
class Seen:
    """What became of one case for one user, over all ways: how often it was sent and arrived, with which statuses."""

    expected: str
    sent: int = 0
    arrived: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def cell(self) -> Cell:
        """Return the cell of the table."""
        got = ",".join(str(status) for status in sorted(self.statuses))
        return Cell(
            f"{got} reached {self.arrived}/{self.sent}{' ' + self.faults[0] if self.faults else ''}", not self.faults
        )

    @property
    def leaked(self) -> int:
        """How often it arrived although it is to be refused."""
        return 0 if self.expected in (ALLOW, FILTERED) else self.arrived


@dataclass(slots=True)
class Surface:
    """What one server has seen: of the cases that must hold, and of the whole surface."""

    held: dict[tuple[str, str], Seen] = field(default_factory=dict)
    whole: dict[tuple[str, str], Seen] = field(default_factory=dict)
    facts: Column = field(default_factory=dict)

    def column(self) -> Column:
        """Return the column of the table."""
        return {(case, role, seen.expected): seen.cell() for (case, role), seen in self.held.items()}

    def summary(self) -> Column:
        """Return the column of the second table: sums, and what else must hold."""
        found: Column = {}
        for name, seen in (("must hold", self.held), ("whole surface", self.whole)):
            rows = seen.values()
            sent, leaked, faults = (
                sum(r.sent for r in rows),
                sum(r.leaked for r in rows),
                sum(len(r.faults) for r in rows),
            )
            refused = sum(row.sent for row in rows if row.expected not in (ALLOW, FILTERED))
            found[f"{name}: requests, to be refused",] = Cell(f"{sent}, {refused}")
            found[f"{name}: reached that should not be",] = Cell(str(leaked), leaked == 0)
            examples = [f"{case} ({role}): {row.faults[0]}" for (case, role), row in seen.items() if row.faults]
            found[f"{name}: not as expected",] = Cell(f"{faults}{' ' + examples[0] if examples else ''}", faults == 0)
        return {**found, **self.facts}


async def check(server: Server) -> Surface:
    """Send all cases through gateways in front of a server, and return what has become of them."""
    known = await _prepare(server)
    surface = Surface()
    async with recording(server.url) as recorder:
        async with (
            shipped_gateway(recorder.url, fast=True, bridge=False) as fast,
            shipped_gateway(recorder.url, fast=False, bridge=False) as plain,
        ):
            before = await server.runs(PURGE.path), await server.versions(PURGE.path)
            for role in ROLES:
                clients = (fast[role], plain[role])
                if role == "admin":
                    after = await server.runs(PURGE.path), await server.versions(PURGE.path)
                    surface.facts["runs and versions of system/purge, before and after",] = Cell(
                        f"{before} {after}", before == after
                    )
                for client in clients:
                    await _look_up(fast["admin"] if client is fast[role] else plain["admin"], known)
                await _send_all(surface.whole, whole_surface(known), role, clients, recorder, forwards=False)
                await _send_all(surface.held, must_hold(known), role, clients, recorder, forwards=True)
            surface.facts["a duplicate makes nobody an owner",] = await _duplicate(recorder, known, (fast, plain))
    return surface


async def _prepare(server: Server) -> Known:
    catalog = {playbook.path: await server.register(playbook) for playbook in (FLOW, PURGE)}
    runs = {path: await server.start(path) for path in catalog}
    for execution_id in runs.values():
        await server.ended(execution_id)
    content = PURGE.yaml(sandbox=server.sandbox)
    return Known(runs[FLOW.path], runs[PURGE.path], catalog[FLOW.path], catalog[PURGE.path], content)


async def _look_up(admin: Client, known: Known) -> None:
    """Have the gateway look up what it needs to decide about the cases."""
    for execution_id in (known.own, known.hidden):
        await admin.relay("GET", f"/vars/{execution_id}")
    for catalog_id in (known.own_catalog, known.hidden_catalog):
        await admin.relay("POST", "/catalog/resource", {"catalog_id": catalog_id})


async def _send_all(
    found: dict[tuple[str, str], Seen],
    cases: list[Case],
    role: str,
    clients: tuple[Client, ...],
    recorder: Recorder,
    *,
    forwards: bool,
) -> None:
    """Send cases in all ways; `forwards`: what arrives at the recorder goes on to the server."""

    def instead(request: Arrived) -> tuple[int, bytes] | None:
        is_lookup = request.target.startswith(_LOOKED_UP) and not request.target.endswith(("/cancel", "/rerun"))
        if forwards or (is_lookup and request.method in ("GET", "POST")):
            return None
        return 200, b"[]" if request.target.endswith("/executions") else b"{}"

    recorder.instead = instead
    for case in cases:
        seen = found.setdefault((case.name, role), Seen(case.expected[role]))
        for client in clients:
            for send in (client.relay, client.proxied):
                await _send(seen, case, send, recorder)


async def _send(seen: Seen, case: Case, send: Send, recorder: Recorder) -> None:
    recorder.clear()
    status, document = await send(case.method, case.path, case.body)
    arrived = sum(_is_case(request, case) for request in recorder.arrived)
    seen.sent += 1
    seen.arrived += arrived
    seen.statuses[status] += 1
    answered_here = case.path.endswith("/cancel") and status == 200  # the execution has ended: see `truth.py`
    if seen.expected == ALLOW and not arrived and not answered_here:
        seen.faults.append(f"{status}, did not arrive")
    elif seen.expected == FILTERED and (status != 200 or "system/" in json.dumps(document)):
        seen.faults.append(f"{status}, not filtered")
    elif seen.expected not in (ALLOW, FILTERED) and (arrived or str(status) != seen.expected):
        seen.faults.append(f"{status}, arrived {arrived}")


def _is_case(request: Arrived, case: Case) -> bool:
    """Return whether a request that has arrived is that of the case."""
    wanted, target = URL(f"/api{case.path}", encoded=True), URL(request.target, encoded=True)
    same = target.path.lower().strip("/") == wanted.path.lower().strip("/")
    return request.method == case.method and same and target.query_string == wanted.query_string


async def _duplicate(recorder: Recorder, known: Known, gateways: tuple[dict[str, Client], ...]) -> Cell:
    """Answer the analyst's start as a duplicate of a hidden execution, and return how it may be seen afterwards."""
    answer = json.dumps({"status": "duplicate", "execution_id": known.hidden}).encode()
    recorder.instead = lambda request: (200, answer) if request.target == "/api/execute" else None
    start = 'mutation { executePlaybook(name: "data_pipeline/flow") { id } }'
    statuses = set()
    for gateway in gateways:
        analyst = gateway["analyst"]
        await analyst.relay("POST", "/execute", {"path": FLOW.path})
        await analyst.proxied("POST", "/execute", {"path": FLOW.path})
        await analyst.graphql(start)
        statuses |= {
            (await send("GET", f"/executions/{known.hidden}", None))[0] for send in (analyst.relay, analyst.proxied)
        }
    return Cell(f"its detail: {', '.join(map(str, sorted(statuses)))}", statuses == {403})
