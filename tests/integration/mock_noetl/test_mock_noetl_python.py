"""Runs on the sandbox as the Python server: what a client sees of them from beginning to end."""

import asyncio
from typing import Any

_TRIES = 20


async def recorded(sandbox: Any, run: str) -> Any:
    """Return the events of a run once its end is among them, newest first; some follow the end."""
    path = f"/api/executions/{run}?page_size=500"
    await sandbox.until(path, lambda body: any(e["event_type"] == "playbook.completed" for e in body["events"]))
    await asyncio.sleep(0.3)
    return (await sandbox.get(path))["events"]


async def test_run_is_completed_with_computed_variables(python_sandbox):
    run = await python_sandbox.start("my_playbook", name="Ada")
    done = f"/api/executions/{run}/status"
    body = await python_sandbox.until(done, lambda body: body["completed"] and not body["completion_inferred"])
    assert (body["execution_id"], body["completed"], body["completion_inferred"]) == (run, True, False)
    variables = body["variables"]
    assert (variables["name"], variables["greeting"], variables["total"]) == ("Ada", "Hello, Ada!", 6)
    assert sorted(body["completed_steps"]) == ["add", "end", "start"]
    assert "status" not in body


async def test_status_claims_an_end_between_two_steps(python_sandbox):
    for _ in range(_TRIES):  # the claim lasts a moment, which a poll may miss
        run = await python_sandbox.start("my_playbook")
        claim = await python_sandbox.until(f"/api/executions/{run}/status", lambda body: body["completed"])
        if claim["completion_inferred"]:
            break
    assert (claim["completed"], claim["completion_inferred"]) == (True, True)
    end = next(event for event in await recorded(python_sandbox, run) if event["event_type"] == "playbook.completed")
    assert end["created_at"] > claim["end_time"]


ONE_STEP = """
apiVersion: noetl.io/v2
kind: Playbook
metadata: {name: one, path: one}
workflow:
- {step: start, tool: {kind: sandbox, raise: out}, next: {arcs: [{step: end}]}}
- {step: end, tool: {kind: noop}}
"""


async def test_run_of_one_step_has_no_recorded_end(python_sandbox):
    content = ONE_STEP.partition("workflow")[0] + "workflow: [{step: start, tool: {kind: sandbox}}]"
    await python_sandbox.post("/api/catalog/register", {"content": content, "resource_type": "Playbook"})
    run = await python_sandbox.start("one")
    detail = await python_sandbox.ended(run)
    kinds = [event["event_type"] for event in detail["events"]]
    assert (kinds[0], "playbook.completed" in kinds) == ("batch.completed", False)
    status = await python_sandbox.get(f"/api/executions/{run}/status")
    assert (status["completed"], status["completion_inferred"]) == (True, True)
    assert (await python_sandbox.get("/api/executions"))[0]["status"] == "RUNNING"


async def test_run_goes_on_after_a_step_that_raises_and_fails_in_the_end(python_sandbox):
    await python_sandbox.post("/api/catalog/register", {"content": ONE_STEP, "resource_type": "Playbook"})
    run = await python_sandbox.start("one")
    early = await python_sandbox.ended(run)
    detail = await python_sandbox.until(f"/api/executions/{run}", lambda body: body["error"] is None)
    assert (early["status"], detail["status"]) == ("FAILED", "FAILED")
    kinds = [(event["event_type"], event["node_name"]) for event in detail["events"]]
    assert ("call.error", "start") in kinds
    assert ("call.done", "end") in kinds


async def test_events_after_an_event_come_in_pages_of_their_own(python_sandbox):
    run = await python_sandbox.start("data_pipeline/transform_data")
    events = await recorded(python_sandbox, run)
    for path in (f"/api/executions/{run}", f"/api/executions/{run}/events"):
        page = await python_sandbox.get(f"{path}?since_event_id={events[12]['event_id']}&page=2&page_size=10")
        assert [event["event_id"] for event in page["events"]] == [event["event_id"] for event in events[10:12]]
        assert page["pagination"]["total_events"] == 12


async def test_cancelling_an_ended_execution_changes_it_once(python_sandbox):
    run = await python_sandbox.start("examples/hello_world")
    await python_sandbox.ended(run)
    answer = await python_sandbox.post(f"/api/executions/{run}/cancel", {})
    assert (answer["status"], answer["cancelled_executions"]) == ("cancelled", [run])
    assert (await python_sandbox.get(f"/api/executions/{run}"))["status"] == "CANCELLED"
    answer = await python_sandbox.post(f"/api/executions/{run}/cancel", {})
    assert (answer["status"], answer["cancelled_executions"]) == ("already_completed", [])


async def test_cascade_cancels_the_children_too(python_sandbox):
    run = await python_sandbox.start("examples/slow")
    body = {"path": "examples/slow", "parent_execution_id": run}
    child = (await python_sandbox.post("/api/execute", body))["execution_id"]
    answer = await python_sandbox.post(f"/api/executions/{run}/cancel", {"cascade": True})
    assert answer["cancelled_executions"] == [run, child]


async def test_older_version_can_be_executed(python_sandbox):
    entry = await python_sandbox.post("/api/catalog/resource", {"path": "examples/hello_world"})
    content = entry["content"].replace("!", "?")
    await python_sandbox.post("/api/catalog/register", {"content": content, "resource_type": "Playbook"})
    body = {"path": "examples/hello_world", "version": 1, "payload": {"message": "a"}}
    run = (await python_sandbox.post("/api/execute", body))["execution_id"]
    await python_sandbox.ended(run)
    assert (await python_sandbox.get(f"/api/executions/{run}/status"))["variables"]["shout"] == "A!"
