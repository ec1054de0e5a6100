"""What NoETL's GUI sends, through the gateway with the bridge, in the order of a user who works with it.

Every member that the GUI reads is in `gui.tsv`. A request without a row there, or a row without a request, is an error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from tests.contract.gateway import Client, shipped_gateway
from tests.contract.gui import Read, fits, javascript, members, rounded, table
from tests.contract.playbooks import BROKEN, GUI, SLOW
from tests.contract.report import Cell, Column
from tests.contract.server import Server

_SHOWN = 32


@dataclass(slots=True)
class Replay:
    """The requests of the GUI to one server; `column` collects what its responses have.

    `names` are values that the rules name: ids, paths and versions.
    """

    client: Client
    column: Column
    reads: dict[str, list[Read]]
    names: dict[str, Any] = field(default_factory=dict)

    async def send(self, request: str, method: str, target: str, body: Any = None, *, status: int = 200) -> Any:
        """Send a request, and note the status and every member that is read of its response, which is returned."""
        got, data = await self.client.sent(method, target, body)
        self.column[request, "", f"status {status}"] = Cell(str(got), got == status)
        found = javascript(data)
        for read in self.reads.pop(request):
            self.column[request, read.member, read.rule] = self._cell(found, read)
        whole = [entry for entry in found["entries"] if entry["path"] == GUI.path] if request == "catalog" else found
        wrong = sorted(set(rounded(whole)))  # the payloads of other playbooks are their own affair
        self.column[request, "", "no number over 2^53"] = Cell(", ".join(wrong) or "none", not wrong)
        return found

    def _cell(self, found: Any, read: Read) -> Cell:
        try:
            values = members(found, read.member)
        except LookupError as error:
            return Cell(str(error), ok=False)
        bad = [value for value in values if not fits(value, read.rule, self.names)]
        value = repr(bad[0] if bad else values[0])
        shown = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…"
        return Cell(shown if bad or len(values) == 1 else f"{shown} and {len(values) - 1} more", not bad)

    def note(self, request: str, what: str, found: Any, expected: Any) -> None:
        """Note something about a response that is not one of its members."""
        fine = found == expected
        self.column[request, "", what] = Cell("yes" if fine else f"{found}, not {expected}", fine)


async def check(server: Server) -> Column:
    """Send the requests of the GUI, and return what has come back."""
    reads: dict[str, list[Read]] = {}
    for read in table():
        reads.setdefault(read.request, []).append(read)
    for playbook in (GUI, SLOW, BROKEN, GUI):
        catalog_id = await server.register(playbook)
    newest = await server.versions(GUI.path)
    async with shipped_gateway(server.url, fast=True) as clients:
        replay = Replay(clients["admin"], {}, reads)
        replay.names |= {"GUI": GUI.path, "CATALOG_ID": catalog_id, "NEWEST": newest, "NEXT": newest + 1}
        await _catalog(replay)
        await _starts(server, replay)
        await _executions(server, replay)
        await _pages(replay)
        await _stop(server, replay)
        await _save_and_rerun(server, replay)
        await _errors(replay)
    assert not replay.reads, f"no such requests: {', '.join(replay.reads)}"
    return replay.column


async def _catalog(replay: Replay) -> None:
    listed = await replay.send("catalog", "POST", "/catalog/list", {"resource_type": "Playbook"})
    entry = next(one for one in listed["entries"] if one["catalog_id"] == replay.names["CATALOG_ID"])
    replay.note("catalog", "the tasks of the playbook", len(entry["payload"]["workflow"]), len(GUI.steps))
    by_path = {"resource_type": "Playbook", "path": GUI.path}
    await replay.send("catalog of a path", "POST", "/catalog/list", by_path)
    await replay.send("agents", "POST", "/catalog/agents/list", {})
    wanted = {"path": GUI.path, "version": "latest"}
    content = (await replay.send("resource", "POST", "/catalog/resource", wanted))["content"]
    await replay.send("resource by version", "POST", "/catalog/resource", {"path": GUI.path, "version": 1})
    target = "/catalog/playbook/content?playbook_id="
    await replay.send("content by path", "GET", target + GUI.path)
    await replay.send("content by id", "GET", target + replay.names["CATALOG_ID"])
    await replay.send("validate", "POST", "/catalog/playbooks/validate", {"content": content})
    await replay.send("validate of no YAML", "POST", "/catalog/playbooks/validate", {"content": "workflow: ["})
    replay.names["CONTENT"] = content


async def _starts(server: Server, replay: Replay) -> None:
    """Start runs in each way of the GUI, and wait for the end of the first."""
    catalog_id = replay.names["CATALOG_ID"]
    body = {"catalog_id": catalog_id, "workload": {"n": 7}, "resource_kind": "playbook", "merge": False}
    started = await replay.send("execute", "POST", "/execute", body)
    replay.names["ENDED"] = started["execution_id"]
    await server.ended(started["execution_id"])
    first = await replay.send("execute a version", "POST", "/execute", {"path": GUI.path, "version": 1})
    detail = await server.detail(first["execution_id"])
    _, entry = await server.send("POST", "/api/catalog/resource", {"path": GUI.path, "version": "1"})
    replay.note("execute a version", "it is that version", str(detail["catalog_id"]), str(entry["catalog_id"]))
    slow = await replay.send("execute a path", "POST", "/execute", {"path": SLOW.path, "workload": {}})
    replay.names["SLOW"] = slow["execution_id"]


async def _executions(server: Server, replay: Replay) -> None:
    slow, ended = replay.names["SLOW"], replay.names["ENDED"]
    await replay.send("status while it runs", "GET", f"/executions/{slow}/status")
    await replay.send("status", "GET", f"/executions/{ended}/status")
    await replay.send("detail while it runs", "GET", f"/executions/{slow}?page=1&page_size=100")
    await replay.send("detail", "GET", f"/executions/{ended}?page=1&page_size=100")
    broken = await server.start(BROKEN.path)
    await server.ended(broken)
    await replay.send("detail of a failed run", "GET", f"/executions/{broken}?page=1&page_size=100")
    listed = await replay.send("list", "GET", "/executions?page=1&page_size=20")
    runs = [entry["execution_id"] for entry in listed]
    replay.note("list", "the runs are in it", {slow, ended, broken} <= set(runs), True)
    query = f"?path={GUI.path}&status=completed&limit=1"
    await replay.send("list of a path and status", "GET", f"/executions{query}")


async def _pages(replay: Replay) -> None:
    """Go through the events of a run, as the GUI does with its pages and with what is new since an event."""
    target = f"/executions/{replay.names['ENDED']}"
    first = await replay.send("events, page 1 of 10", "GET", f"{target}/events?page=1&page_size=10")
    second = await replay.send("detail, page 2 of 10", "GET", f"{target}?page=2&page_size=10")
    ids = [int(event["event_id"]) for page in (first, second) for event in page["events"]]
    replay.note("detail, page 2 of 10", "newest first, none twice", ids, sorted(set(ids), reverse=True))
    number = int(float(ids[4]))  # the GUI sends Number(event_id)
    name, query = "detail since an event", f"?page=1&page_size=100&since_event_id={number}"
    since = await replay.send(name, "GET", target + query)
    found = {int(event["event_id"]) for event in since["events"]}
    replay.note(name, "every newer event is in it", set(ids[:4]) <= found, True)
    replay.note(name, "no older event is in it", [one for one in found if one < number - math.ulp(float(number))], [])


async def _stop(server: Server, replay: Replay) -> None:
    slow = replay.names["SLOW"]
    await replay.send("stop", "POST", f"/executions/{slow}/stop", {})
    await server.ended(slow)
    await replay.send("cancel of a stopped run", "POST", f"/executions/{slow}/cancel", {"reason": "twice"})
    await replay.send("status of the stopped run", "GET", f"/executions/{slow}/status")


async def _save_and_rerun(server: Server, replay: Replay) -> None:
    """Save a new version, and run an execution of the version before again."""
    target = f"/catalog/playbook/content?playbook_id={GUI.path}"
    await replay.send("save", "PUT", target, {"content": replay.names["CONTENT"]})
    body = {"workload": {"greeting": "again"}, "resource_kind": "playbook"}
    again = await replay.send("rerun", "POST", f"/executions/{replay.names['ENDED']}/rerun", body)
    await server.ended(again["execution_id"])
    await replay.send("detail of the rerun", "GET", f"/executions/{again['execution_id']}?page=1&page_size=100")
    await replay.send("status of the rerun", "GET", f"/executions/{again['execution_id']}/status")


async def _errors(replay: Replay) -> None:
    await replay.send("unknown execution", "GET", "/executions/1", status=404)
    await replay.send("unknown playbook", "POST", "/catalog/resource", {"path": "contract/nothing"}, status=404)
    await replay.send("stop of an unknown run", "POST", "/executions/1/stop", {}, status=404)
