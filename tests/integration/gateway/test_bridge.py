"""The bridge: every row, in both dialects, on both transports, for every shape of a response."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from proxy.noetl.bridge.plan import planned
from proxy.noetl.bridge.table import ROWS, row_of
from tests.integration.bridge_server import CATALOG_ID, DIALECTS, ID, Noetl, filled
from tests.integration.harness import RULES, TRANSPORTS, Running, behind_gateway

REQUESTS: dict[str, tuple[str, str, Any, str]] = {
    "status": ("GET", f"/executions/{ID}/status", None, "status"),
    "detail": ("GET", f"/executions/{ID}", None, "detail"),
    "events": ("GET", f"/executions/{ID}/events", None, "events"),
    "list": ("GET", "/executions", None, "list"),
    "cancel": ("POST", f"/executions/{ID}/cancel", {}, "cancel"),
    "stop": ("POST", f"/executions/{ID}/stop", {}, "cancel"),
    "catalog": ("POST", "/catalog/list", {"resource_type": "Playbook"}, "catalog"),
    "agents": ("POST", "/catalog/agents/list", {}, "catalog"),
    "resource": ("POST", "/catalog/resource", {"path": "open/report", "version": 2}, "resource"),
    "execute": ("POST", "/execute", {"catalog_id": CATALOG_ID, "workload": {"n": 1.50}}, "execute"),
}
"""Each request with its body, and the kind of answer that it gets."""
TIMES = {"start_time", "end_time", "duration_seconds", "duration_human"}
ADDED: dict[tuple[str, str], set[str]] = {
    ("status", "rust"): {
        *TIMES, "completed", "failed", "cancelled", "completion_inferred", "completed_steps", "variables",
    },
    ("status", "python"): {"status", "cancelled", "is_cancelled", "progress"},
    ("detail", "rust"): {*TIMES, "progress", "version", "result", "error", "pagination"},
    ("list", "rust"): {*TIMES, "progress", "version"},
    ("cancel", "rust"): {"cancelled_executions"},
    ("stop", "rust"): {"cancelled_executions"},
}  # fmt: skip
CHANGED: dict[tuple[str, str], set[str]] = {
    ("status", "python"): {"completed"},
    ("detail", "rust"): {"events"},
    ("catalog", "rust"): {"payload", "meta"},
    ("agents", "rust"): {"payload", "meta"},
    ("resource", "rust"): {"payload", "meta"},
}
IDS = {"execution_id", "catalog_id", "event_id", "parent_execution_id"}
WHOLE = ("small", "large", "chunked")
AS_IT_CAME = ("compressed", "broken", "wrong type", "422 text")
SERVERS = pytest.mark.parametrize("dialect", DIALECTS)
REQUEST = pytest.mark.parametrize("name", REQUESTS)
READ = pytest.mark.parametrize("name", [name for name, (method, *_) in REQUESTS.items() if method == "GET"])


@asynccontextmanager
async def bridged(
    folder: Path, dialect: str, *, fast: bool, bridge: bool = True, rules: str = RULES
) -> AsyncIterator[tuple[Running, Noetl]]:
    """A gateway before a server of a dialect, whose dialect is known."""
    server = Noetl(dialect)
    async with behind_gateway(folder, fast=fast, bridge=bridge, rules=rules) as (gateway, upstream):
        upstream.answer = server.answer
        headers = await gateway.bearer()
        await send(gateway, "agents", headers)  # the dialect is asked for, and the playbook of the execution:
        async with gateway.client.get(f"{gateway.url}/noetl/executions/{ID}/cancellation-check", headers=headers):
            pass
        server.seen.clear()
        yield gateway, server


async def send(
    gateway: Running, name: str, headers: dict[str, str], query: str = ""
) -> tuple[int, dict[str, str], bytes]:
    """Send a request; return the status, the header fields and the body of the response."""
    method, path, body, _ = REQUESTS[name]
    data = {} if body is None else {"json": body}
    async with gateway.client.request(method, f"{gateway.url}/noetl{path}{query}", headers=headers, **data) as answer:
        return answer.status, {key.lower(): value for key, value in answer.headers.items()}, await answer.read()


def runs_if_cancelled(server: Noetl) -> None:
    """Let the execution run, if it is to be cancelled: the gateway asks the Python server for that before."""
    if server.shaped == "cancel":
        server.changed["status"] = dict(server.document("status"))
        server.changed["status"] |= {"failed": False} if server.dialect == "python" else {"status": "RUNNING"}


def objects(document: Any) -> list[dict[str, Any]]:
    """Return the objects in which a row changes members."""
    if isinstance(document, list):
        return document
    entries: list[dict[str, Any]] = document.get("entries", [document])
    return entries


def shaped(name: str, dialect: str) -> str:
    """Return the kind of answer that the server gives to a request in the end."""
    kind = REQUESTS[name][3]
    return "detail" if (kind, dialect) == ("events", "rust") else kind


@TRANSPORTS
@SERVERS
@REQUEST
@pytest.mark.parametrize("shape", WHOLE)
async def test_response_has_the_members_of_the_table_and_every_other_as_it_was(
    tmp_path: Path, fast: bool, dialect: str, name: str, shape: str
) -> None:
    async with bridged(tmp_path, dialect, fast=fast) as (gateway, server):
        server.shape, server.shaped = shape, shaped(name, dialect)
        runs_if_cancelled(server)
        headers = {**await gateway.bearer(), "accept-encoding": "gzip"}
        status, fields, data = await send(gateway, name, headers)
        before = server.document(server.shaped)
        before = filled(before) if shape == "large" else before
        assert status == 200
        assert fields["content-length"] == str(len(data))
        if (name, dialect) == ("events", "rust"):
            found = json.loads(data)
            assert list(found) == ["execution_id", "path", "status", "events", "pagination"]
            return
        for old, new in zip(objects(before), objects(json.loads(data)), strict=True):
            assert new.keys() - old.keys() == ADDED.get((name, dialect), set())
            assert old.keys() <= new.keys()
            same = old.keys() - CHANGED.get((name, dialect), set()) - {"events"}
            assert {key: new[key] for key in same} == {
                key: str(old[key]) if key in IDS and old[key] is not None else old[key] for key in same
            }
        rows = fields.get("x-noetl-bridge", "").split(", ")
        expected = {"agents": "catalog"}.get(name, name)
        assert (expected in rows) is ((name, dialect) in ADDED | CHANGED)
        assert ("etag" in fields) is (rows == [""])
        assert fields["x-kept"] == "1"


@TRANSPORTS
@SERVERS
@REQUEST
@pytest.mark.parametrize("shape", AS_IT_CAME)
async def test_response_that_can_not_be_bridged_is_as_it_came(
    tmp_path: Path, fast: bool, dialect: str, name: str, shape: str
) -> None:
    async with bridged(tmp_path, dialect, fast=fast) as (gateway, server):
        headers = await gateway.bearer()
        server.shape, server.shaped = shape, shaped(name, dialect)
        passed = gateway.server.gateway.process.measures.metrics.bridged
        row = {"agents": "catalog"}.get(name, name)
        count = passed[row, "passed"]
        runs_if_cancelled(server)
        status, fields, data = await send(gateway, name, headers)
        assert (status, data) == (422 if shape == "422 text" else 200, server.sent)
        assert "x-noetl-bridge" not in fields
        assert fields["content-length"] == str(len(data))
        assert passed[row, "passed"] == count + 1


@TRANSPORTS
@SERVERS
@REQUEST
async def test_error_has_its_text_under_the_names_of_both_servers(
    tmp_path: Path, fast: bool, dialect: str, name: str
) -> None:
    async with bridged(tmp_path, dialect, fast=fast) as (gateway, server):
        server.shape, server.shaped = "404", shaped(name, dialect)
        runs_if_cancelled(server)
        status, fields, data = await send(gateway, name, await gateway.bearer())
        found = json.loads(data)
        assert (status, fields["x-noetl-bridge"]) == (404, "errors")
        assert found["error"] == found["detail"] != ""


@TRANSPORTS
@SERVERS
@REQUEST
async def test_without_the_bridge_every_byte_is_that_of_the_server(
    tmp_path: Path, fast: bool, dialect: str, name: str
) -> None:
    async with bridged(tmp_path, dialect, fast=fast, bridge=False) as (gateway, server):
        server.shaped = shaped(name, dialect)
        runs_if_cancelled(server)
        status, fields, data = await send(gateway, name, await gateway.bearer())
        method, path, body, _ = REQUESTS[name]
        assert server.seen[-1] == (method, f"/api{path}", body)
        if status == 200:
            assert (data, fields["etag"]) == (server.sent, '"whole"')
        assert "x-noetl-bridge" not in fields


@TRANSPORTS
@SERVERS
@READ
async def test_head_tells_nothing_that_is_wrong_of_the_changed_response(
    tmp_path: Path, fast: bool, dialect: str, name: str
) -> None:
    path = REQUESTS[name][1]
    async with bridged(tmp_path, dialect, fast=fast) as (gateway, _):
        headers = await gateway.bearer()
        async with gateway.client.head(f"{gateway.url}/noetl{path}", headers=headers) as answer:
            assert (answer.status, await answer.read()) == (200, b"")
            assert not {"etag", "content-length", "x-noetl-bridge"} & {key.lower() for key in answer.headers}
        assert (await send(gateway, name, headers))[0] == 200


@TRANSPORTS
@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("catalog", {"resource_type": "playbook"}),
        ("agents", {"resource_type": "agent"}),
        ("resource", {"path": "open/report", "version": "2"}),
        ("execute", {"catalog_id": int(CATALOG_ID), "workload": {"n": 1.5}}),
    ],
)
async def test_rust_server_gets_the_body_that_it_understands(tmp_path: Path, fast: bool, name: str, sent: Any) -> None:
    async with bridged(tmp_path, "rust", fast=fast) as (gateway, server):
        assert (await send(gateway, name, await gateway.bearer()))[0] == 200
        assert server.seen[-1][2] == sent
    async with bridged(tmp_path, "python", fast=fast) as (gateway, server):
        assert (await send(gateway, name, await gateway.bearer()))[0] == 200
        assert server.seen[-1][2] == REQUESTS[name][2]


@TRANSPORTS
async def test_dialect_is_asked_for_once_before_a_body_is_changed(tmp_path: Path, fast: bool) -> None:
    server = Noetl("rust")
    async with behind_gateway(tmp_path, fast=fast) as (gateway, upstream):
        upstream.answer = server.answer
        headers = await gateway.bearer()
        for _ in range(2):
            assert (await send(gateway, "catalog", headers))[0] == 200
        asked = [path for _, path, _ in server.seen if path == "/api/health"]
        assert (len(asked), server.seen[-1][2]) == (1, {"resource_type": "playbook"})


@TRANSPORTS
@SERVERS
async def test_polls_of_an_ended_or_a_running_execution_cost_one_request(
    tmp_path: Path, fast: bool, dialect: str
) -> None:
    async with bridged(tmp_path, dialect, fast=fast) as (gateway, server):
        headers = await gateway.bearer()
        first = await send(gateway, "status", headers)
        server.seen.clear()
        before = gateway.served_fast
        assert (await send(gateway, "status", headers))[2] == first[2]
        assert [path for _, path, _ in server.seen] == [f"/api/executions/{ID}/status"]
        assert (gateway.served_fast > before) is fast


@TRANSPORTS
async def test_status_of_the_rust_server_is_read_right_by_the_command_line(tmp_path: Path, fast: bool) -> None:
    async with bridged(tmp_path, "rust", fast=fast) as (gateway, server):
        wanted = {"RUNNING": (False, False), "COMPLETED": (True, False), "FAILED": (True, True)}
        for word, expected in {**wanted, "CANCELLED": (True, False)}.items():
            server.changed = {kind: {**Noetl("rust").document(kind), "status": word} for kind in ("status", "detail")}
            found = json.loads((await send(gateway, "status", await gateway.bearer(f"{word}@staff.test")))[2])
            assert (found["completed"], found["failed"], found["cancelled"]) == (*expected, word == "CANCELLED")
            assert found["completed_steps"] == ["load", "report"]
            assert found["variables"]["rows"] == 9007199254740993
            assert found["duration_human"] == (None if word == "RUNNING" else "1m 6s")


@TRANSPORTS
async def test_version_of_an_execution_is_requested_once_from_the_rust_server(tmp_path: Path, fast: bool) -> None:
    async with bridged(tmp_path, "rust", fast=fast) as (gateway, server):
        headers = await gateway.bearer()
        server.changed["detail"] = {**server.document("detail"), "status": "RUNNING"}
        together = await asyncio.gather(*(send(gateway, "detail", headers) for _ in range(5)))
        for step in ("load", "report"):  # a poll in which something has happened
            server.changed["detail"] = {**server.changed["detail"], "current_step": step}
            together.append(await send(gateway, "detail", headers))
        assert [json.loads(data)["version"] for _, _, data in together] == [2] * 7
        listed = json.loads((await send(gateway, "list", headers))[2])
        assert [entry["version"] for entry in listed] == [2, 1]
        sent = [body for _, path, body in server.seen if path == "/api/catalog/resource"]
        assert sent == [{"catalog_id": CATALOG_ID}, {"catalog_id": "798765432109876001"}]


@TRANSPORTS
@pytest.mark.parametrize(("shape", "requests"), [("404", 1), ("422 text", 1), ("wrong type", 1)])
async def test_execution_whose_version_the_server_does_not_return_comes_without_it(
    tmp_path: Path, fast: bool, shape: str, requests: int
) -> None:
    async with bridged(tmp_path, "rust", fast=fast) as (gateway, server):
        headers, server.shape, server.shaped = await gateway.bearer(), shape, "resource"
        for _ in range(2):
            status, fields, data = await send(gateway, "detail", headers)
            assert (status, "version" in json.loads(data), fields["x-noetl-bridge"]) == (200, False, "detail, ids")
        assert [path for _, path, _ in server.seen].count("/api/catalog/resource") == requests


@TRANSPORTS
async def test_response_does_not_wait_long_for_a_version(
    tmp_path: Path, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.noetl.bridge.bridge.VERSION_SECONDS", 0.1)
    async with bridged(tmp_path, "rust", fast=fast) as (gateway, server):
        headers, server.shaped, server.may_answer = await gateway.bearer(), "resource", asyncio.Event()
        found = json.loads((await send(gateway, "detail", headers))[2])
        assert "version" not in found
        server.may_answer.set()
        found = json.loads((await send(gateway, "detail", headers))[2])
        assert found["version"] == 2
        assert [path for _, path, _ in server.seen].count("/api/catalog/resource") == 1


@TRANSPORTS
async def test_cancelled_execution_is_no_error_and_an_ended_one_is(tmp_path: Path, fast: bool) -> None:
    async with bridged(tmp_path, "rust", fast=fast) as (gateway, server):
        for word, expected in {"CANCELLED": 200, "COMPLETED": 422}.items():
            error = {"error": f"Cannot cancel execution in {word} state", "status": 422}
            server.changed["error"], server.shape, server.shaped = error, "422", "cancel"
            headers = await gateway.bearer()
            for name in ("cancel", "stop"):
                status, _, data = await send(gateway, name, headers)
                found = json.loads(data)
                assert status == expected
                if expected == 200:
                    assert found["status"] == "already_completed"
                else:
                    assert found["detail"] == found["message"] == error["error"]


@TRANSPORTS
async def test_events_of_the_rust_server_come_in_pages_the_newest_first(tmp_path: Path, fast: bool) -> None:
    async with bridged(tmp_path, "rust", fast=fast) as (gateway, _):
        headers = await gateway.bearer()
        for name in ("detail", "events"):
            seen: list[str] = []
            for page in (1, 2, 3):
                found = json.loads((await send(gateway, name, headers, f"?page={page}&page_size=2"))[2])
                seen += [event["event_id"] for event in found["events"]]
                assert found["pagination"]["total_pages"] == 3
                for event in found["events"]:
                    assert (event["timestamp"], event["node_id"]) == (event["created_at"], event["node_name"])
                    assert event["execution_id"] == ID
            assert seen == [f"41234567890123460{n}" for n in (5, 4, 3, 2, 0)]
            newer = json.loads((await send(gateway, name, headers, "?since_event_id=412345678901234603"))[2])
            assert [event["event_id"][-1] for event in newer["events"]] == ["5", "4"]
        assert json.loads((await send(gateway, "detail", headers))[2])["result"] == {"pages": 3}


@TRANSPORTS
@SERVERS
@pytest.mark.parametrize(
    ("query", "paths"),
    [
        ("?path=hidden/pay&limit=1", ["hidden/pay"]),
        ("?path=open/report&limit=5&offset=1", []),
        ("?status=running&path=hidden/pay", ["hidden/pay"]),
    ],
)
async def test_list_of_executions_takes_the_parameters_of_both_servers(
    tmp_path: Path, fast: bool, dialect: str, query: str, paths: list[str]
) -> None:
    async with bridged(tmp_path, dialect, fast=fast) as (gateway, server):
        found = json.loads((await send(gateway, "list", await gateway.bearer(), query))[2])
        if dialect == "rust" and "limit" not in query:
            assert any("status=RUNNING" in target for _, target, _ in server.seen)
            return
        assert [entry["path"] for entry in found] == paths


@SERVERS
@REQUEST
async def test_server_gets_what_is_planned(tmp_path: Path, dialect: str, name: str) -> None:
    method, path, body, _ = REQUESTS[name]
    async with bridged(tmp_path, dialect, fast=True) as (gateway, server):
        server.shaped = shaped(name, dialect)
        runs_if_cancelled(server)
        query = "?path=open/report&limit=5" if name == "list" else ""
        assert (await send(gateway, name, await gateway.bearer(), query))[0] == 200
        found = row_of(method, f"/api{path}")
        assert found is not None
        (plan,) = (one for one in planned(found, method, f"/api{path}", query, body) if dialect in one.dialects)
        assert unquote(plan.requests[0]) in {f"{method} {target}" for method, target, _ in server.seen}
        assert not plan.body or json.loads(plan.body) in [body for _, _, body in server.seen]


def test_every_row_that_a_server_serves_has_a_request_in_this_table() -> None:
    served = {f"/{row.path}" for row in ROWS if not row.own}
    assert {path.replace(ID, "{id}") for _, path, _, _ in REQUESTS.values()} == served
