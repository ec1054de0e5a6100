"""The sandbox as the Python server."""

import pytest

_TRIES = 20


async def test_a_run_is_completed_with_computed_variables(python_sandbox):
    run = await python_sandbox.start("my_playbook", name="Ada")
    await python_sandbox.ended(run)
    body = await python_sandbox.get(f"/api/executions/{run}/status")
    assert (body["execution_id"], body["completed"], body["completion_inferred"]) == (run, True, False)
    assert body["variables"] == {
        "name": "Ada",
        "numbers": [1, 2, 3],
        "greeting": "Hello, Ada!",
        "total": 6,
        "start": {"greeting": "Hello, Ada!", "context": {"greeting": "Hello, Ada!"}},
        "add": {"total": 6, "context": {"total": 6}},
    }
    assert sorted(body["completed_steps"]) == ["add", "end", "start"]
    assert "status" not in body


async def test_status_claims_an_end_between_two_steps(python_sandbox):
    for _ in range(_TRIES):  # the claim lasts a moment, which a poll may miss
        run = await python_sandbox.start("my_playbook")
        claim = await python_sandbox.until(f"/api/executions/{run}/status", lambda body: body["completed"])
        if claim["completion_inferred"]:
            break
    assert (claim["completed"], claim["completion_inferred"]) == (True, True)
    ended = await python_sandbox.ended(run)
    ends = [event for event in ended["events"] if event["event_type"] == "playbook.completed"]
    assert ends[0]["created_at"] > claim["end_time"]


ONE_STEP = """
apiVersion: noetl.io/v2
kind: Playbook
metadata: {name: one, path: one}
workflow: [{step: start, tool: {kind: sandbox, raise: out}, next: [end]}, {step: end}]
"""


async def test_run_of_one_step_has_no_recorded_end(python_sandbox):
    content = ONE_STEP.replace("raise: out}, next: [end]}, {step: end}", "duration: 0s}}")
    await python_sandbox.post("/api/catalog/register", {"content": content})
    run = await python_sandbox.start("one")
    detail = await python_sandbox.ended(run)
    kinds = [event["event_type"] for event in detail["events"]]
    assert (kinds[0], "playbook.completed" in kinds) == ("batch.completed", False)
    status = await python_sandbox.get(f"/api/executions/{run}/status")
    assert (status["completed"], status["completion_inferred"]) == (True, True)
    assert (await python_sandbox.get("/api/executions"))[0]["status"] == "RUNNING"


async def test_run_goes_on_after_a_step_that_raises_and_fails_in_the_end(python_sandbox):
    await python_sandbox.post("/api/catalog/register", {"content": ONE_STEP})
    run = await python_sandbox.start("one")
    detail = await python_sandbox.ended(run)
    assert (detail["status"], detail["error"]) == ("FAILED", None)
    kinds = [(event["event_type"], event["node_name"], event["error"]) for event in detail["events"]]
    assert ("call.error", "start", "out") in kinds
    assert ("call.done", "end", None) in kinds


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
    events = detail["events"][::-1]
    step = ["step.enter", "call.done", "step.exit", "command.completed", "batch.accepted"]
    middle = [*step, "command.issued", "batch.completed", *step]
    types = [event["event_type"] for event in events]
    assert types == ["playbook.initialized", "command.issued", *middle, "playbook.completed", "batch.completed"]
    assert events[0]["context"]["result"]["workload"] == {"message": "hi"}
    assert events[3]["result"]["context"]["shout"] == "HI!"
    assert detail["result"] is None
    assert [event["event_id"] for event in events] == sorted(event["event_id"] for event in events)


async def test_the_events_come_in_pages(python_sandbox):
    run = await python_sandbox.start("data_pipeline/transform_data")
    await python_sandbox.ended(run)
    page = await python_sandbox.get(f"/api/executions/{run}/events?page=2&page_size=10")
    total = page["pagination"]["total_events"]
    assert len(page["events"]) == min(10, total - 10)
    only = await python_sandbox.get(f"/api/executions/{run}?event_type=playbook.initialized")
    assert [event["event_type"] for event in only["events"]] == ["playbook.initialized"]


async def test_events_after_an_event_come_in_pages_of_their_own(python_sandbox):
    run = await python_sandbox.start("data_pipeline/transform_data")
    await python_sandbox.ended(run)
    events = (await python_sandbox.get(f"/api/executions/{run}?page_size=500"))["events"]
    for path in (f"/api/executions/{run}", f"/api/executions/{run}/events"):
        page = await python_sandbox.get(f"{path}?since_event_id={events[12]['event_id']}&page=2&page_size=10")
        assert page["events"] == events[10:12]
        assert page["pagination"]["total_events"] == 12


async def test_a_running_execution_is_cancelled(python_sandbox):
    run = await python_sandbox.start("examples/slow")
    answer = await python_sandbox.post(f"/api/executions/{run}/cancel", {"reason": "enough"})
    assert (answer["status"], answer["cancelled_executions"]) == ("cancelled", [run])
    body = await python_sandbox.get(f"/api/executions/{run}/status")
    assert (body["completed"], body["failed"]) == (True, False)
    detail = await python_sandbox.get(f"/api/executions/{run}")
    kinds = [event["event_type"] for event in detail["events"]]
    assert (detail["status"], "execution.cancelled" in kinds) == ("CANCELLED", True)


async def test_cancelling_an_ended_execution_changes_it_once(python_sandbox):
    run = await python_sandbox.start("examples/hello_world")
    await python_sandbox.ended(run)
    answer = await python_sandbox.post(f"/api/executions/{run}/cancel")
    assert (answer["status"], answer["cancelled_executions"]) == ("cancelled", [run])
    assert (await python_sandbox.get(f"/api/executions/{run}"))["status"] == "CANCELLED"
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
    await python_sandbox.ended(run)
    assert (await python_sandbox.get(f"/api/executions/{run}/status"))["variables"]["shout"] == "A!"


async def test_executions_are_listed_newest_first_in_pages(python_sandbox):
    runs = [await python_sandbox.start("examples/slow") for _ in range(3)]
    listed = await python_sandbox.get("/api/executions?page=1&page_size=2")
    assert [item["execution_id"] for item in listed] == [runs[2], runs[1]]
