"""The engine, which runs playbooks: one asyncio task and one record per execution, and a limit on their number."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from mock_noetl.accounts import Accounts, access_by_playbook, login_by_playbook, validate_by_playbook
from mock_noetl.callbacks import Callbacks
from mock_noetl.catalog import Entry
from mock_noetl.errors import ApiError
from mock_noetl.expressions import Expression, ExpressionError, render
from mock_noetl.playbook import Callback, Step
from mock_noetl.values import IdSource, now, parse_duration, plain

_ACCOUNTS = {"login": login_by_playbook, "validate": validate_by_playbook, "check_access": access_by_playbook}
MAX_KEPT = 10_000
MAX_STEPS_RUN = 1_000
BETWEEN_SECONDS = 0.02


class Status(Enum):
    """The state of an execution; both servers use these values."""

    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True)
class Event:
    """An event of an execution.

    Args:
        event_id: the id.
        event_type: the type. `returned`, `raised` and `failed` are ends of steps, which servers record as several.
        node_name: the step.
        status: the state of the step.
        created_at: the time.
        data: what is particular to the type: the workload, the value that a step returned, or its error.
    """

    event_id: int
    event_type: str
    node_name: str
    status: str
    created_at: datetime
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Execution:
    """The record of an execution; only the engine changes it.

    Args:
        execution_id: the id.
        entry: the version of the playbook.
        workload: the variables at the start.
        parent: the id of the parent execution, or None.
        started: the time of the start.
        status: the state.
        ended: the time of the end, or None.
        current_step: the name of the step that is running, or None.
        completed_steps: the names of the completed steps.
        computed: the variables that steps have set.
        returned: what each step has returned.
        has_failed: a step has failed, although the run may go on.
        between: the run is between two steps.
        answer: the status and the data that the last `accounts` step gave.
        error: the error, or None.
        events: the events so far.
        task: the task that runs it.
    """

    execution_id: int
    entry: Entry
    workload: Mapping[str, Any]
    parent: int | None
    started: datetime
    status: Status = Status.RUNNING
    ended: datetime | None = None
    current_step: str | None = None
    completed_steps: list[str] = field(default_factory=list)
    computed: dict[str, Any] = field(default_factory=dict)
    returned: dict[str, dict[str, Any]] = field(default_factory=dict)
    has_failed: bool = False
    between: bool = False
    answer: tuple[str, dict[str, Any]] = ("error", {"message": "no accounts step has run"})
    error: str | None = None
    events: list[Event] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    @property
    def variables(self) -> dict[str, Any]:
        return {**self.workload, **self.computed}

    @property
    def seconds(self) -> float:
        return max(0.0, ((self.ended or now()) - self.started).total_seconds())


class StepFailedError(Exception):
    """A step failed: its playbook defines a failure, or an expression has no value."""


class Engine:
    """The executions of one server."""

    def __init__(
        self,
        ids: IdSource,
        max_kept: int = MAX_KEPT,
        between: float = BETWEEN_SECONDS,
        accounts: Accounts | None = None,
        callbacks: Callbacks | None = None,
    ) -> None:
        """Keep at most `max_kept` executions, and wait `between` seconds between two steps."""
        self._ids = ids
        self.accounts = accounts or Accounts([], [])
        self._callbacks = callbacks or Callbacks()
        self._max_kept = max_kept
        self._between = between
        self._executions: dict[int, Execution] = {}

    def start(self, entry: Entry, workload: Mapping[str, Any], parent: int | None = None) -> Execution:
        """Start an execution; `workload` overrides the defaults. Raises ApiError 503 if too many are running."""
        self._make_room()
        merged = {**entry.playbook.workload, **workload}
        execution = Execution(self._ids.next(), entry, merged, parent, now())
        self._executions[execution.execution_id] = execution
        self._record(execution, "playbook.initialized", entry.path, "initialized", workload=merged)
        self._record(execution, "command.issued", entry.playbook.first.name, "PENDING")
        execution.task = asyncio.get_running_loop().create_task(self._run(execution))
        return execution

    def get(self, execution_id: int) -> Execution | None:
        return self._executions.get(execution_id)

    def newest_first(self) -> Iterable[Execution]:
        return reversed(self._executions.values())

    def cancel(self, execution: Execution, reason: str | None = None) -> bool:
        """Cancel an execution; return False if it is cancelled already. One that has ended is changed, too."""
        if execution.status is Status.CANCELLED:
            return False
        if execution.task is not None:
            execution.task.cancel()
        text = reason or "Cancelled by request"
        execution.between = False
        self._end(execution, Status.CANCELLED, "execution.cancelled", error=text)
        return True

    def with_children(self, execution: Execution) -> list[Execution]:
        """Return an execution and all its descendants."""
        family = [execution]
        for member in family:
            family.extend(e for e in self._executions.values() if e.parent == member.execution_id)
        return family

    async def close(self) -> None:
        """Stop every task; the records of running executions stay unchanged."""
        tasks = [e.task for e in self._executions.values() if e.task is not None and not e.task.done()]
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._callbacks.close()

    def _make_room(self) -> None:
        if len(self._executions) < self._max_kept:
            return
        ended = (e for e in self._executions.values() if e.status is not Status.RUNNING)
        oldest = next(ended, None)
        if oldest is None:
            raise ApiError(503, "Too many executions are running")
        del self._executions[oldest.execution_id]

    async def _run(self, execution: Execution) -> None:
        step: Step | None = execution.entry.playbook.first
        try:
            for _ in range(MAX_STEPS_RUN):
                if step is None:
                    break
                await self._run_step(execution, step)
                step = _following(execution, step)
                execution.between = step is not None
                await asyncio.sleep(self._between)
                execution.between = False
                if step is not None:
                    self._record(execution, "command.issued", step.name, "PENDING")
                    self._record(execution, "batch.completed", "events.batch", "COMPLETED")
            else:
                raise StepFailedError(f"more than {MAX_STEPS_RUN} steps")
        except (StepFailedError, ExpressionError, ValueError) as error:
            self._fail(execution, str(error))
            return
        if execution.has_failed:
            self._end(execution, Status.FAILED, "playbook.failed")
        else:
            self._end(execution, Status.COMPLETED, "playbook.completed")

    async def _run_step(self, execution: Execution, step: Step) -> None:
        execution.current_step = step.name
        self._record(execution, "step.enter", step.name, "RUNNING")
        action = step.action
        await asyncio.sleep(parse_duration(render(action.duration, _scope(execution))))
        if action.fail is not None and (action.fail_if is None or action.fail_if.evaluate(_scope(execution))):
            raise StepFailedError(render(action.fail, _scope(execution)))
        if action.raises is not None:
            execution.has_failed = True
            self._record(execution, "raised", step.name, "FAILED", error=render(action.raises, _scope(execution)))
            return
        result: dict[str, Any] = {}
        for name, value in action.values:
            scope = _scope(execution)
            result[name] = plain(value.evaluate(scope) if isinstance(value, Expression) else value)
            execution.computed[name] = result[name]
        if action.accounts is not None:
            execution.answer = _ACCOUNTS[action.accounts](self.accounts, execution.workload)
            result["status"] = execution.answer[0]
        if action.callback is not None:
            result["callback"] = await self._call_back(execution, action.callback)
        execution.completed_steps.append(step.name)
        execution.returned[step.name] = result
        self._record(execution, "returned", step.name, "COMPLETED", result=result)

    async def _call_back(self, execution: Execution, callback: Callback) -> list[dict[str, Any]]:
        body: Any = callback.body
        if body is None and callback.kind == "auth":
            body = {"status": execution.answer[0], "data": execution.answer[1]}
        elif body is None and callback.kind == "progress":
            step = execution.current_step
            body = {"step": step, "message": callback.message, "progress": callback.progress}
        elif body is None:
            identity = str(execution.execution_id)
            body = {"execution_id": identity, "status": "COMPLETED", "data": dict(execution.computed)}
        times = range(callback.times)
        return [await self._callbacks.post(callback.kind, execution.workload, body) for _ in times]

    def _fail(self, execution: Execution, text: str) -> None:
        execution.error = text
        step = execution.current_step or execution.entry.path
        self._record(execution, "failed", step, "FAILED", error=text)
        self._end(execution, Status.FAILED, "playbook.failed", error=text)

    def _end(self, execution: Execution, status: Status, event_type: str, **data: Any) -> None:
        execution.status = status
        execution.ended = now()
        self._record(execution, event_type, execution.entry.path, status.value, **data)
        self._record(execution, "batch.completed", "events.batch", "COMPLETED")

    def _record(self, execution: Execution, kind: str, node: str, status: str, **data: Any) -> None:
        execution.events.append(Event(self._ids.next(), kind, node, status, now(), data))


def _scope(execution: Execution) -> dict[str, Any]:
    known = {"workload": execution.workload, "execution_id": str(execution.execution_id)}
    return {**known, **execution.variables}


def _following(execution: Execution, step: Step) -> Step | None:
    """Return the first next step whose condition holds; there are no parallel branches."""
    scope = _scope(execution)
    for arc in step.arcs:
        if arc.when is None or arc.when.evaluate(scope):
            return execution.entry.playbook.step(arc.step)
    return None
