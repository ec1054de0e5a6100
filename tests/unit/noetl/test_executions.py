"""The state of an execution, from the responses of both dialects."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.noetl.executions import normal_status, state_of, status_of, workload_of

START, END = "2026-01-05T10:15:30+00:00", "2026-01-05T10:15:42.500000+00:00"


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
    ("document", "expected"),
    [
        ({"status": "SUCCEEDED", "failed": True}, "completed"),
        ({"failed": True, "completed": True}, "failed"),
        ({"completed": True}, None),
        ({"completed": False, "failed": False}, "running"),
        ({"status": None}, "running"),
        ({}, "running"),
    ],
)
def test_status_of_a_response(document: dict[str, Any], expected: str | None) -> None:
    assert status_of(document) == expected


def test_status_response_alone_is_a_state() -> None:
    status = {"current_step": "load", "completed_steps": ["start", 2], "variables": {"a": 1}, "start_time": START}
    state = state_of("17", status, None, "a/b")
    assert (state.execution_id, state.path, state.status, state.current_step) == ("17", "a/b", "running", "load")
    assert (state.completed_steps, state.variables, state.result, state.error) == (("start", "2"), {"a": 1}, None, None)
    assert (state.start_time, state.end_time, state.duration_seconds) == (START, None, None)


def test_detail_fills_what_the_status_response_lacks() -> None:
    events = [
        {"event_type": "step.exit", "node_name": "a", "status": "COMPLETED", "result": {"x": 1}},
        {"event_type": "step.exit", "node_name": "b", "status": "FAILED", "result": {"y": 2}},
        {"event_type": "step.exit", "node_name": "a", "status": "COMPLETED"},
        {"event_type": "playbook.failed", "error": {"message": "no disk"}, "result": {"z": 3}},
        "not an event",
    ]
    detail = {"path": "a/b", "status": "cancelled", "workload": {"w": 0}, "events": events}
    detail |= {"started_at": START, "completed_at": END}
    state = state_of("17", {"completed": True}, detail, "other")
    assert (state.path, state.status, state.completed_steps) == ("a/b", "cancelled", ("a",))
    assert (state.variables, state.result, state.error) == ({"w": 0, "x": 1, "y": 2}, {"z": 3}, "no disk")
    assert (state.start_time, state.end_time, state.duration_seconds) == (START, END, 12.5)


@pytest.mark.parametrize(
    ("status", "seconds"),
    [
        ({"duration_seconds": 3}, 3.0),
        ({"duration_seconds": True, "start_time": START, "end_time": END}, 12.5),
        ({"duration_seconds": "3", "start_time": START, "end_time": END}, 12.5),
        ({"start_time": START, "end_time": "yesterday"}, None),
        ({"start_time": "2026-01-05T10:15:30", "end_time": END}, None),
        ({"start_time": START}, None),
    ],
    ids=["given", "no number", "text", "malformed time", "one without an offset", "no end"],
)
def test_duration_is_the_given_one_or_computed(status: dict[str, Any], seconds: float | None) -> None:
    assert state_of("17", status, None, None).duration_seconds == seconds


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        ({"workload": {"a": 1}, "events": [{"context": {"workload": {"b": 2}}}]}, {"a": 1}),
        ({"events": ["x", {"context": "x"}, {"context": {"workload": {"b": 2}}}]}, {"b": 2}),
        ({"workload": "x", "events": None}, {}),
        ({}, {}),
    ],
)
def test_workload_is_in_the_detail_or_in_its_first_event(detail: dict[str, Any], expected: dict[str, int]) -> None:
    assert workload_of(detail) == expected
