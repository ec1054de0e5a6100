"""The events of an execution, as the engine and the workers of the Python server record them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from mock_noetl.playbook import Step
from mock_noetl.runs import (
    BROKEN,
    CANCELLED,
    DONE,
    INIT,
    OK,
    PROCESSED,
    RAISED,
    STARTED,
    Followed,
    Moment,
    Outcome,
    Run,
    known_value,
)
from mock_noetl.template_limits import begin_budget, end_budget
from mock_noetl.templates import rendered
from mock_noetl.values import iso

WORKERS = ("worker-5a1d0b0e", "worker-5a1d0b0f")
_BLOCKED = frozenset(
    [
        "_ref",
        "_preview",
        "_size_bytes",
        "_store",
        "_store_failed",
        "_store_error",
        "_inline",
        "_internal_data",
        "data",
        "response",
        "result",
        "payload",
        "rows",
        "columns",
    ]
)
_STEP_MICROSECONDS = 40e-6
_COMMANDS = 1 << 21
Event = dict[str, Any]


def events_of(run: Run) -> list[Event]:
    """Return the events of an execution, oldest first, with ids as numbers and times in seconds."""
    begin_budget()
    try:
        return _Recorder(run).events()
    finally:
        end_budget()


def control_context(value: Any) -> dict[str, Any]:
    """Return what of a result stands in events: no lists, and of mappings only what is neither."""
    if not isinstance(value, dict):
        return {}
    found: dict[str, Any] = {}
    for name, child in value.items():
        if name in _BLOCKED or (name.startswith("command_") and name != "command_id"):
            continue
        if isinstance(child, dict):
            nested = {key: item for key, item in child.items() if not isinstance(item, dict | list)}
            if nested:
                found[name] = nested
        elif not isinstance(child, list):
            found[name] = child
    return found


class _Recorder:
    """Makes the events of one execution."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._events: list[Event] = []
        self._at = run.started
        self._issued: dict[int, int] = {}
        self._commands = 0
        self._batches = 0
        self._variables: dict[str, Any] = dict(run.given)
        self._outcome: Outcome | None = None

    def events(self) -> list[Event]:
        makers = {INIT: self._init, STARTED: self._started, DONE: self._done, PROCESSED: self._processed}
        for moment in self._run.moments:
            self._at = max(self._at, moment.at)
            if moment.code == CANCELLED:
                self._cancelled(moment)
            elif moment.code in makers:
                makers[moment.code](moment)
        return self._events

    def _add(self, kind: str, node: str | None, status: str, **more: Any) -> int:
        event_id = self._run.run_id + 1 + len(self._events)
        self._at += _STEP_MICROSECONDS
        self._events.append({
            "event_id": event_id, "event_type": kind, "node_id": node, "node_name": node, "status": status,
            "created_at": self._at, "context": None, "result": None, "error": None, "catalog_id":
            self._run.entry.catalog_id, "parent_execution_id": None, "parent_event_id": None, "duration": None, **more,
        })  # fmt: skip
        return event_id

    def _init(self, moment: Moment) -> None:
        path, given = self._run.entry.path, self._run.given
        about = {"status": "initialized", "error": None, "final_step": None}
        more = {"duration": 0.0, "parent_execution_id": self._run.parent}
        result = {"workload": given, "playbook_path": path}
        first = self._add("playbook.initialized", path, "initialized", context={**about, "result": result}, **more)
        result = {"first_step": self._run.name(moment.step), **result}
        context = {**about, "result": result}
        self._add("workflow.initialized", "workflow", "initialized", context=context, parent_event_id=first, **more)
        if moment.step >= 0:
            self._issue(moment.step, first, self._run.parent)

    def _issue(self, number: int, parent: int, parent_execution_id: int | None = None) -> None:
        self._commands += 1
        self._issued[number] = self._run.run_id + _COMMANDS + self._commands
        program = self._run.entry.program
        assert program is not None  # noqa: S101 - a run without a program issues nothing
        context = self._command(program.steps[number], first=self._commands == 1)
        more = {"parent_event_id": parent, "parent_execution_id": parent_execution_id}
        self._add("command.issued", program.steps[number].name, "PENDING", context=context, **more)

    def _command(self, step: Step, *, first: bool) -> dict[str, Any]:
        """Return what a worker is given for a step."""
        run, known = self._run, dict(self._variables)
        identity = str(run.run_id)
        about = {"id": identity, "uuid": identity, "execution_id": identity}
        event = {"name": "command_creation", "step": step.name, "payload": {}, "timestamp": iso(self._at, "")}
        output = {"ref": None, "data": None, "error": None, "status": "ok"}
        scope = {**known, "workload": known, "ctx": known, "job": about, "execution_id": identity}
        context = {**scope, "iter": {}, "event": event, "output": output, "catalog_id": str(run.entry.catalog_id)}
        tool = {name: value for name, value in step.tool.items() if name != "kind"}
        config = {"spec": None, "output": None, **tool}
        if isinstance(tool.get("input"), dict):
            config["input"] = {**rendered(tool["input"], scope)}
        defaults: Mapping[str, Any] = run.entry.program.workload if run.entry.program else {}
        given = run.given
        request = {k: v for k, v in given.items() if k not in defaults or defaults[k] != v} if first else {}
        return {
            "spec": {"next_mode": "exclusive"}, "input": request, "tool_config": config, "render_context": context,
        }  # fmt: skip

    # Batches of events, which a worker posts

    def _batch(self, count: int) -> str:
        self._batches += 1
        request = str(self._run.run_id + 2 * _COMMANDS - self._batches)
        ids = [self._run.run_id + 2 + len(self._events) + number for number in range(count)]
        context = {"event_ids": ids, "request_id": request, "commands_generated": 0}
        self._add("batch.accepted", "events.batch", "PENDING", result={"status": "PENDING", "context": context})
        return request

    def _processing(self, request: str, count: int) -> None:
        context = {"request_id": request, "event_count": count, "queue_wait_ms": 0.1}
        self._add("batch.processing", "events.batch", "RUNNING", result={"status": "RUNNING", "context": context})

    def _completed(self, request: str, generated: int | None, *, ended: bool = False) -> None:
        """Add the end of a batch; `generated`: how many commands it has brought, None for one that brings none."""
        context: dict[str, Any] = {"request_id": request, "processing_ms": 1.5, "actionable_event": False,
                                   "issue_commands_ms": 0.0, "commands_generated": 0}  # fmt: skip
        if generated is not None:
            context |= dict.fromkeys((
                "commit_ms", "save_state_ms", "state_load_ms", "transaction_ms", "engine_total_ms", "lock_acquire_ms",
                "pool_checkout_ms"), 0.2)  # fmt: skip
            context |= {"save_state_ms_calls": 1, "save_state_coalesced_count": 0}
            context |= {"actionable_event": True, "commands_generated": generated}
        if ended:
            context |= {"persist_event_compat_ms": 0.5, "persist_event_compat_ms_calls": 2}
        self._add("batch.completed", "events.batch", "COMPLETED", result={"status": "COMPLETED", "context": context})

    def _started(self, moment: Moment) -> None:
        name, command = self._run.name(moment.step), self._issued.get(moment.step, 0)
        result = {"status": "RUNNING", "context": {"command_id": command}}
        self._add("command.claimed", name, "RUNNING", result=result)
        request = self._batch(2)
        context = {"worker_id": WORKERS[0], "command_id": command}
        self._add("command.started", name, "RUNNING", result={"status": "RUNNING", "context": context})
        result = {"status": "RUNNING", "context": {"status": "started"}}
        self._add("step.enter", name, "RUNNING", result=result)
        self._processing(request, 2)
        self._completed(request, None)

    def _done(self, moment: Moment) -> None:
        outcome: Outcome = moment.data
        self._outcome = outcome
        name, command = self._run.name(moment.step), {"command_id": self._issued.get(moment.step, 0)}
        self._batch(3)
        worker = {"worker_id": WORKERS[0]}
        if outcome.kind == OK:
            context = control_context(outcome.value) or {"status": "COMPLETED"}
            result = {"status": "COMPLETED", "context": {**context, **command}}
            self._add("call.done", name, "COMPLETED", result=result)
            self._add("step.exit", name, "COMPLETED", result=result)
            self._add("command.completed", name, "COMPLETED",
                      result={"status": "COMPLETED", "context": {**context, **worker, **command}})  # fmt: skip
            self._know(name, outcome)
            return
        failed = self._failed(outcome)
        context = failed or {"status": "FAILED"}
        shown = {"status": "FAILED", "context": context | command if failed else context}
        more = {"error": outcome.error}
        self._add("call.error", name, "FAILED", result=shown, **more)
        self._add("step.exit", name, "COMPLETED", result={"status": "FAILED", "context": context | command}, **more)
        result = {"status": "FAILED", "context": context | command | worker}
        self._add("command.failed", name, "FAILED", result=result, **more)

    def _know(self, name: str, outcome: Outcome) -> None:
        known = known_value(outcome.value)
        if known is not None:
            self._variables[name] = known[0]
        if outcome.sets:
            self._variables.update(outcome.sets)

    def _failed(self, outcome: Outcome) -> dict[str, Any]:
        """Return what stands in the events of a step that has failed; empty for a tool that can't run."""
        if outcome.kind == BROKEN:
            return {}
        found = control_context(outcome.value) or {"error": outcome.error, "status": "error"}
        if outcome.kind == RAISED:
            found["id"] = str(uuid.UUID(int=self._run.run_id << 32 | len(self._events)))
        return found

    def _processed(self, moment: Moment) -> None:
        followed: Followed = moment.data
        request = str(self._run.run_id + 2 * _COMMANDS - self._batches)
        self._processing(request, 3)
        parent = self._run.run_id + len(self._events)
        for number in followed.steps:
            self._issue(number, parent)
        if followed.end is not None:
            self._end(followed.end, self._run.name(moment.step), parent)
        self._completed(request, len(followed.steps), ended=followed.end is not None)

    def _end(self, end: str, step: str, parent: int) -> None:
        outcome = self._outcome or Outcome(OK)
        word = end.lower()
        if outcome.kind == OK:
            result: dict[str, Any] = {"status": "COMPLETED", "context": control_context(outcome.value)}
        else:
            result = {"status": "FAILED", "context": self._failed(outcome)}
        if not result["context"]:
            del result["context"]
        context = {"error": outcome.error, "result": result, "status": word, "final_step": step}
        more = {"context": context, "result": result, "error": outcome.error, "duration": 0.0}
        self._add(f"workflow.{word}", "workflow", word, parent_event_id=parent, **more)
        self._add(f"playbook.{word}", self._run.entry.path, word, parent_event_id=parent, **more)

    def _cancelled(self, moment: Moment) -> None:
        if isinstance(moment.data, dict):
            self._add("execution.cancelled", None, "CANCELLED", context=moment.data)
        else:
            self._add("execution.cancelled", "cancel", "CANCELLED")
