"""What readers of the bridge's documentation found to be otherwise: each with its kind, on both transports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.bridge_server import ID
from tests.integration.gateway.test_bridge import bridged, send
from tests.integration.harness import RULES, TRANSPORTS, Running

VIEWER = """
acl:
  roles: {staff: {emails: ["*@staff.test"]}}
  rules:
    - {allow: [view], emails: [viewer@else.test], playbooks: ["open/**"]}
    - {allow: ["*"], roles: [staff], playbooks: ["**"]}
    - {allow: ["*"], roles: [staff], paths: ["/noetl/**"]}
    - {allow: [view], emails: [viewer@else.test], paths: ["/noetl/**"]}
"""


async def post(gateway: Running, path: str, body: Any, email: str = "anna@staff.test") -> tuple[int, Any]:
    """Send a body; return the status and the JSON of the response."""
    headers = await gateway.bearer(email)
    async with gateway.client.post(f"{gateway.url}/noetl{path}", json=body, headers=headers) as response:
        return response.status, await response.json()


async def get(gateway: Running, path: str, email: str = "anna@staff.test") -> Any:
    """Return the JSON of a response."""
    async with gateway.client.get(f"{gateway.url}/noetl{path}", headers=await gateway.bearer(email)) as response:
        return await response.json()


@TRANSPORTS
@pytest.mark.parametrize("large", [False, True])
async def test_a_start_of_a_version_runs_that_version_whatever_its_size(
    tmp_path: Path, fast: bool, large: bool
) -> None:
    body = {"path": "open/report", "version": 1, "workload": {"x": "x" * 70_000 if large else ""}}
    async with bridged(tmp_path, "rust", fast=fast) as (gateway, server):
        server.changed["resource"] = {"path": "open/report", "version": 1, "catalog_id": "712345678901234567"}
        for _ in range(2):
            assert (await post(gateway, "/execute", body))[0] == 200
            sent = server.seen[-1][2]
            assert (sent["path"], sent["catalog_id"]) == (None, 712345678901234567)
            assert sent["workload"] == body["workload"]


@TRANSPORTS
@pytest.mark.parametrize("version", [1.0, " 1 ", "1"])
async def test_a_version_in_any_form_that_the_python_server_takes(tmp_path: Path, fast: bool, version: Any) -> None:
    async with bridged(tmp_path, "rust", fast=fast) as (gateway, server):
        server.changed["resource"] = {"path": "open/report", "version": 1, "catalog_id": "712345678901234567"}
        assert (await post(gateway, "/execute", {"path": "open/report", "version": version}))[0] == 200
        assert server.seen[-1][2]["catalog_id"] == 712345678901234567


@TRANSPORTS
@pytest.mark.parametrize("version", [-1, 0, "x", "", 1.5, [1], True, int("9" * 30), {}])
async def test_a_version_that_is_none_starts_nothing(tmp_path: Path, fast: bool, version: Any) -> None:
    async with bridged(tmp_path, "rust", fast=fast) as (gateway, server):
        status, answer = await post(gateway, "/execute", {"path": "open/report", "version": version})
        assert (status, answer["error"]) == (400, "version must be a whole number of at least 1")
        assert not [path for _, path, _ in server.seen if path == "/api/execute"]


@TRANSPORTS
async def test_a_catalog_id_in_a_large_body_becomes_a_number(tmp_path: Path, fast: bool) -> None:
    async with bridged(tmp_path, "rust", fast=fast) as (gateway, server):
        body = {"catalog_id": "712345678901234567", "workload": {"x": "x" * 70_000}}
        server.changed["resource"] = {"path": "open/report", "version": 1, "catalog_id": "712345678901234567"}
        assert (await post(gateway, "/execute", body))[0] == 200
        assert server.seen[-1][2]["catalog_id"] == 712345678901234567


RUNS = [
    {"execution_id": 10 + number, "catalog_id": 1, "path": path, "status": "COMPLETED",
     "started_at": "2026-01-01T00:00:00Z", "completed_at": "2026-01-01T00:00:01Z", "parent_execution_id": None}
    for number, path in enumerate(["hidden/a", "hidden/b", "open/C", "hidden/d", "open/e"])
]  # fmt: skip


@TRANSPORTS
@pytest.mark.parametrize(
    ("query", "email", "ids"),
    [
        ("?path=open/c", "anna@staff.test", ["12"]),
        ("?path=OPEN", "anna@staff.test", ["12", "14"]),
        ("?path=open&limit=1&offset=1", "anna@staff.test", ["14"]),
        ("?limit=1", "viewer@else.test", ["12"]),
        ("?page=1&page_size=1", "viewer@else.test", ["12"]),
        ("?page=2&page_size=1", "viewer@else.test", ["14"]),
        ("?page=3&page_size=1", "viewer@else.test", []),
        ("?status=completed&limit=1&offset=1", "viewer@else.test", ["14"]),
        ("", "viewer@else.test", ["12", "14"]),
    ],
)
async def test_pages_of_lists_are_made_of_what_is_wanted_and_may_be_viewed(
    tmp_path: Path, fast: bool, query: str, email: str, ids: list[str]
) -> None:
    async with bridged(tmp_path, "rust", fast=fast, rules=VIEWER) as (gateway, server):
        server.changed["list"] = RUNS
        assert [each["execution_id"] for each in await get(gateway, f"/executions{query}", email)] == ids
        sent = next(path for _, path, _ in server.seen if path.startswith("/api/executions"))
        assert query == "" or "limit=100&offset=0" in sent


@TRANSPORTS
async def test_pages_of_the_python_server_too(tmp_path: Path, fast: bool) -> None:
    async with bridged(tmp_path, "python", fast=fast, rules=VIEWER) as (gateway, server):
        server.changed["list"] = [{**run, "execution_id": str(run["execution_id"])} for run in RUNS]
        found = [await get(gateway, f"/executions?page={page}&page_size=1", "viewer@else.test") for page in (1, 2, 3)]
        assert [[each["execution_id"] for each in page] for page in found] == [["12"], ["14"], []]


@TRANSPORTS
async def test_a_detail_that_can_not_be_had_leaves_what_the_status_says(tmp_path: Path, fast: bool) -> None:
    async with bridged(tmp_path, "rust", fast=fast) as (gateway, server):
        server.changed["status"] = {**server.document("status"), "status": "COMPLETED"}
        server.shape, server.shaped = "404", "detail"
        _, fields, data = await send(gateway, "status", await gateway.bearer())
        found = json.loads(data)
        assert (found["execution_id"], found["status"], found["completed"], found["failed"]) == (
            ID, "COMPLETED", True, False
        )  # fmt: skip
        assert fields["x-noetl-bridge"] == "status, ids"


@TRANSPORTS
@pytest.mark.parametrize("bridge", [True, False])
async def test_a_cancellation_without_the_bridge_is_the_server_s(tmp_path: Path, fast: bool, bridge: bool) -> None:
    async with bridged(tmp_path, "python", fast=fast, bridge=bridge, rules=RULES) as (gateway, server):
        server.changed["status"] = {**server.document("status"), "completed": True, "failed": False}
        await post(gateway, f"/executions/{ID}/cancel", {})
        forwarded = [path for method, path, _ in server.seen if method == "POST"]
        assert forwarded == ([] if bridge else [f"/api/executions/{ID}/cancel"])


@TRANSPORTS
async def test_validate_finds_what_register_refuses(tmp_path: Path, fast: bool) -> None:
    content = "metadata: {path: a/b}\nworkflow: [{step: s}]\nworkload: {a: 1, a: 2}\n"
    async with bridged(tmp_path, "rust", fast=fast) as (gateway, _):
        assert await post(gateway, "/catalog/playbooks/validate", {"content": content}) == (
            200,
            {"valid": False, "errors": [{"line": 1, "column": 1, "message": "content has the same key twice"}]},
        )
        assert (await post(gateway, "/catalog/register", {"content": content}))[0] == 400


@TRANSPORTS
async def test_an_execution_with_a_detail_over_the_limit_can_be_used(tmp_path: Path, fast: bool) -> None:
    async with bridged(tmp_path, "rust", fast=fast, rules=VIEWER) as (gateway, server):
        other = "412345678901234599"  # whose playbook is not known yet
        document: dict[str, Any] = {"execution_id": int(other), "path": "open/report", "status": "RUNNING"}
        document["events"] = ["x" * 17_000_000]
        server.extra[f"executions/{other}"] = document
        status = {**server.document("status"), "execution_id": int(other), "status": "RUNNING"}
        server.extra[f"executions/{other}/status"] = status
        for email in ("anna@staff.test", "viewer@else.test"):
            found = await get(gateway, f"/executions/{other}/status", email)
            assert (found["execution_id"], found["completed"]) == (other, False)
        hidden = "412345678901234598"
        server.extra[f"executions/{hidden}"] = {**document, "path": "hidden/x"}
        found = await get(gateway, f"/executions/{hidden}/status", "viewer@else.test")
        assert found["error"] == "No access to playbook"
