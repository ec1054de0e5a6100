"""Parse the executions of both NoETL dialects into one type. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from math import isfinite
from typing import Any, NamedTuple

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
ENDED = frozenset({"completed", "failed", "cancelled"})
Json = Mapping[str, Any]


class ExecutionState(NamedTuple):
    """The state of an execution.

    Args:
        execution_id: the id, as text.
        path: the path of the playbook.
        status: `pending`, `running`, `completed`, `failed` or `cancelled`.
        current_step: the name of the current step.
        completed_steps: the names of the completed steps.
        variables: the variables, a JSON value.
        result: the result, a JSON value.
        error: the error text.
        start_time: the start, as sent by the upstream.
        end_time: the end, as sent by the upstream.
        duration_seconds: the duration, in seconds.
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


def status_of(document: Json) -> str | None:
    """Return the status in a status response; None if only the detail has it (cancelled runs of the Python dialect)."""
    if isinstance(document.get("status"), str):
        return normal_status(document["status"])
    if document.get("failed"):
        return "failed"
    return None if document.get("completed") else "running"


def state_of(execution_id: str, status: Json, detail: Json | None, path: str | None) -> ExecutionState:
    """Return the state of an execution.

    Args:
        execution_id: the id of the execution.
        status: the status response.
        detail: the detail response; None if it was not requested.
        path: the path of the playbook, if it is known.
    """
    more: Json = detail or {}
    word = status_of(status) or normal_status(more.get("status", "completed"))
    start = _text(status.get("start_time") or more.get("start_time") or more.get("started_at"))
    end = _text(status.get("end_time") or more.get("end_time") or more.get("completed_at"))
    events = _events(more)
    return ExecutionState(
        execution_id=execution_id,
        path=(_text(more.get("path")) if more else None) or path,
        status=word,
        current_step=_text(status.get("current_step")),
        completed_steps=_steps(status, events),
        variables=status["variables"] if "variables" in status else _variables(more, events),
        result=_last(more, events, "result") if more else None,
        error=_error(_last(more, events, "error")) if more else None,
        start_time=start,
        end_time=end,
        duration_seconds=_duration(status.get("duration_seconds", more.get("duration_seconds")), start, end),
    )


def workload_of(detail: Json) -> dict[str, Any]:
    """Return the workload with which an execution was started; empty if its detail does not contain it."""
    if isinstance(detail.get("workload"), dict):
        return dict(detail["workload"])
    for event in _events(detail):
        context = event.get("context")
        if isinstance(context, dict) and isinstance(context.get("workload"), dict):
            return dict(context["workload"])
    return {}


def _events(detail: Json) -> list[dict[str, Any]]:
    """Return the events of a detail; what is no object among them is left out."""
    events = detail.get("events")
    return [event for event in events if isinstance(event, dict)] if isinstance(events, list) else []


def _steps(status: Json, events: list[dict[str, Any]]) -> tuple[str, ...]:
    listed = status.get("completed_steps")
    if isinstance(listed, list):
        return tuple(map(str, listed))
    done = (e for e in events if e.get("event_type") == "step.exit" and normal_status(e.get("status")) == "completed")
    return tuple(dict.fromkeys(str(event.get("node_name")) for event in done))


def _variables(detail: Json, events: list[dict[str, Any]]) -> Any:
    values = dict(detail["workload"]) if isinstance(detail.get("workload"), dict) else {}
    for event in events:
        if event.get("event_type") == "step.exit" and isinstance(event.get("result"), dict):
            values.update(event["result"])
    return values


def _last(detail: Json, events: list[dict[str, Any]], name: str) -> Any:
    if detail.get(name) is not None:
        return detail[name]
    found = [
        event[name] for event in events if event.get(name) is not None and "playbook" in str(event.get("event_type"))
    ]
    return found[-1] if found else None


def _error(value: Any) -> str | None:
    if isinstance(value, dict):
        value = value.get("message") or value.get("error")
    return _text(value)


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)


def _duration(given: Any, start: str | None, end: str | None) -> float | None:
    try:
        if isinstance(given, int | float) and not isinstance(given, bool) and isfinite(given):
            return float(given)
        return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds() if start and end else None
    except (ValueError, TypeError, OverflowError):
        return None
