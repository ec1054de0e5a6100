"""The bridge: what no server serves, `proxyRequest`, and that no row shows what the rules hide."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.noetl.bridge.plan import planned
from proxy.noetl.bridge.table import ROWS, row_of
from tests.integration.bridge_server import CATALOG_ID, DIALECTS, ID, Noetl
from tests.integration.gateway.test_bridge import REQUESTS, SERVERS, bridged, send
from tests.integration.harness import TRANSPORTS, Running, behind_gateway

CONTENT = "metadata: {path: open/report}\nworkflow: [{step: load}]\n# a comment: no base64\n"
MUTATION = (
    "mutation M($m: String!, $e: String!, $b: JSON)"
    " { proxyRequest(input: {method: $m, endpoint: $e, body: $b}) { status data } }"
)
VIEWER = """
acl:
  rules:
    - {allow: ["*"], emails: [viewer@else.test], playbooks: ["open/**"]}
    - {allow: ["*"], emails: [anna@staff.test], playbooks: ["**"]}
    - {allow: [view], emails: [viewer@else.test], paths: ["/noetl/**"]}
"""


HIDDEN: list[tuple[str, str, Any]] = [
    ("POST", f"/executions/{ID}/rerun", {}),
    ("GET", f"/catalog/playbook/content?playbook_id={CATALOG_ID}", None),
    ("GET", "/catalog/playbook/content?playbook_id=hidden/pay", None),
    ("PUT", "/catalog/playbook/content?playbook_id=hidden/pay", {"content": CONTENT}),
    ("POST", "/catalog/resource", {"catalog_id": int(CATALOG_ID)}),
    ("POST", "/catalog/resource", {"path": "hidden/pay", "version": 1}),
    ("POST", "/execute", {"catalog_id": CATALOG_ID}),
    ("POST", "/execute", {"path": "hidden/pay", "version": 1}),
    *((method, path, body) for method, path, body, _ in REQUESTS.values() if ID in path),
]
"""Requests that name a hidden playbook, its execution or its catalog id; `validate` names none."""
LISTS: list[tuple[str, str, Any]] = [
    ("GET", "/executions", None),
    ("GET", "/executions?path=hidden/pay&limit=5", None),
    ("GET", "/executions?page=1&page_size=20", None),
    ("POST", "/catalog/list", {"resource_type": "Playbook"}),
    ("POST", "/catalog/list", {"path": "hidden/pay"}),
    ("POST", "/catalog/agents/list", {}),
]
HIDDEN_ID = "798765432109876001"
"""The catalog id of the hidden playbook in the lists."""


async def proxy_request(gateway: Running, method: str, path: str, headers: dict[str, str], body: Any) -> str:
    """Send a request by `proxyRequest`; return the text of the response."""
    sent = {"query": MUTATION, "variables": {"m": method, "e": f"/api{path}", "b": body}}
    async with gateway.client.post(f"{gateway.url}/graphql", json=sent, headers=headers) as answer:
        return await answer.text()


async def call(
    gateway: Running, method: str, path: str, headers: dict[str, str], body: Any = None
) -> tuple[int, Any, str]:
    """Send a request; return the status, the JSON and the rows of the response."""
    data = {} if body is None else {"json": body}
    async with gateway.client.request(method, f"{gateway.url}/noetl{path}", headers=headers, **data) as answer:
        return answer.status, json.loads(await answer.read() or b"null"), answer.headers.get("x-noetl-bridge", "")


@TRANSPORTS
@SERVERS
async def test_rerun_starts_the_same_version_with_the_workload_of_the_first_start(
    tmp_path: Path, fast: bool, dialect: str
) -> None:
    async with bridged(tmp_path, dialect, fast=fast) as (gateway, server):
        workload = {"title": "Ünï", "rows": 9007199254740993}
        server.changed["detail"] = {**server.document("detail"), "workload": workload}
        body = {"workload": {"rows": 2}, "resource_kind": "playbook"}
        status, found, rows = await call(gateway, "POST", f"/executions/{ID}/rerun", await gateway.bearer(), body)
        assert (status, found["execution_id"], found["status"], rows) == (200, ID, "started", "rerun")
        version = {"catalog_id": int(CATALOG_ID)} if dialect == "rust" else {"version": 2}
        sent = {"path": "open/report", "workload": {"title": "Ünï", "rows": 2}, **version}
        assert server.seen[-1] == ("POST", "/api/execute", sent)


@TRANSPORTS
@SERVERS
@pytest.mark.parametrize("named", ["open/report", CATALOG_ID])
async def test_content_is_that_of_the_catalog(tmp_path: Path, fast: bool, dialect: str, named: str) -> None:
    async with bridged(tmp_path, dialect, fast=fast) as (gateway, server):
        target = f"/catalog/playbook/content?playbook_id={named}"
        status, found, rows = await call(gateway, "GET", target, await gateway.bearer())
        assert (status, found["path"], rows) == (200, "open/report", "content")
        assert found["content"] == server.document("resource")["content"]
        assert found["payload"]["metadata"]["path"] == "open/report"


@TRANSPORTS
@SERVERS
async def test_saved_content_is_registered(tmp_path: Path, fast: bool, dialect: str) -> None:
    async with bridged(tmp_path, dialect, fast=fast) as (gateway, server):
        target = "/catalog/playbook/content?playbook_id=open/report"
        status, _, rows = await call(gateway, "PUT", target, await gateway.bearer(), {"content": CONTENT})
        assert (status, rows) == (200, "content")
        sent = {"content": CONTENT, "resource_type": "Playbook"}
        assert server.seen[-1] == ("POST", "/api/catalog/register", sent)


@TRANSPORTS
@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (CONTENT, []),
        ("a: [1\nb: 2", [(2, 2)]),
        ("- 1", [(1, 1)]),
        ("metadata: {name: x}", [(1, 1)]),
        (None, [(1, 1)]),
        ("[" * 300_000, [(1, 101)]),
        ("a: &a [1, 2]\n" + "b: *x", [(2, 4)]),
    ],
)
async def test_content_is_validated_by_the_gateway(
    tmp_path: Path, fast: bool, content: str | None, wrong: list[tuple[int, int]]
) -> None:
    async with bridged(tmp_path, "rust", fast=fast) as (gateway, server):
        headers = await gateway.bearer()
        status, found, rows = await call(gateway, "POST", "/catalog/playbooks/validate", headers, {"content": content})
        assert (status, rows, found["valid"], server.seen) == (200, "validate", not wrong, [])
        assert [(error["line"], error["column"]) for error in found["errors"]] == wrong


@SERVERS
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", f"/executions/{ID}/rerun", {}),
        ("GET", "/catalog/playbook/content?playbook_id=open/report", None),
        ("PUT", "/catalog/playbook/content?playbook_id=open/report", {"content": CONTENT}),
        ("POST", "/catalog/playbooks/validate", {"content": CONTENT}),
    ],
)
async def test_server_gets_the_calls_that_are_planned(
    tmp_path: Path, dialect: str, method: str, path: str, body: Any
) -> None:
    async with bridged(tmp_path, dialect, fast=True) as (gateway, server):
        server.changed["detail"] = {**server.document("detail"), "workload": {}}
        assert (await call(gateway, method, path, await gateway.bearer(), body))[0] == 200
        found = row_of(method, f"/api{path.partition('?')[0]}")
        assert found is not None
        (plan,) = planned(found, method, f"/api{path}", "", body)
        assert plan.own
        sent = [f"{method} {target.partition('?')[0]}" for method, target, _ in server.seen]
        assert sent == list(plan.requests)


@TRANSPORTS
@SERVERS
async def test_proxy_request_has_the_same_json_as_the_relay(tmp_path: Path, fast: bool, dialect: str) -> None:
    async with bridged(tmp_path, dialect, fast=fast) as (gateway, _):
        headers = await gateway.bearer()
        own: list[tuple[str, str, Any]] = [
            ("GET", "/catalog/playbook/content?playbook_id=open/report", None),
            ("PUT", "/catalog/playbook/content?playbook_id=open/report", {"content": CONTENT}),
            ("POST", "/catalog/playbooks/validate", {"content": CONTENT}),
        ]
        for method, path, body in [*((m, p, b) for m, p, b, _ in REQUESTS.values()), *own]:
            status, found, _ = await call(gateway, method, path, headers, body)
            sent = {"query": MUTATION, "variables": {"m": method, "e": f"/api{path}", "b": body}}
            async with gateway.client.post(f"{gateway.url}/graphql", json=sent, headers=headers) as answer:
                proxied = (await answer.json())["data"]["proxyRequest"]
            assert proxied == {"status": status, "data": found}, path


@TRANSPORTS
@SERVERS
async def test_no_row_shows_a_user_what_the_rules_hide(tmp_path: Path, fast: bool, dialect: str) -> None:
    async with bridged(tmp_path, dialect, fast=fast, rules=VIEWER) as (gateway, server):
        gateway.server.gateway.api.known.paths.clear()  # type: ignore[union-attr]
        server.changed["detail"] = {**server.document("detail"), "path": "hidden/pay"}
        server.changed["resource"] = {**server.document("resource"), "path": "hidden/pay"}
        anna, viewer = await gateway.bearer(), await gateway.bearer("viewer@else.test")
        for headers in (anna, viewer):  # what anna was shown is in caches
            server.seen.clear()
            for method, path, body in HIDDEN:
                status, found, _ = await call(gateway, method, path, headers, body)
                assert (status == 403) is (headers is viewer), path
                assert headers is anna or "hidden" not in json.dumps(found), path
            for method, path, body in LISTS:
                status, found, _ = await call(gateway, method, path, headers, body)
                assert (status, "hidden" in json.dumps(found)) == (200, headers is anna), path
        for method, path, body in (*HIDDEN, *LISTS):
            proxied = await proxy_request(gateway, method, path, viewer, body)
            refused = '"status":403' in proxied
            assert ("hidden" in proxied, refused) == (False, (method, path, body) in HIDDEN), path
        assert HIDDEN_ID not in json.dumps(server.seen)  # nothing is requested for what was filtered


def test_every_row_is_tried_by_a_user_who_may_not_see_its_playbook() -> None:
    tried = {row_of(method, f"/api{path.partition('?')[0]}") for method, path, _ in (*HIDDEN, *LISTS)}
    served = {(found.row.name, found.row.methods, found.row.path) for found in tried if found is not None}
    assert served == {(row.name, row.methods, row.path) for row in ROWS if row.name != "validate"}


@TRANSPORTS
@pytest.mark.parametrize("bridge", [True, False])
async def test_error_of_the_gateway_has_its_text_where_clients_of_noetl_look_for_it(
    tmp_path: Path, fast: bool, bridge: bool
) -> None:
    async with bridged(tmp_path, "rust", fast=fast, rules=VIEWER, bridge=bridge) as (gateway, _):
        viewer, body = await gateway.bearer("viewer@else.test"), {"path": "hidden/pay"}
        for headers, text in ((viewer, "No access to playbook"), ({}, "Invalid or expired session")):
            _, found, rows = await call(gateway, "POST", "/execute", headers, body)
            names = ["error", "request_id", "detail", "message"] if bridge else ["error", "request_id"]
            assert (list(found), rows) == (names, "")
            assert {found[name] for name in names if name != "request_id"} == {text}
        async with gateway.client.get(f"{gateway.url}/nowhere") as answer:
            assert list(await answer.json()) == ["error", "request_id"]


@TRANSPORTS
async def test_response_over_the_limit_is_forwarded_as_it_came(
    tmp_path: Path, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.noetl.bridge.bridge.MAX_ANSWER", 50_000)
    for shape in ("large", "chunked"):
        async with bridged(tmp_path, "rust", fast=fast) as (gateway, server):
            server.shape, server.shaped = shape, "resource"
            entry = server.document("resource")
            server.changed["resource"] = {**entry, "layout": "y" * 2_000_000}
            status, fields, data = await send(gateway, "resource", await gateway.bearer())
            assert (status, data) == (200, server.sent)
            assert "x-noetl-bridge" not in fields


@TRANSPORTS
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_server_that_does_not_tell_its_dialect_gets_requests_as_they_came(
    tmp_path: Path, fast: bool, dialect: str
) -> None:
    server = Noetl(dialect, changed={"health": {"hello": "world"}})
    async with behind_gateway(tmp_path, fast=fast) as (gateway, upstream):
        upstream.answer = server.answer
        headers = await gateway.bearer()
        for name in ("catalog", "resource", "agents"):
            await send(gateway, name, headers)
            assert server.seen[-1][2] == REQUESTS[name][2]
        assert [path for _, path, _ in server.seen].count("/api/health") == 1


@TRANSPORTS
async def test_start_of_a_version_is_one_by_its_catalog_id_on_the_rust_server(tmp_path: Path, fast: bool) -> None:
    async with bridged(tmp_path, "rust", fast=fast) as (gateway, server):
        headers, body = await gateway.bearer(), {"path": "open/report", "version": 2, "workload": {"n": 1}}
        for calls in (2, 1):
            server.seen.clear()
            assert (await call(gateway, "POST", "/execute", headers, body))[0] == 200
            assert len(server.seen) == calls
            assert server.seen[-1][2] == {**body, "path": None, "catalog_id": int(CATALOG_ID)}
        assert server.seen[0][:2] == ("POST", "/api/execute")


@TRANSPORTS
async def test_start_of_a_version_that_is_not_there_is_404_for_whom_may_run_it(tmp_path: Path, fast: bool) -> None:
    async with bridged(tmp_path, "rust", fast=fast, rules=VIEWER) as (gateway, server):
        server.shape, server.shaped = "404", "resource"
        body = {"path": "hidden/pay", "version": "7"}
        for email, status in {"anna@staff.test": 404, "viewer@else.test": 403}.items():
            assert (await call(gateway, "POST", "/execute", await gateway.bearer(email), body))[0] == status
        assert all(path != "/api/execute" for _, path, _ in server.seen)
