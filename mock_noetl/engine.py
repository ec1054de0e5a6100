"""The engine: runs programs step by step, with timers; only steps that wait for something else have a task.

A step is issued, started, done, and then followed by the next ones. Between done and followed the run waits a moment,
in which the Python server claims that the execution has ended. Runs of closed programs take the same steps, but when
somebody looks at them (see `deferred.py`).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Any

from mock_noetl.accounts import Accounts
from mock_noetl.callbacks import Callbacks
from mock_noetl.catalog import Entry
from mock_noetl.code import END_SECONDS, Runner
from mock_noetl.playbook import Step
from mock_noetl.remembered import MAX_KEPT, MAX_RUN_BYTES, Remembered
from mock_noetl.runs import (
    BROKEN,
    CANCELLED,
    COMPLETED,
    DONE,
    FAILED,
    FINALIZED,
    INIT,
    OK,
    PROCESSED,
    STARTED,
    Active,
    Followed,
    Outcome,
    Run,
    known_value,
    scope_of,
)
from mock_noetl.steps import Steps
from mock_noetl.templates import holds
from mock_noetl.timers import Timers
from mock_noetl.values import IdSource, packed, size_of
from mock_server.clock import Clock
from mock_server.randomness import branch, random_source, seed_of_branch

MAX_STEPS_RUN = 1_000
BETWEEN_SECONDS = 0.02
LATENCY_SECONDS = 0.005
_log = logging.getLogger("mock_noetl")


class Engine:
    """The executions of one server. `style` says which server's rules hold for what follows a step."""

    def __init__(
        self,
        style: str,
        ids: IdSource,
        clock: Clock | None = None,
        source: random.Random | None = None,
        accounts: Accounts | None = None,
        callbacks: Callbacks | None = None,
        find: Callable[[str], Entry | None] = lambda path: None,
        max_kept: int = MAX_KEPT,
        between: float = BETWEEN_SECONDS,
    ) -> None:
        """Keep at most `max_kept` executions, and wait `between` seconds between two steps."""
        self.style = style
        self.accounts = accounts or Accounts([], [])
        self.callbacks = callbacks or Callbacks()
        self.clock = clock or Clock()
        self.executions = Remembered(max_kept, self._begin_deferred, LATENCY_SECONDS + between)
        self._ids = ids
        self._between = between
        self.timers = Timers()
        self._tasks: set[asyncio.Task[None]] = set()
        self._source = branch(source or random_source(None))
        self._steps = Steps(self, Runner(style), find)

    def start(
        self,
        entry: Entry,
        given: Mapping[str, Any],
        parent: int | None = None,
        source: random.Random | None = None,
    ) -> Run:
        """Start an execution.

        Args:
            entry: the playbook.
            given: variables, which override the defaults.
            parent: the id of the parent execution.
            source: the random source of the parent execution that starts it.

        Raises:
            FullError: too many are running.
        """
        program = entry.program
        self.executions.make_room()
        defaults = program.workload if program else {}
        merged = {**defaults, **given} if given else None
        now = self.clock.now()
        if program is not None and program.closed is not None and parent is None:
            return self._defer(entry, merged, now)
        run = Run(self._ids.next(), entry, merged, parent, now, [])
        self.executions.add(run)
        variables = dict(merged if merged is not None else defaults)
        run.active = Active(given, variables, branch(source if source is not None else self._source))
        run.add(INIT, now, program.first if program else -1)
        if given:
            self.executions.grows(run, size_of(given, MAX_RUN_BYTES))
        if program is not None:
            self._issue(run, run.active, program.first)
        return run

    def _defer(self, entry: Entry, merged: Mapping[str, Any] | None, now: float) -> Run:
        workload = packed(merged) if merged is not None else None
        began, seed = monotonic(), seed_of_branch(self._source)
        run = Run(self._ids.next(), entry, workload, None, now, None, began=began, seed=seed)
        self.executions.add(run)
        if workload is not None:
            self.executions.grows(run, len(workload))
        return run

    def _begin_deferred(self, run: Run) -> Active:
        """Begin to compute an execution of a closed program."""
        program, closed = run.entry.program, run.closed
        assert program is not None  # noqa: S101 - it is closed
        assert closed is not None  # noqa: S101
        if run.seed is None and closed.draws:
            run.seed = self._source.getrandbits(64)
        source = random.Random(run.seed) if closed.draws else self._source  # noqa: S311
        run.active = Active({}, dict(run.given), source, closed=True, at=run.began)
        run.log = []
        run.add(INIT, run.started, program.first)
        self._issue(run, run.active, program.first)
        return run.active

    def cancel(self, run: Run, reason: str | None) -> None:
        """Cancel an execution. One that has ended is changed, too, as the Python server does."""
        self._stop(self.executions.seen(run))
        self.executions.settle(run)
        now = self.clock.now()
        run.add(CANCELLED, now, -1, reason)
        run.cancelled = True
        run.verdict, run.verdict_at, run.error = "CANCELLED", now, None
        self._ends(run)

    def finalize(self, run: Run, status: str, error: str | None) -> None:
        """End an execution by force."""
        self._stop(self.executions.seen(run))
        self.executions.settle(run)
        now = self.clock.now()
        run.add(FINALIZED, now, -1, [status, error])
        run.verdict, run.verdict_at, run.error = status, now, error
        run.over = True
        self._ends(run)

    def clear(self) -> None:
        """Forget all executions."""
        self._stop_all()
        self.executions.clear()

    async def close(self) -> None:
        """Stop every execution; the records of those that run stay as they are."""
        self._stop_all()
        self.executions.deferred.clear()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=END_SECONDS)
        await self.callbacks.close()

    # Steps, from one to the next

    def spawn(self, active: Active, work: Awaitable[Outcome], done: Callable[[Outcome], None]) -> None:
        """Run something that waits, and call `done` with its outcome, unless the execution is stopped before."""

        async def run() -> None:
            try:
                outcome = await work
            except Exception as error:
                _log.exception("a step failed")
                outcome = Outcome(BROKEN, error=type(error).__name__)
            active.tasks.discard(task)
            done(outcome)

        task = asyncio.get_running_loop().create_task(run())
        active.tasks.add(task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _issue(self, run: Run, active: Active, number: int) -> None:
        active.steps += 1
        active.executed += 1
        self.after(active, LATENCY_SECONDS, self._begin, run, active, number)

    def after(self, active: Active, seconds: float, call: Callable[..., None], *values: Any) -> None:
        """Call something later, unless the execution is stopped before."""
        if active.closed:
            active.following = (active.at + seconds, call, values)
        else:
            self.timers.after(active, seconds, call, *values)

    def _now(self, run: Run, active: Active) -> float:
        return self.clock.later(run.started, run.began, active.at) if active.closed else self.clock.now()

    def _begin(self, run: Run, active: Active, number: int) -> None:
        program = run.entry.program
        assert program is not None  # noqa: S101 - a run without a program has no steps
        run.add(STARTED, self._now(run, active), number)
        if active.executed > MAX_STEPS_RUN:
            self._done(run, active, number, Outcome(BROKEN, error=f"more than {MAX_STEPS_RUN} steps"))
            return
        self._steps.run(run, active, program.steps[number], lambda found: self._done(run, active, number, found))

    def _done(self, run: Run, active: Active, number: int, outcome: Outcome) -> None:
        now = self._now(run, active)
        if outcome.value is not None:
            size = size_of(outcome.value, MAX_RUN_BYTES)
            self.executions.grows(run, size)
            problem = self.executions.too_large(run)
            if problem:
                self.executions.grows(run, -size)
                outcome = Outcome(BROKEN, error=problem)
                active.executed = MAX_STEPS_RUN + 1  # no step follows
        active.steps -= 1
        if outcome.kind == OK:
            name = run.name(number)
            known = known_value(outcome.value)
            if known is not None:
                active.variables[name] = known[0]
            if outcome.sets:
                active.variables.update(outcome.sets)
        else:
            run.failed = True
            if self.style == "python" or outcome.kind == BROKEN:
                run.verdict, run.verdict_at, run.error = FAILED, now, outcome.error
        run.add(DONE, now, number, outcome)
        self.after(active, self._between, self._follow, run, active, number, outcome)

    def _follow(self, run: Run, active: Active, number: int, outcome: Outcome) -> None:
        program = run.entry.program
        assert program is not None  # noqa: S101 - as above
        step = program.steps[number]
        steps, skipped = self._next(run, active, step, outcome)
        end = None
        if not steps and not active.steps and self._is_over(run, active, step, outcome):
            failed = run.failed if self.style == "python" else outcome.kind == BROKEN
            end = FAILED if failed else COMPLETED
        now = self._now(run, active)
        run.add(PROCESSED, now, number, Followed(steps, skipped, end))
        if end is not None:
            run.over = True
            run.verdict, run.verdict_at = end, now
            run.error = outcome.error if end == FAILED else None
        for following in steps:
            self._issue(run, active, following)
        if not steps and not active.steps:
            self._ends(run)

    def _next(self, run: Run, active: Active, step: Step, outcome: Outcome) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """Return the steps that follow, and the names of those that do not."""
        if self.style == "rust" and outcome.kind == BROKEN:
            return (), ()
        scope: dict[str, Any] = {}
        if any(arc.when is not None for arc in step.arcs):
            scope = scope_of(run, active)
            if outcome.kind != OK:
                scope["error"] = outcome.error
        found: list[int] = []
        skipped: list[str] = []
        for arc in step.arcs:
            if (found and not step.inclusive) or not (arc.when is None or holds(arc.when, scope)):
                skipped.append(arc.step)
            elif arc.target is not None and active.executed <= MAX_STEPS_RUN:
                found.append(arc.target)
        return tuple(found), tuple(skipped)

    def _is_over(self, run: Run, active: Active, step: Step, outcome: Outcome) -> bool:
        """Return whether a run that goes no further has an end that its server records."""
        if self.style == "python":
            return active.executed > 1
        return not step.arcs

    # Ends

    def _ends(self, run: Run) -> None:
        active = run.active
        self.executions.pack(run)
        for call in active.on_end if active is not None else ():
            call()

    def _stop_all(self) -> None:
        for run in self.executions.runs.values():
            self._stop(run)
        self._steps.forget_late()
        self.timers.clear()

    def _stop(self, run: Run) -> None:
        active = run.active
        if active is not None and not active.stopped:
            active.stopped, active.following = True, None
            self.timers.stopped(active)
            for task in active.tasks:
                task.cancel()
