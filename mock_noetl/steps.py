"""What the steps of each kind do: the tool `sandbox`, Python, child executions, and tools that are not run here."""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from mock_noetl.accounts import access_by_playbook, login_by_playbook, validate_by_playbook
from mock_noetl.catalog import Entry
from mock_noetl.code import Runner
from mock_noetl.errors import FullError
from mock_noetl.playbook import Step
from mock_noetl.runs import BROKEN, OK, RAISED, SOFT, Active, Outcome, Run, scope_of
from mock_noetl.template_limits import TemplateFailed
from mock_noetl.templates import Scope, compiled, holds, rendered
from mock_noetl.tool import Callback, Sandbox
from mock_noetl.values import plain
from mock_server.durations import seconds

if TYPE_CHECKING:
    from mock_noetl.engine import Engine

_ACCOUNTS = {"login": login_by_playbook, "validate": validate_by_playbook, "check_access": access_by_playbook}
_CONTAINER = (
    "Container execution is not yet implemented in Core worker. This feature requires Kubernetes Job creation and "
    "monitoring. Please use Python/HTTP tools or submit a feature request."
)
MAX_LATE = 1_000
Done = Callable[[Outcome], None]
_log = logging.getLogger("mock_noetl")


class Steps:
    """Runs steps, each by its kind."""

    def __init__(self, engine: Engine, runner: Runner, find: Callable[[str], Entry | None]) -> None:
        self._engine = engine
        self._runner = runner
        self._find = find
        self._late: set[asyncio.Task[None]] = set()

    def run(self, run: Run, active: Active, step: Step, done: Done) -> None:
        """Run a step, and call `done` with its outcome."""
        if step.loop is not None:
            active.variables["iter"] = _first_item(step.loop, scope_of(run, active))
        if step.sandbox is not None:
            self._sandbox(run, active, step.sandbox, done)
        elif step.kind == "python":
            self._engine.spawn(active, self._python(run, active, step), done)
        elif step.kind == "playbook":
            self._child(run, active, step, done)
        elif step.kind == "noop" and self._engine.style == "python":
            done(self._with_sets(run, active, step, Outcome(OK, {"status": "noop", "step": step.name})))
        elif step.kind == "container":
            is_python = self._engine.style == "python"
            done(Outcome(BROKEN, error=_CONTAINER if is_python else "Tool 'container' is not in this worker"))
        else:
            done(Outcome(OK, not_run(step.kind)))

    def forget_late(self) -> None:
        """Drop the callbacks that are held back."""
        for task in self._late:
            task.cancel()

    # The tool `sandbox`

    def _sandbox(self, run: Run, active: Active, tool: Sandbox, done: Done) -> None:
        try:
            if isinstance(tool.duration, str):
                duration = seconds(compiled(tool.duration)(scope_of(run, active)))
            else:
                duration = tool.duration.draw(active.source)
        except (TemplateFailed, ValueError) as error:
            done(Outcome(BROKEN, error=str(error)))
            return
        if duration:
            self._engine.after(active, duration, self._acts, run, active, tool, done)
        else:
            self._acts(run, active, tool, done)

    def _acts(self, run: Run, active: Active, tool: Sandbox, done: Done) -> None:
        """Fail, or compute the values, use the accounts and call back."""
        try:
            scope = scope_of(run, active)
            if tool.fails is not None and _fails(tool, scope, active.source):
                text = str(compiled(tool.fails)(scope))
                done(Outcome(BROKEN, error=text) if tool.broken else _raised(text))
                return
            values = {name: plain(_strict(value, scope)) for name, value in (tool.values or {}).items()}
        except (TemplateFailed, ValueError) as error:
            done(Outcome(BROKEN, error=str(error)))
            return
        result = dict(values)
        if tool.accounts is not None:
            active.answer = _ACCOUNTS[tool.accounts](self._engine.accounts, run.given)
            result["answer"] = active.answer[0]
        if tool.callback is None:
            done(Outcome(OK, result, sets=values or None))
        else:
            self._engine.spawn(active, self._call_back(run, active, tool.callback, result, values), done)

    async def _call_back(
        self, run: Run, active: Active, callback: Callback, result: dict[str, Any], values: Mapping[str, Any]
    ) -> Outcome:
        body = _body(run, active, callback)
        if callback.late is not None:
            wait = callback.late.draw(active.source)
            self._later(wait, lambda: self._post(run.given, callback, body))
            return Outcome(OK, {**result, "callback": {"sent": False, "in_seconds": wait}}, sets=values or None)
        sent = await self._post(run.given, callback, body)
        return Outcome(OK, {**result, "callback": sent}, sets=values or None)

    async def _post(self, given: Mapping[str, Any], callback: Callback, body: Any) -> list[dict[str, Any]]:
        return [await self._engine.callbacks.post(callback.kind, given, body) for _ in range(callback.times)]

    def _later(self, wait: float, work: Callable[[], Awaitable[Any]]) -> None:
        """Do something later, also if the execution has ended by then."""

        async def run() -> None:
            await asyncio.sleep(wait)
            await work()

        if len(self._late) >= MAX_LATE:
            _log.warning("too many callbacks wait; one is dropped")
            return
        task = asyncio.get_running_loop().create_task(run())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    # Python

    async def _python(self, run: Run, active: Active, step: Step) -> Outcome:
        is_python = self._engine.style == "python"
        inputs = step.tool.get("input", step.tool.get("args"))
        given: dict[str, Any] = {}
        if is_python:
            given = dict(rendered(inputs, scope_of(run, active))) if isinstance(inputs, dict) else {}
            given.update(active.request)
            names: Mapping[str, Any] = active.variables
        else:
            names = {**run.given, "workload": run.given}
        ran = await self._runner.run(step.code, names, given)
        if is_python:
            return self._of_python(run, active, step, ran.value, ran.error)
        kind = RAISED if ran.exit_code else OK
        value = ran.value if ran.value is not None else {"stdout": ran.stdout, "stderr": ran.stderr}
        error = f"Python script exited with code {ran.exit_code}" if ran.exit_code else None
        return Outcome(kind, value, error, None, ran.stdout, ran.stderr, ran.exit_code)

    def _of_python(self, run: Run, active: Active, step: Step, value: Any, error: str | None) -> Outcome:
        if error is not None:
            return Outcome(RAISED, error=error)
        if isinstance(value, dict) and value.get("status") == "error":
            return Outcome(SOFT, value, str(value.get("error")))
        return self._with_sets(run, active, step, Outcome(OK, value))

    def _with_sets(self, run: Run, active: Active, step: Step, outcome: Outcome) -> Outcome:
        """Add the variables that a step sets from its result."""
        if not step.sets:
            return outcome
        output = {"data": outcome.value, "status": "ok", "error": None, "ref": None}
        scope = {**scope_of(run, active), "output": output}
        sets = {str(name).removeprefix("ctx."): rendered(value, scope) for name, value in step.sets.items()}
        return outcome._replace(sets=sets)

    # Child executions

    def _child(self, run: Run, active: Active, step: Step, done: Done) -> None:
        path = step.tool.get("path")
        entry = self._find(str(path))
        if entry is None or entry.program is None:
            done(Outcome(BROKEN, error=f"Playbook not found: {path}"))
            return
        given = rendered(step.tool.get("input") or step.tool.get("args") or {}, scope_of(run, active))
        try:
            given = given if isinstance(given, dict) else {}
            child = self._engine.start(entry, given, run.run_id, active.source)
        except FullError as error:
            done(Outcome(BROKEN, error=str(error)))
            return
        assert child.active is not None  # noqa: S101 - it has just started

        def ended() -> None:
            if run.active is not active:
                return
            result = {"id": str(uuid.UUID(int=child.run_id)), "execution_id": str(child.run_id), "status": "success"}
            if child.verdict in ("FAILED", "CANCELLED"):
                error = child.error or f"the child execution is {child.verdict}"
                done(Outcome(BROKEN, {**result, "status": "error"}, error))
            else:
                done(Outcome(OK, {**result, "duration": round(self._engine.clock.now() - child.started, 6)}))

        child.active.on_end.append(ended)


def not_run(kind: str) -> dict[str, Any]:
    """Return the result of a step whose tool this server does not have."""
    message = f"mock_noetl does not run steps of kind {kind}: nothing was done"
    return {"status": "not_run", "tool": kind, "message": message}


def _first_item(loop: tuple[Any, str], scope: Scope) -> dict[str, Any]:
    """Return what `iter` is: the first item of a loop by its name; empty if there is none."""
    items = rendered(loop[0], scope)
    return {loop[1]: items[0]} if isinstance(items, list | tuple) and items else {}


def _fails(tool: Sandbox, scope: Scope, source: random.Random) -> bool:
    if tool.fail_if is not None and not holds(tool.fail_if, scope):
        return False
    return tool.probability >= 1 or source.random() < tool.probability


def _raised(text: str) -> Outcome:
    return Outcome(RAISED, None, text, None, "", f"Traceback (most recent call last):\nValueError: {text}\n", 1)


def _strict(value: Any, scope: Scope) -> Any:
    """Return JSON data with its templates evaluated. Raises TemplateFailed for one without a value."""
    if isinstance(value, str):
        return compiled(value)(scope)
    if isinstance(value, dict):
        return {name: _strict(item, scope) for name, item in value.items()}
    if isinstance(value, list):
        return [_strict(item, scope) for item in value]
    return value


def _body(run: Run, active: Active, callback: Callback) -> Any:
    if callback.body is not None:
        return callback.body
    if callback.kind == "auth":
        return {"status": active.answer[0], "data": active.answer[1]}
    if callback.kind == "progress":
        step = run.name(run.last.step)
        return {"step": step, "message": callback.message, "progress": callback.progress}
    computed: dict[str, Any] = {}
    for moment in run.moments:
        if isinstance(moment.data, Outcome) and moment.data.sets:
            computed.update(moment.data.sets)
    return {"execution_id": str(run.run_id), "status": "COMPLETED", "data": computed}
