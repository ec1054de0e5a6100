"""Runs on the sandbox as the Rust server: what a client sees of them from beginning to end."""


async def test_run_is_completed_under_a_numeric_id(rust_sandbox):
    run = await rust_sandbox.start("my_playbook")
    body = await rust_sandbox.until(f"/api/executions/{run}/status", lambda body: body["status"] == "COMPLETED")
    assert body["execution_id"] == int(run)
    assert body["progress"] == {"total_steps": 2, "completed_steps": 3, "running_steps": 3, "failed_steps": 0}


async def test_detail_has_the_workload_and_the_results_of_steps(rust_sandbox):
    run = await rust_sandbox.start("examples/hello_world", extra=1)
    detail = await rust_sandbox.ended(run)
    assert detail["workload"] == {"message": "Hello World", "extra": 1}
    done = {e["node_name"]: e["result"]["context"] for e in detail["events"] if e["event_type"] == "call.done"}
    assert done["start"]["result"]["context"]["data"] == {"shout": "HELLO WORLD!"}
    assert {"playbook_started", "playbook.completed"} <= {event["event_type"] for event in detail["events"]}


async def test_failed_run_has_an_event_with_the_error(rust_sandbox):
    detail = await rust_sandbox.ended(await rust_sandbox.start("examples/failing"))
    failed = [event for event in detail["events"] if event["event_type"] == "command.failed"]
    assert (detail["status"], len(failed)) == ("FAILED", 1)
    assert failed[0]["result"]["context"]["error"] == "printing failed: out of paper"


async def test_cancelling_an_ended_execution_is_422(rust_sandbox):
    run = await rust_sandbox.start("examples/hello_world")
    await rust_sandbox.ended(run)
    response = await rust_sandbox.client.post(f"/api/executions/{run}/cancel")
    assert (response.status_code, response.json()["status"]) == (422, 422)


async def test_limit_counts_before_the_path(rust_sandbox):
    await rust_sandbox.start("my_playbook")
    await rust_sandbox.start("examples/slow")
    assert await rust_sandbox.get("/api/executions?path=my_playbook&limit=1") == []
    (running,) = await rust_sandbox.get("/api/executions?limit=1")
    assert (running["status"], running["path"]) == ("RUNNING", "examples/slow")


async def test_list_has_50_executions_and_100_at_most(rust_sandbox):
    runs = [await rust_sandbox.start("examples/slow") for _ in range(105)][::-1]
    for query, expected in (("", runs[:50]), ("?limit=1000", runs[:100]), ("?limit=9&offset=98", runs[98:])):
        listed = await rust_sandbox.get(f"/api/executions{query}")
        assert [str(item["execution_id"]) for item in listed] == expected


async def test_status_is_never_completed_before_the_end_is_recorded(rust_sandbox):
    run = await rust_sandbox.start("data_pipeline/transform_data")
    await rust_sandbox.until(f"/api/executions/{run}/status", lambda body: body["status"] != "RUNNING")
    detail = await rust_sandbox.get(f"/api/executions/{run}")
    assert detail["events"][-1]["event_type"] == "playbook.completed"
