"""The row `status`: the status of an execution with the members of both servers. Pure.

Whether the execution has ended, and how, is decided in `noetl/executions.py`, as for GraphQL.
"""

from __future__ import annotations

from typing import Any

from proxy.http.json_members import read_object
from proxy.noetl.bridge.messages import ClientRequest, Facts, JsonAnswer
from proxy.noetl.bridge.text import json_of
from proxy.noetl.bridge.times import for_people
from proxy.noetl.executions import ENDED, ExecutionState


def status(request: ClientRequest, answer: JsonAnswer, facts: Facts) -> JsonAnswer:
    """`GET /executions/{id}/status`: add what the other server has; `completed` and `failed` tell the truth."""
    document = read_object(answer.text)
    state = facts.state
    if state is None:
        raise ValueError("a status without the state of its execution")
    added = _of_python(state) if isinstance(document.values.get("status"), str) else _of_rust(state)
    changed = {"completed": state.status in ENDED, "failed": state.status == "failed"}
    before = document.values
    texts = {name: json_of(value) for name, value in changed.items() if before.get(name) is not value}
    return answer._replace(text=document.edited(texts, {name: json_of(value) for name, value in added.items()}))


def _of_python(state: ExecutionState) -> dict[str, Any]:
    """Return what the Python server has in a status, and the Rust server has not."""
    return {
        "cancelled": state.status == "cancelled",
        "completion_inferred": False,
        "completed_steps": state.completed_steps,
        "variables": state.variables,
        "start_time": state.start_time,
        "end_time": state.end_time,
        "duration_seconds": state.duration_seconds,
        "duration_human": for_people(state.duration_seconds),
    }


def _of_rust(state: ExecutionState) -> dict[str, Any]:
    """Return what the Rust server has in a status, and the Python server has not. `total_steps` are those seen."""
    completed = len(state.completed_steps)
    running = int(state.status == "running" and state.current_step not in (None, *state.completed_steps))
    failed = int(state.status == "failed")
    counts = {"completed_steps": completed, "running_steps": running, "failed_steps": failed}
    return {
        "status": state.status.upper(),
        "cancelled": state.status == "cancelled",
        "is_cancelled": state.status == "cancelled",
        "progress": {"total_steps": completed + running + failed, **counts},
    }
