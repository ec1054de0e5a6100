"""Executions that are computed when somebody looks at them.

What a run of a closed program does follows from its start (see `closed.py`): the program, the variables, the seed and
the time. So nothing is done for it while nobody looks, and a look computes it up to now: with the same steps, at the
same times, as if timers had run. What was computed may be dropped, and is then computed again for the next look.

A run that takes long to compute is computed a little at a time in the background, and looks see how far that is. All
others are computed by the look itself, however many there are.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic, perf_counter, thread_time

from mock_noetl.runs import Active, Run
from mock_noetl.template_limits import begin_budget, end_budget

MAX_UNFINISHED = 10_000
"""How many executions are kept half computed."""
MAX_BEHIND = 1_000
"""How many are computed in the background; others go on with the next look."""
RUN_SECONDS = 0.05
"""How much CPU one execution may take at one go."""
TURN_SECONDS = 0.15
"""How long executions are computed in one turn of the event loop, of playbooks of which one has taken long before."""
PAUSE_SECONDS = 0.005
"""The pause of the computation in the background, which is at least as long as the computation before it."""

_log = logging.getLogger("mock_noetl")


class Deferred:
    """The executions of closed programs.

    Args:
        begin: begins to compute one.
        drop: drops what was computed of one.
    """

    def __init__(self, begin: Callable[[Run], Active], drop: Callable[[Run], None]) -> None:
        self._begin = begin
        self._drop = drop
        self._unfinished: OrderedDict[int, Run] = OrderedDict()
        self._finished: OrderedDict[int, Run] = OrderedDict()
        self._behind: OrderedDict[int, Run] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._spent = 0.0

    def clear(self) -> None:
        """Forget all."""
        for kept in (self._unfinished, self._finished, self._behind):
            kept.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def compute(self, run: Run, *, known: bool) -> None:
        """Compute an execution up to now, or as far as there is time; `known`: it is not forgotten yet."""
        if run.run_id in self._behind:
            return
        if not self._spent:
            asyncio.get_running_loop().call_soon(self._turn_over)
        begun = thread_time()
        seconds = min(RUN_SECONDS, TURN_SECONDS - self._spent) if run.entry.takes_long else RUN_SECONDS
        is_done = self._advance(run, seconds)
        took = thread_time() - begun
        self._spent += took
        run.entry.takes_long = run.entry.takes_long or took > RUN_SECONDS
        if not known:
            return
        if is_done or len(self._behind) >= MAX_BEHIND:
            self._keep(run)
        else:
            self.settled(run)
            self._behind[run.run_id] = run
            self._go_on()

    def is_behind(self, run: Run) -> bool:
        """Return whether an execution is computed in the background."""
        return run.run_id in self._behind

    def _turn_over(self) -> None:
        self._spent = 0.0

    def _advance(self, run: Run, seconds: float) -> bool:
        """Compute an execution for so much CPU at most; return whether it is computed up to now.

        The time of day is compared first, since it is cheap to read.
        """
        until, until_cpu = perf_counter() + seconds, thread_time() + seconds
        active = run.active or self._begin(run)
        now = monotonic()
        while active.following is not None and active.following[0] <= now:
            if perf_counter() > until and thread_time() > until_cpu:
                return False
            active.at, call, values = active.following
            active.following = None
            begin_budget()
            try:
                call(*values)
            except Exception:
                _log.exception("an execution failed")
            end_budget()
        return True

    # In the background

    def _go_on(self, pause: float = PAUSE_SECONDS) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(pause, self._work)

    def _work(self) -> None:
        self._timer = None
        begun = perf_counter()
        while self._behind and perf_counter() < begun + RUN_SECONDS:
            run_id, run = self._behind.popitem(last=False)
            if self._advance(run, RUN_SECONDS / 2):
                self._keep(run)
            else:
                self._behind[run_id] = run
        if self._behind:
            self._go_on(max(PAUSE_SECONDS, perf_counter() - begun))

    # What can be dropped

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
        """Note that an execution is not to be computed again: it was cancelled, ended by force, or forgotten."""
        for kept in (self._unfinished, self._finished, self._behind):
            kept.pop(run.run_id, None)

    def drop_oldest(self, but: Run | None = None) -> bool:
        """Drop what was computed of the execution that was computed first, and return whether there was one."""
        for kept in (self._finished, self._unfinished):
            oldest = next((run for run in kept.values() if run is not but), None)
            if oldest is not None:
                del kept[oldest.run_id]
                self._drop(oldest)
                return True
        return False
