"""The sandbox as the Python server."""

import pytest


async def test_a_run_is_completed_with_computed_variables(python_sandbox):
    run = await python_sandbox.start("my_playbook", name="Ada")
    body = await python_sandbox.until(f"/api/executions/{run}/status", lambda body: body["completed"])
    assert body["execution_id"] == run
    assert body["variables"] == {"name": "Ada", "numbers": [1, 2, 3], "greeting": "Hello, Ada!", "total": 6}
    assert body["completed_steps"] == ["start", "add", "end"]
    assert "status" not in body


async def test_a_failed_run_is_failed_and_not_completed(python_sandbox):
    run = await python_sandbox.start("examples/failing", reason="no ink")
    body = await python_sandbox.until(f"/api/executions/{run}/status", lambda body: body["failed"])
    assert body["completed"] is False
    detail = await python_sandbox.ended(run)
    assert (detail["status"], detail["error"]) == ("FAILED", "printing failed: no ink")


async def test_a_condition_can_spare_a_run_from_failing(python_sandbox):
    run = await python_sandbox.start("examples/failing", fail=False)
    assert (await python_sandbox.ended(run))["status"] == "COMPLETED"


async def test_the_events_tell_the_run_from_beginning_to_end(python_sandbox):
    run = await python_sandbox.start("examples/hello_world", message="hi")
    detail = await python_sandbox.ended(run)
    types = [event["event_type"] for event in detail["events"]]
    step = ["step.enter", "step.exit"]
    assert types == ["playbook.initialized", *step, *step, "playbook.completed"]
    assert detail["events"][0]["context"]["workload"] == {"message": "hi"}
    assert detail["events"][2]["result"] == {"shout": "HI!"}
    assert detail["result"] == {"shout": "HI!"}


async def test_the_events_come_in_pages(python_sandbox):
    run = await python_sandbox.start("data_pipeline/transform_data")
    await python_sandbox.ended(run)
    page = await python_sandbox.get(f"/api/executions/{run}/events?page=2&page_size=10")
    assert len(page["events"]) == 2
    assert page["pagination"]["total_events"] == 12


async def test_a_running_execution_is_cancelled(python_sandbox):
    run = await python_sandbox.start("examples/slow")
    answer = await python_sandbox.post(f"/api/executions/{run}/cancel", {"reason": "enough"})
    assert (answer["status"], answer["cancelled_executions"]) == ("cancelled", [run])
    body = await python_sandbox.get(f"/api/executions/{run}/status")
    assert (body["completed"], body["failed"]) == (True, False)
    detail = await python_sandbox.get(f"/api/executions/{run}")
    assert (detail["status"], detail["events"][-1]["event_type"]) == ("CANCELLED", "playbook.cancelled")


async def test_cancelling_an_ended_execution_says_it_had_ended(python_sandbox):
    run = await python_sandbox.start("examples/hello_world")
    await python_sandbox.ended(run)
    answer = await python_sandbox.post(f"/api/executions/{run}/cancel")
    assert (answer["status"], answer["cancelled_executions"]) == ("already_completed", [])


async def test_a_cascade_cancels_the_children_too(python_sandbox):
    run = await python_sandbox.start("examples/slow")
    body = {"path": "examples/slow", "parent_execution_id": run}
    child = (await python_sandbox.post("/api/execute", body))["execution_id"]
    answer = await python_sandbox.post(f"/api/executions/{run}/cancel", {"cascade": True})
    assert answer["cancelled_executions"] == [run, child]


async def test_there_is_no_rerun(python_sandbox):
    run = await python_sandbox.start("examples/hello_world")
    response = await python_sandbox.client.post(f"/api/executions/{run}/rerun", json={})
    assert (response.status_code, response.json()) == (404, {"detail": "Not Found"})


async def test_an_unknown_playbook_is_404(python_sandbox):
    response = await python_sandbox.client.post("/api/execute", json={"path": "p"})
    assert response.status_code == 404
    assert response.json() == {"detail": "Executable catalog entry not found: p"}


@pytest.mark.parametrize(
    ("path", "detail"),
    [("status", "Execution not found"), ("events", "Execution 999 not found")],
)
async def test_an_unknown_execution_is_404(python_sandbox, path, detail):
    response = await python_sandbox.client.get(f"/api/executions/999/{path}")
    assert (response.status_code, response.json()) == (404, {"detail": detail})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{", {"type": "json_invalid", "loc": ["body", 1], "msg": "JSON decode error"}),
        (b"[]", {"type": "dict_type", "loc": ["body"], "msg": "Input should be a valid dictionary"}),
        (b"", {"type": "missing", "loc": ["body"], "msg": "Field required"}),
        (b'{"path": 1}', {"type": "string_type", "loc": ["body", "path"], "msg": "Input should be a valid string"}),
        (
            b'{"path": "my_playbook", "workload": 1}',
            {"type": "dict_type", "loc": ["body", "workload"], "msg": "Input should be a valid dictionary"},
        ),
        (b"{}", {"type": "value_error", "loc": ["body"], "msg": "Either path or catalog_id must be provided"}),
        (b"[" * 100_000, {"type": "json_invalid", "loc": ["body", 0], "msg": "JSON decode error"}),
    ],
)
async def test_a_body_that_does_not_fit_is_422_with_its_place(python_sandbox, content, problem):
    response = await python_sandbox.client.post("/api/execute", content=content)
    assert (response.status_code, response.json()) == (422, {"detail": [problem]})


async def test_an_older_version_can_be_executed(python_sandbox):
    entry = await python_sandbox.post("/api/catalog/resource", {"path": "examples/hello_world"})
    await python_sandbox.post("/api/catalog/register", {"content": entry["content"].replace("!'", "?'")})
    body = {"path": "examples/hello_world", "version": 1, "payload": {"message": "a"}}
    run = (await python_sandbox.post("/api/execute", body))["execution_id"]
    assert (await python_sandbox.ended(run))["result"] == {"shout": "A!"}


async def test_executions_are_listed_newest_first_in_pages(python_sandbox):
    runs = [await python_sandbox.start("examples/slow") for _ in range(3)]
    listed = await python_sandbox.get("/api/executions?page=1&page_size=2")
    assert [item["execution_id"] for item in listed] == [runs[2], runs[1]]
