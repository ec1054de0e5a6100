"""What NoETL's GUI sends, through the gateway with the bridge: the members that it reads are there, on any server."""

from __future__ import annotations

from typing import Any

from tests.contract.gateway import Client, shipped_gateway
from tests.contract.playbooks import QUICK, SLOW
from tests.contract.report import Cell, Column
from tests.contract.server import Server

_IDS = {"execution_id", "catalog_id", "event_id", "parent_execution_id"}


async def check(server: Server) -> Column:
    """Send the requests of the GUI, and return what has come back."""
    column: Column = {}
    for playbook in (QUICK, SLOW):
        await server.register(playbook)
    catalog_id = await server.register(QUICK)
    async with shipped_gateway(server.url, fast=True) as clients:
        client = clients["admin"]
        await _catalog(server, client, catalog_id, column)
        ended = await _runs(server, client, catalog_id, column)
        await _executions(client, ended, column)
        await _content(client, catalog_id, column)
    return column


def _note(column: Column, row: str, found: Any, expected: Any) -> None:
    fine = found == expected
    column[row,] = Cell(str(found) if fine else f"{found}, not {expected}", fine)


async def _catalog(server: Server, client: Client, catalog_id: str, column: Column) -> None:
    _, found = await client.relay("POST", "/catalog/list", {"resource_type": "Playbook", "path": QUICK.path})
    entries = found["entries"]
    _note(column, "catalog: only the wanted path", {entry["path"] for entry in entries}, {QUICK.path})
    newest = next(entry for entry in entries if entry["catalog_id"] == catalog_id)
    _note(column, "catalog: steps in payload", len(newest["payload"]["workflow"]), len(QUICK.steps))
    if not server.sandbox:
        _note(column, "catalog: time of registration", bool(newest["meta"]["registered_at"]), True)
        status, found = await client.relay("POST", "/catalog/agents/list", {})
        _note(column, "agents: status, a list", (status, isinstance(found["entries"], list)), (200, True))
    status, found = await client.relay("POST", "/catalog/resource", {"path": QUICK.path, "version": 1})
    _note(column, "resource: a version as a number", (status, found.get("version")), (200, 1))


async def _runs(server: Server, client: Client, catalog_id: str, column: Column) -> str:
    """Start runs in each way of the GUI, and stop one; return the id of one that has ended."""
    body = {"catalog_id": catalog_id, "workload": {"n": 7}, "resource_kind": "playbook"}
    status, started = await client.relay("POST", "/execute", body)
    _note(column, "execute: catalog_id as a text", status, 200)
    ended = str(started["execution_id"])
    await server.ended(ended)
    status, again = await client.relay("POST", f"/executions/{ended}/rerun", {"workload": {"greeting": "again"}})
    _note(column, "rerun: status", status, 200)
    rerun = await server.ended(str(again["execution_id"]))
    _note(column, "rerun: the same version", str(rerun["catalog_id"]), catalog_id)
    _, found = await client.relay("GET", f"/executions/{again['execution_id']}/status")
    variables = found["variables"]
    _note(column, "rerun: workload", (variables["n"], variables["greeting"]), (7, "again"))
    status, first = await client.relay("POST", "/execute", {"path": QUICK.path, "version": 1})
    _note(column, "execute: a version", status, 200)
    detail = await server.detail(str(first["execution_id"]))
    _, entry = await client.relay("POST", "/catalog/resource", {"path": QUICK.path, "version": 1})
    _note(column, "execute: that version", str(detail["catalog_id"]) == entry["catalog_id"], True)
    _, slow = await client.relay("POST", "/execute", {"path": SLOW.path})
    status, stopped = await client.relay("POST", f"/executions/{slow['execution_id']}/stop", {})
    seen = (status, stopped.get("cancelled_executions"))
    _note(column, "stop: names what it cancelled", seen == (200, [slow["execution_id"]]), True)
    return ended


async def _executions(client: Client, ended: str, column: Column) -> None:
    _, listed = await client.relay("GET", "/executions?page=1&page_size=20")
    wanted = {"execution_id", "path", "status", "start_time", "end_time", "duration_seconds"}
    _note(column, "list: members", wanted - set.intersection(*(set(entry) for entry in listed)), set())
    _note(column, "list: ids that JavaScript would round", _numbers(listed), 0)
    _, found = await client.relay("GET", f"/executions?path={QUICK.path}&limit=1")
    _note(column, "list: one of a path", [entry["path"] for entry in found], [QUICK.path])
    for name, tail in (("detail", ""), ("events", "/events")):
        status, found = await client.relay("GET", f"/executions/{ended}{tail}?page=1&page_size=10")
        events = found["events"]
        ids = [int(event["event_id"]) for event in events]
        _note(column, f"{name}: status, events of the page", (status, len(events)), (200, 10))
        _note(column, f"{name}: the newest first", ids == sorted(ids, reverse=True), True)
        _note(column, f"{name}: more pages", found["pagination"]["has_next"], True)
        _note(column, f"{name}: ids that JavaScript would round", _numbers(found), 0)
    _, found = await client.relay("GET", f"/executions/{ended}")
    wanted = {"start_time", "end_time", "duration_seconds", "progress", "result", "error"}
    _note(column, "detail: members", wanted - found.keys(), set())
    status, found = await client.relay("POST", "/catalog/resource", {"path": "contract/nothing"})
    _note(column, "unknown: error and detail", (status, found.get("error") == found.get("detail")), (404, True))


async def _content(client: Client, catalog_id: str, column: Column) -> None:
    target = "/catalog/playbook/content?playbook_id="
    for name, named in (("path", QUICK.path), ("id", catalog_id)):
        status, found = await client.relay("GET", target + named)
        _note(column, f"content: by {name}", (status, bool(found.get("content"))), (200, True))
    content = found["content"]
    status, saved = await client.relay("PUT", target + QUICK.path, {"content": content})
    _note(column, "content: saved as a new version", (status, saved["version"]), (200, found["version"] + 1))
    for text, valid in ((content, True), ("workflow: [", False)):
        _, found = await client.relay("POST", "/catalog/playbooks/validate", {"content": text})
        _note(column, f"validate: {'a playbook' if valid else 'no YAML'}", found["valid"], valid)


def _numbers(value: Any) -> int:
    """Return how many ids in a document are numbers."""
    if isinstance(value, dict):
        own = sum(type(member) is int for name, member in value.items() if name in _IDS)
        return own + sum(map(_numbers, value.values()))
    return sum(map(_numbers, value)) if isinstance(value, list) else 0
