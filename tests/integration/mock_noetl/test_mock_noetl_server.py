"""What the sandbox does alike in both dialects: the catalog, helpers, limits and the socket."""

import base64
import hashlib
import json

import pytest

CONTENT = """
apiVersion: noetl.io/v2
kind: Playbook
metadata: {name: double, path: mine/double}
workload: {x: 2}
workflow:
- step: start
  tool: {kind: sandbox, duration: 10ms, set: {y: x * 2}}
"""


@pytest.mark.parametrize("content", [CONTENT, base64.b64encode(CONTENT.encode()).decode()])
async def test_a_registered_playbook_can_be_executed(sandbox, content):
    entry = await sandbox.post("/api/catalog/register", {"content": content})
    assert (entry["path"], entry["version"], entry["kind"]) == ("mine/double", 1, "playbook")
    answer = await sandbox.post("/api/execute", {"catalog_id": int(entry["catalog_id"]), "workload": {"x": 21}})
    detail = await sandbox.ended(answer["execution_id"])
    (done,) = [event for event in detail["events"] if event["event_type"] == "call.done"]
    assert '"y": 42' in json.dumps(done["result"])


async def test_registering_a_path_again_makes_the_next_version(sandbox):
    await sandbox.post("/api/catalog/register", {"content": CONTENT})
    assert (await sandbox.post("/api/catalog/register", {"content": CONTENT}))["version"] == 2
    assert (await sandbox.post("/api/catalog/resource", {"path": "mine/double"}))["version"] == 2


async def test_a_playbook_that_cannot_be_used_is_400_and_says_where(sandbox):
    response = await sandbox.client.post("/api/catalog/register", json={"content": CONTENT + "  next: [z]"})
    assert response.status_code == 400
    assert "content: workflow[0].next: no step named z" in response.text


async def test_the_catalog_lists_entries_with_their_payload(sandbox):
    entries = (await sandbox.post("/api/catalog/list", {"resource_type": "playbook"}))["entries"]
    entry = next(item for item in entries if item["path"] == "my_playbook")
    assert entry["payload"].get("workload", entry["payload"]) == {"name": "world", "numbers": [1, 2, 3]}
    assert entry["layout"] is None
    assert "apiVersion" in entry["content"]


async def test_a_missing_catalog_entry_is_404(sandbox):
    response = await sandbox.client.post("/api/catalog/resource", json={"path": "none"})
    assert response.status_code == 404
    assert "Catalog entry not found" in response.text


async def test_the_database_answers_a_query(sandbox):
    answer = await sandbox.post("/api/postgres/execute", {"query": "select 1 as one", "schema": "s"})
    assert answer == {"status": "ok", "result": [{"one": 1}], "error": None}


async def test_the_database_reaches_no_file(sandbox, tmp_path):
    target = tmp_path / "x.db"
    answer = await sandbox.post("/api/postgres/execute", {"query": f"attach '{target}' as x"})
    assert answer["status"] == "error"
    assert not target.exists()


async def test_saved_credential_shows_data_only_on_request(sandbox):
    await sandbox.post("/api/credentials", {"name": "pg main", "type": "postgres", "data": {"password": "p"}})
    assert "data" not in await sandbox.get("/api/credentials/pg%20main")
    assert (await sandbox.get("/api/credentials/pg%20main?include_data=true"))["data"] == {"password": "p"}
    assert [item["name"] for item in (await sandbox.get("/api/credentials"))["items"]] == ["pg main"]


async def test_the_dashboard_counts_executions(sandbox):
    await sandbox.start("examples/slow")
    stats = (await sandbox.get("/api/dashboard/stats"))["stats"]
    assert (stats["total_executions"], stats["active_workflows"], stats["total_playbooks"]) == (1, 1, 11)


async def test_cleanup_cancels_what_runs_for_too_long(sandbox):
    run = await sandbox.start("examples/slow")
    answer = await sandbox.post("/api/executions/cleanup", {"older_than_minutes": 0})
    assert answer["cancelled_count"] == 1
    assert (await sandbox.get(f"/api/executions/{run}"))["status"] == "CANCELLED"


async def test_echo_says_what_arrived(sandbox):
    url = "/api/echo?a=%2Fb;c&d=+"
    seen = (await sandbox.client.post(url, content=b"hi", headers=[("X-A", "1"), ("X-A", "2")])).json()
    assert (seen["method"], seen["path"], seen["body"], seen["body_length"]) == ("POST", url, "hi", 2)
    assert [pair for pair in seen["headers"] if pair[0] == "X-A"] == [["X-A", "1"], ["X-A", "2"]]


async def test_bytes_are_deterministic(sandbox):
    body = (await sandbox.client.get("/api/bytes/100000")).content
    assert body == bytes(i % 251 for i in range(100_000))


async def test_the_sink_takes_more_than_other_endpoints(sandbox):
    body = b"x" * (11 * 1024 * 1024)
    seen = (await sandbox.client.post("/api/sink", content=body)).json()
    assert seen == {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}


async def test_a_body_over_the_limit_is_413(sandbox):
    response = await sandbox.client.post("/api/execute", content=b"x" * (10 * 1024 * 1024 + 1))
    assert response.status_code == 413


async def test_a_known_path_with_another_method_is_405(sandbox):
    response = await sandbox.client.delete("/api/credentials")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, POST")
