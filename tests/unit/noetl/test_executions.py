"""The state of an execution, from the answers of both servers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.noetl.events import events_of
from proxy.noetl.executions import (
    ExecutionState,
    claimed,
    end_of,
    ended_state,
    has_all_events,
    in_order_of,
    merged_steps,
    needs_proof,
    normal_status,
    running_state,
    workload_of,
)

RUNS = json.loads(Path(__file__).with_name("recorded_runs.json").read_text("utf-8"))
START, END = "2026-01-05T10:15:30+00:00", "2026-01-05T10:15:42.500000+00:00"
ODD = {"failed": True, "completed": False}
INFERRED = {"completed": True, "completion_inferred": True}


def state_of(status: dict[str, Any], detail: dict[str, Any], path: str | None = None) -> ExecutionState:
    """Return the state of an execution whose status claims an end, as far as its detail tells."""
    events = events_of(detail)
    end = end_of(status, detail, events, all_of_them=has_all_events(detail))
    if end is None:
        return running_state("17", status, detail, path)
    return ended_state("17", status, detail, events, end, path)


def recorded(server: str, run: str) -> tuple[dict[str, Any], dict[str, Any]]:
    found = RUNS[server][run]
    return found["status"], {**found["detail"], "events": found["events"]}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("queued", "pending"),
        ("STARTED", "running"),
        ("Succeeded", "completed"),
        ("error", "failed"),
        ("canceled", "cancelled"),
        ("paused", "running"),
        (None, "running"),
        (7, "running"),
    ],
)
def test_unknown_status_is_running_so_that_clients_wait(word: object, expected: str) -> None:
    assert normal_status(word) == expected


@pytest.mark.parametrize(
    ("document", "expected", "proof"),
    [
        ({"status": "SUCCEEDED", "failed": True}, "completed", False),
        ({"failed": True, "completed": True}, "failed", True),
        ({"completed": True}, "completed", True),
        ({"completed": False, "failed": False}, "running", False),
        ({"status": None}, "running", False),
        ({}, "running", False),
    ],
)
def test_end_that_a_status_claims_needs_proof_if_it_has_no_word_for_it(
    document: dict[str, Any], expected: str, proof: bool
) -> None:
    assert (claimed(document), needs_proof(document)) == (expected, proof)


@pytest.mark.parametrize(
    ("server", "run", "status", "result", "error"),
    [
        ("python", "one", "completed", {"only": 1, "list": [1, [2, 3], {"a": None}], "long": "x" * 40}, None),
        ("python", "three", "completed", {"done": True, "list": [1, 2, {"b": "x" * 40}], "n": 9007199254740993}, None),
        ("python", "raise", "failed", None, "boom in middle"),
        ("python", "handled", "failed", {"status": "complete"}, "first step fails"),
        ("python", "fork", "completed", {"s": 1}, None),
        (
            "rust",
            "three",
            "completed",
            {"done": True, "list": [1, 2, {"b": "[REDACTED]"}], "n": 9007199254740993},
            None,
        ),
        ("rust", "raise", "completed", None, "Python script exited with code 1: ValueError: boom in middle"),
        ("rust", "handled", "completed", {"status": "complete"}, None),
    ],
)
def test_recorded_run_has_its_result_and_its_error(
    server: str, run: str, status: str, result: Any, error: str | None
) -> None:
    state = state_of(*recorded(server, run))
    assert (state.status, state.result, state.error) == (status, result, error)
    assert state.end_time is not None
    assert state.duration_seconds is not None


@pytest.mark.parametrize("run", RUNS["python"])
def test_no_earlier_moment_of_a_recorded_run_is_its_end(run: str) -> None:
    status, detail = recorded("python", run)
    events = events_of(detail)
    last = next((n for n, event in enumerate(events) if event.kind.startswith("workflow.") and n > 1), len(events) - 1)
    running = {**detail, "status": "RUNNING"}
    for claim in (INFERRED, ODD, {"completed": True, "completion_inferred": False}):
        early = [n for n in range(1, last + 1) if end_of({**status, **claim}, running, events[:n], all_of_them=True)]
        assert early == []


def test_claimed_end_without_its_proof_is_running() -> None:
    status, detail = recorded("python", "handled")
    first = [event for event in detail["events"] if event["event_id"] <= detail["events"][-12]["event_id"]]
    state = state_of(status, {**detail, "events": first})
    assert (state.status, state.error, state.end_time, state.duration_seconds) == (
        "running",
        "first step fails",
        None,
        None,
    )


def test_newest_events_do_not_prove_that_nothing_is_pending() -> None:
    status, detail = recorded("python", "one")
    assert end_of(status, detail, events_of(detail), all_of_them=False) is None


def test_variables_of_the_rust_server_are_the_workload_and_what_steps_returned() -> None:
    state = state_of(*recorded("rust", "three"))
    assert state.variables == {"n": 7, "greeting": "hi", "start": {"a": 1}, "middle": [1, 2, 3], "end": state.result}


def test_status_alone_is_a_state_of_a_running_execution() -> None:
    status = {"current_step": "load", "completed_steps": ["start", 2], "variables": {"a": 1}, "start_time": START}
    state = running_state("17", status, None, "a/b")
    assert (state.execution_id, state.path, state.status, state.current_step) == ("17", "a/b", "running", "load")
    assert (state.completed_steps, state.variables, state.result, state.error) == (("start", "2"), {"a": 1}, None, None)
    assert (state.start_time, state.end_time, state.duration_seconds) == (START, None, None)


def test_running_execution_has_no_end_although_both_servers_name_one() -> None:
    status = {"completed": False, "start_time": START, "end_time": END, "duration_seconds": 3}
    state = running_state("17", status, {"completed_at": END}, None)
    assert (state.end_time, state.duration_seconds) == (None, None)


def test_server_without_events_is_believed() -> None:
    detail = {"path": "a/b", "status": "cancelled", "workload": {"w": 0}, "started_at": START, "completed_at": END}
    state = state_of({"completed": True}, {**detail, "result": {"z": 3}}, "other")
    assert (state.path, state.status, state.result) == ("a/b", "cancelled", {"z": 3})
    assert (state.start_time, state.end_time, state.duration_seconds) == (START, END, 12.5)
    assert state_of({"completed": True}, {**detail, "status": "RUNNING"}).status == "running"


def test_cancelled_execution_has_no_error_of_a_step() -> None:
    events = [{"event_type": "call.error", "error": "no"}, {"event_type": "playbook_cancelled"}]
    state = state_of({"status": "CANCELLED"}, {"events": events})
    assert (state.status, state.error) == ("cancelled", None)


@pytest.mark.parametrize(
    ("status", "seconds"),
    [
        ({"duration_seconds": 3}, 3.0),
        ({"duration_seconds": True, "start_time": START, "end_time": END}, 12.5),
        ({"duration_seconds": "3", "start_time": START, "end_time": END}, 12.5),
        ({"start_time": START, "end_time": "yesterday"}, None),
        ({"start_time": "2026-01-05T10:15:30", "end_time": END}, None),
        ({"duration_seconds": 10**400}, None),
        ({"start_time": START}, None),
    ],
    ids=["given", "no number", "text", "malformed time", "one without an offset", "too large", "no end"],
)
def test_duration_is_computed_or_the_given_one(status: dict[str, Any], seconds: float | None) -> None:
    assert state_of({"status": "COMPLETED", **status}, {}).duration_seconds == seconds


@pytest.mark.parametrize(
    ("before", "listed", "expected"),
    [
        ((), [], ()),
        ((), ["a"], ("a",)),
        (("b", "a"), ["a", "b"], ("b", "a")),
        (("b", "a"), ["a", "c", "b"], ("b", "a", "c")),
        (("a",), ["c", "b", "a"], None),
        (("a", "gone"), ["a", "b"], ("a", "b")),
    ],
)
def test_steps_keep_their_order_between_polls(
    before: tuple[str, ...], listed: list[str], expected: tuple[str, ...] | None
) -> None:
    assert merged_steps(before, listed) == expected


def test_listed_steps_without_events_come_before_those_with_events() -> None:
    events = events_of({"events": [{"event_type": "step.exit", "node_name": name} for name in ("c", "b")]})
    assert in_order_of(["b", "old", "c", "not yet"], events) == ("old", "not yet", "c", "b")


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        ({"workload": {"a": 1}, "events": [{"context": {"workload": {"b": 2}}}]}, {"a": 1}),
        ({"events": ["x", {"context": "x"}, {"context": {"workload": {"b": 2}}}]}, {"b": 2}),
        ({"events": [{"context": {"result": {"workload": {"c": 3}}}}]}, {"c": 3}),
        ({"workload": "x", "events": None}, None),
        ({}, None),
    ],
)
def test_workload_is_in_the_detail_or_in_its_first_event(detail: dict[str, Any], expected: object) -> None:
    assert workload_of(detail, events_of(detail)) == expected
