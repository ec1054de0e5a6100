"""What events prove, from runs that both real servers have recorded, and from events of odd shapes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.noetl.events import (
    Ending,
    Event,
    completed_steps,
    ending,
    events_of,
    failed_steps,
    failure,
    first_workload,
    is_idle,
    returned,
)

RUNS = json.loads(Path(__file__).with_name("recorded_runs.json").read_text("utf-8"))
ALL = [(server, run) for server, runs in RUNS.items() for run in runs]


def recorded(server: str, run: str) -> list[Event]:
    """Return the events of a recorded run, oldest first."""
    return events_of({**RUNS[server][run]["detail"], "events": RUNS[server][run]["events"]})


def event(kind: str, step: str = "a", status: str = "COMPLETED", **more: Any) -> dict[str, Any]:
    return {"event_type": kind, "node_name": step, "status": status, **more}


@pytest.mark.parametrize(("server", "run"), ALL)
def test_first_event_is_the_start_whatever_the_order_of_the_server(server: str, run: str) -> None:
    assert recorded(server, run)[0].kind in ("playbook.initialized", "playbook.started")


@pytest.mark.parametrize(
    ("server", "run", "steps", "failed"),
    [
        ("python", "one", ("start",), ""),
        ("python", "three", ("start", "middle", "end"), ""),
        ("python", "raise", ("start",), "middle"),
        ("python", "handled", ("clean_up", "end"), "start"),
        ("python", "fork", ("start", "quick", "slow"), ""),
        ("rust", "one", ("start",), ""),
        ("rust", "three", ("start", "middle", "end"), ""),
        ("rust", "raise", ("start",), "middle"),
        ("rust", "handled", ("clean_up", "end"), "start"),
    ],
)
def test_steps_are_in_the_order_of_their_completion(server: str, run: str, steps: tuple[str, ...], failed: str) -> None:
    events = recorded(server, run)
    assert completed_steps(events) == steps
    assert failed_steps(events) == ({failed} if failed else set())


@pytest.mark.parametrize(
    ("server", "run", "expected"),
    [
        ("python", "three", None),
        ("python", "raise", ("middle", "boom in middle", False)),
        ("python", "handled", ("start", "first step fails", True)),
        ("rust", "raise", ("middle", "Python script exited with code 1: ValueError: boom in middle", False)),
        ("rust", "handled", ("start", "Python script exited with code 1: ValueError: first step fails", True)),
    ],
)
def test_failure_is_the_last_one_and_says_whether_a_step_followed(server: str, run: str, expected: object) -> None:
    assert failure(recorded(server, run)) == expected


@pytest.mark.parametrize(("server", "run"), ALL)
def test_end_is_recorded_unless_the_python_server_ran_one_step(server: str, run: str) -> None:
    found = ending(recorded(server, run))
    assert (found is None) == ((server, run) == ("python", "one"))


@pytest.mark.parametrize("run", RUNS["python"])
def test_execution_is_idle_only_once_nothing_can_follow(run: str) -> None:
    events = recorded("python", run)
    early = [number for number in range(1, len(events)) if is_idle(events[:number]) and ending(events[:number]) is None]
    assert early == []
    assert is_idle(events)


def test_execution_is_not_idle_while_another_branch_runs() -> None:
    first = [event("batch.accepted"), event("command.issued", "a"), event("command.issued", "b")]
    events = [*first, event("command.completed", "a"), event("batch.completed")]
    assert not is_idle(events_of({"events": events}))
    more = [event("batch.accepted"), event("command.failed", "b"), event("batch.completed")]
    assert is_idle(events_of({"events": [*events, *more]}))


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("playbook.completed", "completed"),
        ("workflow.failed", "failed"),
        ("playbook_cancelled", "cancelled"),
        ("execution.cancelled", "cancelled"),
        ("step.exit", None),
    ],
)
def test_end_is_known_in_all_spellings(kind: str, status: str | None) -> None:
    found = ending(events_of({"events": [event(kind, created_at="then")]}))
    assert found == (None if status is None else Ending(status, "then"))


@pytest.mark.parametrize(
    "events",
    [
        [{"event_id": 2, "event_type": "b"}, {"event_id": 1, "event_type": "a"}],
        [
            {"event_id": "2", "event_type": "b"},
            {"event_id": "1", "event_type": "a"},
            {"event_id": 2, "event_type": "b"},
        ],
        [{"event_type": "b"}, {"event_type": "a"}, 5, None],
    ],
    ids=["numbers", "texts, one twice", "without ids, newest first"],
)
def test_events_are_put_in_order(events: list[Any]) -> None:
    assert [found.kind for found in events_of({"events": events, "pagination": {}})] == ["a", "b"]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([event("call.error", error="no"), event("command.issued", "b")], ("a", "no", True)),
        (
            [event("call.error", error="no"), event("command.issued"), event("call.error", error="again")],
            ("a", "again", False),
        ),
        ([event("call.error", error="no"), event("command.issued", "b"), event("command.failed")], ("a", "no", True)),
        ([event("command.failed"), event("call.error", error={"message": "no"})], ("a", "no", False)),
        ([event("command.failed", context={"error": "no"})], ("a", "no", False)),
        ([event("call.done", result={"status": "COMPLETED", "context": {"status": "error"}})], None),
    ],
    ids=[
        "followed",
        "failed again",
        "the same failure, reported late",
        "text in a later event",
        "in its context",
        "data",
    ],
)
def test_failure_in_events_of_other_shapes(events: list[dict[str, Any]], expected: object) -> None:
    assert failure(events_of({"events": events})) == expected


@pytest.mark.parametrize(
    ("result", "value"),
    [
        ({"status": "COMPLETED", "context": {"a": 1, "command_id": 7}}, {"a": 1}),
        ({"status": "COMPLETED", "context": {"status": "COMPLETED", "command_id": 7}}, None),
        ({"context": {"call_index": 0, "result": {"status": "success", "context": {"data": [1]}}}}, [1]),
        (
            {"context": {"call_index": 0, "result": {"status": "success", "context": {"_ref": "noetl://x"}}}},
            {"_ref": "noetl://x"},
        ),
        ({"context": {"result": {"context": 1}}}, {"result": {"context": 1}}),
        ("text", None),
        (None, None),
    ],
    ids=["python", "nothing", "rust", "a reference", "data of that shape", "text", "none"],
)
def test_last_step_returned_what_its_envelopes_hold(result: Any, value: Any) -> None:
    found = returned(events_of({"events": [event("call.done", result=result)]}))
    assert found == ("a", value)


def test_nothing_is_returned_by_a_step_that_failed() -> None:
    assert returned(events_of({"events": [event("call.done"), event("call.error", "b")]})) is None
    assert returned(recorded("rust", "raise")) is None
    assert returned([]) is None


@pytest.mark.parametrize("run", RUNS["python"])
def test_workload_of_the_start_is_in_an_event(run: str) -> None:
    assert (first_workload(recorded("python", run)) or {})["n"] in (1, 7)


def test_workload_of_a_command_is_not_that_of_the_start() -> None:
    events = [event("command.issued", context={"workload": {"a": 1}}), event("x", context={"workload": {"b": 2}})]
    assert first_workload(events_of({"events": events})) == {"b": 2}
    assert first_workload([]) is None
