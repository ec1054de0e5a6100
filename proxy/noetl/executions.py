"""The truth about an execution, from the answers of either NoETL server. Pure.

A status says what its server believes at the moment. The Python server says `completed` between two steps, for ever for
an execution of one step, and `failed` from the first failed step on, although an arc goes on. So a claimed end counts
only once the events prove it. The caller asks for what a function here says is missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from math import isfinite
from typing import Any, NamedTuple

from proxy.noetl.events import (
    Ending,
    Event,
    completed_steps,
    ending,
    error_text,
    events_of,
    failed_steps,
    failure,
    first_workload,
    is_idle,
    returned,
    returned_by_steps,
)

_STATUS = {
    "pending": "pending",
    "queued": "pending",
    "started": "running",
    "running": "running",
    "completed": "completed",
    "succeeded": "completed",
    "failed": "failed",
    "error": "failed",
    "cancelled": "cancelled",
    "canceled": "cancelled",
}
_OF_MARK = ("status", "current_step", "progress", "failed", "completed", "completion_inferred", "end_time")
ENDED = frozenset({"completed", "failed", "cancelled"})
Json = Mapping[str, Any]


class ExecutionState(NamedTuple):
    """The state of an execution.

    Args:
        execution_id: the id, as text.
        path: the path of the playbook.
        status: `pending`, `running`, `completed`, `failed` or `cancelled`.
        current_step: the name of the current step.
        completed_steps: the names of the completed steps, in the order of their completion.
        variables: the variables, a JSON value.
        result: what the last step returned, a JSON value.
        error: the error text.
        start_time: the start, as sent by the upstream.
        end_time: the end, as sent by the upstream; None until it has ended.
        duration_seconds: the duration, in seconds; None until it has ended.
    """

    execution_id: str
    path: str | None
    status: str
    current_step: str | None
    completed_steps: tuple[str, ...]
    variables: Any
    result: Any
    error: str | None
    start_time: str | None
    end_time: str | None
    duration_seconds: float | None


def normal_status(word: Any) -> str:
    """Convert the status of an upstream. An unknown status becomes `running`, so that clients continue to wait."""
    return _STATUS.get(str(word).lower(), "running")


def claimed(status: Json) -> str:
    """Return what a status claims: `pending`, `running`, or an end, which may have to be proved (`needs_proof`)."""
    if isinstance(status.get("status"), str):
        return normal_status(status["status"])
    if status.get("failed"):
        return "failed"
    return "completed" if status.get("completed") else "running"


def needs_proof(status: Json) -> bool:
    """Return whether the end that a status claims must be proved by events: on the Python server, every one."""
    return claimed(status) in ENDED and not isinstance(status.get("status"), str)


def mark_of(status: Json) -> str:
    """Return a text that stays the same while nothing happens in an execution.

    The Python server names an end with every claim of one: the time of the newest event that could be it.
    """
    listed = status.get("completed_steps")
    steps = sorted(map(str, listed)) if isinstance(listed, list) else None
    return json.dumps([steps, *(status.get(name) for name in _OF_MARK)], default=str)


def end_of(status: Json, detail: Json, events: Sequence[Event], *, all_of_them: bool) -> Ending | None:
    """Return the end of an execution whose status claims one; None if it has not ended yet.

    Args:
        status: the status.
        detail: the detail.
        events: the newest events, oldest first.
        all_of_them: whether there are no older events.

    A server without events is believed.
    """
    if not needs_proof(status):
        return Ending(claimed(status), _end_time(status, detail))
    found = ending(events)
    if found is not None:
        return found
    word = claimed(status)
    if not events:
        of_detail = normal_status(detail.get("status", word))
        return Ending(of_detail, _end_time(status, detail)) if of_detail in ENDED else None
    if all_of_them and is_idle(events):
        return Ending(word, _end_time(status, detail))
    return None


def has_all_events(detail: Json) -> bool:
    """Return whether a detail has all events of its execution."""
    pagination = detail.get("pagination")
    if not isinstance(pagination, Mapping):
        return True
    total, listed = pagination.get("total_events"), detail.get("events")
    return isinstance(total, int) and isinstance(listed, list) and total <= len(listed)


def running_state(
    execution_id: str, status: Json, detail: Json | None, path: str | None, steps: Sequence[str] | None = None
) -> ExecutionState:
    """Return the state of an execution that has not ended, also if its status claims an end.

    Args:
        execution_id: the id of the execution.
        status: the status.
        detail: the detail; None if it was not requested.
        path: the path of the playbook, if it is known.
        steps: the completed steps in their order, if that is known.
    """
    more: Json = detail or {}
    events = events_of(more) if more else []
    failed = failure(events) if events else None
    word = claimed(status)
    listed = status.get("completed_steps")
    if steps is None and isinstance(listed, list):
        steps = in_order_of(listed, events)
    return ExecutionState(
        execution_id=execution_id,
        path=(_text(more.get("path")) if more else None) or path,
        status="running" if word in ENDED else word,
        current_step=_text(status.get("current_step")),
        completed_steps=tuple(steps) if steps is not None else completed_steps(events),
        variables=_variables(status, more, events),
        result=None,
        error=failed.text or None if failed is not None and not failed.followed else None,
        start_time=_start_time(status, more),
        end_time=None,
        duration_seconds=None,
    )


def state_of_status(execution_id: str, status: Json) -> ExecutionState | None:
    """Return the state of an execution whose detail can't be had; None if its status alone does not say what it is.

    The status of the Rust server is true by itself.
    """
    if not isinstance(status.get("status"), str):
        return None
    word = normal_status(status["status"])
    return running_state(execution_id, status, None, None, ())._replace(status=word, start_time=None)


def ended_state(
    execution_id: str, status: Json, detail: Json, events: Sequence[Event], end: Ending, path: str | None
) -> ExecutionState:
    """Return the state of an execution that has ended.

    Args:
        execution_id: the id of the execution.
        status: the status, requested after the end.
        detail: the detail.
        events: its events, oldest first: all, or the newest.
        end: the end.
        path: the path of the playbook, if it is known.
    """
    start, at = _start_time(status, detail), end.at or _end_time(status, detail)
    listed = status.get("completed_steps")
    steps = in_order_of(listed, events) if isinstance(listed, list) else completed_steps(events)
    given = status.get("duration_seconds", detail.get("duration_seconds"))
    computed = _seconds_between(start, at)
    return ExecutionState(
        execution_id=execution_id,
        path=_text(detail.get("path")) or path,
        status=end.status,
        current_step=_text(status.get("current_step")),
        completed_steps=steps,
        variables=_variables(status, detail, events),
        result=_result(status, detail, events),
        error=_error(detail, events, end),
        start_time=start,
        end_time=at,
        duration_seconds=computed if computed is not None else _number(given),
    )


def in_order_of(listed: Sequence[Any], events: Sequence[Event]) -> tuple[str, ...]:
    """Return the steps that a status lists as completed, in the order of the events, without those that failed.

    Steps whose events are not there come first: the newest events are.
    """
    known = completed_steps(events)
    names = dict.fromkeys(str(name) for name in listed)
    older = [name for name in names if name not in known and name not in failed_steps(events)]
    return (*older, *(name for name in known if name in names or not names))


def merged_steps(before: tuple[str, ...], listed: Sequence[Any]) -> tuple[str, ...] | None:
    """Return the completed steps of a running execution in their order, from those of the status before.

    Returns None if the order is not known: more than one step has completed since.
    """
    if tuple(listed) == before:
        return before
    names = dict.fromkeys(map(str, listed))
    kept = dict.fromkeys(name for name in before if name in names)
    new = [name for name in names if name not in kept]
    return (*kept, *new) if len(new) <= 1 else None


def workload_of(detail: Json, events: Sequence[Event]) -> dict[str, Any] | None:
    """Return the workload with which an execution was started; None if it is not in its detail and these events."""
    if isinstance(detail.get("workload"), Mapping):
        return dict(detail["workload"])
    return first_workload(events)


def _result(status: Json, detail: Json, events: Sequence[Event]) -> Any:
    """Return what the last step returned. On the Python server, the variables have it whole."""
    last = returned(events)
    if last is None:
        return None if events else detail.get("result")
    variables = status.get("variables")
    if isinstance(variables, Mapping) and last.step in variables:
        value = variables[last.step]
        return value["context"] if isinstance(value, Mapping) and "context" in value else value
    return last.value


def _error(detail: Json, events: Sequence[Event], end: Ending) -> str | None:
    if end.status == "cancelled":
        return error_text(detail.get("error"))
    failed = failure(events)
    if failed is not None and (end.status == "failed" or not failed.followed):
        return failed.text or "failed"
    of_events = (error_text(event.data.get("error")) for event in reversed(events) if event.kind.startswith("playbook"))
    found = error_text(detail.get("error")) or next((text for text in of_events if text), None)
    return found or ("failed" if end.status == "failed" else None)


def _variables(status: Json, detail: Json, events: Sequence[Event]) -> Any:
    """Return the variables. The Rust server has the workload, and its events have what each step returned."""
    if "variables" in status:
        return status["variables"]
    workload = detail.get("workload")
    return {**(workload if isinstance(workload, Mapping) else {}), **returned_by_steps(events)}


def _start_time(status: Json, detail: Json) -> str | None:
    return _text(status.get("start_time") or detail.get("start_time") or detail.get("started_at"))


def _end_time(status: Json, detail: Json) -> str | None:
    return _text(status.get("end_time") or detail.get("end_time") or detail.get("completed_at"))


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)


def _number(value: Any) -> float | None:
    try:
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    except OverflowError:
        return None
    return float(value) if is_number else None


def _seconds_between(start: str | None, end: str | None) -> float | None:
    try:
        return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds() if start and end else None
    except (ValueError, TypeError, OverflowError):
        return None
