"""The response formats of the Python and the Rust server. Pure: from values to JSON data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from mock_noetl.catalog import Entry
from mock_noetl.engine import Event, Execution, Status
from mock_noetl.errors import ApiError
from mock_noetl.values import rfc3339

Body = dict[str, Any]
MAX_EVENTS = 2_000
"""How many events the Rust server sends with an execution."""


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
    def listed(self, execution: Execution) -> Body: ...
    def events(self, execution: Execution) -> list[Body]: ...
    def entry(self, entry: Entry) -> Body: ...
    def cancelled(self, execution: Execution, ended: Sequence[Execution], already: bool) -> Body: ...


def started(execution: Execution) -> Body:
    """Return the response to execute and rerun; the id is a text on both servers."""
    return {"execution_id": str(execution.execution_id), "status": "started", "commands_generated": 1}


def _entry(entry: Entry, payload: Any, meta: Any) -> Body:
    return {
        "catalog_id": str(entry.catalog_id),
        "path": entry.path,
        "version": entry.version,
        "kind": entry.playbook.kind,
        "content": entry.content,
        "layout": None,
        "payload": payload,
        "meta": meta,
        "created_at": rfc3339(entry.created_at),
    }


def registered(entry: Entry) -> Body:
    """Return the response to a registration."""
    return {
        "status": "success",
        "message": f"Resource '{entry.path}' version '{entry.version}' registered.",
        "path": entry.path,
        "version": entry.version,
        "catalog_id": str(entry.catalog_id),
        "kind": entry.playbook.kind,
    }


class PythonDialect:
    """The format of the Python server 4.26: ids are texts, errors are in `detail`.

    With its traps: it claims an end between two steps and from the first failed step on, records none for a run of one
    step, and lists completed steps in no order, with the failed ones.
    """

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
        has_failed = execution.has_failed or execution.status is Status.FAILED
        inferred = not has_failed and (execution.between or _has_no_end(execution))
        ended = execution.status in (Status.COMPLETED, Status.CANCELLED) and not has_failed
        names = {event.node_name for event in execution.events if event.event_type in _STEP_ENDS}
        end = execution.ended or (execution.events[-1].created_at if inferred or has_failed else None)
        return {
            "execution_id": str(execution.execution_id),
            "current_step": execution.current_step,
            "completed_steps": sorted(names, reverse=True),
            "failed": has_failed and execution.status is not Status.CANCELLED,
            "completed": inferred or ended or execution.status is Status.CANCELLED,
            "completion_inferred": inferred,
            "variables": {**execution.variables, **_with_context(execution)},
            "start_time": rfc3339(execution.started),
            "end_time": rfc3339(end),
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
            "duration_human": _human(execution.seconds),
            "progress": _percent(execution),
            "result": None,
            "error": execution.error,
            "parent_execution_id": str(execution.parent) if execution.parent is not None else None,
        }

    def detail(self, execution: Execution) -> Body:
        return self.summary(execution)

    def listed(self, execution: Execution) -> Body:
        body = self.summary(execution)
        return {**body, "status": "RUNNING", "end_time": None} if _has_no_end(execution) else body

    def events(self, execution: Execution) -> list[Body]:
        """Return the events, newest first."""
        about = {"execution_id": str(execution.execution_id), "catalog_id": str(execution.entry.catalog_id)}
        found = []
        for event in execution.events:
            if event.event_type == "playbook.completed" and _has_no_end(execution):
                continue
            for place, (kind, status, data) in enumerate(_as_python(event)):
                body = _event(event, 4 * event.event_id + place, kind, status)
                more = {"node_id": body["node_name"], "timestamp": body["created_at"]}
                found.append({**body, **more, **about, "context": None, "result": None, "error": None, **data})
        return found[::-1]

    def entry(self, entry: Entry) -> Body:
        is_agent = entry.playbook.kind.lower() == "agent"
        meta = {"agent": is_agent, "capabilities": [], "registered_at": rfc3339(entry.created_at)}
        return _entry(entry, entry.playbook.document, meta)

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

    def _status(self, execution: Execution) -> str:
        """Return the status: a run in which a script raised has completed, all the same."""
        raised = execution.has_failed and execution.status is Status.FAILED and execution.error is None
        return Status.COMPLETED.value if raised else execution.status.value

    def status(self, execution: Execution) -> Body:
        failed = self._status(execution) == Status.FAILED.value
        return {
            "execution_id": execution.execution_id,
            "status": self._status(execution),
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
            "status": self._status(execution),
            "started_at": rfc3339(execution.started),
            "completed_at": rfc3339(execution.ended),
            "parent_execution_id": execution.parent,
        }

    def detail(self, execution: Execution) -> Body:
        return {**self.summary(execution), "workload": execution.workload}

    def listed(self, execution: Execution) -> Body:
        last = execution.ended or execution.events[-1].created_at
        return {**self.summary(execution), "completed_at": rfc3339(last)}

    def events(self, execution: Execution) -> list[Body]:
        """Return the newest events, in no certain order."""
        found = []
        for event in execution.events:
            for place, (kind, status, result) in enumerate(_as_rust(event)):
                body = _event(event, 4 * event.event_id + place, kind, status)
                found.append({**body, "result": result, "error": None})
        found = found[-MAX_EVENTS:]
        return found[1:] + found[:1]

    def entry(self, entry: Entry) -> Body:
        return _entry(entry, dict(entry.playbook.workload), None)

    def cancelled(self, execution: Execution, ended: Sequence[Execution], already: bool) -> Body:
        if already:
            raise ApiError(422, f"Execution is already {execution.status.value}")
        return {
            "execution_id": execution.execution_id,
            "status": "cancelled",
            "message": "Execution cancelled",
        }


DIALECTS: dict[str, Dialect] = {"python": PythonDialect(), "rust": RustDialect()}


def _event(event: Event, event_id: int, kind: str, status: str) -> Body:
    return {
        "event_id": event_id,
        "event_type": kind,
        "node_name": event.node_name,
        "status": status,
        "created_at": rfc3339(event.created_at),
    }


Recorded = tuple[str, str, Body]
_STEP_ENDS = ("returned", "raised", "failed")


def _has_no_end(execution: Execution) -> bool:
    """Return whether the Python server records no end for an execution: it had one step, and completed."""
    return execution.status is Status.COMPLETED and len(execution.entry.playbook.steps) == 1


def _with_context(execution: Execution) -> Body:
    return {step: {**result, "context": result} for step, result in execution.returned.items() if result}


def _as_python(event: Event) -> list[Recorded]:
    """Return an event as the Python server records it. Results have no lists and objects, but an envelope."""
    data = event.data
    if event.event_type == "playbook.initialized":
        return [(event.event_type, event.status, {"context": {"result": {"workload": data["workload"]}}})]
    if event.event_type == "returned":
        kept = {name: value for name, value in data["result"].items() if not isinstance(value, list | dict)}
        result = {"result": {"status": "COMPLETED", "context": {**kept, "command_id": event.event_id}}}
        kinds = ("call.done", "step.exit", "command.completed")
        return [*((kind, "COMPLETED", result) for kind in kinds), ("batch.accepted", "PENDING", {})]
    if event.event_type in ("raised", "failed"):
        context = {"error": data["error"], "status": "error", "command_id": event.event_id}
        failed = {"error": data["error"], "result": {"status": "FAILED", "context": context}}
        ends = (("call.error", "FAILED"), ("step.exit", "COMPLETED"), ("command.failed", "FAILED"))
        return [*((kind, status, failed) for kind, status in ends), ("batch.accepted", "PENDING", {})]
    return [(event.event_type, event.status, dict(data))]


def _as_rust(event: Event) -> list[tuple[str, str, Any]]:
    """Return an event as the Rust server records it, with the result of the tool in two envelopes."""
    kind, data = event.event_type, event.data
    renamed = {"playbook.initialized": "playbook_started", "execution.cancelled": "playbook_cancelled"}
    if kind in ("returned", "raised"):
        word = "success" if kind == "returned" else "error"
        of_tool = {"status": word, "data": data.get("result"), "stdout": "", "stderr": ""}
        if kind == "raised":
            of_tool |= {
                "error": "Python script exited with code 1",
                "stderr": f"Traceback\nValueError: {data['error']}\n",
            }
        context = {"call_index": 0, "command_id": event.event_id, "result": {"status": word, "context": of_tool}}
        done = {"status": "COMPLETED", "context": context}
        return [("call.done", "COMPLETED", done), ("command.completed", word, {"status": word})]
    if kind == "failed":
        result = {"status": "FAILED", "context": {"error": data["error"], "command_id": event.event_id}}
        return [("call.error", "FAILED", result), ("command.failed", "FAILED", result)]
    if kind == "batch.completed":
        return []
    return [(renamed.get(kind, kind), event.status, {"status": event.status})]


def _human(seconds: float) -> str:
    return f"{int(seconds // 60)}m {int(seconds % 60)}s" if seconds >= 60 else f"{seconds:.1f}s"


def _percent(execution: Execution) -> int:
    if execution.status is Status.COMPLETED:
        return 100
    return min(99, 100 * len(execution.completed_steps) // len(execution.entry.playbook.steps))
