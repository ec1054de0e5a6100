"""Executions that are computed when somebody looks at them.

What a run of a closed program does follows from its start (see `closed.py`): the program, the variables, the seed and
the time. So nothing is done for it while nobody looks, and a look computes it up to now: with the same steps, at the
same times, as if timers had run. What was computed may be dropped, and is then computed again for the next look.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from time import monotonic

from mock_noetl.runs import Active, Run

MAX_UNFINISHED = 10_000
"""How many executions are kept half computed."""
MAX_TRIES = 1_000
"""How many executions are examined at one go for one that has ended."""

_log = logging.getLogger("mock_noetl")


class Deferred:
    """The executions of closed programs.

    Args:
        begin: begins to compute one.
        drop: drops what was computed of one.
        between: how many seconds a step takes at most, besides its own duration.
    """

    def __init__(self, begin: Callable[[Run], Active], drop: Callable[[Run], None], between: float) -> None:
        self._begin = begin
        self._drop = drop
        self._between = between
        self._order: deque[Run] = deque()
        self._unfinished: OrderedDict[int, Run] = OrderedDict()
        self._finished: OrderedDict[int, Run] = OrderedDict()

    def add(self, run: Run) -> None:
        """Take an execution that has just started."""
        self._order.append(run)

    def clear(self) -> None:
        """Forget all."""
        for kept in (self._order, self._unfinished, self._finished):
            kept.clear()

    def compute(self, run: Run, *, known: bool) -> None:
        """Compute an execution up to now; `known`: it is not forgotten yet."""
        active = run.active or self._begin(run)
        now = monotonic()
        while active.following is not None and active.following[0] <= now:
            active.at, call, values = active.following
            active.following = None
            try:
                call(*values)
            except Exception:
                _log.exception("an execution failed")
        if known:
            self._keep(run)

    def _keep(self, run: Run) -> None:
        """Note what can be dropped: executions that are half computed, and values that take memory."""
        self.settled(run)
        if not run.ended:
            self._unfinished[run.run_id] = run
            if len(self._unfinished) > MAX_UNFINISHED:
                self._drop(self._unfinished.popitem(last=False)[1])
        elif run.size > run.size_at_start:
            self._finished[run.run_id] = run

    def settled(self, run: Run) -> None:
        """Note that what is known of an execution can't be computed again: it was cancelled, or ended by force."""
        self._unfinished.pop(run.run_id, None)
        self._finished.pop(run.run_id, None)

    def drop_oldest(self, but: Run | None = None) -> bool:
        """Drop what was computed of the execution that was computed first, and return whether there was one."""
        for kept in (self._finished, self._unfinished):
            oldest = next((run for run in kept.values() if run is not but), None)
            if oldest is not None:
                del kept[oldest.run_id]
                self._drop(oldest)
                return True
        return False

    def pop_ended(self, before: int | None, but: Run | None, *, compute: bool) -> Run | None:
        """Return the oldest execution that has ended, which is forgotten here; None if none of the oldest has.

        Args:
            before: only one with a smaller id; None: any.
            but: not this one.
            compute: compute them, if that is needed to know whether they have ended.
        """
        for _ in range(min(len(self._order), MAX_TRIES)):
            run = self._order[0]
            if before is not None and run.run_id > before:
                return None
            self._order.popleft()
            if run is not but and self._has_ended(run, compute=compute):
                self.settled(run)
                return run
            self._order.append(run)
        return None

    def _has_ended(self, run: Run, *, compute: bool) -> bool:
        program = run.entry.program
        if run.ended or program is None:
            return True
        if monotonic() - run.began > program.longest + len(program.steps) * self._between:
            return True
        if compute:
            self.compute(run, known=True)
        return run.ended
