"""The bridge on what both real NoETL servers have answered: what the table of the rows does not name keeps its bytes.

The answers are in `recorded_answers.json`, which `tests/contract/record.py` writes.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from proxy.http.json_elements import elements
from proxy.http.json_members import read_object
from proxy.noetl.bridge.plan import planned
from proxy.noetl.bridge.table import BridgedPath, row_of
from tests.integration.gateway.test_bridge import ADDED, CHANGED
from tests.integration.harness import TRANSPORTS, Running, behind_gateway

RECORDED: dict[str, list[dict[str, Any]]] = json.loads((Path(__file__).parent / "recorded_answers.json").read_text())
ERRORS = {"rust": {"detail", "message"}, "python": {"error"}}
OF_EVENTS = {"timestamp", "node_id", "execution_id"}
ALL = "acl: {rules: [{allow: ['*'], playbooks: ['**']}, {allow: ['*'], paths: ['/noetl/**']}]}\n"
OWN_ERROR = re.compile(r'\{"error":"[^"]*","request_id"')
UNSENT = {(404, 404), (422, 400), (200, 200)}
"""Statuses of records, and of requests that the gateway answers itself: nothing is named, the execution is unknown, or
it has ended and is not cancelled."""
_ID = re.compile(r'("(?:execution|catalog|event|command|request|parent_execution|parent_event)_id"\s*:\s*)([0-9]+)')


@dataclass(slots=True)
class Replayed:
    """A server that answers with the records of a dialect; `served` is what it sent, by method and path."""

    records: list[dict[str, Any]]
    served: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        data = await request.read()
        body, start = json.loads(data) if data else None, f"{request.method} {request.path}"
        fitting = [one for one in self.records if f"{one['method']} /api{one['path'].partition('?')[0]}" == start]
        exact = [one for one in fitting if one["body"] == body and f"/api{one['path']}" == request.raw_path]
        found = next(iter([*exact, *(one for one in fitting if one["body"] == body), *fitting]), None)
        if found is None:
            return web.Response(status=404)
        self.served[start] = found
        headers = {"content-type": found["type"]} if found["type"] else {}
        return web.Response(body=found["answer"].encode(), status=found["status"], headers=headers)


def quoted(text: str) -> str:
    """Return a JSON text with its ids as texts."""
    lists = re.sub(r'("event_ids"\s*:\s*\[)([0-9, ]+)', lambda m: m[1] + re.sub("[0-9]+", r'"\g<0>"', m[2]), text)
    return _ID.sub(r'\1"\2"', lists)


def check_object(old: str, new: str, added: set[str], changed: set[str]) -> None:
    """Check that an object has gained no other members, and that those that are not changed have their bytes."""
    before, after = read_object(old), read_object(new)
    assert list(after.values)[: len(before.values)] == list(before.values)
    assert after.values.keys() - before.values.keys() <= added
    expected = read_object(quoted(old))
    for name in before.values.keys() - changed:
        assert after.text_of(name) == expected.text_of(name), name


def parts(text: str) -> list[tuple[dict[str, Any], str]]:
    """Return the objects of an answer, each with its text: those of a list, or the one that it is."""
    data = text.encode()
    if text.startswith("["):
        return list(elements(data, None))
    if text.startswith('{"entries"'):
        return list(elements(data, "entries"))
    return [(json.loads(text), text)]


def check_events(old: str, new: str) -> None:
    """Check the events of a detail of the Rust server: in another order, and with more members."""
    before = {str(event["event_id"]): text for event, text in elements(old.encode(), "events")}
    for event, text in elements(new.encode(), "events"):
        check_object(before[event["event_id"]], text, OF_EVENTS, set())


def check_answer(dialect: str, row: str, record: dict[str, Any], status: int, text: str) -> None:
    """Check what a client gets for a record that the server has sent."""
    if not record["type"].startswith("application/json"):
        assert (status, text) == (record["status"], record["answer"])
        return
    if record["status"] >= 400:
        if status == 200:
            assert (dialect, row, json.loads(text)["status"]) == ("rust", "cancel", "already_completed")
            return
        assert status == record["status"]
        check_object(record["answer"], text, ERRORS[dialect], set())
        return
    assert status == record["status"]
    if (dialect, row) == ("rust", "events"):
        check_events(record["answer"], text)
        return
    added = ADDED.get((row, dialect), set())
    changed = CHANGED.get((row, dialect), set()) | ({"failed"} if row == "status" else set())
    before = parts(record["answer"])
    for value, new in parts(text):
        key = "catalog_id" if row in ("catalog", "resource") else "execution_id"
        old = next(own for one, own in before if str(one.get(key)) == str(value.get(key)))
        check_object(old, new, added, changed)
        if (dialect, row) == ("rust", "detail"):
            check_events(old, new)


async def sent(gateway: Running, record: dict[str, Any], headers: dict[str, str]) -> tuple[int, str]:
    """Send the request of a record; return the status and the text of the response."""
    data = {} if record["body"] is None else {"json": record["body"]}
    url = f"{gateway.url}/noetl{record['path']}"
    async with gateway.client.request(record["method"], url, headers=headers, **data) as answer:
        return answer.status, await answer.text()


def of_a_row(record: dict[str, Any]) -> BridgedPath | None:
    """Return the row of a record whose request a server serves."""
    found = row_of(record["method"], f"/api{record['path'].partition('?')[0]}")
    return found if found is not None and not found.row.own else None


@TRANSPORTS
@pytest.mark.parametrize("dialect", RECORDED)
async def test_answers_of_a_real_server_keep_every_byte_that_no_row_changes(
    tmp_path: Path, fast: bool, dialect: str
) -> None:
    server, checked = Replayed(RECORDED[dialect]), set()
    async with behind_gateway(tmp_path, fast=fast, rules=ALL) as (gateway, upstream):
        upstream.answer = server.answer
        headers = await gateway.bearer()
        for record in RECORDED[dialect]:
            found = of_a_row(record)
            if found is None:
                continue
            path, question, query = record["path"].partition("?")
            server.served.clear()
            status, text = await sent(gateway, record, headers)
            plans = planned(found, record["method"], f"/api{path}", question + query, record["body"])
            (plan,) = (one for one in plans if dialect in one.dialects)
            served = server.served.get(plan.requests[0].partition("?")[0])
            if served is None or OWN_ERROR.match(text):
                assert (record["status"], status) in UNSENT, record["name"]
                continue
            check_answer(dialect, found.row.name, served, status, text)
            checked.add(record["name"])
    assert len(checked) >= 30, checked


def test_both_servers_have_answered_the_same_requests() -> None:
    requests = {dialect: [record["name"] for record in records] for dialect, records in RECORDED.items()}
    assert requests["python"] == requests["rust"]
    rows = {found.row.name for record in RECORDED["rust"] if (found := of_a_row(record)) is not None}
    assert rows == {"status", "detail", "events", "list", "cancel", "stop", "catalog", "resource", "execute"}
