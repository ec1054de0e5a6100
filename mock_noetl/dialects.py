"""The response formats of the Python and the Rust server. Pure: from values to JSON data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from mock_noetl.catalog import Entry
from mock_noetl.engine import Event, Execution, Status
from mock_noetl.errors import ApiError
from mock_noetl.values import rfc3339

Body = dict[str, Any]


class Dialect(Protocol):
    """The parts of responses that differ between the servers."""

    name: str
    version: str

    def identifier(self, value: int) -> int | str: ...
    def error(self, error: ApiError) -> Body: ...
    def playbook_missing(self, path: str) -> str: ...
    def execution_missing(self, execution_id: str, bare: bool) -> str: ...
    def health(self, uptime: float) -> Body: ...
    def status(self, execution: Execution) -> Body: ...
    def summary(self, execution: Execution) -> Body: ...
    def detail(self, execution: Execution) -> Body: ...
    def event(self, execution: Execution, event: Event) -> Body: ...
    def cancelled(self, execution: Execution, ended: Sequence[Execution], already: bool) -> Body: ...


def started(execution: Execution) -> Body:
    """Return the response to execute and rerun; the id is a text on both servers."""
    return {"execution_id": str(execution.execution_id), "status": "started", "commands_generated": 1}


def entry_body(dialect: Dialect, entry: Entry) -> Body:
    """Return a catalog entry."""
    return {
        "catalog_id": dialect.identifier(entry.catalog_id),
        "path": entry.path,
        "version": entry.version,
        "kind": entry.playbook.kind,
        "content": entry.content,
        "layout": None,
        "payload": entry.playbook.document,
        "meta": {"name": entry.playbook.name, "description": entry.playbook.description},
        "created_at": rfc3339(entry.created_at),
    }


def registered(dialect: Dialect, entry: Entry) -> Body:
    """Return the response to a registration."""
    return {
        "status": "success",
        "message": f"Resource '{entry.path}' version '{entry.version}' registered.",
        "path": entry.path,
        "version": entry.version,
        "catalog_id": dialect.identifier(entry.catalog_id),
        "kind": entry.playbook.kind,
    }


class PythonDialect:
    """The format of the Python server 4.26: ids are texts, errors are in `detail`."""

    name = "python"
    version = "4.26.0"

    def identifier(self, value: int) -> int | str:
        return str(value)

    def error(self, error: ApiError) -> Body:
        if error.problem is None:
            return {"detail": error.message}
        problem = error.problem
        return {"detail": [{"type": problem.type, "loc": list(problem.loc), "msg": problem.msg}]}

    def playbook_missing(self, path: str) -> str:
        return f"Executable catalog entry not found: {path}"

    def execution_missing(self, execution_id: str, bare: bool) -> str:
        return "Execution not found" if bare else f"Execution {execution_id} not found"

    def health(self, uptime: float) -> Body:
        return {"status": "ok"}

    def status(self, execution: Execution) -> Body:
        return {
            "execution_id": str(execution.execution_id),
            "current_step": execution.current_step,
            "completed_steps": list(execution.completed_steps),
            "failed": execution.status is Status.FAILED,
            "completed": execution.status in (Status.COMPLETED, Status.CANCELLED),
            "completion_inferred": False,
            "variables": execution.variables,
            "start_time": rfc3339(execution.started),
            "end_time": rfc3339(execution.ended),
            "duration_seconds": round(execution.seconds, 3),
            "duration_human": _human(execution.seconds),
        }

    def summary(self, execution: Execution) -> Body:
        return {
            "execution_id": str(execution.execution_id),
            "catalog_id": str(execution.entry.catalog_id),
            "path": execution.entry.path,
            "version": execution.entry.version,
            "status": execution.status.value,
            "start_time": rfc3339(execution.started),
            "end_time": rfc3339(execution.ended),
            "duration_seconds": round(execution.seconds, 3),
            "progress": _percent(execution),
            "result": dict(execution.computed) if execution.status is Status.COMPLETED else None,
            "error": execution.error,
            "parent_execution_id": str(execution.parent) if execution.parent is not None else None,
        }

    def detail(self, execution: Execution) -> Body:
        return self.summary(execution)

    def event(self, execution: Execution, event: Event) -> Body:
        return {
            "event_id": str(event.event_id),
            "execution_id": str(execution.execution_id),
            "catalog_id": str(execution.entry.catalog_id),
            **_event(event),
        }

    def cancelled(self, execution: Execution, ended: Sequence[Execution], already: bool) -> Body:
        text = str(execution.execution_id)
        if already:
            word, message = "already_completed", f"Execution {text} is already {execution.status.value}"
        else:
            word, message = "cancelled", f"Cancelled {len(ended)} execution(s)"
        return {
            "status": word,
            "execution_id": text,
            "cancelled_executions": [str(item.execution_id) for item in ended],
            "message": message,
        }


class RustDialect:
    """The format of the Rust server 3.83: ids are numbers, errors are in `error` with their status."""

    name = "rust"
    version = "3.83.0"

    def identifier(self, value: int) -> int | str:
        return value

    def error(self, error: ApiError) -> Body:
        text = error.message
        if error.problem is not None:
            where = ".".join(part for part in error.problem.loc[1:] if isinstance(part, str))
            text = f"{where or 'body'}: {error.problem.msg}"
        return {"error": text, "status": error.status}

    def playbook_missing(self, path: str) -> str:
        return f"Playbook not found: {path}"

    def execution_missing(self, execution_id: str, bare: bool) -> str:
        return f"Execution not found: {execution_id}"

    def health(self, uptime: float) -> Body:
        return {
            "status": "ok",
            "database": "connected",
            "uptime_seconds": int(uptime),
            "version": self.version,
        }

    def status(self, execution: Execution) -> Body:
        failed = execution.status is Status.FAILED
        return {
            "execution_id": execution.execution_id,
            "status": execution.status.value,
            "current_step": execution.current_step,
            "progress": {
                "total_steps": len(execution.entry.playbook.steps),
                "completed_steps": len(execution.completed_steps),
                "running_steps": int(execution.status is Status.RUNNING),
                "failed_steps": int(failed),
            },
            "is_cancelled": execution.status is Status.CANCELLED,
        }

    def summary(self, execution: Execution) -> Body:
        return {
            "execution_id": execution.execution_id,
            "catalog_id": execution.entry.catalog_id,
            "path": execution.entry.path,
            "status": execution.status.value,
            "started_at": rfc3339(execution.started),
            "completed_at": rfc3339(execution.ended),
            "parent_execution_id": execution.parent,
        }

    def detail(self, execution: Execution) -> Body:
        return {**self.summary(execution), "workload": execution.workload}

    def event(self, execution: Execution, event: Event) -> Body:
        return {"event_id": event.event_id, **_event(event)}

    def cancelled(self, execution: Execution, ended: Sequence[Execution], already: bool) -> Body:
        if already:
            raise ApiError(422, f"Execution is already {execution.status.value}")
        return {
            "execution_id": execution.execution_id,
            "status": execution.status.value,
            "message": "Execution cancelled",
        }


DIALECTS: dict[str, Dialect] = {"python": PythonDialect(), "rust": RustDialect()}


def _event(event: Event) -> Body:
    return {
        "event_type": event.event_type,
        "node_name": event.node_name,
        "status": event.status,
        "created_at": rfc3339(event.created_at),
        **event.data,
    }


def _human(seconds: float) -> str:
    return f"{int(seconds // 60)}m {int(seconds % 60)}s" if seconds >= 60 else f"{seconds:.1f}s"


def _percent(execution: Execution) -> int:
    if execution.status is Status.COMPLETED:
        return 100
    return min(99, 100 * len(execution.completed_steps) // len(execution.entry.playbook.steps))
