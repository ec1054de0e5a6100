"""The sandbox as the Rust server."""

import pytest


async def test_a_run_is_completed_under_a_numeric_id(rust_sandbox):
    run = await rust_sandbox.start("my_playbook")
    body = await rust_sandbox.until(f"/api/executions/{run}/status", lambda body: body["status"] == "COMPLETED")
    assert body["execution_id"] == int(run)
    assert body["progress"] == {"total_steps": 3, "completed_steps": 3, "running_steps": 0, "failed_steps": 0}


async def test_the_detail_has_the_workload_and_the_results_of_steps(rust_sandbox):
    run = await rust_sandbox.start("examples/hello_world", extra=1)
    detail = await rust_sandbox.ended(run)
    assert detail["workload"] == {"message": "Hello World", "extra": 1}
    done = {e["node_name"]: e["result"]["context"] for e in detail["events"] if e["event_type"] == "call.done"}
    assert done["start"]["result"]["context"]["data"] == {"shout": "HELLO WORLD!"}
    assert {"playbook_started", "playbook.completed"} <= {event["event_type"] for event in detail["events"]}
    assert "result" not in detail


async def test_a_failed_run_has_an_event_with_the_error(rust_sandbox):
    run = await rust_sandbox.start("examples/failing")
    detail = await rust_sandbox.ended(run)
    failed = [event for event in detail["events"] if event["event_type"] == "command.failed"]
    assert (detail["status"], len(failed)) == ("FAILED", 1)
    assert failed[0]["result"]["context"]["error"] == "printing failed: out of paper"


async def test_a_running_execution_is_cancelled_without_a_body(rust_sandbox):
    run = await rust_sandbox.start("examples/slow")
    answer = await rust_sandbox.post(f"/api/executions/{run}/cancel")
    assert (answer["execution_id"], answer["status"]) == (int(run), "cancelled")
    assert (await rust_sandbox.get(f"/api/executions/{run}/status"))["is_cancelled"] is True


async def test_cancelling_an_ended_execution_is_422(rust_sandbox):
    run = await rust_sandbox.start("examples/hello_world")
    await rust_sandbox.ended(run)
    response = await rust_sandbox.client.post(f"/api/executions/{run}/cancel")
    assert (response.status_code, response.json()["status"]) == (422, 422)


async def test_there_is_no_rerun(rust_sandbox):
    run = await rust_sandbox.start("my_playbook", name="Ada")
    assert (await rust_sandbox.client.post(f"/api/executions/{run}/rerun", json={})).status_code == 404


async def test_a_limit_counts_before_the_path(rust_sandbox):
    await rust_sandbox.start("my_playbook")
    await rust_sandbox.start("examples/slow")
    assert await rust_sandbox.get("/api/executions?path=my_playbook&limit=1") == []
    (running,) = await rust_sandbox.get("/api/executions?limit=1")
    assert (running["status"], running["completed_at"] is None) == ("RUNNING", False)


async def test_list_has_50_executions_and_100_at_most(rust_sandbox):
    runs = [int(await rust_sandbox.start("examples/slow")) for _ in range(105)][::-1]
    for query, expected in (("", runs[:50]), ("?limit=1000", runs[:100]), ("?limit=9&offset=98", runs[98:])):
        listed = await rust_sandbox.get(f"/api/executions{query}")
        assert [item["execution_id"] for item in listed] == expected


async def test_kinds_are_compared_exactly_and_paths_are_ignored(rust_sandbox):
    assert (await rust_sandbox.post("/api/catalog/list", {"resource_type": "Playbook"})) == {"entries": []}
    entries = (await rust_sandbox.post("/api/catalog/list", {"resource_type": "playbook", "path": "x"}))["entries"]
    assert {entry["path"]: entry["payload"] for entry in entries}["examples/hello_world"] == {"message": "Hello World"}


async def test_a_resource_is_found_by_the_text_of_its_id(rust_sandbox):
    entry = await rust_sandbox.post("/api/catalog/resource", {"path": "my_playbook"})
    found = await rust_sandbox.post("/api/catalog/resource", {"path": "x", "catalog_id": entry["catalog_id"]})
    assert found == entry
    sent = {"catalog_id": int(entry["catalog_id"])}
    assert (await rust_sandbox.client.post("/api/catalog/resource", json=sent)).status_code == 422


async def test_there_is_no_events_endpoint(rust_sandbox):
    run = await rust_sandbox.start("examples/hello_world")
    assert (await rust_sandbox.client.get(f"/api/executions/{run}/events")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "text"),
    [
        ("POST", "/api/execute", "Playbook not found: p"),
        ("GET", "/api/executions/999/status", "Execution not found: 999"),
        ("GET", "/api/nothing", "Not Found"),
    ],
)
async def test_what_is_not_there_is_404_with_its_status_in_the_body(rust_sandbox, method, path, text):
    response = await rust_sandbox.client.request(method, path, json={"path": "p"})
    assert (response.status_code, response.json()) == (404, {"error": text, "status": 404})


async def test_a_catalog_id_must_be_a_number(rust_sandbox):
    response = await rust_sandbox.client.post("/api/execute", json={"catalog_id": "123"})
    assert response.json() == {"error": "catalog_id: Input should be a valid integer", "status": 422}


async def test_executions_are_listed_by_path_and_status(rust_sandbox):
    run = await rust_sandbox.start("examples/slow")
    await rust_sandbox.start("examples/hello_world")
    listed = await rust_sandbox.get("/api/executions?path=examples/slow&status=RUNNING&limit=5")
    assert [item["execution_id"] for item in listed] == [int(run)]


async def test_health_says_more(rust_sandbox):
    assert set(await rust_sandbox.get("/api/health")) == {"status", "database", "uptime_seconds", "version"}
